"""Sliding windows in a config.json, read and written: ``sliding_window``, and which layers have it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop.translation import Translation
from tinylm_cli.quantities import counted

_LONGEST_PATTERN = 512
_LETTERS = {"sliding_attention": "L", "full_attention": "G"}


def window(keys: Any, to: Translation) -> None:
    """Map one window for all layers; none where ``sliding_window`` is null."""
    to.put("attention.window", keys.sliding_window, "sliding_window")


def layer_windows(keys: Any, to: Translation, pattern: str | None, pattern_key: str = "sliding_window") -> None:
    """Map which layers have a window: from ``layer_types``, else from the family's pattern.

    Args:
        keys: The family's keys, with ``sliding_window``, ``layer_types`` and ``num_hidden_layers``.
        to: The translation.
        pattern: A letter for each layer, L with a window and G without; None where the family's windows are off.
        pattern_key: The key that gives the pattern.
    """
    if to.is_wrong("num_hidden_layers"):
        return
    if keys.layer_types is None:
        _put_windows(to, pattern or "", pattern_key, keys.sliding_window)
    else:
        letters = _letters(to, keys.layer_types, keys.num_hidden_layers)
        _put_windows(to, letters, "layer_types", None if pattern is None else keys.sliding_window)


def alternate(n_layers: int) -> str:
    """Return a pattern in which every second layer has a window, from the first."""
    return ("LG" * n_layers)[:n_layers]


def _put_windows(to: Translation, letters: str, key: str, width: int | None) -> None:
    if "L" not in letters:
        return
    if width is None:
        if key == "layer_types":
            message = f"{to.display(key)} has sliding_attention, and sliding_window is off"
            to.contradiction(key, message, "give sliding_window a number, or write full_attention", "sliding_window")
        return
    to.put("attention.window", width, "sliding_window")
    shortest = shortest_period(letters)
    if len(shortest) > _LONGEST_PATTERN:
        to.unsupported(key, f"a pattern of more than {_LONGEST_PATTERN} layers that does not repeat")
    elif shortest != "L":
        to.put("attention.window_pattern", shortest, key, "sliding_window")


def _letters(to: Translation, names: Sequence[str], n_layers: int) -> str:
    other = next((name for name in names if name not in _LETTERS), None)
    if other is not None:
        to.unsupported("layer_types", f"tinylm has no {other[:40]} layers", f"the types are {' and '.join(_LETTERS)}")
        return ""
    if len(names) != n_layers:
        message = f"{to.display('layer_types')} names {counted(len(names), 'layer')}, and n_layers is {n_layers:,}"
        to.contradiction("layer_types", message, "name one type for each layer")
        return ""
    return "".join(_LETTERS[name] for name in names)


def shortest_period(letters: str) -> str:
    """Return the shortest start of ``letters`` that, repeated, gives them all."""
    # the longest proper prefix that is also a suffix, by Knuth, Morris and Pratt 1977
    border = [0] * len(letters)
    for i in range(1, len(letters)):
        k = border[i - 1]
        while k and letters[i] != letters[k]:
            k = border[k - 1]
        border[i] = k + 1 if letters[i] == letters[k] else 0
    return letters[: len(letters) - border[-1]]


def window_keys(config: ModelConfig) -> dict[str, Any]:
    """Return the key of one window for all layers."""
    return {"sliding_window": config.attention.window}


def layer_types(config: ModelConfig) -> list[str]:
    """Return transformers' name for the kind of each layer."""
    windowed = (config.window(layer) is not None for layer in range(config.n_layers))
    return ["sliding_attention" if each else "full_attention" for each in windowed]


def layer_window_keys(config: ModelConfig) -> dict[str, Any]:
    """Return the keys of windows in some layers; the width is a number even where no layer has one."""
    return {"sliding_window": config.attention.window or config.max_len, "layer_types": layer_types(config)}

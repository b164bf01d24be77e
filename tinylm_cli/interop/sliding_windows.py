"""Read and write sliding windows in a config.json: ``sliding_window``, and the layers that use it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop.translation import Translation
from tinylm_cli.quantities import counted

_LONGEST_PATTERN = 512
_LETTERS = {"sliding_attention": "L", "full_attention": "G"}


def window(keys: Any, to: Translation) -> None:
    """Map one window for all layers; no window if ``sliding_window`` is null."""
    to.put("attention.window", keys.sliding_window, "sliding_window")


def layer_windows(keys: Any, to: Translation, pattern: str | None, pattern_key: str = "sliding_window") -> None:
    """Map the layers that have a window, from ``layer_types`` or else the family's pattern.

    Args:
        keys: The family's keys, with ``sliding_window``, ``layer_types`` and ``num_hidden_layers``.
        to: The translation.
        pattern: One letter per layer, L (local, with a window) or G (global); None if the family's windows are off.
        pattern_key: The key that determines the pattern.
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
            message = f"{to.display(key)} has sliding_attention, but sliding_window is off"
            to.contradiction(key, message, "give sliding_window a number, or write full_attention", "sliding_window")
        return
    to.put("attention.window", width, "sliding_window")
    shortest = shortest_period(letters)
    if len(shortest) > _LONGEST_PATTERN:
        to.unsupported(key, f"the pattern spans more than {_LONGEST_PATTERN} layers without repeating")
    elif shortest != "L":
        to.put("attention.window_pattern", shortest, key, "sliding_window")


def _letters(to: Translation, names: Sequence[str], n_layers: int) -> str:
    other = next((name for name in names if name not in _LETTERS), None)
    if other is not None:
        to.unsupported("layer_types", f"tinylm has no {other[:40]} layers", f"the types are {' and '.join(_LETTERS)}")
        return ""
    if len(names) != n_layers:
        message = f"{to.display('layer_types')} lists {counted(len(names), 'layer')}, but n_layers is {n_layers:,}"
        to.contradiction("layer_types", message, "give one type per layer")
        return ""
    return "".join(_LETTERS[name] for name in names)


def shortest_period(letters: str) -> str:
    """Return the shortest prefix of ``letters`` whose repetition gives ``letters``."""
    # the longest proper prefix that is also a suffix, by Knuth, Morris and Pratt 1977
    border = [0] * len(letters)
    for i in range(1, len(letters)):
        k = border[i - 1]
        while k and letters[i] != letters[k]:
            k = border[k - 1]
        border[i] = k + 1 if letters[i] == letters[k] else 0
    return letters[: len(letters) - border[-1]]


def window_keys(config: ModelConfig) -> dict[str, Any]:
    """Return the key for one window in all layers."""
    return {"sliding_window": config.attention.window}


def layer_types(config: ModelConfig) -> list[str]:
    """Return ``layer_types`` as transformers names them."""
    windowed = (config.window(layer) is not None for layer in range(config.n_layers))
    return ["sliding_attention" if each else "full_attention" for each in windowed]


def layer_window_keys(config: ModelConfig) -> dict[str, Any]:
    """Return the keys of per-layer windows; ``sliding_window`` is a number even if no layer uses it."""
    return {"sliding_window": config.attention.window or config.max_len, "layer_types": layer_types(config)}

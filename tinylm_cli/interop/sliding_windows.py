"""Which layers see through a window, as families say it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tinylm_cli.config.base import MAX_N_LAYERS
from tinylm_cli.interop.key_reader import Reader
from tinylm_cli.quantities import counted

_LONGEST_PATTERN = 512


def window(read: Reader) -> None:
    """Put one window for all layers, where ``sliding_window`` is not null."""
    read.put("attention.window", read.integer("sliding_window"), "sliding_window")


def window_by_layer(pattern: Callable[[Reader, int], tuple[str, str] | None]) -> Callable[[Reader], None]:
    """Return what reads which layers have a window: from ``layer_types``, else as ``pattern`` says.

    Args:
        pattern: From the config and its number of layers to one letter a layer, L or G, and the key that says so; or
            None for no window at all.
    """

    def compute(read: Reader) -> None:
        width = read.integer("sliding_window")
        n_layers = read.value("n_layers")
        if not isinstance(n_layers, int) or not 1 <= n_layers <= MAX_N_LAYERS:
            read.understood.add("layer_types")
            return
        by_family = pattern(read, n_layers)
        named = read.words("layer_types")
        letters, key = by_family or ("G" * n_layers, "layer_types")
        if named is not None:
            letters, key = _letters(read, named, n_layers), "layer_types"
            width = None if by_family is None else width
        put_windows(read, letters, key, width)

    return compute


def alternate(_: Reader, n_layers: int) -> tuple[str, str]:
    """Give every second layer a window, from the first."""
    return ("LG" * n_layers)[:n_layers], "sliding_window"


def put_windows(read: Reader, letters: str, key: str, width: int | None) -> None:
    """Put a window of ``width`` in the layers marked L."""
    if "L" not in letters:
        return
    if width is None:
        if key == "layer_types":
            message = "layer_types has sliding_attention, and sliding_window is off"
            read.contradiction(key, message, "give sliding_window a number, or write full_attention")
        return
    read.put("attention.window", width, "sliding_window")
    shortest = period(letters)
    if len(shortest) > _LONGEST_PATTERN:
        read.unsupported(key, f"a pattern of more than {_LONGEST_PATTERN} layers that does not repeat")
    elif shortest != "L":
        read.put("attention.window_pattern", shortest, key, "sliding_window")


def _letters(read: Reader, names: Sequence[str], n_layers: int) -> str:
    kinds = {"sliding_attention": "L", "full_attention": "G"}
    other = next((name for name in names if name not in kinds), None)
    if other is not None:
        read.unsupported("layer_types", f"tinylm has no {other[:40]} layers", f"the types are {' and '.join(kinds)}")
        return ""
    if len(names) != n_layers:
        message = f"layer_types names {counted(len(names), 'layer')}, and n_layers is {n_layers:,}"
        read.contradiction("layer_types", message, "name one type for each layer")
        return ""
    return "".join(kinds[name] for name in names)


def period(letters: str) -> str:
    """Return the shortest start of ``letters`` that, repeated, gives them all."""
    # the longest proper prefix that is also a suffix, by Knuth, Morris and Pratt 1977
    border = [0] * len(letters)
    for i in range(1, len(letters)):
        k = border[i - 1]
        while k and letters[i] != letters[k]:
            k = border[k - 1]
        border[i] = k + 1 if letters[i] == letters[k] else 0
    return letters[: len(letters) - border[-1]]

"""Groups of layers with equal cost: the same tensors and the same attention window.

Grouping takes the same time for any number of layers.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from tinylm_cli.config.schema import ModelConfig


class LayerKind(NamedTuple):
    """The properties that determine the cost of a layer."""

    window: int | None  # sliding window in positions, including the query's own; None without a window
    has_experts: bool  # whether its feed-forward part is a mixture of experts


class LayerGroup(NamedTuple):
    """The layers of one kind."""

    first: int  # index of the first layer of the kind
    last: int  # index of the last one
    n_layers: int  # number of layers, >= 1


def uniform_ranges(config: ModelConfig) -> Iterator[range]:
    """Yield the ranges of consecutive layers with the same tensors: leading dense layers, then expert layers."""
    n_dense = config.feed_forward.n_dense_layers if config.feed_forward.n_experts is not None else 0
    for layers in (range(n_dense), range(n_dense, config.n_layers)):
        if layers:
            yield layers


def layer_kind(config: ModelConfig, seq_len: int | None, layer: int) -> LayerKind:
    """Return the kind of ``layer``; a window of ``seq_len`` or more counts as no window."""
    window = config.window(layer)
    is_shorter = window is not None and (seq_len is None or window < seq_len)
    return LayerKind(window if is_shorter else None, config.has_experts(layer))


def n_expert_layers(config: ModelConfig, layers: range) -> int:
    """Return how many of consecutive ``layers`` have a mixture of experts."""
    if config.feed_forward.n_experts is None:
        return 0
    return len(range(max(layers.start, config.feed_forward.n_dense_layers), layers.stop))


def group_layers(config: ModelConfig, seq_len: int | None, layers: range | None = None) -> dict[LayerKind, LayerGroup]:
    """Return the group of each kind of layer, in the order in which kinds first occur.

    Args:
        config: A validated config.
        seq_len: T; a window of T or more counts as no window. None: longer than any window.
        layers: Consecutive layers to group; all of them when None.
    """
    layers = range(config.n_layers) if layers is None else layers
    window, pattern = config.attention.window, config.attention.window_pattern
    is_shorter = window is not None and (seq_len is None or window < seq_len)
    found = []
    for uniform in uniform_ranges(config):
        within = range(max(uniform.start, layers.start), min(uniform.stop, layers.stop))
        if not within:
            continue
        has_experts = config.has_experts(within.start)
        if is_shorter:
            for letter, letter_window in (("L", window), ("G", None)):
                if (group := _letter_group(pattern, letter, within)) is not None:
                    found.append((LayerKind(letter_window, has_experts), group))
        else:
            found.append((LayerKind(None, has_experts), LayerGroup(within.start, within[-1], len(within))))
    return dict(sorted(found, key=lambda item: item[1].first))


def _letter_group(pattern: str, letter: str, layers: range) -> LayerGroup | None:
    """Return the group of ``layers`` whose letter in the repeated pattern is ``letter``, or None if there are none."""
    period, n_layers = len(pattern), len(layers)
    cycles, rest = divmod(n_layers, period)
    two_cycles, start = 2 * pattern, layers.start % period  # from any start, one cycle is contiguous
    n_found = cycles * pattern.count(letter) + two_cycles.count(letter, start, start + rest)
    if n_found == 0:
        return None
    shorter, end = min(n_layers, period), layers.stop % period + period
    first = layers.start + two_cycles.index(letter, start, start + shorter) - start
    last = layers.stop - (end - two_cycles.rindex(letter, end - shorter, end))
    return LayerGroup(first, last, n_found)

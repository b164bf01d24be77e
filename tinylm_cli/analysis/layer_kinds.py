"""Groups of layers with equal cost: the same tensors and the same attention window.

Grouping takes constant time in the number of layers.
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
    n_layers: int  # number of layers, >= 1


def uniform_ranges(config: ModelConfig) -> Iterator[range]:
    """Yield the ranges of consecutive layers with the same tensors: leading dense layers, then expert layers."""
    n_dense = config.feed_forward.n_dense_layers if config.feed_forward.n_experts is not None else 0
    for layers in (range(n_dense), range(n_dense, config.n_layers)):
        if layers:
            yield layers


def group_layers(config: ModelConfig, seq_len: int | None, layers: range | None = None) -> dict[LayerKind, LayerGroup]:
    """Return the group of each kind of layer, in the order in which kinds first occur.

    Args:
        config: A validated config.
        seq_len: T; a window of T or more counts as no window. None: longer than any window.
        layers: Consecutive layers to group; all of them when None.
    """
    layers = range(config.n_layers) if layers is None else layers
    period = len(config.attention.window_pattern)
    groups: dict[LayerKind, LayerGroup] = {}
    for uniform in uniform_ranges(config):
        within = range(max(uniform.start, layers.start), min(uniform.stop, layers.stop))
        for layer in within[:period]:
            window = config.window(layer)
            is_shorter = window is not None and (seq_len is None or window < seq_len)
            kind = LayerKind(window if is_shorter else None, config.has_experts(layer))
            first, n_layers = groups.get(kind, (layer, 0))
            groups[kind] = LayerGroup(first, n_layers + len(within[layer - within.start :: period]))
    return groups

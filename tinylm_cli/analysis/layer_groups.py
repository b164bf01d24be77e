"""Layers that are alike: runs that hold the same tensors, and within them sorts that see equally far.

Both are found in a time that the number of layers does not change.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from tinylm_cli.config.schema import ModelConfig


class Sort(NamedTuple):
    """What sets the layers of one sort apart from others.

    Attributes:
        window: Positions that they see, their own included; None for all.
        has_experts: Whether they hold a mixture of experts.
    """

    window: int | None
    has_experts: bool


class Alike(NamedTuple):
    """The layers of one sort.

    Attributes:
        first: The first of them.
        repeats: How many there are, >= 1.
    """

    first: int
    repeats: int


def runs(config: ModelConfig) -> Iterator[range]:
    """Yield the runs of layers that hold the same tensors: leading dense ones, then those with experts."""
    dense = config.feed_forward.n_dense_layers if config.feed_forward.n_experts is not None else 0
    for layers in (range(dense), range(dense, config.n_layers)):
        if layers:
            yield layers


def sorts(config: ModelConfig, seq_len: int | None, n_layers: int) -> dict[Sort, Alike]:
    """Return the sorts among the first ``n_layers`` layers, in the order in which they first come.

    Args:
        config: A validated config.
        seq_len: T; a window that holds all of it is none. None for a sequence longer than any window.
        n_layers: How many layers to sort, 0..``config.n_layers``.
    """
    return sorts_among(config, seq_len, range(n_layers))


def sorts_among(config: ModelConfig, seq_len: int | None, layers: range) -> dict[Sort, Alike]:
    """Return the sorts among consecutive layers, as :func:`sorts` does."""
    period = len(config.attention.window_pattern)
    found: dict[Sort, Alike] = {}
    for run in runs(config):
        within = range(max(run.start, layers.start), min(run.stop, layers.stop))
        for layer in within[:period]:
            window = config.window(layer)
            hides = window is not None and (seq_len is None or window < seq_len)
            sort = Sort(window if hides else None, config.has_experts(layer))
            first, repeats = found.get(sort, (layer, 0))
            found[sort] = Alike(first, repeats + len(within[layer - within.start :: period]))
    return found

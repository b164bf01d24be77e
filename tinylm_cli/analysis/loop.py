"""Looped layers: how often each layer runs in one forward pass, and the order of these runs.

A run is one use of one layer; runs are numbered in the order of a forward pass. Without a loop, each layer has one run,
and its number is its index.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from tinylm_cli.config.schema import ModelConfig


class LoopPart(NamedTuple):
    """Consecutive layers that run equally often."""

    layers: range
    n_passes: int  # how often they run in one forward pass


@lru_cache(maxsize=256)
def loop_parts(config: ModelConfig) -> tuple[LoopPart, ...]:
    """Return prelude, core and coda, or without a loop all layers; the core may be a low- and a high-level module."""
    loop, n_layers = config.loop, config.n_layers
    if loop.n_loops is None:
        return (LoopPart(range(n_layers), 1),)
    start, stop = loop.n_prelude_layers, n_layers - loop.n_coda_layers
    high = start + (loop.n_low_layers or 0)
    parts = (
        LoopPart(range(start), 1),
        LoopPart(range(start, high), loop.n_loops * loop.n_low_loops),
        LoopPart(range(high, stop), loop.n_loops),
        LoopPart(range(stop, n_layers), 1),
    )
    return tuple(part for part in parts if part.layers)


class Pass(NamedTuple):
    """One pass through the layers of a part."""

    layers: range
    first_run: int  # the run of its first layer
    is_looped: bool  # whether it is a pass of the core
    is_low: bool  # whether it is a pass of the low-level module
    n_later: int  # later passes through the same layers

    @property
    def runs(self) -> range:
        """The runs of its layers."""
        return range(self.first_run, self.first_run + len(self.layers))


@lru_cache(maxsize=256)
def passes(config: ModelConfig) -> tuple[Pass, ...]:
    """Return all passes in the order of a forward pass.

    The high-level module runs after every ``n_low_loops`` passes of the low-level module.

    References:
        Wang et al. 2025 (hierarchical reasoning models), section 2, https://arxiv.org/abs/2506.21734
    """
    loop, n_layers = config.loop, config.n_layers
    if loop.n_loops is None:
        return (Pass(range(n_layers), 0, is_looped=False, is_low=False, n_later=0),)
    prelude, stop = range(loop.n_prelude_layers), n_layers - loop.n_coda_layers
    high = range(prelude.stop + (loop.n_low_layers or 0), stop)
    cycle = [(high, False)]
    if loop.n_low_layers is not None:
        cycle = [(range(prelude.stop, high.start), True)] * loop.n_low_loops + cycle
    found: list[Pass] = []
    remaining = dict(loop_parts(config))
    run = 0
    for layers, is_low in [(prelude, False), *cycle * loop.n_loops, (range(stop, n_layers), False)]:
        if layers:
            remaining[layers] -= 1
            is_looped = prelude.stop <= layers.start < stop
            found.append(Pass(layers, run, is_looped, is_low, remaining[layers]))
            run += len(layers)
    return tuple(found)


def n_runs(config: ModelConfig) -> int:
    """Return the number of runs in one forward pass."""
    return sum(len(part.layers) * part.n_passes for part in loop_parts(config))


def pass_of(config: ModelConfig, run: int) -> Pass:
    """Return the pass to which a run belongs."""
    return next(each for each in passes(config) if run in each.runs)

"""Layers that are alike: where the tensor table's runs differ by what their attention sees."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from tinylm_cli.config.schema import ModelConfig


class Kind(NamedTuple):
    """Layers of one run that see equally far.

    Attributes:
        window: Positions they see, their own included; None for all.
        repeats: How many there are, >= 1.
    """

    window: int | None
    repeats: int


def kinds(config: ModelConfig, layers: range) -> Iterator[Kind]:
    """Yield the kinds of layers in ``layers``, those with a window first, in a time that their number does not change.

    Args:
        config: Uses attention.window and attention.window_pattern.
        layers: Consecutive layers.
    """
    local = 0
    if config.attention.window is not None:
        pattern = config.attention.window_pattern
        rounds, rest = divmod(len(layers), len(pattern))
        start = layers.start % len(pattern)
        local = rounds * pattern.count("L") + (pattern * 2)[start : start + rest].count("L")
    for window, count in ((config.attention.window, local), (None, len(layers) - local)):
        if count:
            yield Kind(window, count)

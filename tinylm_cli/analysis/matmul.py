"""A matmul of one layer, and the convention by which its floating-point operations are counted."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from tinylm_cli.reports.flops import FlopsComponent

FLOPS_PER_ELEMENT = 2
"""One multiply and one add for each weight element and token: FLOPs, not MACs."""

PairCount = Callable[[int | None], int]
"""Maps a window to the number of (query, key) pairs of one sequence."""


class Matmul(NamedTuple):
    """A matmul of one layer, summed over heads or experts."""

    name: str  # the module that holds the weight; ``attention.scores`` and ``attention.values`` have no weight
    component: FlopsComponent  # the component that owns it
    flops: int  # operations for one sequence

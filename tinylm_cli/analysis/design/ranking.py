"""The order of the models that match, and the Pareto front among them."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from functools import cache
from math import log2
from typing import NamedTuple

from tinylm_cli.analysis.design.closed_form import Value
from tinylm_cli.analysis.design.families import DesignFamily, PublishedModel
from tinylm_cli.analysis.design.measures import DECODE_SECONDS
from tinylm_cli.analysis.design.search_space import SearchSpace, Shape
from tinylm_cli.reports.constraint import Sizes

CLOSE = 0.01
"""Distances from the target are compared in steps of this size; models in the same step are ranked by their
proportions."""

TILE = 128
"""GPU tile size: matmul dimensions are rounded up to a multiple, because a partial tile takes as long as a full one.

References:
    NVIDIA 2023, Matrix Multiplication Background User's Guide, "Tile Quantization"
"""

COSTS = ("forward_flops_per_token", "kv_cache_bytes")
"""Figures of the Pareto front where less is better, in addition to the decoding time."""


class Proportions(NamedTuple):
    """The proportions of a model, as base-2 logarithms."""

    aspect: float  # d_model / n_layers
    d_ff_ratio: float  # d_ff / d_model; with experts, d_ff of one expert
    d_head: float  # dimensions per head
    group: float  # query heads per key and value head
    head_ratio: float  # n_heads · d_head / d_model

    def distance(self, other: Proportions) -> float:
        """Return the sum of the differences, in factors of two."""
        return sum(abs(mine - theirs) for mine, theirs in zip(self, other, strict=True))


class Candidate(NamedTuple):
    """A model that satisfies every constraint."""

    shape: Shape  # its sizes except depth
    n_layers: int  # its depth
    figures: dict[str, Value]  # the figures that ranking and the front use, including ``total_params``, by name
    deviation: float  # signed relative distance from the target; with several targets, the largest


def proportions(sizes: Sizes) -> Proportions:
    """Return the proportions of a shape."""
    return Proportions(
        aspect=log2(sizes.d_model / sizes.n_layers),
        d_ff_ratio=log2(sizes.d_ff / sizes.d_model),
        d_head=log2(sizes.d_head),
        group=log2(sizes.n_heads / sizes.n_kv_heads),
        head_ratio=log2(sizes.n_heads * sizes.d_head / sizes.d_model),
    )


def typical_proportions(published: Sequence[PublishedModel], params: float) -> Proportions:
    """Return the proportions of a family at a size: interpolated between published sizes, constant beyond them.

    Both the proportions and the size are interpolated as logarithms.

    Args:
        published: At least one model, in ascending order of size.
        params: The size.
    """
    above = bisect_right(published, params, key=lambda model: model.params)
    if above in (0, len(published)):
        return _published_proportions(published[max(above - 1, 0)].sizes)
    small, large = published[above - 1], published[above]
    share = log2(params / small.params) / log2(large.params / small.params)
    pairs = zip(_published_proportions(small.sizes), _published_proportions(large.sizes), strict=True)
    return Proportions(*(low + share * (high - low) for low, high in pairs))


_published_proportions = cache(proportions)
"""The proportions of published sizes, which every candidate is compared with."""


def ranked(candidates: Iterable[Candidate], family: DesignFamily) -> list[Candidate]:
    """Return candidates in order.

    1. The distance from the target in hundredths, rounded down.
    2. The sum of two penalties in log2: the distance of the proportions from the family's typical ones at this size,
       and the tile-rounding waste of d_model and d_ff (multiples of 128) and of KV heads (even, so that two GPUs can
       share them, Shoeybi et al. 2019, https://arxiv.org/abs/1909.08053).
    3. The exact distance, then the smaller depth.
    """
    return sorted(candidates, key=lambda each: _key(each, family))


def front_figures(space: SearchSpace) -> tuple[str, ...]:
    """Return the figures of the Pareto front: the first is maximized, the others are minimized.

    The last is the time of a decoding step; without a GPU, the bytes that it reads.
    """
    return "total_params", *COSTS, "decode_read_bytes_per_token" if space.accelerator is None else DECODE_SECONDS


def pareto_front(points: Sequence[tuple[Value, ...]]) -> set[tuple[Value, ...]]:
    """Return the points that no other point dominates.

    A point dominates another if it is better in at least one figure and worse in none.
    """
    distinct = set(points)
    caches = sorted({cache for _, _, cache, _ in distinct})
    rank = {cache: number for number, cache in enumerate(caches, start=1)}
    # a Fenwick tree over the ranks of the caches: prefixes of ranks are unions of few nodes
    # (Fenwick 1994, https://doi.org/10.1002/spe.4380240306)
    nodes = [_Fastest([], []) for _ in range(len(caches) + 1)]
    kept: set[tuple[Value, ...]] = set()
    for point in sorted(distinct, key=lambda values: (-values[0], *values[1:])):
        _, flops, cache, speed = point
        node, dominated = rank[cache], False
        while node and not dominated:
            dominated = nodes[node].has(flops, speed)
            node -= node & -node
        if dominated:
            continue
        kept.add(point)
        node = rank[cache]
        while node < len(nodes):
            nodes[node].add(flops, speed)
            node += node & -node
    return kept


class _Fastest(NamedTuple):
    """The points of a set that are best in FLOPs or time: FLOPs ascending, and the time of each, descending."""

    flops: list[Value]
    seconds: list[Value]

    def has(self, flops: Value, seconds: Value) -> bool:
        """Return whether a point has at most these FLOPs and this time."""
        index = bisect_right(self.flops, flops)
        return index > 0 and self.seconds[index - 1] <= seconds

    def add(self, flops: Value, seconds: Value) -> None:
        """Add a point, and drop those with at least its FLOPs and its time."""
        if self.has(flops, seconds):
            return
        start = stop = bisect_left(self.flops, flops)
        while stop < len(self.flops) and self.seconds[stop] >= seconds:
            stop += 1
        self.flops[start:stop], self.seconds[start:stop] = [flops], [seconds]


def front_point(candidate: Candidate, figures: Sequence[str]) -> tuple[Value, ...]:
    """Return a candidate's values of the figures of the front."""
    return tuple(candidate.figures[name] for name in figures)


def _key(candidate: Candidate, family: DesignFamily) -> tuple[object, ...]:
    shape, n_layers, distance = candidate.shape, candidate.n_layers, abs(candidate.deviation)
    own = proportions(shape.sizes(n_layers))
    unusual = own.distance(typical_proportions(family.published_sizes, candidate.figures["total_params"]))
    wasted = _rounded_up(shape.d_model, TILE) + _rounded_up(shape.d_ff, TILE) + _rounded_up(shape.n_kv_heads, 2)
    return int(distance / CLOSE), round(unusual + wasted, 9), distance, n_layers, shape


def _rounded_up(size: int, multiple: int) -> float:
    """Return how much larger a size becomes when rounded up, in factors of two."""
    return log2(-(-size // multiple) * multiple / size)

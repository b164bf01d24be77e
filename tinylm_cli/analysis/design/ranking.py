"""Which of the models found come first, and which of them no other beats in everything that is counted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import log2
from typing import NamedTuple

from tinylm_cli.analysis.design.closed_form import Value
from tinylm_cli.analysis.design.families import Family
from tinylm_cli.analysis.design.measures import DECODE_SECONDS
from tinylm_cli.analysis.design.published_sizes import proportions, usual
from tinylm_cli.analysis.design.search_space import Shape, Space

CLOSE = 0.01
"""The step in which distances from what was wanted are told apart: a hundredth of a size decides nothing."""

TILE = 128
"""What the sizes of matrix products are rounded up to: a tile that is not full takes as long as one that is.

References:
    NVIDIA 2023, Matrix Multiplication Background User's Guide, "Tile Quantization"
"""


class Candidate(NamedTuple):
    """A model that keeps to every bound.

    Attributes:
        shape: Its sizes but for depth.
        n_layers: Its depth.
        figures: Those that ranking and the front need, by name, ``total_params`` among them.
        error: The distance from what was wanted, signed, as a share of it.
    """

    shape: Shape
    n_layers: int
    figures: dict[str, Value]
    error: float


def ranked(candidates: Iterable[Candidate], family: Family) -> list[Candidate]:
    """Return candidates in order.

    First by whole hundredths that they are from what was wanted, so that within one all are equal. Then by factors of
    two added up: how far their proportions are from those usual in the family at their size, and what hardware wastes,
    where a d_model or a d_ff is rounded up to a multiple of 128, and heads of keys and values to an even number, as two
    GPUs cannot share an odd one (Shoeybi et al. 2019, https://arxiv.org/abs/1909.08053). Then by the distance itself.
    """
    return sorted(candidates, key=lambda each: _key(each, family))


def measures_of_front(space: Space) -> tuple[str, ...]:
    """Return what the front is over: more of the first, less of the others.

    How fast a model decodes is told by the time of a step where the GPU is known, else by the bytes that are read.
    """
    speed = "decode_read_bytes_per_token" if space.accelerator is None else DECODE_SECONDS
    return "total_params", "forward_flops_per_token", "kv_cache_bytes", speed


def front(figures: Sequence[tuple[Value, ...]]) -> set[tuple[Value, ...]]:
    """Return those of ``figures``, one value for each measure of the front, that no other beats.

    One beats another that is better in one figure and worse in none.
    """
    kept: list[tuple[Value, ...]] = []
    for candidate in sorted(set(figures), key=lambda values: (-values[0], *values[1:])):
        _, flops, cache, speed = candidate
        if not any(f <= flops and c <= cache and s <= speed for _, f, c, s in kept):
            kept.append(candidate)
    return set(kept)


def of_front(candidate: Candidate, over: Sequence[str]) -> tuple[Value, ...]:
    """Return the figures that the front is over."""
    return tuple(candidate.figures[name] for name in over)


def _key(candidate: Candidate, family: Family) -> tuple[object, ...]:
    shape, n_layers, distance = candidate.shape, candidate.n_layers, abs(candidate.error)
    own = proportions(shape.sizes(n_layers))
    strange = own.distance(usual(family.members, candidate.figures["total_params"]))
    wasted = _rounded_up(shape.d_model, TILE) + _rounded_up(shape.d_ff, TILE) + _rounded_up(shape.n_kv_heads, 2)
    return int(distance / CLOSE), round(strange + wasted, 9), distance, n_layers, shape


def _rounded_up(size: int, step: int) -> float:
    """Return how much larger a size becomes as a multiple of ``step``, in factors of two."""
    return log2(-(-size // step) * step / size)

"""Which of the models found come first, and which of them no other beats in everything that is counted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import log2
from typing import NamedTuple

from tinylm_cli.analysis.design.closed_form import Value
from tinylm_cli.analysis.design.families import Usual
from tinylm_cli.analysis.design.measures import DECODE_SECONDS
from tinylm_cli.analysis.design.space import Shape, Space

CLOSE = 0.01
"""The step in which distances from what was wanted are told apart: a hundredth of a size decides nothing."""

TILE = 128
"""Sizes that are multiples of it fill the tiles of a matrix product.

References:
    NVIDIA 2023, Matrix Multiplication Background User's Guide, "Tile Quantization"
"""


class Candidate(NamedTuple):
    """A model that keeps to every bound.

    Attributes:
        shape: Its sizes but for depth.
        n_layers: Its depth.
        figures: Those that ranking and the front need, by name.
        error: The distance from what was wanted, signed, as a share of it.
    """

    shape: Shape
    n_layers: int
    figures: dict[str, Value]
    error: float


def ranked(candidates: Iterable[Candidate], usual: Usual) -> list[Candidate]:
    """Return candidates in order.

    First by whole hundredths that they are from what was wanted; then by what hardware would mind, a d_model or a d_ff
    that is no multiple of 128, and an odd number of heads of keys and values, which two GPUs cannot share (Shoeybi et
    al. 2019, https://arxiv.org/abs/1909.08053); then by how far their proportions are from the family's, in factors of
    two added up; then by the distance itself.
    """
    return sorted(candidates, key=lambda each: _key(each, usual))


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


def _key(candidate: Candidate, usual: Usual) -> tuple[object, ...]:
    shape, distance = candidate.shape, abs(candidate.error)
    minded = sum(size % TILE != 0 for size in (shape.d_model, shape.d_ff)) + shape.n_kv_heads % 2
    return int(distance / CLOSE), minded, _strangeness(candidate, usual), distance, candidate.n_layers, shape


def _strangeness(candidate: Candidate, usual: Usual) -> float:
    """Return how far a model's proportions are from the usual ones, in factors of two."""
    shape = candidate.shape
    proportions = (
        (shape.d_model / candidate.n_layers, usual.aspect),
        (shape.d_ff / shape.d_model, usual.d_ff_ratio),
        (shape.d_head, usual.d_head),
        (shape.n_heads / shape.n_kv_heads, usual.group),
        (shape.n_heads * shape.d_head / shape.d_model, usual.span),
    )
    return round(sum(abs(log2(is_ / expected)) for is_, expected in proportions), 9)

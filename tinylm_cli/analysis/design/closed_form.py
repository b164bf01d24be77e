"""Figures as multilinear polynomials of a config's sizes, interpolated from the analysis functions.

No formula is written twice. A count is a sum of terms, one per tensor or attention matmul, and every term is at most
linear in each size. A count is therefore affine in each of d_model, n_heads, n_kv_heads, d_ff and, for full periods of
the window pattern, n_layers, if the others are fixed. Evaluations at two values of each size determine the polynomial
exactly, in integers. All coefficients are non-negative, so a count never decreases as a size grows. A memory peak is
the maximum of several counts, one per phase of a pass; a time is computed from several counts. Both are non-decreasing
too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from itertools import chain
from math import lcm
from typing import Literal, NamedTuple

Value = float
"""A count, an exact integer; or a time in seconds."""

Evaluate = Callable[..., Sequence[int]]
"""Returns the counts of the config with the given d_model, n_heads, n_kv_heads, d_ff and n_layers, in this order."""

MIN_LAYERS = 2
"""Minimum n_layers for which the polynomials are exact, or of periods of a pattern of kinds of layers: a single layer,
or period, is both the first and the last."""

HeadSharing = Literal["grouped", "multi_head", "one_head"]
"""Grouped-query, multi-head or single-head attention. Figures may be discontinuous between these cases, so each has its
own polynomials."""

_PAIRS: dict[HeadSharing, Sequence[tuple[int, int]]] = {
    "grouped": ((2, 4), (4, 8), (1, 2), (1, 2)),
    "multi_head": ((2, 4), (2, 4), (1, 1), (1, 2)),
    "one_head": ((2, 4), (1, 1), (1, 1), (1, 2)),
}
"""Two interpolation points for each of d_model, n_heads, n_kv_heads and d_ff; equal where the size is fixed."""

_CHECK: dict[HeadSharing, tuple[int, ...]] = {
    "grouped": (3 * 64, 12, 6, 5 * 64),
    "multi_head": (3 * 64, 12, 1, 5 * 64),
    "one_head": (3 * 64, 1, 1, 5 * 64),
}
"""Test points: other values of the same sizes, at which the polynomials are compared with the counts."""


def head_sharing(n_heads: int, n_kv_heads: int) -> HeadSharing:
    """Return which polynomials hold for these heads."""
    if n_heads == 1:
        return "one_head"
    return "multi_head" if n_kv_heads == n_heads else "grouped"


class ClosedForm(NamedTuple):
    """A figure computed from counts, each a polynomial; some sizes may be fixed already, in the order of ``Evaluate``.

    Attributes:
        coefficients: First the intercepts, then the slopes in the next size; each half is split in the same way by the
            sizes that follow. The leaves are indexed by count, then by phase: the position of the last layer in the
            window pattern.
        n_counts: Number of counts.
        period: Length of the window pattern.
        combine: Computes the figure from the counts; never decreases as one of them grows.
        depth_step: Step of n_layers: a multiple of the pattern of kinds of layers, and of the pipeline chunks.
    """

    coefficients: Sequence[int]
    n_counts: int = 1
    period: int = 1
    combine: Callable[[Sequence[int]], Value] = max
    depth_step: int = 1

    def fix(self, size: int) -> ClosedForm:
        """Return the form with its next size fixed."""
        half = len(self.coefficients) // 2
        values = zip(self.coefficients[:half], self.coefficients[half:], strict=True)
        return ClosedForm([a + size * b for a, b in values], self.n_counts, self.period, self.combine, self.depth_step)

    def at(self, n_layers: int) -> Value:
        """Return the figure at a multiple ``n_layers`` of the step, once all other sizes are fixed.

        Below ``MIN_LAYERS`` steps the figure is extrapolated: exact for pipelines, whose first and last stage differ.
        """
        if len(self.coefficients) == 2:  # of one count without phases, as most figures are
            start, slope = self.coefficients
            value = start + (n_layers // self.depth_step - MIN_LAYERS) * slope
            return value if self.combine is max else self.combine((value,))
        return self.combine(self.counts(n_layers))

    def counts(self, n_layers: int) -> list[int]:
        """Return the counts at a multiple ``n_layers`` of the step, as :meth:`at` does."""
        periods, phase = divmod(n_layers // self.depth_step - MIN_LAYERS, self.period)
        half = len(self.coefficients) // 2
        starts = self.coefficients[phase : half : self.period]
        slopes = self.coefficients[half + phase :: self.period]
        return [start + periods * slope for start, slope in zip(starts, slopes, strict=True)]

    def pruned(self) -> ClosedForm:
        """Return the maximum without the counts that another count bounds everywhere, coefficient by coefficient."""
        if self.combine is not max or self.n_counts == 1:
            return self
        step = self.period
        parts = [self.coefficients[start : start + step] for start in range(0, len(self.coefficients), step)]
        by_count = [list(chain.from_iterable(parts[index :: self.n_counts])) for index in range(self.n_counts)]

        def bounds(one: int, other: int) -> bool:
            return all(a >= b for a, b in zip(by_count[one], by_count[other], strict=True))

        kept: list[int] = []
        for index in range(self.n_counts):
            if not any(bounds(other, index) for other in kept):
                kept = [other for other in kept if not bounds(index, other)] + [index]
        chosen = (part for index, part in enumerate(parts) if index % self.n_counts in kept)
        return ClosedForm(list(chain.from_iterable(chosen)), len(kept), self.period, self.combine, self.depth_step)


def fit_closed_form(
    evaluate: Evaluate,
    *,
    period: int = 1,
    depth_step: int = 1,
    size_step: int = 1,
    heads_step: int = 1,
    heads: HeadSharing = "grouped",
    combine: Callable[[Sequence[int]], Value] = max,
) -> ClosedForm:
    """Return the closed form of the counts that ``evaluate`` returns.

    Args:
        evaluate: Returns the counts.
        period: Length of the window pattern that layers repeat.
        depth_step: Step of n_layers.
        size_step: Step of d_model, n_heads, n_kv_heads and d_ff at the interpolation points: the tensor-parallel
            degree, so that shards are whole.
        heads_step: Step of n_heads and n_kv_heads there, in addition.
        heads: The models to fit.
        combine: Computes the figure from the counts.

    Raises:
        ArithmeticError: If a count is not such a polynomial, or decreases as a size grows; such a figure cannot be
            searched.
    """
    evaluate = cache(_without_sharing(evaluate) if heads == "multi_head" else evaluate)

    def by_phase(*sizes: int) -> list[int]:
        *others, periods = sizes
        depths = [depth_step * (MIN_LAYERS + phase + period * periods) for phase in range(period)]
        phases = [evaluate(*others, n_layers) for n_layers in depths]
        return list(chain.from_iterable(zip(*phases, strict=True)))

    step_of_heads = lcm(heads_step, size_step)
    scale = (size_step, step_of_heads, step_of_heads, size_step)
    check = [step * size for step, size in zip(scale, _CHECK[heads], strict=True)]
    pairs = [(step * low, step * high) for step, (low, high) in zip(scale, _PAIRS[heads], strict=True)]
    n_layers = depth_step * (MIN_LAYERS + 3 * period)
    expected = evaluate(*check, n_layers)
    coefficients = _interpolate(by_phase, (*pairs, (0, 1)))
    form = ClosedForm(coefficients, len(expected), period, combine, depth_step)
    fixed = form
    for size in check:
        fixed = fixed.fix(size)
    if fixed.counts(n_layers) != list(expected):
        raise ArithmeticError("a count is not linear in each size")
    if any(coefficient < 0 for coefficient in form.coefficients):
        raise ArithmeticError("a count decreases as a size grows")
    return form


def _without_sharing(evaluate: Evaluate) -> Evaluate:
    """Return the counts of configs in which each query head has a separate key and value head."""
    return lambda d_model, n_heads, _, *others: evaluate(d_model, n_heads, n_heads, *others)


def _interpolate(evaluate: Evaluate, pairs: Sequence[tuple[int, int]], chosen: tuple[int, ...] = ()) -> list[int]:
    """Return the coefficients over the sizes in ``pairs``; the preceding sizes are fixed to ``chosen``."""
    if not pairs:
        return list(evaluate(*chosen))
    (low, high), *rest = pairs
    at_low = _interpolate(evaluate, rest, (*chosen, low))
    if low == high:
        return at_low + [0] * len(at_low)
    at_high = _interpolate(evaluate, rest, (*chosen, high))
    slopes = [(b - a) // (high - low) for a, b in zip(at_low, at_high, strict=True)]
    return [a - low * slope for a, slope in zip(at_low, slopes, strict=True)] + slopes

"""Figures as polynomials of a config's sizes, interpolated from the analysis functions.

No formula is written twice. A count is a sum of terms, one per tensor or attention matmul, and every term is at most
linear in each size. A count is therefore affine in each of d_model, n_heads, n_kv_heads, d_ff and, for full periods of
the window pattern, n_layers, if the others are fixed. No term multiplies two of n_heads, n_kv_heads and d_ff: a matrix
lies between the residual stream and the heads, the KV heads or the hidden units. If a mixer derives its sizes from
d_model, its matrices have d_model² elements, and a count is quadratic in d_model. Evaluations at two values of each
size, or three of d_model, determine the polynomial exactly, in integers. All coefficients are non-negative, so a count
never decreases as a size grows. A memory peak is the maximum of several counts, one per phase of a pass; a time is
computed from several counts. Both are non-decreasing too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from itertools import chain
from math import gcd, lcm
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

_Points = Sequence[tuple[int, ...]]

_POINTS: dict[HeadSharing, _Points] = {
    "grouped": ((2, 4), (4, 8), (1, 2), (1, 2)),
    "multi_head": ((2, 4), (2, 4), (1, 1), (1, 2)),
    "one_head": ((2, 4), (1, 1), (1, 1), (1, 2)),
}
"""Two interpolation points for each of d_model, n_heads, n_kv_heads and d_ff; equal where the size is fixed."""

_SQUARE = (2, 3, 4)
"""Interpolation points for d_model where counts are quadratic."""

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
        first_depth: Value of n_layers at which the intercepts are.
        depth_step: Step of n_layers: a multiple of the pattern of kinds of layers, and of the pipeline chunks.
        d_model_step: If the next size is d_model and the counts are quadratic, its unit: the first half of the slopes
            is for d_model, the second for its square. Otherwise None.
    """

    coefficients: Sequence[int]
    n_counts: int = 1
    period: int = 1
    combine: Callable[[Sequence[int]], Value] = max
    first_depth: int = MIN_LAYERS
    depth_step: int = 1
    d_model_step: int | None = None

    def fix(self, size: int) -> ClosedForm:
        """Return the form with its next size fixed."""
        if self.d_model_step is not None:
            units = size // self.d_model_step
            return self._linear(units).fix(units)
        half = len(self.coefficients) // 2
        values = zip(self.coefficients[:half], self.coefficients[half:], strict=True)
        fixed = [a + size * b for a, b in values]
        return ClosedForm(fixed, self.n_counts, self.period, self.combine, self.first_depth, self.depth_step)

    def _linear(self, units: int) -> ClosedForm:
        """Return the linear form that equals this quadratic one at ``units`` steps of d_model."""
        third = len(self.coefficients) // 3
        values = zip(self.coefficients[third : 2 * third], self.coefficients[2 * third :], strict=True)
        slopes = [a + units * b for a, b in values]
        return self._replace(coefficients=[*self.coefficients[:third], *slopes], d_model_step=None)

    def at(self, n_layers: int) -> Value:
        """Return the figure at a valid ``n_layers``, once all other sizes are fixed.

        Below ``first_depth`` the figure is extrapolated: exact for pipelines, whose first and last stage differ.
        """
        if len(self.coefficients) == 2:  # of one count without phases, as most figures are
            start, slope = self.coefficients
            value = start + (n_layers - self.first_depth) // self.depth_step * slope
            return value if self.combine is max else self.combine((value,))
        return self.combine(self.counts(n_layers))

    def counts(self, n_layers: int) -> list[int]:
        """Return the counts at a valid ``n_layers``, as :meth:`at` does."""
        periods, phase = divmod((n_layers - self.first_depth) // self.depth_step, self.period)
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
        return self._replace(coefficients=list(chain.from_iterable(chosen)), n_counts=len(kept))


def fit_closed_form(
    evaluate: Evaluate,
    *,
    period: int = 1,
    first_depth: int = MIN_LAYERS,
    depth_step: int = 1,
    d_model_step: int | None = None,
    size_step: int = 1,
    heads_step: int = 1,
    heads: HeadSharing = "grouped",
    combine: Callable[[Sequence[int]], Value] = max,
) -> ClosedForm:
    """Return the closed form of the counts that ``evaluate`` returns.

    Args:
        evaluate: Returns the counts.
        period: Length of the window pattern that layers repeat.
        first_depth: Smallest n_layers at the interpolation points.
        depth_step: Step of n_layers.
        d_model_step: Step of d_model if the counts are quadratic in it, otherwise None.
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
    unit = d_model_step or 1  # of d_model

    def by_phase(units: int, *sizes: int) -> list[int]:
        *others, periods = sizes
        depths = [first_depth + depth_step * (phase + period * periods) for phase in range(period)]
        phases = [evaluate(unit * units, *others, n_layers) for n_layers in depths]
        return list(chain.from_iterable(zip(*phases, strict=True)))

    step_of_heads = lcm(heads_step, size_step)
    scale = (size_step // gcd(size_step, unit), step_of_heads, step_of_heads, size_step)
    sizes = _POINTS[heads] if d_model_step is None else (_SQUARE, *_POINTS[heads][1:])
    points = [tuple(step * size for size in each) for step, each in zip(scale, sizes, strict=True)]
    units, *others = (step * size for step, size in zip(scale, _CHECK[heads], strict=True))
    check = (unit * units, *others)
    n_layers = first_depth + 3 * depth_step * period
    expected = evaluate(*check, n_layers)
    coefficients = _interpolate(by_phase, points)
    form = ClosedForm(coefficients, len(expected), period, combine, first_depth, depth_step, d_model_step)
    fixed = form
    for size in check:
        fixed = fixed.fix(size)
    if fixed.counts(n_layers) != list(expected):
        raise ArithmeticError("a count is not linear in each size, or multiplies two of n_heads, n_kv_heads and d_ff")
    if any(coefficient < 0 for coefficient in form.coefficients):
        raise ArithmeticError("a count decreases as a size grows")
    return form


def _without_sharing(evaluate: Evaluate) -> Evaluate:
    """Return the counts of configs in which each query head has a separate key and value head."""
    return lambda d_model, n_heads, _, *others: evaluate(d_model, n_heads, n_heads, *others)


def _interpolate(evaluate: Evaluate, points: _Points) -> list[int]:
    """Return the coefficients over d_model, n_heads, n_kv_heads, d_ff and the number of periods.

    Args:
        evaluate: Returns the counts for these sizes.
        points: Two interpolation points for each of the first four, or three for d_model.
    """
    (low, high, *highest), *others = points
    at_low, at_high = _at_d_model(evaluate, low, others), _at_d_model(evaluate, high, others)
    slopes = _slopes(at_low, at_high, high - low)
    if not highest:
        return _line(low, at_low, slopes)
    # Newton's divided differences: a + b · (x - low) + c · (x - low) · (x - high), in powers of x
    at_highest = _at_d_model(evaluate, highest[0], others)
    squares = _slopes(slopes, _slopes(at_high, at_highest, highest[0] - high), highest[0] - low)
    linear = [b - (low + high) * c for b, c in zip(slopes, squares, strict=True)]
    constants = [a - low * (b - high * c) for a, b, c in zip(at_low, slopes, squares, strict=True)]
    return constants + linear + squares


def _at_d_model(evaluate: Evaluate, d_model: int, points: _Points) -> list[int]:
    """Return the coefficients over n_heads, n_kv_heads, d_ff and the number of periods, for one d_model.

    Without products of two of the first three, evaluations that change one of them at a time determine the slopes.
    """

    def over_depth(*sizes: int) -> list[int]:
        first, second = (evaluate(d_model, *sizes, periods) for periods in (0, 1))
        return _line(0, first, _slopes(first, second, 1))

    lows = tuple(low for low, _ in points)
    start = over_depth(*lows)
    coefficients = start
    for index in reversed(range(len(points))):
        low, high = points[index]
        slopes = [0] * len(start)
        if low != high:
            slopes = _slopes(start, over_depth(*lows[:index], high, *lows[index + 1 :]), high - low)
        slopes += [0] * (len(coefficients) - len(start))  # products with the sizes that follow
        coefficients = _line(low, coefficients, slopes)
    return coefficients


def _line(at: int, values: Sequence[int], slopes: Sequence[int]) -> list[int]:
    """Return the intercepts, then the slopes, of lines with the given values ``at`` a point."""
    return [value - at * slope for value, slope in zip(values, slopes, strict=True)] + list(slopes)


def _slopes(at_low: Sequence[int], at_high: Sequence[int], difference: int) -> list[int]:
    return [(b - a) // difference for a, b in zip(at_low, at_high, strict=True)]

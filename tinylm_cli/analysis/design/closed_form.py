"""Figures as polynomials of a config's sizes, fitted to the figures themselves, without a second formula.

A count is a sum over tensors and over attention products, and each size enters every term at most once. So a count is
affine in d_model, n_heads, n_kv_heads, d_ff and, for full periods of the window pattern, n_layers, each with the
others fixed. Two values of each size determine such a polynomial exactly, in integers. Its coefficients are counts, so
none is negative, and it never decreases as a size grows. A memory peak is the largest of several such sums, one per
moment; a time is computed from several. A figure computed from polynomials by a function that never decreases never
decreases either.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Literal, NamedTuple

Value = float
"""A count, an exact integer; or a time in seconds."""

Evaluate = Callable[..., tuple[int, ...]]
"""Returns the sums of the config with the given d_model, n_heads, n_kv_heads, d_ff and n_layers, in this order."""

MIN_LAYERS = 2
"""The smallest n_layers that polynomials hold for: with one layer, the first and the last are the same."""

HeadSharing = Literal["grouped", "multi_head", "one_head"]
"""Whether query heads share key and value heads, each have their own, or there is one head. Figures may step between
these, so each case has separate polynomials."""

_PAIRS: dict[HeadSharing, Sequence[tuple[int, int]]] = {
    "grouped": ((2, 4), (4, 8), (1, 2), (1, 2)),
    "multi_head": ((2, 4), (2, 4), (1, 1), (1, 2)),
    "one_head": ((2, 4), (1, 1), (1, 1), (1, 2)),
}
"""Two values of d_model, n_heads, n_kv_heads and d_ff, valid in every combination; equal where the size is fixed."""

_CHECK: dict[HeadSharing, tuple[int, ...]] = {
    "grouped": (3 * 64, 12, 6, 5 * 64),
    "multi_head": (3 * 64, 12, 1, 5 * 64),
    "one_head": (3 * 64, 1, 1, 5 * 64),
}
"""Other values of the same sizes, at which the polynomial is compared with the figure."""


def head_sharing(n_heads: int, n_kv_heads: int) -> HeadSharing:
    """Return which polynomials hold for these heads."""
    if n_heads == 1:
        return "one_head"
    return "multi_head" if n_kv_heads == n_heads else "grouped"


class Polynomial(NamedTuple):
    """A sum, affine in each size; some sizes may be fixed already, in the order of ``Evaluate``.

    Attributes:
        phases: Coefficients, one list for each position of the last layer in the window pattern. The second half of a
            list holds the slopes of the first half over the next size.
    """

    phases: tuple[Sequence[int], ...]

    def fix(self, size: int) -> Polynomial:
        """Return the polynomial with its next size fixed."""
        half = len(self.phases[0]) // 2
        return Polynomial(
            tuple([[a + size * b for a, b in zip(phase[:half], phase[half:], strict=True)] for phase in self.phases])
        )

    def at(self, n_layers: int) -> int:
        """Return the sum at ``n_layers >= MIN_LAYERS``, once all other sizes are fixed."""
        periods, phase = divmod(n_layers - MIN_LAYERS, len(self.phases))
        start, slope = self.phases[phase]
        return start + periods * slope

    def is_below(self, other: Polynomial) -> bool:
        """Return whether no coefficient exceeds the other's; the sum then never does either."""
        pairs = zip(self.phases, other.phases, strict=True)
        return all(a <= b for mine, others in pairs for a, b in zip(mine, others, strict=True))


class ClosedForm(NamedTuple):
    """A figure in closed form.

    Attributes:
        sums: The polynomials that it is computed from.
        combine: Computes it from their values; never decreases as one of them grows.
    """

    sums: tuple[Polynomial, ...]
    combine: Callable[[Sequence[int]], Value] = max

    def fix(self, size: int) -> ClosedForm:
        """Return the form with its next size fixed."""
        return ClosedForm(tuple([each.fix(size) for each in self.sums]), self.combine)

    def at(self, n_layers: int) -> Value:
        """Return the figure at ``n_layers >= MIN_LAYERS``, once all other sizes are fixed."""
        return self.combine([each.at(n_layers) for each in self.sums])

    def pruned(self) -> ClosedForm:
        """Return the maximum without the sums that another sum always bounds."""
        if self.combine is not max:
            return self
        kept: list[Polynomial] = []
        for each in self.sums:
            if not any(map(each.is_below, kept)):
                kept = [other for other in kept if not other.is_below(each)] + [each]
        return ClosedForm(tuple(kept), self.combine)


def fit_polynomials(evaluate: Evaluate, *, period: int = 1, heads: HeadSharing = "grouped") -> tuple[Polynomial, ...]:
    """Return the polynomials that equal the sums of ``evaluate``.

    Args:
        evaluate: Returns the sums.
        period: Length of the window pattern that layers repeat.
        heads: The models to fit.

    Raises:
        ArithmeticError: If a sum is not such a polynomial, or decreases as a size grows: it cannot be searched by.
    """
    evaluate = cache(_without_sharing(evaluate) if heads == "multi_head" else evaluate)
    pairs, check = _PAIRS[heads], _CHECK[heads]
    n_layers = MIN_LAYERS + 3 * period
    fitted = []
    for index, expected in enumerate(evaluate(*check, n_layers)):
        polynomial = Polynomial(tuple(_phase(evaluate, pairs, index, phase, period) for phase in range(period)))
        fixed = polynomial
        for size in check:
            fixed = fixed.fix(size)
        if fixed.at(n_layers) != expected:
            raise ArithmeticError("a size enters more than once")
        if any(coefficient < 0 for phase in polynomial.phases for coefficient in phase):
            raise ArithmeticError("a figure falls as a size grows")
        fitted.append(polynomial)
    return tuple(fitted)


def _without_sharing(evaluate: Evaluate) -> Evaluate:
    """Return the sums of configs in which each query head has a separate key and value head."""
    return lambda d_model, n_heads, _, *others: evaluate(d_model, n_heads, n_heads, *others)


def _phase(evaluate: Evaluate, pairs: Sequence[tuple[int, int]], index: int, phase: int, period: int) -> list[int]:
    """Return the coefficients of one sum for the depths that end at one position of the pattern."""

    def at_periods(*sizes: int) -> int:
        *others, periods = sizes
        return evaluate(*others, MIN_LAYERS + phase + period * periods)[index]

    return _coefficients(at_periods, (*pairs, (0, 1)))


def _coefficients(
    evaluate: Callable[..., int], pairs: Sequence[tuple[int, int]], chosen: tuple[int, ...] = ()
) -> list[int]:
    """Return the coefficients over the sizes that ``pairs`` holds two values of, the sizes before being ``chosen``."""
    if not pairs:
        return [evaluate(*chosen)]
    (low, high), *rest = pairs
    at_low = _coefficients(evaluate, rest, (*chosen, low))
    if low == high:
        return at_low + [0] * len(at_low)
    at_high = _coefficients(evaluate, rest, (*chosen, high))
    slopes = [(b - a) // (high - low) for a, b in zip(at_low, at_high, strict=True)]
    return [a - low * slope for a, slope in zip(at_low, slopes, strict=True)] + slopes

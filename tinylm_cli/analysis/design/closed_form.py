"""Figures as polynomials of a config's sizes, made from the figures themselves: there is no second formula.

Every count here is a sum over tensors and over products of attention, whose every size enters once: it is affine in
d_model, n_heads, n_kv_heads, d_ff and, over rounds of the pattern of windows, n_layers, each for the others fixed.
Two values of each size settle such a polynomial exactly, in integers. All its coefficients are counts, so none is
negative, and a figure never falls as a size grows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

Evaluate = Callable[..., int]
"""A figure of the config with a d_model, n_heads, n_kv_heads, d_ff and n_layers, given in this order."""

_PAIRS = ((2, 4), (2, 4), (1, 2), (1, 2))
"""Two values of all but n_layers that are valid together: even widths, heads that divide."""

_ELSEWHERE = (3 * 64, 12, 6, 5 * 64)
"""Values that are none of these, where the polynomial is compared with the figure."""


class ClosedForm(NamedTuple):
    """A figure, some of whose sizes may be fixed already, in the order of ``Evaluate``.

    Attributes:
        phases: Coefficients, one list for each place that the last layer may have in the pattern of windows. The second
            half of a list is the first half's slope over the next size.
        tokens: What the sum is divided by and then rounded, for a mean over tokens; else None.
    """

    phases: tuple[Sequence[int], ...]
    tokens: int | None = None

    def fix(self, size: int) -> ClosedForm:
        """Return the form with its next size given."""
        half = len(self.phases[0]) // 2
        return ClosedForm(
            tuple([a + size * b for a, b in zip(form[:half], form[half:], strict=True)] for form in self.phases),
            self.tokens,
        )

    def at(self, n_layers: int) -> int:
        """Return the figure, once all other sizes are fixed."""
        rounds, phase = divmod(n_layers - 1, len(self.phases))
        start, slope = self.phases[phase]
        whole = start + rounds * slope
        return whole if self.tokens is None else round(whole / self.tokens)


def closed_form(evaluate: Evaluate, *, period: int = 1, tokens: int | None = None) -> ClosedForm:
    """Return the polynomial that ``evaluate`` is.

    Args:
        evaluate: Gives the sum, before any division by ``tokens``.
        period: Length of the pattern that layers follow.
        tokens: As in :class:`ClosedForm`.
    """
    phases = []
    for phase in range(period):
        evaluate_rounds = partial(_at_rounds, evaluate, 1 + phase, period)
        phases.append(_coefficients(evaluate_rounds, (*_PAIRS, (0, 1))))
    found = ClosedForm(tuple(phases))
    elsewhere = found
    for size in _ELSEWHERE:
        elsewhere = elsewhere.fix(size)
    depth = 1 + 3 * period
    assert elsewhere.at(depth) == evaluate(*_ELSEWHERE, depth), "a size enters more than once"
    assert all(coefficient >= 0 for phase in phases for coefficient in phase), "a figure falls as a size grows"
    return found._replace(tokens=tokens)


def _at_rounds(evaluate: Evaluate, start: int, period: int, *sizes: int) -> int:
    """Return the figure ``sizes[-1]`` rounds of the pattern deeper than ``start``."""
    *others, rounds = sizes
    return evaluate(*others, start + period * rounds)


def _coefficients(evaluate: Evaluate, pairs: Sequence[tuple[int, int]], chosen: tuple[int, ...] = ()) -> list[int]:
    """Return the coefficients over the sizes that ``pairs`` are two values of, those before being ``chosen``."""
    if not pairs:
        return [evaluate(*chosen)]
    (low, high), *rest = pairs
    at_low, at_high = (_coefficients(evaluate, rest, (*chosen, size)) for size in (low, high))
    slopes = [(b - a) // (high - low) for a, b in zip(at_low, at_high, strict=True)]
    return [a - low * slope for a, slope in zip(at_low, slopes, strict=True)] + slopes

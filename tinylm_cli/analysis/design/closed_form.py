"""Figures as polynomials of a config's sizes, made from the figures themselves: there is no second formula.

Every count here is a sum over tensors and over products of attention, whose every size enters once: it is affine in
d_model, n_heads, n_kv_heads, d_ff and, over rounds of the pattern of windows, n_layers, each for the others fixed.
Two values of each size settle such a polynomial exactly, in integers. All its coefficients are counts, so none is
negative, and it never falls as a size grows. What is held at most is the largest of several such sums, one for each
moment, and a time follows from several: a figure made of polynomials by what never falls never falls either.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Literal, NamedTuple

Value = float
"""A count, a whole number and exact; or a time, in seconds."""

Evaluate = Callable[..., tuple[int, ...]]
"""The sums of the config with a d_model, n_heads, n_kv_heads, d_ff and n_layers, given in this order."""

FIRST_DEPTH = 2
"""From which n_layers on forms hold: the first layer of one is also its last, and is not counted twice."""

Heads = Literal["shared", "own", "one"]
"""Whether queries share heads of keys and values, or have one each, so that n_kv_heads says nothing new; or there is a
single head. From one to the next figures may step."""

_PAIRS: dict[Heads, Sequence[tuple[int, int]]] = {
    "shared": ((2, 4), (4, 8), (1, 2), (1, 2)),
    "own": ((2, 4), (2, 4), (1, 1), (1, 2)),
    "one": ((2, 4), (1, 1), (1, 1), (1, 2)),
}
"""Two values of all but n_layers that are valid together: even widths, heads that others share; one where none vary."""

_ELSEWHERE: dict[Heads, tuple[int, ...]] = {
    "shared": (3 * 64, 12, 6, 5 * 64),
    "own": (3 * 64, 12, 1, 5 * 64),
    "one": (3 * 64, 1, 1, 5 * 64),
}
"""Values that are none of these, where the polynomial is compared with the figure."""


def heads_of(n_heads: int, n_kv_heads: int) -> Heads:
    """Return which forms hold for so many heads."""
    if n_heads == 1:
        return "one"
    return "own" if n_kv_heads == n_heads else "shared"


class ClosedForm(NamedTuple):
    """A sum, some of whose sizes may be fixed already, in the order of ``Evaluate``.

    Attributes:
        phases: Coefficients, one list for each place that the last layer may have in the pattern of windows. The second
            half of a list is the first half's slope over the next size.
    """

    phases: tuple[Sequence[int], ...]

    def fix(self, size: int) -> ClosedForm:
        """Return the form with its next size given."""
        half = len(self.phases[0]) // 2
        return ClosedForm(
            tuple([[a + size * b for a, b in zip(form[:half], form[half:], strict=True)] for form in self.phases])
        )

    def at(self, n_layers: int) -> int:
        """Return the sum at a depth of ``FIRST_DEPTH`` or more, once all other sizes are fixed."""
        rounds, phase = divmod(n_layers - FIRST_DEPTH, len(self.phases))
        start, slope = self.phases[phase]
        return start + rounds * slope

    def is_within(self, other: ClosedForm) -> bool:
        """Return whether no coefficient is above the other's, so that nowhere the sum is."""
        pairs = zip(self.phases, other.phases, strict=True)
        return all(a <= b for mine, others in pairs for a, b in zip(mine, others, strict=True))


class Form(NamedTuple):
    """A figure in closed form.

    Attributes:
        parts: The sums it is made of.
        made: What makes the figure of them; never falls as one of them grows.
    """

    parts: tuple[ClosedForm, ...]
    made: Callable[[Sequence[int]], Value] = max

    def fix(self, size: int) -> Form:
        """Return the form with its next size given."""
        return Form(tuple([part.fix(size) for part in self.parts]), self.made)

    def at(self, n_layers: int) -> Value:
        """Return the figure at a depth of ``FIRST_DEPTH`` or more, once all other sizes are fixed."""
        return self.made([part.at(n_layers) for part in self.parts])

    def lean(self) -> Form:
        """Return the form without those parts that are nowhere the largest, where the figure is the largest."""
        if self.made is not max:
            return self
        kept: list[ClosedForm] = []
        for part in self.parts:
            if not any(map(part.is_within, kept)):
                kept = [other for other in kept if not other.is_within(part)] + [part]
        return Form(tuple(kept), self.made)


def closed_forms(evaluate: Evaluate, *, period: int = 1, heads: Heads = "shared") -> tuple[ClosedForm, ...]:
    """Return the polynomials that the sums of ``evaluate`` are.

    Args:
        evaluate: Gives the sums.
        period: Length of the pattern that layers follow.
        heads: Which models they are settled for.

    Raises:
        ArithmeticError: If a sum is no such polynomial, or falls as a size grows: it cannot be searched by.
    """
    evaluate = cache(_each_its_own(evaluate) if heads == "own" else evaluate)
    pairs, elsewhere = _PAIRS[heads], _ELSEWHERE[heads]
    depth = FIRST_DEPTH + 3 * period
    found = []
    for part, expected in enumerate(evaluate(*elsewhere, depth)):
        form = ClosedForm(tuple(_phase(evaluate, pairs, part, phase, period) for phase in range(period)))
        there = form
        for size in elsewhere:
            there = there.fix(size)
        if there.at(depth) != expected:
            raise ArithmeticError("a size enters more than once")
        if any(coefficient < 0 for phase in form.phases for coefficient in phase):
            raise ArithmeticError("a figure falls as a size grows")
        found.append(form)
    return tuple(found)


def _each_its_own(evaluate: Evaluate) -> Evaluate:
    """Return the sums of configs whose every head of queries has one of keys and values."""
    return lambda d_model, n_heads, _, *others: evaluate(d_model, n_heads, n_heads, *others)


def _phase(evaluate: Evaluate, pairs: Sequence[tuple[int, int]], part: int, phase: int, period: int) -> list[int]:
    """Return the coefficients of one sum over depths that end at one place of the pattern."""

    def at_rounds(*sizes: int) -> int:
        *others, rounds = sizes
        return evaluate(*others, FIRST_DEPTH + phase + period * rounds)[part]

    return _coefficients(at_rounds, (*pairs, (0, 1)))


def _coefficients(
    evaluate: Callable[..., int], pairs: Sequence[tuple[int, int]], chosen: tuple[int, ...] = ()
) -> list[int]:
    """Return the coefficients over the sizes that ``pairs`` are two values of, those before being ``chosen``."""
    if not pairs:
        return [evaluate(*chosen)]
    (low, high), *rest = pairs
    at_low = _coefficients(evaluate, rest, (*chosen, low))
    if low == high:
        return at_low + [0] * len(at_low)
    at_high = _coefficients(evaluate, rest, (*chosen, high))
    slopes = [(b - a) // (high - low) for a, b in zip(at_low, at_high, strict=True)]
    return [a - low * slope for a, slope in zip(at_low, slopes, strict=True)] + slopes

"""Rules that tie several fields together.

Each rule is a plain function over the values of the fields it names, so that the same rule speaks when a config is
built in Python and when a file is diagnosed with some of its other fields broken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from math import isqrt, lcm
from typing import Any, NamedTuple

MAX_D_MODEL = 1_048_576
MAX_N_HEADS = 65_536


class Problem(NamedTuple):
    """A broken rule: the stable code, the fields involved (the first is where to point), what is wrong, the remedy."""

    code: str
    fields: tuple[str, ...]
    message: str
    help: str


class Rule(NamedTuple):
    """A condition over the dotted ``fields``, which ``check`` receives in that order, then those ``beside``.

    The rule is silent until each of its fields is sound; one beside them is None where it is not, and helps the remedy.
    """

    fields: tuple[str, ...]
    check: Callable[..., Problem | None]
    beside: tuple[str, ...] = ()


def _heads_divide_model(n_heads: int, d_model: int) -> Problem | None:
    remainder = d_model % n_heads
    if remainder == 0:
        return None
    if n_heads > d_model:
        message = f"n_heads {n_heads} is larger than d_model {d_model}: each head needs at least one dimension"
    else:
        message = f"d_model {d_model} is not divisible by n_heads {n_heads}: {remainder} dimensions are left over"
    divisors = {d for n in range(1, isqrt(d_model) + 1) if d_model % n == 0 for d in (n, d_model // n)}
    below = max(n for n in divisors if n < n_heads)
    above = min((n for n in divisors if n_heads < n <= min(4 * n_heads, MAX_N_HEADS)), default=None)
    heads = f"n_heads: {below}" + (f" or {above}" if above else "")
    widths = _widths_near(d_model, n_heads)
    return Problem("heads-do-not-divide", ("n_heads", "d_model"), message, f"write {heads}, or d_model: {widths}")


def _sinusoidal_needs_pairs(d_model: int, kind: str, n_heads: int | None) -> Problem | None:
    if kind != "sinusoidal" or d_model % 2 == 0:
        return None
    return Problem(
        "odd-sinusoidal-width",
        ("d_model", "position.kind"),
        f"d_model {d_model} is odd, and position.kind sinusoidal pairs each sine with a cosine",
        f"write d_model: {_widths_near(d_model, n_heads or 1)}, or position.kind: learned",
    )


def _widths_near(d_model: int, n_heads: int) -> str:
    """Return the widths around ``d_model`` that suit these heads and, being even, every kind of position."""
    step = lcm(2, n_heads)
    multiples = (max(d_model // step * step, step), (d_model // step + 1) * step)
    return " or ".join(str(width) for width in sorted({*multiples}) if width <= MAX_D_MODEL)


RULES = (
    Rule(("n_heads", "d_model"), _heads_divide_model),
    Rule(("d_model", "position.kind"), _sinusoidal_needs_pairs, beside=("n_heads",)),
)


def broken_rules(values: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield a problem for each broken rule whose fields are all among ``values`` (dotted name to valid value)."""
    for rule in RULES:
        if all(field in values for field in rule.fields):
            problem = rule.check(*(values.get(field) for field in (*rule.fields, *rule.beside)))
            if problem is not None:
                yield problem

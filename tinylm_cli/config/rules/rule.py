"""What a rule is, what it says when it is broken, and the words several of them share."""

from __future__ import annotations

from collections.abc import Callable
from math import isqrt
from typing import NamedTuple

from tinylm_cli.config.base import MAX_N_HEADS


class Problem(NamedTuple):
    """A broken rule: the stable code, the fields involved (the first is where to point), what is wrong, the remedy."""

    code: str
    fields: tuple[str, ...]
    message: str
    help: str


class Rule(NamedTuple):
    """A condition over the dotted ``fields``, which ``check`` receives in that order."""

    fields: tuple[str, ...]
    check: Callable[..., Problem | None]


def divisors_near(whole: int, wanted: int) -> str:
    """Return the divisors of ``whole`` just below and just above ``wanted``, as words."""
    divisors = {d for n in range(1, isqrt(whole) + 1) if whole % n == 0 for d in (n, whole // n)}
    below = max(n for n in divisors if n < wanted)
    above = min((n for n in divisors if wanted < n <= min(4 * wanted, MAX_N_HEADS)), default=None)
    return str(below) + (f" or {above}" if above else "")

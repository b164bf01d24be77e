"""Numbers into words: the one place where an exact integer is rounded."""

from __future__ import annotations

import math
from collections.abc import Sequence

_DECIMAL = ("", "K", "M", "B", "T", "Q")


def integer(value: int) -> str:
    """Return ``4,995,072``."""
    return f"{value:,}"


def counted(value: int, noun: str) -> str:
    """Return ``1 token``, ``1,024 tokens``."""
    return f"{value:,} {noun}" if value == 1 else f"{value:,} {noun}s"


def compact(value: int) -> str:
    """Return three significant digits with K, M, B or T: ``4,995,072`` as ``5M``, ``826,112`` as ``826K``."""
    scaled = float(value)
    for unit in _DECIMAL:
        if abs(scaled) < 999.5 or unit == _DECIMAL[-1]:
            return f"{scaled:.3g}{unit}" if unit != _DECIMAL[-1] else f"{scaled:,.0f}{unit}"
        scaled /= 1000
    raise AssertionError


def flops(value: float) -> str:
    """Return operations to three digits: ``17.2 GFLOP``."""
    scaled = float(value)
    for unit in ("", "K", "M", "G", "T", "P", "E", "Z"):
        if scaled < 999.5:
            return f"{scaled:.{0 if scaled >= 99.95 else 1 if scaled >= 9.995 else 2}f} {unit}FLOP"
        scaled /= 1000
    return f"{scaled:,.0f} YFLOP"


def stated_count(value: int) -> str:
    """Return a count as a person states it: ``5M`` where that is all of it, else every digit."""
    return compact(value) if value % 10 ** max(len(str(value)) - 3, 0) == 0 else integer(value)


def small_percent(fraction: float) -> str:
    """Return a share above 0 to one decimal, or to as many as it takes to show something: ``0.1%``, ``0.0004%``."""
    percent = fraction * 100
    decimals = 1 if percent >= 0.05 else -math.floor(math.log10(percent))
    return f"{percent:.{decimals}f}%"


def signed_percent(fraction: float) -> str:
    """Return ``+65.2%``; what would round to nothing keeps a sign of life as ``+0.0%``."""
    return f"{fraction * 100:+,.1f}%".replace("-", "−")


def percentages(shares: Sequence[float], decimals: int = 1) -> list[str]:
    """Return each share in percent such that the printed figures add up to the printed whole.

    Each is rounded to nearest, so that equal shares look alike; what rounding leaves over goes to the largest shares,
    one last digit each, where it is smallest beside the figure.
    """
    unit = 10 ** (2 + decimals)
    ticks = [round(share * unit) for share in shares]
    left_over = round(sum(shares) * unit) - sum(ticks)
    step = 1 if left_over > 0 else -1
    for index in sorted(range(len(shares)), key=lambda i: -shares[i])[: abs(left_over)]:
        ticks[index] += step
    return [f"{tick / 10**decimals:.{decimals}f}%" for tick in ticks]


def shape(dimensions: Sequence[int]) -> str:
    """Return ``256 × 128``."""
    return " × ".join(map(str, dimensions))

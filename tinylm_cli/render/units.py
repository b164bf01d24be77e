"""Format numbers: the one place that rounds. A :class:`Quantity` keeps the exact number with its formatted text."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from tinylm_cli.config.amounts import stated
from tinylm_cli.quantities import Quantity, binary_bytes
from tinylm_cli.reports.figures import Unit

_DECIMAL = ("", "K", "M", "B", "T", "Q")
_PREFIXES = ("", "k", "M", "G", "T", "P", "E", "Z", "Y")
_OPERATIONS = ("", "K", *_PREFIXES[2:])
_BRIEF = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))
_LONG = ((365.25 * 86_400, "years"), (86_400, "days"), (3_600, "hours"), (60, "minutes"))


def integer(value: int) -> Quantity:
    """Return ``4,995,072``."""
    return Quantity(f"{value:,}", value)


def signed_integer(value: int) -> Quantity:
    """Return ``+1,579,520``, ``−12`` or ``0``."""
    return signed(f"{abs(value):,}", value)


def signed(magnitude: str, value: float) -> Quantity:
    """Return a formatted magnitude with the sign of ``value``: ``+6.03 MiB``, ``−12 B`` or ``0 B``."""
    return Quantity(f"{'+' if value > 0 else '−' if value < 0 else ''}{magnitude}", value)


def ratio(value: float) -> Quantity:
    """Return three significant digits: ``×1.32``, ``×1.00`` near 1, ``×1`` for 1; K, M or B from 100,000."""
    if value in (0, 1):
        return Quantity(f"×{value:.0f}", value)
    if value >= 99_950:
        return Quantity(f"×{compact(round(value))}", value)
    rounded = float(f"{value:.3g}")
    return Quantity(f"×{rounded:,.{max(2 - math.floor(math.log10(rounded)), 0)}f}", value)


def fixed(value: float, decimals: int) -> Quantity:
    """Return a number with fixed decimals, never ``−0``: ``0.025``."""
    return Quantity(f"{value:z.{decimals}f}".replace("-", "−"), value)


def compact(value: int) -> Quantity:
    """Return three significant digits with K, M, B or T: ``4,995,072`` as ``5M``, ``826,112`` as ``826K``."""
    scaled, unit = _scaled(value, _DECIMAL)
    return Quantity(f"{scaled:.3g}{unit}" if unit != _DECIMAL[-1] else f"{scaled:,.0f}{unit}", value)


def flops(value: float) -> Quantity:
    """Return FLOPs with three digits: ``17.2 GFLOP``."""
    scaled, prefix = _scaled(value, _OPERATIONS)
    return Quantity(f"{scaled:,.{0 if scaled >= 99.95 else 1 if scaled >= 9.995 else 2}f} {prefix}FLOP", value)


def amount(value: int, unit: Unit) -> Quantity:
    """Return the value of a figure in its unit: ``4,995,072``, ``19.1 MiB`` or ``17.2 GFLOP``."""
    return {"params": integer, "bytes": binary_bytes, "flops": flops}[unit](value)


def stated_count(value: int) -> Quantity:
    """Return ``5M`` if that is the exact count, else every digit."""
    return Quantity(stated(value, "count"), value)


def small_percent(fraction: float, *, round_up: bool = False) -> Quantity:
    """Return a positive share with one decimal, or with enough to show a nonzero digit: ``0.1%``, ``0.0004%``.

    Args:
        fraction: The share.
        round_up: Whether to round up, for a bound, instead of to the nearest.
    """
    percent = fraction * 100
    decimals = 1 if percent >= 0.05 else -math.floor(math.log10(percent))
    if round_up:
        ticks = round(percent * 10**decimals, 6)  # removes the error of floats: 0.3% is not 0.30000000000000004%
        percent = math.ceil(ticks) / 10**decimals
    return Quantity(f"{percent:.{decimals}f}%", fraction)


def percent(fraction: float, decimals: int = 1) -> Quantity:
    """Return ``5.1%``."""
    return Quantity(f"{fraction * 100:.{decimals}f}%", fraction)


def signed_percent(fraction: float) -> Quantity:
    """Return ``+65.2%``; a small difference is ``+0.0%`` or ``−0.0%``."""
    return Quantity(f"{fraction * 100:+,.1f}%".replace("-", "−"), fraction)


def percentages(shares: Sequence[float], decimals: int = 1) -> list[Quantity]:
    """Return each share in percent, rounded so that the printed figures add up to the printed total if possible.

    Each is rounded to nearest; the remainder goes to the largest shares, one unit of the last digit each, where it is
    smallest relative to the figure. Equal shares print alike, so a remainder smaller than their number is left.
    """
    unit = 10 ** (2 + decimals)
    equal = Counter(shares)
    ticks = {share: round(share * unit) for share in equal}
    left_over = round(sum(shares) * unit) - sum(n * ticks[share] for share, n in equal.items())
    step = 1 if left_over > 0 else -1
    for share in sorted(equal, reverse=True):
        if equal[share] <= abs(left_over) and ticks[share] + step >= 0:
            ticks[share] += step
            left_over -= step * equal[share]
    return [Quantity(f"{ticks[share] / 10**decimals:.{decimals}f}%", share) for share in shares]


def csv_only(value: float) -> Quantity:
    """Return a number that only CSV shows."""
    return Quantity("", value)


def shape(dimensions: Sequence[int]) -> str:
    """Return ``256 × 128``."""
    return " × ".join(map(str, dimensions))


def prefixed(value: float, unit: str) -> Quantity:
    """Return three significant digits with a decimal prefix: ``80 GB``, ``3.35 TB/s``, ``989 TFLOP/s``."""
    scaled, prefix = _scaled(value, _PREFIXES)
    return Quantity(f"{_three_digits(scaled)} {prefix}{unit}", value)


def _scaled(value: float, prefixes: Sequence[str]) -> tuple[float, str]:
    """Return ``value`` scaled to the first prefix under which it is less than 999.5, else to the last."""
    scaled = float(value)
    for prefix in prefixes[:-1]:
        if abs(scaled) < 999.5:
            return scaled, prefix
        scaled /= 1000
    return scaled, prefixes[-1]


def duration(seconds: float) -> Quantity:
    """Return a time in its largest unit: ``41 ms``, ``2.5 minutes``, ``3.2 days``."""
    if seconds < 0.9995 * 60:
        size, unit = next(((size, unit) for size, unit in _BRIEF if seconds >= 0.9995 * size), _BRIEF[-1])
        return Quantity(f"{_three_digits(seconds / size)} {unit}" if seconds else "0 s", seconds)
    size, unit = next((size, unit) for size, unit in _LONG if seconds >= 0.9995 * size)
    scaled = f"{seconds / size:,.{0 if seconds / size >= 99.95 else 1}f}"
    return Quantity(f"{scaled.removesuffix('.0')} {unit.removesuffix('s') if scaled == '1.0' else unit}", seconds)


def three_digits(value: float) -> Quantity:
    """Return three significant digits, every digit above 100, and K, M or B from 100,000: ``61,604``, ``2.04M``."""
    if value >= 99_950:
        return Quantity(compact(round(value)), value)
    return Quantity(f"{value:,.0f}" if value >= 99.95 else _three_digits(value), value)


def dollars(value: float) -> Quantity:
    """Return ``$0.042``, ``$12.30``, ``$1,234``, ``$1.23M``."""
    if value >= 999_500:
        return Quantity(f"${compact(round(value))}", value)
    if value >= 99.995:
        return Quantity(f"${value:,.0f}", value)
    return Quantity(f"${value:.2f}" if value >= 0.995 or not value else f"${_three_digits(value)}", value)


def _three_digits(value: float) -> str:
    """Return three significant digits, or every digit before the point, without exponent or trailing zeros."""
    if not value:
        return "0"
    decimals = max(2 - math.floor(math.log10(abs(value))), 0)
    text = f"{value:,.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text

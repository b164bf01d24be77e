"""Formatted numbers: exact if shown as exact, and sums that add up as displayed."""

from __future__ import annotations

import re
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinylm_cli.quantities import binary_bytes
from tinylm_cli.render.units import (
    compact,
    dollars,
    duration,
    fixed,
    flops,
    integer,
    percent,
    percentages,
    prefixed,
    ratio,
    shape,
    signed,
    signed_integer,
    signed_percent,
    small_percent,
    stated_count,
    three_digits,
)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (7, "7"),
        (999, "999"),
        (1000, "1K"),
        (826_112, "826K"),
        (999_499, "999K"),
        (999_500, "1M"),
        (4_995_072, "5M"),
        (92_736_000, "92.7M"),
        (124_439_808, "124M"),
        (6_738_415_616, "6.74B"),
        (10**12, "1T"),
        (10**15, "1Q"),
        (10**19, "10,000Q"),
        (-1500, "-1.5K"),
    ],
)
def test_compact(value: int, text: str) -> None:
    assert compact(value) == text


@given(st.integers(1, 10**15))
def test_compact_is_near(value: int) -> None:
    text = compact(value)
    match = re.fullmatch(r"([0-9.]{1,4})([KMBTQ]?)", text)
    assert match, text
    scale = {"": 1, "K": 10**3, "M": 10**6, "B": 10**9, "T": 10**12, "Q": 10**15}[match[2]]
    assert abs(float(match[1]) * scale - value) <= 0.005 * value


def test_integer() -> None:
    assert integer(10**15) == "1,000,000,000,000,000"
    assert integer(4_995_072) == "4,995,072"


@pytest.mark.parametrize(
    ("fraction", "text"), [(0.652, "+65.2%"), (-0.258, "−25.8%"), (0.0, "+0.0%"), (12.5, "+1,250.0%")]
)
def test_signed_percent(fraction: float, text: str) -> None:
    assert signed_percent(fraction) == text


@pytest.mark.parametrize(
    ("fraction", "text"),
    [
        (0.05, "5.0%"),
        (0.000986, "0.1%"),
        (0.0005, "0.1%"),
        (0.00049, "0.05%"),
        (4e-6, "0.0004%"),
        (1e-12, "0.0000000001%"),
    ],
)
def test_small_percent(fraction: float, text: str) -> None:
    assert small_percent(fraction) == text


@pytest.mark.parametrize(
    ("fraction", "text"),
    [
        (0.00234, "0.3%"),
        (0.003, "0.3%"),
        (0.07, "7.0%"),
        (0.000986, "0.1%"),
        (0.00041, "0.05%"),
        (0.0004, "0.04%"),
        (3.2e-6, "0.0004%"),
    ],
)
def test_small_percent_rounded_up(fraction: float, text: str) -> None:
    assert small_percent(fraction, round_up=True) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *((5_000_000, "5M"), (500_000, "500K"), (124_439_808, "124,439,808"), (1_234, "1,234"), (999, "999"), (7, "7")),
        *((22_250_000, "22.25M"), (10**15, "1000T")),  # as a config may say it
    ],
)
def test_stated_count(value: int, text: str) -> None:
    assert stated_count(value) == text


def test_shape() -> None:
    assert shape((256, 128)) == "256 × 128"
    assert shape((8,)) == "8"
    assert shape(()) == ""


@st.composite
def _shares(draw: st.DrawFn) -> list[float]:
    """Draw parts of a whole, many of them equal as layers are."""
    counts = draw(st.lists(st.tuples(st.integers(0, 10**9), st.integers(1, 12)), min_size=1, max_size=8))
    parts = [size for size, times in counts for _ in range(times)]
    total = sum(parts)
    return [size / total if total else 0.0 for size in parts]


@given(_shares(), st.sampled_from([0, 1, 2]))
def test_percentages_add_up(shares: list[float], decimals: int) -> None:
    printed = percentages(shares, decimals)
    unit = 10**decimals
    ticks = [round(float(text.removesuffix("%")) * unit) for text in printed]
    most_equal = max(Counter(shares).values())
    assert abs(sum(ticks) - round(sum(shares) * 100 * unit)) < most_equal
    assert all(tick >= 0 for tick in ticks)
    assert all(abs(tick - share * 100 * unit) <= 1.5 for tick, share in zip(ticks, shares, strict=True))


@given(_shares())
def test_percentages_remainder(shares: list[float]) -> None:
    nearest = [f"{round(share * 1000) / 10:.1f}%" for share in shares]
    printed = percentages(shares)
    changed = [i for i in range(len(shares)) if printed[i] != nearest[i]]
    kept = [shares[i] for i in range(len(shares)) if i not in changed and shares.count(shares[i]) == 1]
    assert all(shares[i] >= max(kept, default=0.0) for i in changed)


@given(_shares())
def test_percentages_of_equal_shares(shares: list[float]) -> None:
    assert len(set(zip(shares, percentages(shares), strict=True))) == len(set(shares))
    assert percentages([1 / 3] * 3) == ["33.3%"] * 3
    assert percentages([0.3334, 1 / 3, 0.3333]) == ["33.4%", "33.3%", "33.3%"]


def test_percentages_of_nothing() -> None:
    assert percentages([]) == []
    assert percentages([0.0, 0.0]) == ["0.0%", "0.0%"]


@pytest.mark.parametrize(
    ("value", "count", "size"),
    [(0, "0", "0 B"), (1_579_520, "+1,579,520", "+1.51 MiB"), (-12, "−12", "−12 B"), (-(2**40), "", "−1.00 TiB")],
)
def test_signed_amounts(value: int, count: str, size: str) -> None:
    assert signed_integer(value) == (count or f"−{2**40:,}")
    assert signed(binary_bytes(abs(value)), value) == size
    assert signed_integer(value).value == signed("", value).value == value


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0, "B", "0 B"),
        (80_000_000_000, "B", "80 GB"),
        (141_000_000_000, "B", "141 GB"),
        (3_350_000_000_000, "B/s", "3.35 TB/s"),
        (999_400_000_000_000, "FLOP/s", "999 TFLOP/s"),
        (999_600_000_000_000, "FLOP/s", "1 PFLOP/s"),
        (0.617, "FLOP", "0.617 FLOP"),
        (7.23e23, "FLOP", "723 ZFLOP"),
        (7.23e30, "FLOP", "7,230,000 YFLOP"),
    ],
)
def test_prefixed(value: float, unit: str, text: str) -> None:
    assert prefixed(value, unit) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (3.2e-10, "0.32 ns"),
        (41e-9, "41 ns"),
        (0.0000415, "41.5 µs"),
        (0.00464, "4.64 ms"),
        (0.9996, "1 s"),
        (59.9, "59.9 s"),
        (60, "1 minute"),
        (150, "2.5 minutes"),
        (3600, "1 hour"),
        (5400, "1.5 hours"),
        (86_400, "1 day"),
        (3.2 * 86_400, "3.2 days"),
        (364 * 86_400, "364 days"),
        (1.5 * 365.25 * 86_400, "1.5 years"),
        (2e6 * 365.25 * 86_400, "2,000,000 years"),
    ],
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


_SECONDS = {
    "ns": 1e-9, "µs": 1e-6, "ms": 1e-3, "s": 1, "minute": 60, "hour": 3600, "day": 86_400, "year": 365.25 * 86_400,
}  # fmt: skip


@given(st.floats(1e-9, 1e15))
def test_duration_is_near(seconds: float) -> None:
    number, unit = duration(seconds).split(" ")
    said = float(number.replace(",", "")) * _SECONDS.get(unit, _SECONDS.get(unit.removesuffix("s"), 0))
    assert said == pytest.approx(seconds, rel=0.051)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0.00 FLOP"),
        (17, "17.0 FLOP"),
        (999, "999 FLOP"),
        (9_996, "10.0 KFLOP"),
        (51_512_344_576, "51.5 GFLOP"),
        (999_499_999_999, "999 GFLOP"),
        (999_500_000_000, "1.00 TFLOP"),
        (10**27, "1,000 YFLOP"),
    ],
)
def test_flops(value: int, text: str) -> None:
    assert flops(value) == text
    assert flops(value).value == value
    assert signed(flops(value), -value) == (f"−{text}" if value else text)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0213, "0.0213"),
        (52.46, "52.5"),
        (99.96, "100"),
        (61_604.3, "61,604"),
        (99_960, "100K"),
        (8_410_000, "8.41M"),
    ],
)
def test_three_digits(value: float, text: str) -> None:
    assert three_digits(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.0, "×1"),
        (1.3162, "×1.32"),
        (2.0, "×2.00"),
        (0.5, "×0.500"),
        (1.0004, "×1.00"),
        (0.99996, "×1.00"),
        (1.004, "×1.00"),
        (1234567.0, "×1.23M"),
        (12.345, "×12.3"),
        (999.7, "×1,000"),
        (1000.4, "×1,000"),
        (1e-6, "×0.00000100"),
        (0.0, "×0"),
    ],
)
def test_ratio(value: float, text: str) -> None:
    assert ratio(value) == text


@given(st.floats(1e-9, 1e12))
def test_ratio_near_one(value: float) -> None:
    assert (ratio(value) == "×1") == (value == 1)


def test_quantities_keep_their_value() -> None:
    kept = {
        integer(4_995_072): 4_995_072,
        stated_count(5_000_000): 5_000_000,
        percent(0.05125): 0.05125,
        signed_percent(-0.258): -0.258,
        fixed(-1e-9, 3): -1e-9,
        percentages([0.3333, 0.6667])[1]: 0.6667,
    }
    assert {words: words.value for words in kept} == kept
    assert fixed(-1e-9, 3) == "0.000"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "$0.00"),
        (0.0042, "$0.0042"),
        (0.999, "$1.00"),
        (2.5, "$2.50"),
        (99.99, "$99.99"),
        (1_234.4, "$1,234"),
        (999_600, "$1M"),
        (1_268_168, "$1.27M"),
    ],
)
def test_dollars(value: float, text: str) -> None:
    assert dollars(value) == text

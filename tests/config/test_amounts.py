"""Amounts with units: parsed exactly, GB distinct from GiB, and formatted again."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from tinylm_cli.config.amounts import (
    EXPECTED,
    MAX_AMOUNT,
    MAX_COMPUTE,
    UNITS,
    AmountKind,
    parse_amount,
    read_amount,
    read_share,
    rounded,
    rounded_up,
    scientific,
    stated,
)
from tinylm_cli.config.field_types import FlopCount, ParameterCount, Share, Size

TYPES: dict[AmountKind, Any] = {"count": ParameterCount, "size": Size, "flops": FlopCount}
KINDS = st.sampled_from(list(TYPES))


@pytest.mark.parametrize(
    ("kind", "written", "meant"),
    [
        ("count", "500K", 500_000),
        ("count", "1.1M", 1_100_000),
        ("count", "1.000001B", 1_000_001_000),
        ("count", "2T", 2 * 10**12),
        ("count", "130 M", 130_000_000),
        ("size", "24GiB", 24 * 1024**3),
        ("size", "24GB", 24 * 1000**3),
        ("size", "80 GB", 80 * 1000**3),
        ("size", "1.5KiB", 1536),
        ("size", "4kB", 4000),
        ("size", "512B", 512),
        ("size", "2TiB", 2 * 1024**4),
        ("flops", "2.5G", 2_500_000_000),
        ("flops", "1 P", 10**15),
    ],
)
def test_units(kind: AmountKind, written: str, meant: int) -> None:
    assert read_amount(written, kind) == meant
    assert TypeAdapter(TYPES[kind]).validate_python(written, strict=True) == meant


@pytest.mark.parametrize(
    ("kind", "written"),
    [
        *(("count", written) for written in ("125m", "125  M", "125MB", "~125M", "M", "1e3M", "125", "1234567M", "5G")),
        *(("size", written) for written in ("24G", "24Gi", "24gib", "24GIB", "24Gb", "24  GB", "-1GB", "1,5GB", "GB")),
        *(("flops", written) for written in ("2.5B", "2.5g", "2.5GFLOP", "2.G", ".5G", "2.5e9", "")),
    ],
)
def test_ambiguous_amounts(kind: AmountKind, written: str) -> None:
    assert read_amount(written, kind) is None
    with pytest.raises(ValidationError):
        TypeAdapter(TYPES[kind]).validate_python(written, strict=True)


def test_fractions() -> None:
    assert read_amount("0.1KiB", "size") == 102.4
    assert TypeAdapter(Size).validate_python("0.1KiB", strict=True) == 102


def test_exponents() -> None:
    assert TypeAdapter(FlopCount).validate_python(2.5e9, strict=True) == 2_500_000_000
    for kind, value in ((FlopCount, 2.5), (FlopCount, True), (Size, 2e9), (ParameterCount, 2e9), (Size, 0)):
        with pytest.raises(ValidationError):
            TypeAdapter(kind).validate_python(value, strict=True)


@given(KINDS, st.data(), st.integers(0, 999_999), st.integers(0, 6))
def test_every_unit_is_read_exactly(kind: AmountKind, data: st.DataObject, digits: int, decimals: int) -> None:
    unit, one = data.draw(st.sampled_from(list(UNITS[kind].items())))
    written = f"{digits / 10**decimals:.{decimals}f}"
    amount = read_amount(f"{written}{unit}", kind)
    assert amount is not None
    assert amount * 10**decimals == pytest.approx(digits * one, rel=1e-15)
    if digits * one % 10**decimals == 0:
        assert amount == digits * one // 10**decimals


@given(KINDS, st.integers(1, 10**18))
def test_stated_reads_back(kind: AmountKind, value: int) -> None:
    words = stated(value, kind)
    assert parse_amount(words.replace(",", ""), kind) == value


@pytest.mark.parametrize(
    ("like", "near", "enough"),
    [("MB", "138MB", "138MB"), ("GiB", "131MiB", "132MiB"), ("B", "138MB", "138MB"), ("gpu", "131MiB", "132MiB")],
)
def test_unit_base_of_like(like: str, near: str, enough: str) -> None:
    assert (rounded(137_851_280, "size", like), rounded_up(137_851_280, "size", like)) == (near, enough)


@pytest.mark.parametrize(
    ("written", "share"),
    [("5%", 0.05), ("5 %", 0.05), ("0.05", 0.05), ("12.5%", 0.125), ("0", 0), ("33%", 0.33), ("5 percent", None),
     ("-5%", None), ("%", None), (".5", None), ("1e-2", None), ("nan", None), ("", None)],
)  # fmt: skip
def test_a_share_is_a_number_or_in_percent(written: str, share: float | None) -> None:
    assert read_share(written) == share
    if written.endswith("%"):
        adapter: TypeAdapter[float] = TypeAdapter(Share)
        if share is None:
            with pytest.raises(ValidationError):
                adapter.validate_python(written, strict=True)
        else:
            assert adapter.validate_python(written, strict=True) == share


@given(KINDS, st.integers(1, 10**17))
def test_rounded_up(kind: AmountKind, value: int) -> None:
    words = rounded_up(value, kind)
    enough = int(words) if words.isdigit() else read_amount(words, kind)
    assert enough is not None
    assert value <= enough <= value * 1.011 + 1


@pytest.mark.parametrize(
    ("kind", "value", "exact", "near", "enough"),
    [
        ("count", 80_000_000, "80M", "80M", "80M"),
        ("count", 92_736_000, "92,736,000", "92.7M", "92.8M"),
        ("count", 1_250_000_000, "1.25B", "1.25B", "1.25B"),
        ("count", 826_112, "826,112", "826K", "827K"),
        ("count", 12, "12", "12", "12"),
        ("count", 1_255_000, "1,255,000", "1.26M", "1.26M"),
        ("size", 24 * 1024**3, "24GiB", "24GiB", "24GiB"),
        ("size", 80 * 10**9, "80GB", "74.5GiB", "74.6GiB"),
        ("size", 1000, "1kB", "1kB", "1kB"),
        ("size", 37_748_737, "37,748,737", "36MiB", "36.1MiB"),
        ("flops", 2_500_000_000, "2.5G", "2.5G", "2.5G"),
    ],
)
def test_descriptions(kind: AmountKind, value: int, exact: str, near: str, enough: str) -> None:
    assert (stated(value, kind), rounded(value, kind), rounded_up(value, kind)) == (exact, near, enough)


@pytest.mark.parametrize("text", ["", "M", "-1", "1e", "0x10", "1,000", "125q", "1 M B", "nan", "٣M", "1.M", "5GiB5"])
@pytest.mark.parametrize("kind", TYPES)
def test_errors_state_the_expected_form(text: str, kind: AmountKind) -> None:
    with pytest.raises(ValueError, match="expected") as raised:
        parse_amount(text, kind)
    assert str(raised.value) == f"expected {EXPECTED[kind]}"


def test_out_of_range_amounts() -> None:
    for nothing in ("0", "0M", "0.000000M"):
        with pytest.raises(ValueError, match="more than 0"):
            parse_amount(nothing, "count")
    for anything in ("9" * 30, "9" * 5000):
        with pytest.raises(ValueError, match="at most 1e21"):
            parse_amount(anything, "count")


@given(KINDS, st.integers(1, MAX_AMOUNT))
def test_plain_digits_are_themselves(kind: AmountKind, amount: int) -> None:
    assert parse_amount(str(amount), kind) == amount


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e21", 10**21), ("2.5e9", 2_500_000_000), ("3.8e+25", 38 * 10**24), ("123456.5e1", 1_234_565), ("1e0", 1)],
)
def test_parse_exponent(text: str, value: int) -> None:
    assert parse_amount(text, "flops", most=MAX_COMPUTE) == parse_amount(text, "count", most=MAX_COMPUTE) == value
    with pytest.raises(ValueError, match="expected a size"):
        parse_amount(text, "size")


@given(st.integers(1, MAX_COMPUTE))
def test_exponent_where_exact(value: int) -> None:
    assert parse_amount(scientific(value), "flops", most=MAX_COMPUTE) == value


def test_scientific() -> None:
    amounts = (10**21, 25 * 10**19, 999_999, 1_000_000, 123_456_789)
    assert [scientific(each) for each in amounts] == ["1e21", "2.5e20", "999999", "1e6", "123456789"]

"""Amounts as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinylm_cli.config.amounts import EXPECTED, MAX_AMOUNT, AmountKind, parse_amount


@pytest.mark.parametrize(
    ("text", "kind", "amount"),
    [
        ("125M", "count", 125_000_000),
        ("1.5B", "count", 1_500_000_000),
        ("124439808", "count", 124_439_808),
        (" 8 B ", "count", 8_000_000_000),
        ("1GiB", "bytes", 2**30),
        ("1.5 GiB", "bytes", 3 * 2**29),
        ("16GB", "bytes", 16 * 10**9),
        ("512", "bytes", 512),
        ("1B", "bytes", 1),
        ("250M", "flops", 250_000_000),
        ("1.5 GFLOP", "flops", 1_500_000_000),
        ("2B", "flops", 2 * 10**9),
    ],
)
def test_what_an_amount_is(text: str, kind: AmountKind, amount: int) -> None:
    assert parse_amount(text, kind) == amount


@pytest.mark.parametrize("text", ["", "M", "-1", "1e9", "0x10", "1,000", "125m", "1 M B", "nan", "٣M", "1.M", "5GiB5"])
@pytest.mark.parametrize("kind", EXPECTED)
def test_what_is_none_says_what_is_expected(text: str, kind: AmountKind) -> None:
    with pytest.raises(ValueError, match="expected") as raised:
        parse_amount(text, kind)
    assert str(raised.value) == f"expected {EXPECTED[kind]}"


def test_what_is_nothing_or_more_than_anything() -> None:
    with pytest.raises(ValueError, match="more than 0"):
        parse_amount("0M", "count")
    with pytest.raises(ValueError, match="larger than anything"):
        parse_amount("9" * 24 + "T", "count")


@given(st.integers(1, MAX_AMOUNT - 1), st.sampled_from(list(EXPECTED)))
def test_a_whole_number_is_itself(amount: int, kind: AmountKind) -> None:
    assert parse_amount(str(amount), kind) == amount

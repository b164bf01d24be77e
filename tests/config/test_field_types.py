"""Speeds in the notation of datasheets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from tinylm_cli.config.amounts import RateKind
from tinylm_cli.config.hardware import FlopRate, Rate
from tinylm_cli.config.suggestions import suggest_amount

TYPES: dict[RateKind, TypeAdapter[int]] = {
    "rate": TypeAdapter(Rate),
    "flop_rate": TypeAdapter(FlopRate),
}


@pytest.mark.parametrize(
    ("kind", "written", "value"),
    [
        ("rate", "3.35 TB/s", 3_350_000_000_000),
        ("rate", "400 Gb/s", 50 * 10**9),
        ("rate", "8 b/s", 1),
        ("rate", "123456789 MB/s", 123_456_789 * 10**6),
        ("flop_rate", "989.4 TFLOP/s", 989_400_000_000_000),
        ("flop_rate", "2 POP/s", 2 * 10**15),
    ],
)
def test_rates(kind: RateKind, written: object, value: int) -> None:
    assert TYPES[kind].validate_python(written, strict=True) == value


@pytest.mark.parametrize(
    ("kind", "written"),
    [
        ("rate", "3 TB"),
        ("rate", "4 b/s"),
        ("flop_rate", "3 TB/s"),
        ("flop_rate", "989 TFLOPS"),
    ],
)
def test_other_text_is_rejected(kind: RateKind, written: object) -> None:
    with pytest.raises(ValidationError):
        TYPES[kind].validate_python(written, strict=True)


@pytest.mark.parametrize(
    ("kind", "written", "meant"),
    [
        ("rate", "3.35tb/s", "3.35 TB/s"),
        ("rate", "900 gbps", "900 GB/s"),
        ("flop_rate", "989 tflops", "989 TFLOP/s"),
        ("flop_rate", "989 tflop", "989 TFLOP/s"),
        ("flop_rate", "1979 tops", "1979 TOP/s"),
        ("flop_rate", "1979 tflops/s", "1979 TFLOP/s"),
        ("flop_rate", "80 gb", None),
    ],
)
def test_suggest_amount(kind: RateKind, written: str, meant: str | None) -> None:
    assert suggest_amount(written, kind) == meant


@given(st.sampled_from(list(TYPES)), st.from_regex(r"\A[0-9]{1,3}(\.[0-9]{1,2})? ?[kmgt]i?[bflop]{1,4}(/s|ps|s)?\Z"))
def test_suggestions_parse(kind: RateKind, written: str) -> None:
    meant = suggest_amount(written, kind)
    if meant is not None and float(meant.split()[0]) > 0:
        assert TYPES[kind].validate_python(meant) > 0

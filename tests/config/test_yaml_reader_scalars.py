"""Plain scalars of the YAML 1.2 core schema, and words that other parsers convert."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinylm_cli.config.yaml_reader import MAX_DIGITS, NumberTooLongError, resolve_plain


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("~", None),
        ("null", None),
        ("true", True),
        ("False", False),
        ("TRUE", True),
        ("0", 0),
        ("-0", 0),
        ("+12", 12),
        ("0256", 256),  # YAML 1.1 reads 174
        ("0o400", 256),
        ("0x100", 256),
        ("1e-5", 1e-5),  # PyYAML reads text
        ("1.", 1.0),
        (".5", 0.5),
        ("-1.5E+3", -1500.0),
        (".inf", math.inf),
        ("-.INF", -math.inf),
        ("1e400", math.inf),
    ],
)
def test_the_core_schema(text: str, value: Any) -> None:
    resolved = resolve_plain(text)
    assert resolved == value
    assert type(resolved) is type(value)


@pytest.mark.parametrize("text", [".nan", ".NaN", ".NAN"])
def test_not_a_number(text: str) -> None:
    resolved = resolve_plain(text)
    assert isinstance(resolved, float)
    assert math.isnan(resolved)


@pytest.mark.parametrize(
    "text",
    [
        *("no", "yes", "on", "off", "y", "n", "tRue", "nULL", "NaN", "inf", "nan"),
        *("1:30", "1_000", "1,000", "0o8", "0x", "0xg", "0b1", "1e", "e5", "--1", "+-1", "1.2.3", "2024-01-01", "."),
        *("１２", "٣", "1 ", "+", "-"),
    ],
)
def test_everything_else_is_text(text: str) -> None:
    assert resolve_plain(text) == text


@given(st.integers(-(10**90), 10**90))
def test_integers_are_exact(value: int) -> None:
    assert resolve_plain(str(value)) == value


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_floats_read_back(value: float) -> None:
    assert resolve_plain(repr(value)) == value


@given(st.text(max_size=30))
def test_any_text_has_a_value(text: str) -> None:
    assert isinstance(resolve_plain(text), type(None) | bool | int | float | str)


@pytest.mark.parametrize("form", ["{}", "-{}", "0x{}", "0.{}", "1e{}"])
def test_long_number(form: str) -> None:
    with pytest.raises(NumberTooLongError, match=r"characters is too long"):
        resolve_plain(form.format("1" * 200_000))
    assert resolve_plain("1" * MAX_DIGITS) == int("1" * MAX_DIGITS)

"""Formatting of bytes and plurals."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinylm_cli.quantities import Quantity, binary_bytes, counted


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.00 KiB"),
        (10 * 1024, "10.0 KiB"),
        (3_304_448, "3.15 MiB"),
        (19_980_288, "19.1 MiB"),
        (1023 * 1024**2, "1,023 MiB"),
        (1024**3, "1.00 GiB"),
        (1024**6 * 5000, "5,000 EiB"),
    ],
)
def test_binary_bytes(value: int, text: str) -> None:
    assert binary_bytes(value) == text
    assert binary_bytes(value).value == value


def test_quantity() -> None:
    quantity = Quantity("19.1 MiB", 19_980_288)
    assert quantity == "19.1 MiB"
    assert f"{quantity} in all" == "19.1 MiB in all"
    assert not isinstance(f"{quantity}", Quantity)
    assert quantity.value == 19_980_288


@given(st.integers(1, 10**24))
def test_binary_bytes_are_near(value: int) -> None:
    number, unit = binary_bytes(value).split(" ")
    scale = 1024 ** ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"].index(unit)
    assert abs(float(number.replace(",", "")) * scale - value) <= 0.006 * value


@pytest.mark.parametrize(("value", "text"), [(0, "0 layers"), (1, "1 layer"), (2, "2 layers"), (1024, "1,024 layers")])
def test_counted(value: int, text: str) -> None:
    assert counted(value, "layer") == text

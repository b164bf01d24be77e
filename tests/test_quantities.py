"""Formatting of bytes, plurals and ranges of indices."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinylm_cli.quantities import Quantity, binary_bytes, consecutive_ranges, counted, index_ranges


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


@pytest.mark.parametrize(
    ("indices", "text"),
    [
        ([5], "5"),
        ([0, 1, 2], "0..2"),
        ([7, 18, 29, 40], "7, 18, 29, 40"),
        ([0, 2, 8, 10], "0, 2, 8, 10"),
        (range(0, 52, 2), "0, 2, …, 50"),
        ([0, 2, 4, 6, 9, 11, 13, 50], "0, …, 50"),
        ([*range(0, 9, 2), 11, 12, 15], "0, …, 15"),
        ([*range(0, 17, 2), 19], "0, 2, …, 16, 19"),
        ([*range(0, 9, 2), 11, 14], "0, 2, …, 8, 11, 14"),
        ([0, 1, 3, 5, 7, 9], "0..1, 3, 5, 7, 9"),
        ([0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, 16], "0..2, 4..6, …, 16"),
        ([0, 1, 3, 4, 6, 9, 10, 12, 13], "0..1, …, 12..13"),
        ([0, 1, 3, 4, 6, 7, 9, 10], "0..1, 3..4, 6..7, 9..10"),
        ([2, 8, 9, 10, 11, 12, 15, 21, 22], "2, …, 21..22"),
        ([1, 3, 5, 8, 10, 51, 53], "1, 3, 5, 8, …, 53"),
    ],
)
def test_ellipsis_after_two_ranges_stands_for_equal_steps(indices: Iterable[int], text: str) -> None:
    assert index_ranges(consecutive_ranges(indices)) == text


def test_ranges_whose_middle_is_cut() -> None:
    first = [range(at, at + 1) for at in range(0, 20, 2)]
    assert index_ranges([*first, range(98, 99)], are_cut=True) == "0, 2, …, 98"
    assert index_ranges([*first, range(99, 100)], are_cut=True) == "0, 2, …, 18, …, 99"

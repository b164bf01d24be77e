"""Constraints on figures, and on the measures that a search bounds."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinylm_cli.analysis.design.constraints import at_most, decodes_at_least, searchable, within


@given(st.integers(1, 10**6), st.floats(1e-6, 1e12))
def test_longest_step(batch_size: int, rate: float) -> None:
    seconds = searchable(decodes_at_least(rate), batch_size).upper
    assert seconds is not None
    assert batch_size / seconds >= rate > batch_size / math.nextafter(seconds, math.inf)


def test_bounds_of_each_relation() -> None:
    assert (at_most("kv_cache_bytes", 7).lower, at_most("kv_cache_bytes", 7).upper) == (0, 7)
    rate = decodes_at_least(5.5)
    assert (rate.lower, rate.upper, rate.is_target) == (5.5, None, False)
    target = within("total_params", 1000, 0.0155)
    assert (target.lower, target.upper, target.is_target) == (985, 1015, True)
    largest = within("total_params", 1000, 0.02, "largest")
    assert (largest.lower, largest.upper) == (980, 1000)


@pytest.mark.parametrize(("value", "distance"), [(984, 1), (985, 0), (1000, 0), (1015, 0), (1020, 5)])
def test_distance(value: int, distance: int) -> None:
    assert within("total_params", 1000, 0.0155).distance(value) == distance

"""The Pareto front, and the typical proportions of a family."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinylm_cli.analysis.design.families import FAMILIES, PublishedModel
from tinylm_cli.analysis.design.ranking import Proportions, pareto_front, proportions, typical_proportions
from tinylm_cli.reports.constraint import Sizes

LLAMA = FAMILIES["llama"].published_sizes


@given(st.lists(st.tuples(*(st.integers(0, 4) for _ in range(4))), max_size=30))
def test_front_is_undominated(points: list[tuple[int, ...]]) -> None:
    def dominates(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
        return a[0] >= b[0] and all(x <= y for x, y in zip(a[1:], b[1:], strict=True)) and a != b

    assert pareto_front(points) == {each for each in points if not any(dominates(other, each) for other in points)}


@given(st.sampled_from(list(pairwise(LLAMA))), st.floats(0.01, 0.99))
def test_interpolation(pair: tuple[PublishedModel, PublishedModel], share: float) -> None:
    small, large = pair
    between = typical_proportions(LLAMA, small.params ** (1 - share) * large.params**share)
    for low, here, high in zip(proportions(small.sizes), between, proportions(large.sizes), strict=True):
        assert here == pytest.approx(low + share * (high - low))


def test_no_extrapolation() -> None:
    assert typical_proportions(LLAMA, 1) == proportions(LLAMA[0].sizes)
    assert typical_proportions(LLAMA, 10**15) == proportions(LLAMA[-1].sizes)


def test_proportions() -> None:
    wide, deep = Sizes(1024, 16, 32, 8, 64, 4096), Sizes(1024, 32, 16, 8, 64, 4096)
    assert proportions(wide) == Proportions(aspect=6, d_ff_ratio=2, d_head=6, group=2, head_ratio=1)
    assert proportions(deep).distance(proportions(replace(wide, d_ff=1024))) == 1 + 2 + 1 + 1

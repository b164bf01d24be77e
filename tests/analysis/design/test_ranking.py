"""The Pareto front."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tinylm_cli.analysis.design.ranking import pareto_front


@given(st.lists(st.tuples(*(st.integers(0, 4) for _ in range(4))), max_size=30))
def test_front_is_undominated(points: list[tuple[int, ...]]) -> None:
    def dominates(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
        return a[0] >= b[0] and all(x <= y for x, y in zip(a[1:], b[1:], strict=True)) and a != b

    assert pareto_front(points) == {each for each in points if not any(dominates(other, each) for other in points)}

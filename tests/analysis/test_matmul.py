"""Pairs of positions that attend to each other, counted one by one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tinylm_cli.analysis.matmul import SequencePass, attended_pairs


@given(length=st.integers(1, 60), window=st.one_of(st.none(), st.integers(1, 80)))
def test_attended_pairs(length: int, window: int | None) -> None:
    allowed = sum(1 for q in range(length) for k in range(q + 1) if window is None or q - k < window)
    assert attended_pairs(length, window) == allowed


@given(length=st.integers(1, 60), chunk=st.integers(1, 80))
def test_pairs_in_chunks(length: int, chunk: int) -> None:
    """A token attends to those before it in its chunk, in a whole sequence and in a step."""
    allowed = sum(1 for q in range(length) for k in range(q + 1) if q // chunk == k // chunk)
    assert SequencePass(length, length).pairs(chunk, chunked=True) == allowed
    steps = (SequencePass(1, kv_len, decodes=True).pairs(chunk, chunked=True) for kv_len in range(1, length + 1))
    assert sum(steps) == allowed
    assert SequencePass(length, length, "full").pairs(chunk, chunked=True) == length**2

"""The compute-optimal budget of tokens."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinylm_cli.analysis.chinchilla import compute_optimum


def test_chinchilla_budget() -> None:
    optimum = compute_optimum(70 * 10**9, 1_400 * 10**9)
    assert optimum.optimal_tokens == optimum.train_tokens
    assert optimum.optimal_ratio == 1
    assert optimum.compute_flops == pytest.approx(5.88e23)
    assert (optimum.compute_optimal_params, optimum.compute_optimal_tokens) == (70 * 10**9, 1_400 * 10**9)


@given(st.integers(1, 10**13), st.integers(1, 10**15))
def test_optimum_uses_the_same_compute(params: int, tokens: int) -> None:
    optimum = compute_optimum(params, tokens)
    best = optimum.compute_optimal_params
    assert 120 * best**2 <= optimum.compute_flops < 120 * (best + 1) ** 2
    assert optimum.compute_optimal_tokens == 20 * best
    assert (optimum.params, optimum.train_tokens) == (params, tokens)
    assert optimum.tokens_per_param == tokens / params
    assert (optimum.optimal_ratio > 1) == (tokens > 20 * params)
    assert best >= params or optimum.optimal_ratio < 1

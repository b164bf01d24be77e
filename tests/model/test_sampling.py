from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tinylm_cli.model.sampling import SamplingParams

DRAWS = 40_000


def shares(logits: list[float], **options: Any) -> Tensor:
    """Return how often each token is drawn."""
    sampling = SamplingParams(seed=0, **options)
    rows = torch.tensor(logits).expand(DRAWS, -1)
    chosen = sampling.sample(rows, sampling.generator(rows.device))
    return chosen.bincount(minlength=len(logits)) / DRAWS


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("temperature", -0.1, "finite number >= 0, not -0.1"),
        ("temperature", math.nan, "not nan"),
        ("temperature", math.inf, "not inf"),
        ("temperature", "1", "not '1'"),
        ("temperature", True, "not True"),
        ("top_k", 0, "an integer >= 1 or None, not 0"),
        ("top_k", 1.0, "not 1.0"),
        ("top_k", True, "not True"),
        ("top_p", 0.0, "over 0 and up to 1, or None, not 0.0"),
        ("top_p", 1.1, "not 1.1"),
        ("top_p", math.nan, "not nan"),
        ("seed", -1, "not -1"),
        ("seed", 2**64, "not 18446744073709551616"),
        ("seed", 1.5, "not 1.5"),
    ],
)
def test_invalid_parameters(name: str, value: object, message: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be .*{message}"):
        SamplingParams(**{name: value})  # type: ignore[arg-type]


def test_softmax_frequencies() -> None:
    logits = [0.0, 1.0, -1.0, 2.0]
    torch.testing.assert_close(shares(logits), torch.tensor(logits).softmax(-1), atol=0.01, rtol=0)


def test_temperature_divides_the_logits() -> None:
    logits = [0.0, 1.0, -1.0, 2.0]
    expected = (torch.tensor(logits) / 0.5).softmax(-1)
    torch.testing.assert_close(shares(logits, temperature=0.5), expected, atol=0.01, rtol=0)


@pytest.mark.parametrize("temperature", [0, 0.0, 1e-300, 1e-40, 1e-30])
def test_lowest_temperature(temperature: float) -> None:
    assert shares([0.0, 3.0, 2.9, -torch.inf], temperature=temperature)[1] == 1


def test_top_k_keeps_the_k_most_likely() -> None:
    expected = torch.tensor([0.0, 1.0, 0.0, 2.0]).masked_fill(torch.tensor([True, False, True, False]), -torch.inf)
    torch.testing.assert_close(shares([0.0, 1.0, -1.0, 2.0], top_k=2), expected.softmax(-1), atol=0.01, rtol=0)
    assert shares([0.0, 0.0, 0.0], top_k=1)[0] == 1


def test_top_k_over_vocabulary() -> None:
    torch.testing.assert_close(shares([0.0, 0.0], top_k=50), torch.tensor([0.5, 0.5]), atol=0.01, rtol=0)


@pytest.mark.parametrize(("top_p", "kept"), [(0.01, 1), (0.39, 1), (0.41, 2), (0.75, 3), (0.95, 4), (1.0, 4)])
def test_top_p(top_p: float, kept: int) -> None:
    probabilities = torch.tensor([0.2, 0.4, 0.1, 0.3])
    order = [1, 3, 0, 2]
    expected = torch.zeros(4)
    expected[order[:kept]] = probabilities[order[:kept]] / probabilities[order[:kept]].sum()
    torch.testing.assert_close(shares(probabilities.log().tolist(), top_p=top_p), expected, atol=0.01, rtol=0)


def test_top_p_reached_exactly() -> None:
    """Kept is the smallest set of tokens whose probabilities reach top_p: half of two even ones is the first."""
    assert sorted(shares([0.0, 0.0], top_p=0.5).tolist()) == [0.0, 1.0]


def test_top_p_after_top_k() -> None:
    assert shares([math.log(0.4), math.log(0.35), math.log(0.25)], top_k=2, top_p=0.5)[0] == 1


@settings(max_examples=50, deadline=None)
@given(
    logits=st.lists(st.floats(-30, 30, width=32), min_size=1, max_size=8),
    temperature=st.floats(0, 5),
    top_k=st.none() | st.integers(1, 10),
    top_p=st.none() | st.floats(0.01, 1),
)
def test_only_kept_tokens(logits: list[float], temperature: float, top_k: int | None, top_p: float | None) -> None:
    sampling = SamplingParams(temperature=temperature, top_k=top_k, top_p=top_p, seed=1)
    rows = torch.tensor(logits).expand(20, -1)
    chosen = sampling.sample(rows, sampling.generator(rows.device))
    assert chosen.shape == (20,)
    assert chosen.dtype == torch.int64
    if top_k is not None:
        assert (rows[0][chosen] >= sorted(logits, reverse=True)[:top_k][-1]).all()


def test_half_precision_logits() -> None:
    sampling = SamplingParams(seed=0)
    rows = torch.zeros(1000, 300, dtype=torch.bfloat16)
    assert sampling.sample(rows, sampling.generator(rows.device)).bincount().count_nonzero() > 250


def test_seed_bits() -> None:
    weights = torch.ones(1, 50_000)
    draws = set()
    for seed in (7, 7 + 2**32, 7 + 2**63):
        sampling = SamplingParams(seed=seed)
        draws.add(int(sampling.sample(weights, sampling.generator(weights.device))))
    assert len(draws) == 3

"""The ways people count, on models whose figures they have met."""

from __future__ import annotations

import pytest

from tinylm_cli.analysis.params import analyse_params
from tinylm_cli.config.loader import load_config


@pytest.mark.parametrize(
    ("name", "convention", "params"),
    [
        ("gpt2", "unique", {124_439_808}),
        ("gpt2", "untied", {163_037_184}),
        ("gpt2", "hub", {124_439_808, 137_022_720, 163_037_184}),
        ("llama-2-7b", "hub", {6_738_415_616, 6_738_417_664}),
        ("qwen3-0.6b", "hub", {596_049_920, 596_051_712, 751_632_384}),
        ("pythia-160m", "non-embedding", {85_056_000}),
        ("mixtral-8x7b", "active", {12_879_925_248}),
        ("qwen3-30b-a3b", "active", {3_353_032_704}),
        ("tiny", "active", {826_112}),
    ],
)
def test_published_figures(name: str, convention: str, params: set[int]) -> None:
    model = analyse_params(load_config(name))
    assert {count.params for count in model.counts if count.convention == convention} == params


@pytest.mark.parametrize("name", ["small", "gpt2", "mixtral-8x7b", "deepseek-v2-lite"])
def test_every_count_says_how_far_it_is_from_the_unique_one(name: str) -> None:
    model = analyse_params(load_config(name))
    assert model.counts[0].params == model.total_params
    assert all(count.params - model.total_params == count.difference_params for count in model.counts)
    assert model.embedding_params + model.non_embedding_params == model.total_params
    assert sum(part.params for part in model.components) == model.total_params

"""Counting conventions, on models with published counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from tinylm_cli.analysis.params import analyze_params
from tinylm_cli.interop.load import load_config
from tinylm_cli.model import TinyTransformerLM

CONFIGS = Path(__file__).resolve().parents[1] / "interop" / "configs"


@pytest.mark.parametrize(
    ("name", "convention", "params"),
    [
        ("gpt2", "unique", 124_439_808),
        ("gpt2", "untied", 163_037_184),
        ("gpt2", "hub", 124_439_808),
        ("gpt2", "hub-tied-head", 163_037_184),
        ("gpt2", "hub-masks", 137_022_720),
        ("llama-2-7b", "hub-rotary", 6_738_417_664),
        ("qwen3-0.6b", "hub-rotary", 596_051_712),
        ("qwen3-0.6b", "hub-tied-head", 751_632_384),
        ("pythia-160m", "non-embedding", 85_056_000),
        ("mixtral-8x7b", "active", 12_879_925_248),
        ("qwen3-30b-a3b", "active", 3_353_032_704),
        ("tiny", "active", 826_112),
    ],
)
def test_published_figures(name: str, convention: str, params: int) -> None:
    model = analyze_params(load_config(name))
    assert [count.params for count in model.counts if count.convention == convention] == [params]


@pytest.mark.parametrize("name", ["small", "gpt2", "mixtral-8x7b", "deepseek-v2-lite"])
def test_differences_from_unique(name: str) -> None:
    model = analyze_params(load_config(name))
    assert model.counts[0].params == model.total_params
    assert all(count.params - model.total_params == count.difference_params for count in model.counts)
    assert model.embedding_params + model.non_embedding_params == model.total_params
    assert sum(part.params for part in model.components) == model.total_params


GROUPS = [
    ("gpt2", ["hub", "hub-tied-head", "hub-masks"]),
    ("llama-2-7b", ["hub", "hub-rotary"]),
    ("qwen3-0.6b", ["hub", "hub-tied-head", "hub-rotary"]),
    ("deepseek-v2-lite", ["hub"]),
]


@pytest.mark.parametrize(("name", "names"), GROUPS)
def test_checkpoint_conventions(name: str, names: list[str]) -> None:
    counts = [count for count in analyze_params(load_config(name)).counts if count.convention.startswith("hub")]
    assert [count.convention for count in counts] == names
    assert len({count.explanation for count in counts}) == len(counts)


def test_checkpoints_hold_router_corrections() -> None:
    """DeepSeek-V3: 58 layers of 256 experts, each with a shift that is no parameter."""
    loaded = load_config(str(CONFIGS / "deepseek_v3.json"))
    experts, dense = loaded.config.feed_forward.n_experts, loaded.config.feed_forward.n_dense_layers
    assert experts is not None
    kept = experts * (loaded.config.n_layers - dense)
    sizes = {count.convention: count for count in analyze_params(loaded).counts}
    assert sizes["hub"].difference_params == kept == 14_848
    assert sizes["hub"].params == 671_026_419_200
    assert str(experts) in sizes["hub"].explanation
    model = TinyTransformerLM.from_config(loaded.config, device="meta")
    held = {id(tensor): tensor.numel() for tensor in model.state_dict(keep_vars=True).values()}
    assert sum(held.values()) == sizes["hub"].params

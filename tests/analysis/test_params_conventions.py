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
    """DeepSeek-V3: 58 layers of 256 experts, each with a correction bias stored as a buffer."""
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


def test_multi_token_prediction_of_deepseek() -> None:
    """The checkpoint stores 684,489,830,400 weights in float8 and bfloat16, as its safetensors headers add up.

    https://huggingface.co/deepseek-ai/DeepSeek-V3 shows 685B. Its layer 61 is the module, with a copy of the embedding
    and of the LM head; 256 corrections of its router are stored in float32.
    """
    loaded = load_config(str(CONFIGS / "deepseek_v3.json"), ["head.n_mtp_layers=1"])
    model = analyze_params(loaded)
    sizes = {count.convention: count.params for count in model.counts}
    assert sizes["hub-mtp"] - 59 * 256 == 684_489_830_400
    assert sizes["without-mtp"] == 671_026_404_352
    assert model.active_params == analyze_params(load_config(str(CONFIGS / "deepseek_v3.json"))).active_params
    latent = 1536 * 7168 + 1536 + 24576 * 1536 + 576 * 7168 + 512 + 32768 * 512 + 7168 * 16384
    experts = 256 * 7168 + (256 + 1) * 3 * 2048 * 7168
    (component,) = (part for part in model.components if part.name == "mtp")
    assert component.params == latent + experts + 2 * 7168 * 7168 + 5 * 7168 == 11_610_067_968
    assert component.params == sizes["unique"] - sizes["without-mtp"]


@pytest.mark.parametrize("n_codebooks", [1, 3])
def test_tied_head_and_modules(n_codebooks: int) -> None:
    changes = ["head.n_mtp_layers=2", f"embedding.n_codebooks={n_codebooks}"]
    model = analyze_params(load_config("tiny", changes))
    sizes = {count.convention: count.params for count in model.counts}
    table = n_codebooks * 256 * 128
    assert sizes["untied"] - sizes["unique"] == table
    assert sizes["hub-mtp"] - sizes["unique"] == 2 * 2 * table
    assert sizes["active"] == sizes["without-mtp"] == 826_112 + (n_codebooks - 1) * 256 * 128
    assert sum(part.params for part in model.components) == sizes["unique"] == model.total_params

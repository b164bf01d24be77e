"""Export to LitGPT: its fields, the parameters that it builds, and what it cannot express."""

from __future__ import annotations

from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]  # transformers requires it

from tinylm_cli.analysis.params import total_params
from tinylm_cli.analysis.tensor_table import tensor_table
from tinylm_cli.config.canonical import canonical_fields
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.errors import UnableError
from tinylm_cli.interop.frameworks.framework import FrameworkConfig, to_framework
from tinylm_cli.interop.frameworks.litgpt import LITGPT, read
from tinylm_cli.interop.load import load_config

EXPORTED = {
    "llama-2-7b": 6_738_415_616,
    "llama-3-8b": 8_030_261_248,
    "llama-3.1-70b": 70_553_706_496,
    "mistral-7b": 7_241_732_096,
    "mixtral-8x7b": 46_702_792_704,
    "olmo-2-7b": 7_298_617_344,
    "phi-3-mini": 3_821_079_552,
    "pythia-160m": 162_322_944,
    "qwen3-8b": 8_190_735_360,
    # without tied weights: the published count and V × D for the LM head
    "gemma-2-2b": 2_614_341_888 + 256_000 * 2304,
    "qwen3-0.6b": 596_049_920 + 151_936 * 1024,
    "llama-3.2-1b": 1_235_814_400 + 128_256 * 2048,
    "qwen2.5-0.5b": 494_032_768 + 151_936 * 896,
}
"""Published models, and the parameters that ``litgpt.model.GPT`` of litgpt 0.5.13 has on the meta device."""


def exported(name: str, *changes: str) -> FrameworkConfig:
    return to_framework(load_config(name, changes).config, name, LITGPT)


def params_of_gpt(fields: dict[str, Any]) -> int:
    """Return the parameters of ``GPT``, module by module as in litgpt/model.py of litgpt 0.5.13."""
    sizes: list[int] = [fields[name] for name in ("n_embd", "n_head", "n_query_groups", "head_size")]
    width, heads, groups, size = sizes
    bias, has_attn_bias = int(fields["bias"]), int(fields["bias"] or fields["attn_bias"])
    of_norm = 0 if "OLMo" in fields["name"] else 2 if fields["norm_class_name"] == "LayerNorm" else 1
    qkv = (heads + 2 * groups) * size * (width + has_attn_bias)
    proj = width * (heads * size + bias)
    norm_sizes = (heads * size, groups * size) if fields["norm_qk_type"] == "olmo2" else (size, size)
    qk_norms = of_norm * sum(norm_sizes) if fields["norm_qk"] else 0
    norms = [fields["norm_1"], fields["norm_2"] and not fields["shared_attention_norm"]]
    norms += [fields["post_attention_norm"], fields["post_mlp_norm"]]

    def mlp(hidden: int, n_in: int) -> int:
        return n_in * hidden * (width + bias) + width * (hidden + bias)

    n_in = 1 if fields["mlp_class_name"] == "GptNeoxMLP" else 2
    dense = mlp(fields["intermediate_size"], n_in)
    experts = fields.get("n_expert", 0)
    sparse = experts * width + experts * mlp(fields.get("moe_intermediate_size", 0), 2) if experts else 0
    if fields.get("n_shared_expert"):
        sparse += mlp(fields["moe_intermediate_size"] * fields["n_shared_expert"], 2)
    n_dense = fields.get("first_k_dense_replace", 0) if experts else fields["n_layer"]
    layers = fields["n_layer"] * (qkv + proj + qk_norms + of_norm * width * sum(norms))
    networks = n_dense * dense + (fields["n_layer"] - n_dense) * sparse
    rows: int = fields["padded_vocab_size"]
    total: int = layers + networks + of_norm * width + rows * width + rows * (width + int(fields["lm_head_bias"]))
    return total


@pytest.mark.parametrize("name", EXPORTED)
def test_parameters(name: str) -> None:
    made = exported(name)
    fields = yaml.safe_load(LITGPT.to_text(made.document))
    assert fields == made.document
    assert params_of_gpt(fields) == EXPORTED[name] == total_params(tensor_table(made.config))


@pytest.mark.parametrize("name", EXPORTED)
def test_litgpt_builds_the_same_number(name: str) -> None:
    litgpt = pytest.importorskip("litgpt")
    import torch

    with torch.device("meta"):
        model = litgpt.GPT(litgpt.Config(**exported(name).document))
    assert sum(parameter.numel() for parameter in model.parameters()) == EXPORTED[name]


@pytest.mark.parametrize(
    "changes",
    [
        ["feed_forward.n_experts=8", "feed_forward.n_dense_layers=2", "feed_forward.n_shared_experts=2"],
        ["block.parallel=true", "block.shared_norm=true"],
        ["attention.window=64", "attention.window_pattern=LLG", "position.local_theta=100"],
        ["norm.kind=layernorm", "norm.weight=false", "norm.placement=sandwich"],
        ["attention.qk_norm=full", "head.bias=true", "attention.bias=true", "attention.out_bias=false"],
        ["position.scaling=linear", "position.scaling_factor=4", "position.pairing=adjacent"],
        ["feed_forward.activation=gelu_tanh", "attention.scale=0.25", "position.rotary_fraction=0.5"],
    ],
)  # fmt: skip
def test_read_back(changes: list[str]) -> None:
    """The model that litgpt builds has the canonical fields of the exported one, and its parameters."""
    made = exported("llama-3-8b", "n_layers=7", *changes)
    built = ModelConfig.model_validate(read(made.document))
    assert made.changes == ()
    fields, back = canonical_fields(made.config), canonical_fields(built)
    assert {name for name in fields if fields[name] != pytest.approx(back.get(name))} <= {"attention.scale"}
    assert params_of_gpt(made.document) == total_params(tensor_table(built))


@pytest.mark.parametrize(
    ("name", "changes", "field"),
    [
        ("gpt2", ["dropout=0"], "position.kind learned"),
        ("llama-3-8b", ["dropout=0.1"], "dropout 0.1"),
        ("llama-3-8b", ["attention.sinks=true"], "attention.sinks true"),
        ("llama-3-8b", ["norm.placement=post_residual"], "norm.placement post_residual"),
        ("llama-3-8b", ["attention.scale=0.3"], "attention.scale 0.3"),
        ("gpt-oss-20b", [], "position.scaling yarn"),
        ("deepseek-v3", [], "attention.kind latent"),
        ("llama-4-scout", [], "layers.kinds"),
        ("glm-4.5-air", [], "feed_forward.router sigmoid"),
        ("nanochat-d20", [], "embedding.norm true"),
    ],
)
def test_refused(name: str, changes: list[str], field: str) -> None:
    with pytest.raises(UnableError, match=r"litgpt 0\.5\.13 cannot express this model: it does not support") as raised:
        exported(name, *changes)
    assert field in str(raised.value)


def test_names_with_a_meaning() -> None:
    """litgpt adds 1 to RMSNorm's weights of models named Gemma, and omits LayerNorm's of models named OLMo."""
    config = load_config("llama-3-8b").config
    assert to_framework(config, "Gemma-OLMo", LITGPT).document["name"] == "gemma-olmo"
    gemma = load_config("gemma-2-2b").config
    assert to_framework(gemma, "mine", LITGPT).document["name"] == "Gemma-mine"
    assert to_framework(gemma, "Gemma-2-2b", LITGPT).document["name"] == "Gemma-2-2b"


def test_equal_routers() -> None:
    """The normalized softmax over all experts, of the selected ones, is the softmax over the selected logits."""
    made = exported("qwen3-30b-a3b")
    assert made.changes == ("feed_forward.router: softmax → topk_softmax",)
    assert params_of_gpt(made.document) == 30_532_122_624

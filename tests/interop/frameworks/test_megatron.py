"""Export to Megatron-LM: its arguments, the parameters that it builds, and what it cannot express."""

from __future__ import annotations

import ast
import contextlib
import shlex
from typing import Any

import pytest

from tinylm_cli.analysis.params import total_params
from tinylm_cli.analysis.tensor_table import tensor_table
from tinylm_cli.config.canonical import canonical_fields
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.errors import UnableError
from tinylm_cli.interop.frameworks.framework import FrameworkConfig, to_framework
from tinylm_cli.interop.frameworks.megatron import MEGATRON, read
from tinylm_cli.interop.load import load_config

EXPORTED = {
    "gpt2": 124_439_808,
    "gpt2-xl": 1_557_611_200,
    "llama-3-8b": 8_030_261_248,
    "llama-3.1-405b": 405_853_388_800,
    "llama-3.2-1b": 1_235_814_400,
    "mistral-7b": 7_241_732_096,
    "mixtral-8x7b": 46_702_792_704,
    "qwen2.5-0.5b": 494_032_768,
    "qwen3-0.6b": 596_049_920,
    "qwen3-235b-a22b": 235_093_634_560,
    "glm-4.5-air": 106_852_245_504,
}
"""Published models and their parameters, without multi-token prediction modules."""


def exported(name: str, *changes: str) -> FrameworkConfig:
    return to_framework(load_config(name, changes).config, name, MEGATRON)


def parsed(text: str) -> dict[str, Any]:
    """Return arguments as ``argparse`` would: flags as true, numbers as numbers, lists as lists."""
    found: dict[str, Any] = {}
    for line in text.splitlines():
        name, *values = shlex.split(line)
        assert name.startswith("--")
        assert len(values) <= 1
        value: Any = values[0] if values else True
        with contextlib.suppress(ValueError):  # of a word, such as RMSNorm
            value = value if value is True else ast.literal_eval(value)
        found[name.removeprefix("--")] = value
    return found


def params_of_gpt(arguments: dict[str, Any]) -> int:
    """Return the parameters of ``GPTModel`` without tensor parallelism, module by module.

    SelfAttention and MLP of megatron/core/transformer/attention.py and mlp.py, TopKRouter of moe/router.py,
    SharedExpertMLP of moe/shared_experts.py, and the embeddings and output layer of models/gpt/gpt_model.py, of
    megatron-core 0.16.1.
    """
    sizes: list[int] = [arguments[name] for name in ("num-layers", "hidden-size", "num-attention-heads", "kv-channels")]
    layers, width, heads, size = sizes
    groups: int = arguments.get("num-query-groups", heads)
    bias = int("disable-bias-linear" not in arguments)
    qkv_bias = int(bias or "add-qkv-bias" in arguments)
    of_norm = 2 if arguments["normalization"] == "LayerNorm" else 1
    attention = (heads + 2 * groups) * size * (width + qkv_bias) + width * (heads * size + bias)
    attention += 2 * of_norm * size if "qk-layernorm" in arguments else 0
    attention += heads if arguments.get("softmax-type") == "learnable" else 0
    n_in = 2 if "swiglu" in arguments else 1

    def mlp(hidden: int) -> int:
        return n_in * hidden * (width + bias) + width * (hidden + bias)

    experts: int = arguments.get("num-experts", 0)
    sparse = experts * (width + mlp(arguments.get("moe-ffn-hidden-size", 0)))
    shared: int = arguments.get("moe-shared-expert-intermediate-size", 0)
    sparse += mlp(shared) if shared else 0
    kinds: list[int] = arguments.get("moe-layer-freq", [int(experts > 0)] * layers)
    networks = sum(sparse if is_sparse else mlp(arguments["ffn-hidden-size"]) for is_sparse in kinds)
    rows: int = arguments["vocab-size"]
    assert rows % arguments["make-vocab-size-divisible-by"] == 0
    tables = rows * (2 if "untie-embeddings-and-output-weights" in arguments else 1)
    is_learned = arguments["position-embedding-type"] == "learned_absolute"
    tables += arguments["max-position-embeddings"] if is_learned else 0
    return layers * (attention + 2 * of_norm * width) + networks + of_norm * width + tables * width


@pytest.mark.parametrize("name", EXPORTED)
def test_parameters(name: str) -> None:
    made = exported(name, "head.n_mtp_layers=0")
    arguments = parsed(MEGATRON.to_text(made.document))
    assert arguments.keys() == made.document.keys()
    assert params_of_gpt(arguments) == EXPORTED[name] == total_params(tensor_table(made.config))


@pytest.mark.parametrize(
    "changes",
    [
        ["attention.window=128", "attention.window_pattern=LLG", "attention.sinks=true"],
        ["attention.qk_norm=per_head", "norm.zero_centered=true", "position.rotary_fraction=0.5"],
        ["norm.kind=layernorm", "feed_forward.gated=false", "feed_forward.activation=relu2"],
        ["feed_forward.gated=false", "feed_forward.activation=gelu_tanh", "feed_forward.bias=true",
         "attention.bias=true"],
        ["position.scaling=llama3", "position.scaling_factor=8", "position.original_max_len=8192"],
        ["position.scaling=linear", "position.scaling_factor=4", "position.pairing=adjacent", "dropout=0.2"],
        ["feed_forward.n_experts=8", "feed_forward.n_dense_layers=2", "feed_forward.n_shared_experts=2",
         "feed_forward.d_expert=512", "feed_forward.routed_scale=2.5"],
        ["feed_forward.n_experts=8", "feed_forward.router=sigmoid", "feed_forward.renormalize=true",
         "feed_forward.score_correction=true"],
        ["feed_forward.n_experts=8", "feed_forward.router=softmax"],
    ],
)  # fmt: skip
def test_read_back(changes: list[str]) -> None:
    made = exported("llama-3-8b", "n_layers=7", *changes)
    built = ModelConfig.model_validate(read(made.document))
    assert (made.changes, canonical_fields(made.config)) == ((), canonical_fields(built))
    assert params_of_gpt(parsed(MEGATRON.to_text(made.document))) == total_params(tensor_table(built))


@pytest.mark.parametrize(
    ("name", "changes", "field"),
    [
        ("gemma-2-2b", [], "attention.logit_softcap 50"),
        ("pythia-160m", [], "block.parallel true"),
        ("olmo-2-7b", [], "norm.placement post"),
        ("deepseek-v3", [], "attention.kind latent"),
        ("llama-3-8b", ["attention.scale=0.3"], "attention.scale 0.3"),
        ("llama-3.1-8b", ["position.low_freq_factor=2"], "position.low_freq_factor 2"),
        ("llama-3-8b", ["position.theta=500000.5"], "position.theta 500000"),
        ("llama-3-8b", ["feed_forward.activation=gelu"], "feed_forward.activation gelu"),
        ("tiny", [], "position.kind sinusoidal"),
    ],
)
def test_refused(name: str, changes: list[str], field: str) -> None:
    with pytest.raises(UnableError, match=r"megatron-core 0\.16\.1 cannot express this model") as raised:
        exported(name, *changes)
    assert field in str(raised.value)


def test_window() -> None:
    """Megatron-LM counts the earlier positions, not the token itself; 1 is a layer with a window."""
    document = exported("llama-3-8b", "n_layers=4", "attention.window=128", "attention.window_pattern=LG").document
    assert (document["window-size"], document["window-attn-skip-freq"]) == ("127,0", "[1,0,1,0]")

"""Models that llama.cpp would compute otherwise are refused, with the change that it needs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.interop.gguf.small_configs import CONFIGS, LAYERS, config_of
from tinylm_cli.errors import UnableError
from tinylm_cli.interop.gguf.export_plan import plan_gguf
from tinylm_cli.interop.gguf.supported import _SUPPORTED
from tinylm_cli.interop.load import load_config

LLAMA3 = {
    "rope_type": "llama3",
    "factor": 4.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 3.0,
    "original_max_position_embeddings": 16,
}


@pytest.mark.parametrize(
    ("name", "keys", "unsupported", "change"),
    [
        ("llama", {"rope_scaling": {"rope_type": "dynamic", "factor": 2.0}}, "position.scaling dynamic", "none"),
        ("mistral", {"sliding_window": 6}, "attention.window 6", "attention.window=null"),
        ("qwen2", {"rope_scaling": LLAMA3}, "position.scaling llama3", "position.scaling=none"),
        ("qwen2_moe", {"tie_word_embeddings": True}, "tie_weights true", "tie_weights=false"),
        ("qwen3", {"attention_bias": True}, "attention.bias true", "attention.bias=false"),
        ("qwen3_moe", {"norm_topk_prob": False}, "feed_forward.renormalize false", "renormalize=true"),
        ("qwen3_moe", {"mlp_only_layers": [0]}, "feed_forward.n_dense_layers 1", "n_dense_layers=0"),
        ("qwen3_moe", {"mlp_only_layers": [1]}, "several kinds of layers", ""),
        ("gemma", {"tie_word_embeddings": False}, "tie_weights false", "tie_weights=true"),
        ("gemma2", {"query_pre_attn_scalar": 4}, "attention.scale 0.5", "attention.scale=0.25"),
        ("gemma2", {"final_logit_softcapping": None}, "head.logit_softcap null", ""),
        ("gpt2", {"activation_function": "gelu"}, "feed_forward.activation gelu", "activation=gelu_tanh"),
        ("gpt2", {"scale_attn_weights": False}, "attention.scale 1", "attention.scale=0.353"),
    ],
)
def test_refused(name: str, keys: dict[str, Any], unsupported: str, change: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({**config_of(name), **keys}), encoding="utf-8")
    with pytest.raises(UnableError) as caught:
        plan_gguf(load_config(str(tmp_path)).config, name)
    assert unsupported in caught.value.message
    assert change in str(caught.value.help)


def test_family(tmp_path: Path) -> None:
    keys = {**config_of("llama"), "model_type": "nanochat"}
    (tmp_path / "config.json").write_text(json.dumps(keys), encoding="utf-8")
    with pytest.raises(UnableError, match="models of the family nanochat are not written as GGUF files") as caught:
        plan_gguf(load_config(str(tmp_path)).config, "x")
    assert "the families that are: llama, mistral," in str(caught.value.help)


def test_every_family_is_compared() -> None:
    """Each has a config whose logits are compared with those of llama.cpp."""
    assert {name.partition("-")[0] for name in CONFIGS} == set(_SUPPORTED)


def test_gemma_of_27_billion(tmp_path: Path) -> None:
    """llama.cpp scales its scores by d_model / n_heads, and knows it by its number of layers."""
    keys = {**config_of("gemma2"), "num_hidden_layers": 46, "layer_types": None}
    (tmp_path / "config.json").write_text(json.dumps({**keys, "query_pre_attn_scalar": 32 // 4}), encoding="utf-8")
    plan_gguf(load_config(str(tmp_path)).config, "x")
    (tmp_path / "config.json").write_text(json.dumps({**keys, "query_pre_attn_scalar": 16}), encoding="utf-8")
    with pytest.raises(UnableError, match=r"attention\.scale 0\.25"):
        plan_gguf(load_config(str(tmp_path)).config, "x")
    assert LAYERS != 46

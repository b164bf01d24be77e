"""Counts of small configs with the oddities of published ones, as transformers counts them on meta."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Here = Callable[..., Any]

BASE: dict[str, Any] = {
    "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 256, "rms_norm_eps": 1e-6, "hidden_act": "silu",
    "vocab_size": 500, "tie_word_embeddings": False,
}  # fmt: skip
DEEPSEEK: dict[str, Any] = {
    **BASE, "num_hidden_layers": 3, "num_key_value_heads": 4, "max_position_embeddings": 4096, "kv_lora_rank": 16,
    "q_lora_rank": 24, "qk_nope_head_dim": 16, "qk_rope_head_dim": 8, "v_head_dim": 16, "moe_intermediate_size": 32,
    "n_routed_experts": 8, "n_shared_experts": 1, "num_experts_per_tok": 2, "first_k_dense_replace": 1, "n_group": 1,
    "topk_group": 1, "topk_method": "noaux_tc", "scoring_func": "sigmoid", "routed_scaling_factor": 2.8,
    "norm_topk_prob": True, "rope_theta": 50000.0,
}  # fmt: skip
EXPERTS: dict[str, Any] = {
    **BASE, "head_dim": 16, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32,
    "norm_topk_prob": True, "mlp_only_layers": [],
}  # fmt: skip
FALCON: dict[str, Any] = {
    "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "num_kv_heads": 2, "vocab_size": 500,
    "new_decoder_architecture": True, "parallel_attn": True, "multi_query": True, "alibi": False, "bias": False,
}  # fmt: skip
NEOX: dict[str, Any] = {
    "hidden_size": 64, "intermediate_size": 256, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 500,
    "max_position_embeddings": 128, "rotary_pct": 0.25, "rotary_emb_base": 10000, "hidden_act": "gelu_fast",
    "layer_norm_eps": 1e-5, "tie_word_embeddings": False,
}  # fmt: skip
MPT: dict[str, Any] = {
    "d_model": 64, "n_heads": 4, "n_layers": 2, "expansion_ratio": 4, "max_seq_len": 128, "vocab_size": 500,
    "no_bias": True, "attn_config": {"alibi": True},
}  # fmt: skip
EQUAL_BETAS = {
    "type": "yarn", "factor": 32.0, "beta_fast": 1.0, "beta_slow": 1.0, "mscale": 1.0, "mscale_all_dim": 1.0,
    "original_max_position_embeddings": 128,
}  # fmt: skip
ATTN_FACTOR = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64, "attn_factor": 0.88}

CASES: dict[str, tuple[int, str, str, dict[str, Any]]] = {
    "use_mrope": (138_304, "qwen2", "Qwen2ForCausalLM", {**BASE, "use_mrope": False}),
    "max_sequence_length": (138_048, "llama", "LlamaForCausalLM", {**BASE, "max_sequence_length": 256}),
    "custom_pipeline": (164_096, "gpt_neox", "GPTNeoXForCausalLM", {**NEOX, "custom_pipeline": {"a": {"impl": "b.C"}}}),
    "both-names": (122_752, "falcon", "FalconForCausalLM", {**FALCON, "n_head": 4, "n_layer": 2}),
    "qwen3-coder": (
        138_624,
        "qwen3_moe",
        "Qwen3MoeForCausalLM",
        {**EXPERTS, "qkv_bias": False, "use_qk_norm": True, "shared_expert_intermediate_size": 0},
    ),
    "every-second-layer": (138_368, "qwen3_moe", "Qwen3MoeForCausalLM", {**EXPERTS, "decoder_sparse_step": 2}),
    "equal-betas": (235_320, "deepseek_v3", "DeepseekV3ForCausalLM", {**DEEPSEEK, "rope_scaling": EQUAL_BETAS}),
    "attn_factor": (138_112, "qwen3", "Qwen3ForCausalLM", {**BASE, "head_dim": 16, "rope_scaling": ATTN_FACTOR}),
    "eps": (235_320, "deepseek_v3", "DeepseekV3ForCausalLM", {**DEEPSEEK, "rms_norm_eps": 1e-5}),
    "kimi_k2": (235_320, "kimi_k2", "DeepseekV3ForCausalLM", DEEPSEEK),
    "relu2": (138_048, "llama", "LlamaForCausalLM", {**BASE, "hidden_act": "relu2"}),
    "score": (106_112, "llama", "LlamaForSequenceClassification", {**BASE, "num_labels": 1, "id2label": {"0": "x"}}),
    "labels": (106_373, "llama", "LlamaForTokenClassification", {**BASE, "num_labels": 5}),
    "embeddings": (106_048, "llama", "LlamaModel", BASE),
    "mpt": (130_624, "mpt", "MPTForCausalLM", MPT),
}
"""The parameters, the type, the class and the keys."""


@pytest.mark.parametrize("name", CASES)
def test_counts(name: str, here: Here, tmp_path: Path) -> None:
    params, model_type, cls, keys = CASES[name]
    path = tmp_path / f"{name}.json"
    path.write_text(json.dumps({"model_type": model_type, "architectures": [cls], **keys}), encoding="utf-8")
    done = here("params", str(path), "--get", "models.0.total_params")
    assert (done.code, done.out.strip()) == (0, str(params)), done.err
    for command in (["estimate", str(path), "--seq-len", "64"], ["validate", str(path)]):
        assert here(*command).code == 0
    assert here("compare", str(path), "@max_len=128", "--seq-len", "64").code == 0


@pytest.mark.parametrize("name", CASES)
def test_counts_of_transformers(name: str) -> None:
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    params, model_type, cls, keys = CASES[name]
    theirs = {"kimi_k2": "deepseek_v3"}.get(model_type, model_type)
    labels = {"id2label": {0: "x"}} if "id2label" in keys else {}
    config = transformers.AutoConfig.for_model(theirs, **{**keys, **labels})
    with torch.device("meta"):
        model = getattr(transformers, cls.replace("MPT", "Mpt"))(config)
    assert sum(parameter.numel() for parameter in model.parameters()) == params

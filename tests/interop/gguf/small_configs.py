"""Small config.json files of the families that are exported to GGUF files, with the settings that llama.cpp has."""

from __future__ import annotations

from typing import Any

Keys = dict[str, Any]

VOCAB, LAYERS, MAX_LEN = 37, 3, 64
TOKENS = {"bos_token_id": None, "eos_token_id": None, "pad_token_id": None}

_USUAL: Keys = {
    "vocab_size": VOCAB,
    "hidden_size": 32,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 48,
    "max_position_embeddings": MAX_LEN,
    **TOKENS,
}
_MHA = {key: value for key, value in _USUAL.items() if key != "num_key_value_heads"}
_YARN = {
    "rope_type": "yarn",
    "factor": 4.0,
    "beta_fast": 16.0,
    "beta_slow": 2.0,
    "original_max_position_embeddings": 16,
}
_LLAMA3 = {
    "rope_type": "llama3",
    "factor": 4.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 3.0,
    "original_max_position_embeddings": 16,
}
_EXPERTS = {"num_experts": 6, "num_experts_per_tok": 2, "moe_intermediate_size": 24}
_GEMMA = {"head_dim": 16, "query_pre_attn_scalar": 16, "sliding_window": 6}
_SCALED = {
    "embedding_multiplier": 2.0,
    "logits_scaling": 3.0,
    "residual_multiplier": 0.5,
    "attention_multiplier": 0.3,
}
_MIXED = ["sliding_attention", "full_attention", "sliding_attention"]
_GPT2 = {"vocab_size": VOCAB, "n_embd": 32, "n_head": 4, "n_layer": LAYERS, "n_positions": MAX_LEN, **TOKENS}

CONFIGS: dict[str, Keys] = {
    "llama": _USUAL,
    "llama-biases": {**_USUAL, "attention_bias": True, "mlp_bias": True, "tie_word_embeddings": True, "head_dim": 16},
    "llama-llama3": {**_USUAL, "rope_scaling": _LLAMA3},
    "llama-yarn": {**_USUAL, "rope_scaling": _YARN},
    "llama-linear": {**_USUAL, "rope_scaling": {"rope_type": "linear", "factor": 3.0}},
    "mistral": {**_USUAL, "head_dim": 16, "sliding_window": MAX_LEN},
    "mixtral": {**_USUAL, "num_local_experts": 8, "num_experts_per_tok": 3, "head_dim": 16},
    "qwen2": _USUAL,
    "qwen2-tied": {**_USUAL, "tie_word_embeddings": True, "rope_scaling": _YARN},
    "qwen2_moe": {**_USUAL, **_EXPERTS, "shared_expert_intermediate_size": 40},
    "qwen3": {**_USUAL, "head_dim": 16},
    "qwen3_moe": {**_USUAL, **_EXPERTS, "head_dim": 16, "norm_topk_prob": True},
    "gemma": {**_USUAL, "head_dim": 16},
    "gemma2": {**_USUAL, **_GEMMA, "attn_logit_softcapping": 3.0, "final_logit_softcapping": 2.0},
    "gemma2-pattern": {**_USUAL, **_GEMMA, "layer_types": [*_MIXED[1:], "sliding_attention"]},
    "gemma3_text": {**_USUAL, **_GEMMA, "layer_types": _MIXED, "rope_theta": 1000.0, "rope_local_base_freq": 100.0},
    "gemma3_text-windows": {**_USUAL, **_GEMMA, "layer_types": ["sliding_attention"] * LAYERS},
    "gemma3_text-global": {**_USUAL, **_GEMMA, "layer_types": ["full_attention"] * LAYERS},
    "gemma3_text-linear": {
        **_USUAL,
        **_GEMMA,
        "layer_types": _MIXED,
        "rope_scaling": {"rope_type": "linear", "factor": 3.0},
    },
    "gpt2": _GPT2,
    "gpt2-untied": {**_GPT2, "n_inner": 40, "tie_word_embeddings": False},
    "gpt_neox": {**_MHA, "rotary_pct": 0.5},
    "gpt_neox-serial": {**_MHA, "use_parallel_residual": False},
    "bloom": {"vocab_size": VOCAB, "hidden_size": 32, "n_layer": LAYERS, "n_head": 4, **TOKENS},
    "phi": _USUAL,
    "phi3": {**_USUAL, "partial_rotary_factor": 0.5},
    "starcoder2": {**_USUAL, "sliding_window": None},
    "stablelm": _USUAL,
    "stablelm-parallel": {**_USUAL, "use_parallel_residual": True, "use_qkv_bias": True},
    "olmo": {**_USUAL, "clip_qkv": 1.0},
    "olmo2": _USUAL,
    "granite": {**_USUAL, **_SCALED, "tie_word_embeddings": True},
    "granitemoe": {**_USUAL, **_SCALED, "num_local_experts": 6, "num_experts_per_tok": 2},
    "cohere": {**_USUAL, "logit_scale": 0.5},
    "arcee": _USUAL,
    "glm4": {**_USUAL, "head_dim": 16, "attention_bias": False},
    "glm4-rotated": {**_USUAL, "head_dim": 16, "partial_rotary_factor": 1.0},
}
"""By family, with a name of the variant after a hyphen."""


def config_of(name: str) -> Keys:
    """Return a config.json."""
    return {**CONFIGS[name], "model_type": name.partition("-")[0]}

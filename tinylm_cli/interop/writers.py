"""What a family's config.json says beyond the keys that its table translates one by one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tinylm_cli.config.schema import ModelConfig

Keys = dict[str, Any]


def rope(config: ModelConfig) -> Keys:
    """Return the base of the rotation and how it stretches, in the form that every version of transformers reads."""
    position = config.position
    return {"rope_theta": position.theta, "rope_scaling": _scaling(config)}


def _scaling(config: ModelConfig) -> Keys | None:
    position = config.position
    if position.scaling == "none":
        return None
    keys: Keys = {"rope_type": position.scaling, "factor": position.scaling_factor}
    if position.scaling in ("llama3", "yarn", "longrope"):
        keys["original_max_position_embeddings"] = position.original_max_len
    if position.scaling == "llama3":
        keys |= {"low_freq_factor": position.low_freq_factor, "high_freq_factor": position.high_freq_factor}
    if position.scaling == "yarn":
        keys |= {"beta_fast": position.beta_fast, "beta_slow": position.beta_slow, "truncate": position.truncate}
    if position.scaling == "longrope":
        keys |= {"short_factor": list(position.short_factors or ()), "long_factor": list(position.long_factors or ())}
    if position.attention_factor is not None:
        keys["attention_factor"] = position.attention_factor
    return keys


def _partial_rope(config: ModelConfig) -> Keys:
    return {**rope(config), "partial_rotary_factor": config.position.rotary_fraction}


def _window(config: ModelConfig) -> Keys:
    return {"sliding_window": config.attention.window}


def _layer_types(config: ModelConfig) -> list[str]:
    local = (config.window(layer) is not None for layer in range(config.n_layers))
    return ["sliding_attention" if each else "full_attention" for each in local]


def _windows(config: ModelConfig) -> Keys:
    return {"sliding_window": config.attention.window, "layer_types": _layer_types(config)}


def _switched_windows(config: ModelConfig) -> Keys:
    """Return windows as Qwen has them: turned on by a key of their own, from some layer up."""
    if config.attention.window is None:
        return {"use_sliding_window": False}
    types = _layer_types(config)
    return {
        "use_sliding_window": True,
        "max_window_layers": types.index("sliding_attention"),
        **_windows(config),
    }


def _gpt2(config: ModelConfig) -> Keys:
    return {"n_inner": config.d_ff, "scale_attn_weights": config.attention.scale != 1}


def _gptj(config: ModelConfig) -> Keys:
    return {"n_inner": config.d_ff, "rotary_dim": int(config.d_head * config.position.rotary_fraction)}


def _gpt_neox(config: ModelConfig) -> Keys:
    return {
        "rotary_emb_base": config.position.theta,
        "rotary_pct": config.position.rotary_fraction,
        "rope_scaling": _scaling(config),
    }


def _opt(config: ModelConfig) -> Keys:
    return {"word_embed_proj_dim": config.d_model, "do_layer_norm_before": True}


def _falcon(config: ModelConfig) -> Keys:
    new = config.block.parallel and (not config.block.shared_norm or config.n_kv_heads not in (1, config.n_heads))
    return {
        **rope(config),
        "alibi": False,
        "ffn_hidden_size": config.d_ff,
        "new_decoder_architecture": new,
        "parallel_attn": config.block.parallel,
        "multi_query": config.n_kv_heads == 1 and not new,
        "num_kv_heads": config.n_kv_heads,
        "num_ln_in_parallel_attn": (1 if config.block.shared_norm else 2) if new else None,
    }


def _gemma(config: ModelConfig) -> Keys:
    return {"hidden_act": "gelu_pytorch_tanh", "hidden_activation": "gelu_pytorch_tanh", **rope(config)}


def _query_scale(config: ModelConfig) -> Keys:
    scale = config.attention.scale
    return {"query_pre_attn_scalar": config.d_head if scale is None else round(scale**-2)}


def _gemma2(config: ModelConfig) -> Keys:
    return {**_query_scale(config), **rope(config), **_windows(config)}


def _gemma3(config: ModelConfig) -> Keys:
    local = config.position.local_theta
    return {**_gemma2(config), "rope_local_base_freq": config.position.theta if local is None else local}


def _stablelm(config: ModelConfig) -> Keys:
    return {**_partial_rope(config), "use_parallel_residual": config.block.parallel}


def _qwen3_moe(config: ModelConfig) -> Keys:
    dense = list(range(config.feed_forward.n_dense_layers))
    windowed = {"use_sliding_window": config.attention.window is not None, **_window(config)}
    return {
        **rope(config),
        **windowed,
        "num_experts": config.feed_forward.n_experts,
        "mlp_only_layers": dense,
        "decoder_sparse_step": 1,
    }


def _phi3(config: ModelConfig) -> Keys:
    keys = {**_partial_rope(config), **_window(config)}
    if config.position.original_max_len is not None:
        keys["original_max_position_embeddings"] = config.position.original_max_len
    return keys


def _deepseek(config: ModelConfig) -> Keys:
    feed_forward = config.feed_forward
    return {
        **rope(config),
        "num_key_value_heads": config.n_heads,
        "first_k_dense_replace": feed_forward.n_dense_layers,
        "n_group": feed_forward.n_groups,
        "topk_group": feed_forward.top_k_groups,
        "moe_layer_freq": 1,
    }


def _deepseek_v2(config: ModelConfig) -> Keys:
    method = "greedy" if config.feed_forward.n_groups == 1 else "group_limited_greedy"
    return {**_deepseek(config), "topk_method": method}


def _deepseek_v3(config: ModelConfig) -> Keys:
    return {**_deepseek(config), "rope_interleave": config.position.pairing == "adjacent"}


def _gpt_oss(config: ModelConfig) -> Keys:
    return {**rope(config), **_windows(config)}


WRITERS: dict[str, Callable[[ModelConfig], Keys]] = {
    "gpt2": _gpt2,
    "llama": rope,
    "mistral": lambda config: {**rope(config), **_window(config)},
    "qwen2": lambda config: {**rope(config), **_switched_windows(config)},
    "qwen3": lambda config: {**rope(config), **_switched_windows(config)},
    "gemma": _gemma,
    "gemma2": _gemma2,
    "gemma3_text": _gemma3,
    "mixtral": lambda config: {**rope(config), **_window(config)},
    "qwen3_moe": _qwen3_moe,
    "olmo": rope,
    "olmo2": rope,
    "olmoe": rope,
    "gpt_neox": _gpt_neox,
    "gptj": _gptj,
    "opt": _opt,
    "bloom": lambda _: {},
    "falcon": _falcon,
    "phi": lambda config: {**_partial_rope(config), "qk_layernorm": config.attention.qk_norm == "per_head"},
    "phi3": _phi3,
    "starcoder2": lambda config: {**rope(config), **_window(config)},
    "stablelm": _stablelm,
    "deepseek_v2": _deepseek_v2,
    "deepseek_v3": _deepseek_v3,
    "gpt_oss": _gpt_oss,
}
"""What each family that a model can be exported as needs to be told, the family tried first first."""

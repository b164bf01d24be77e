"""The metadata that the converters of llama.cpp write for each family, from the keys of transformers.

References:
    ``set_gguf_parameters`` of the classes in ``conversion/`` of https://github.com/ggml-org/llama.cpp
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from gguf import GGUFWriter
from gguf.constants import ExpertGatingFuncType, RopeScalingType


def add_metadata(writer: GGUFWriter, keys: Mapping[str, Any]) -> None:
    """Add the metadata of the converter of a family."""
    writer.add_name("Test")
    writer.add_token_list([f"token {index}" for index in range(keys["vocab_size"])])
    _OWN.get(keys["model_type"], _base)(writer, keys)


def first(keys: Mapping[str, Any], *names: str) -> Any:
    return next((keys[name] for name in names if keys.get(name) is not None), None)


def _base(writer: GGUFWriter, keys: Mapping[str, Any]) -> None:
    """Add what ``TextModel.set_gguf_parameters`` adds."""
    for add, names in (
        (writer.add_block_count, ("n_layers", "num_hidden_layers", "n_layer", "num_layers")),
        (writer.add_context_length, ("max_position_embeddings", "n_ctx", "n_positions")),
        (writer.add_embedding_length, ("hidden_size", "n_embd")),
        (writer.add_feed_forward_length, ("intermediate_size", "n_inner")),
        (writer.add_head_count, ("num_attention_heads", "n_head", "n_heads")),
        (writer.add_head_count_kv, ("num_key_value_heads",)),
        (writer.add_layer_norm_rms_eps, ("rms_norm_eps", "norm_eps")),
        (writer.add_layer_norm_eps, ("layer_norm_eps", "layer_norm_epsilon", "norm_epsilon")),
        (writer.add_expert_count, ("num_local_experts", "num_experts")),
        (writer.add_expert_used_count, ("num_experts_per_tok",)),
    ):
        value = first(keys, *names)
        if value is not None:
            add(value)
    _add_rope(writer, keys)
    if keys.get("head_dim") is not None and not keys["model_type"].startswith("granite"):
        writer.add_key_length(keys["head_dim"])
        writer.add_value_length(keys["head_dim"])
    if keys["model_type"] in _OWN_ADDITIONS:
        _OWN_ADDITIONS[keys["model_type"]](writer, keys)


def rope_of(keys: Mapping[str, Any]) -> Mapping[str, Any]:
    parameters = keys.get("rope_parameters") or {}
    full: Mapping[str, Any] = parameters.get("full_attention", parameters)
    return full


def _add_rope(writer: GGUFWriter, keys: Mapping[str, Any]) -> None:
    rope = rope_of(keys)
    kind = rope.get("rope_type")
    if kind == "linear":
        writer.add_rope_scaling_type(RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(rope["factor"])
    elif kind == "yarn":
        writer.add_rope_scaling_type(RopeScalingType.YARN)
        writer.add_rope_scaling_factor(rope["factor"])
        writer.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])
        for add, name in (
            (writer.add_rope_scaling_yarn_attn_factor, "attention_factor"),
            (writer.add_rope_scaling_yarn_beta_fast, "beta_fast"),
            (writer.add_rope_scaling_yarn_beta_slow, "beta_slow"),
        ):
            if rope.get(name) is not None:
                add(rope[name])
    elif kind == "longrope":
        writer.add_rope_scaling_type(RopeScalingType.LONGROPE)
    if rope.get("rope_theta") is not None:
        writer.add_rope_freq_base(rope["rope_theta"])
    local = (keys.get("rope_parameters") or {}).get("sliding_attention") or {}
    if local.get("rope_theta") is not None:
        writer.add_float32(f"{writer.arch}.rope.freq_base_swa", local["rope_theta"])


def _rotated(keys: Mapping[str, Any], default: float = 1.0) -> int:
    d_head = keys.get("head_dim") or keys["hidden_size"] // keys["num_attention_heads"]
    return int(rope_of(keys).get("partial_rotary_factor", default) * d_head)


def _llama(writer: GGUFWriter, keys: Mapping[str, Any]) -> None:
    writer.add_vocab_size(keys["vocab_size"])
    writer.add_rope_dimension_count(_rotated(keys))


def _shared_experts(writer: GGUFWriter, keys: Mapping[str, Any]) -> None:
    writer.add_expert_feed_forward_length(keys["moe_intermediate_size"])
    if keys.get("shared_expert_intermediate_size") is not None:
        writer.add_expert_shared_feed_forward_length(keys["shared_expert_intermediate_size"])


def _gemma2(writer: GGUFWriter, keys: Mapping[str, Any]) -> None:
    writer.add_attn_logit_softcapping(keys["attn_logit_softcapping"] or 0.0)
    writer.add_final_logit_softcapping(keys["final_logit_softcapping"] or 0.0)
    writer.add_sliding_window(keys["sliding_window"])


def _gemma3(writer: GGUFWriter, keys: Mapping[str, Any]) -> None:
    if keys.get("final_logit_softcapping"):
        writer.add_final_logit_softcapping(keys["final_logit_softcapping"])
    writer.add_sliding_window(keys["sliding_window"])


def _granite(writer: GGUFWriter, keys: Mapping[str, Any]) -> None:
    _llama(writer, keys)
    writer.add_attention_scale(keys["attention_multiplier"])
    writer.add_embedding_scale(keys["embedding_multiplier"])
    writer.add_residual_scale(keys["residual_multiplier"])
    writer.add_logit_scale(keys["logits_scaling"])
    if keys.get("shared_intermediate_size"):
        writer.add_expert_shared_feed_forward_length(keys["shared_intermediate_size"])


def _cohere(writer: GGUFWriter, keys: Mapping[str, Any]) -> None:
    writer.add_logit_scale(keys["logit_scale"])
    writer.add_rope_scaling_type(RopeScalingType.NONE)
    if keys["model_type"] == "cohere2":
        writer.add_sliding_window(keys["sliding_window"])
        writer.add_vocab_size(keys["vocab_size"])
        writer.add_rope_dimension_count(_rotated(keys))


def _olmo(writer: GGUFWriter, keys: Mapping[str, Any]) -> None:
    writer.add_layer_norm_eps(1e-5)
    if keys.get("clip_qkv") is not None:
        writer.add_clamp_kqv(keys["clip_qkv"])


def _olmo3(writer: GGUFWriter, keys: Mapping[str, Any]) -> None:
    writer.add_sliding_window(keys["sliding_window"])
    writer.add_sliding_window_pattern([kind == "sliding_attention" for kind in keys["layer_types"]])


def _gpt_oss(writer: GGUFWriter, keys: Mapping[str, Any]) -> None:
    writer.add_sliding_window(keys["sliding_window"])
    writer.add_expert_feed_forward_length(keys["intermediate_size"])


def _glm4(writer: GGUFWriter, keys: Mapping[str, Any]) -> None:
    writer.add_rope_dimension_count(_rotated(keys, 0.5))


def _stablelm(writer: GGUFWriter, keys: Mapping[str, Any]) -> None:
    writer.add_rope_dimension_count(_rotated(keys, 0.25))
    writer.add_parallel_residual(keys["use_parallel_residual"])


def _neox(writer: GGUFWriter, keys: Mapping[str, Any]) -> None:
    writer.add_rope_dimension_count(_rotated(keys, 0.25))
    writer.add_parallel_residual(keys["use_parallel_residual"])


def _gpt2(writer: GGUFWriter, keys: Mapping[str, Any]) -> None:
    writer.add_feed_forward_length(keys["n_inner"] or 4 * keys["n_embd"])


def _phi(writer: GGUFWriter, keys: Mapping[str, Any]) -> None:
    writer.add_context_length(keys["max_position_embeddings"])
    writer.add_embedding_length(keys["hidden_size"])
    writer.add_feed_forward_length(4 * keys["hidden_size"])
    writer.add_block_count(keys["num_hidden_layers"])
    writer.add_head_count(keys["num_attention_heads"])
    writer.add_head_count_kv(keys["num_attention_heads"])
    writer.add_layer_norm_eps(keys["layer_norm_eps"])
    writer.add_rope_dimension_count(_rotated(keys, 0.5))


def _phi3(writer: GGUFWriter, keys: Mapping[str, Any]) -> None:
    rope = rope_of(keys)
    original = first(keys, "original_max_position_embeddings") or keys["max_position_embeddings"]
    writer.add_context_length(keys["max_position_embeddings"])
    writer.add_rope_scaling_orig_ctx_len(original)
    writer.add_embedding_length(keys["hidden_size"])
    writer.add_feed_forward_length(keys["intermediate_size"])
    writer.add_block_count(keys["num_hidden_layers"])
    writer.add_head_count(keys["num_attention_heads"])
    writer.add_head_count_kv(keys["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(keys["rms_norm_eps"])
    writer.add_rope_dimension_count(_rotated(keys))
    writer.add_rope_freq_base(rope["rope_theta"])
    writer.add_sliding_window(keys["sliding_window"] or 0)
    if rope.get("long_factor"):
        scale = keys["max_position_embeddings"] / original
        writer.add_rope_scaling_attn_factors(math.sqrt(1 + math.log(scale) / math.log(original)) if scale > 1 else 1.0)


def _falcon(writer: GGUFWriter, keys: Mapping[str, Any]) -> None:
    writer.add_context_length(2048)
    writer.add_tensor_data_layout("jploski")
    writer.add_embedding_length(keys["hidden_size"])
    writer.add_feed_forward_length(4 * keys["hidden_size"])
    writer.add_block_count(keys["num_hidden_layers"])
    writer.add_head_count(keys["num_attention_heads"])
    writer.add_head_count_kv(
        1 if keys["multi_query"] and not keys["new_decoder_architecture"] else keys["num_kv_heads"]
    )
    writer.add_layer_norm_eps(keys["layer_norm_epsilon"])


def _bloom(writer: GGUFWriter, keys: Mapping[str, Any]) -> None:
    writer.add_context_length(keys.get("seq_length", keys["hidden_size"]))
    writer.add_embedding_length(keys["hidden_size"])
    writer.add_feed_forward_length(4 * keys["hidden_size"])
    writer.add_block_count(keys["n_layer"])
    writer.add_head_count(keys["n_head"])
    writer.add_head_count_kv(keys["n_head"])
    writer.add_layer_norm_eps(keys["layer_norm_epsilon"])


def _mpt(writer: GGUFWriter, keys: Mapping[str, Any]) -> None:
    attention = keys["attn_config"]
    writer.add_context_length(keys["max_seq_len"])
    writer.add_embedding_length(keys["d_model"])
    writer.add_block_count(keys["n_layers"])
    writer.add_feed_forward_length(4 * keys["d_model"])
    writer.add_head_count(keys["n_heads"])
    writer.add_layer_norm_eps(1e-5)
    if attention["clip_qkv"] is not None:
        writer.add_clamp_kqv(attention["clip_qkv"])
    writer.add_max_alibi_bias(attention["alibi_bias_max"] if attention["alibi"] else 0.0)


def _mamba(writer: GGUFWriter, keys: Mapping[str, Any]) -> None:
    d_model = keys["hidden_size"]
    writer.add_context_length(2**20)
    writer.add_embedding_length(d_model)
    writer.add_feed_forward_length(0)
    writer.add_head_count(0)
    writer.add_block_count(keys["num_hidden_layers"])
    writer.add_ssm_conv_kernel(keys["conv_kernel"])
    writer.add_ssm_state_size(keys["state_size"])
    writer.add_layer_norm_rms_eps(keys["layer_norm_epsilon"])
    if keys["model_type"] == "mamba2":
        writer.add_ssm_inner_size(keys["num_heads"] * keys["head_dim"])
        writer.add_ssm_time_step_rank(keys["num_heads"])
        writer.add_ssm_group_count(keys["n_groups"])
    else:
        writer.add_ssm_inner_size(keys["intermediate_size"])
        writer.add_ssm_time_step_rank(keys["time_step_rank"])
        writer.add_ssm_dt_b_c_rms(keys["model_type"] == "falcon_mamba")


def _lfm2(writer: GGUFWriter, keys: Mapping[str, Any]) -> None:
    kinds = keys["layer_types"]
    own = {**keys, "num_key_value_heads": [0 if kind == "conv" else keys["num_key_value_heads"] for kind in kinds]}
    _base(writer, {**own, "model_type": "without additions"})
    writer.add_vocab_size(keys["vocab_size"])
    writer.add_shortconv_l_cache(keys["conv_L_cache"])
    writer.add_feed_forward_length(_lfm2_d_ff(keys))


def _lfm2_d_ff(keys: Mapping[str, Any]) -> int:
    d_ff, multiple = keys["intermediate_size"], keys["block_multiple_of"]
    if keys["block_auto_adjust_ff_dim"]:
        d_ff = int(keys["block_ffn_dim_multiplier"] * int(2 * d_ff / 3))
        d_ff = multiple * ((d_ff + multiple - 1) // multiple)
    return int(d_ff)


def _starcoder(writer: GGUFWriter, keys: Mapping[str, Any]) -> None:
    writer.add_context_length(keys["n_positions"])
    writer.add_embedding_length(keys["n_embd"])
    writer.add_feed_forward_length(4 * keys["n_embd"])
    writer.add_block_count(keys["n_layer"])
    writer.add_head_count(keys["n_head"])
    writer.add_head_count_kv(1)
    writer.add_layer_norm_eps(keys["layer_norm_epsilon"])


def _exaone4(writer: GGUFWriter, keys: Mapping[str, Any]) -> None:
    writer.add_vocab_size(keys["vocab_size"])
    if keys.get("sliding_window") is not None:
        writer.add_sliding_window(keys["sliding_window"])
        writer.add_sliding_window_pattern([kind == "sliding_attention" for kind in keys["layer_types"]])


def _nemotron(writer: GGUFWriter, keys: Mapping[str, Any]) -> None:
    writer.add_vocab_size(keys["vocab_size"])
    writer.add_layer_norm_eps(keys["norm_eps"])
    rotated = int(rope_of(keys)["partial_rotary_factor"] * keys["hidden_size"]) // keys["num_attention_heads"]
    writer.add_rope_dimension_count(rotated)
    factor = rope_of(keys).get("factor")
    writer.add_rope_scaling_type(RopeScalingType.NONE if factor is None else RopeScalingType.LINEAR)
    if factor is not None:
        writer.add_rope_scaling_factor(factor)


def _routed_experts(writer: GGUFWriter, keys: Mapping[str, Any]) -> None:
    writer.add_rope_dimension_count(_rotated(keys, 0.5))
    writer.add_expert_count(keys["n_routed_experts"])
    writer.add_expert_feed_forward_length(keys["moe_intermediate_size"])
    writer.add_expert_shared_count(keys["n_shared_experts"])
    writer.add_expert_group_count(keys["n_group"])
    writer.add_expert_group_used_count(keys["topk_group"])
    writer.add_leading_dense_block_count(keys["first_k_dense_replace"])
    writer.add_expert_gating_func(ExpertGatingFuncType.SIGMOID)
    writer.add_expert_weights_scale(keys["routed_scaling_factor"])
    writer.add_expert_weights_norm(keys["norm_topk_prob"])


def _deepseek(writer: GGUFWriter, keys: Mapping[str, Any]) -> None:
    _base(writer, {**keys, "num_key_value_heads": 1, "head_dim": None, "model_type": "without additions"})
    writer.add_leading_dense_block_count(keys["first_k_dense_replace"])
    writer.add_vocab_size(keys["vocab_size"])
    if keys.get("q_lora_rank") is not None:
        writer.add_q_lora_rank(keys["q_lora_rank"])
    writer.add_kv_lora_rank(keys["kv_lora_rank"])
    writer.add_key_length(keys["kv_lora_rank"] + keys["qk_rope_head_dim"])
    writer.add_value_length(keys["kv_lora_rank"])
    writer.add_key_length_mla(keys["qk_nope_head_dim"] + keys["qk_rope_head_dim"])
    writer.add_value_length_mla(keys["v_head_dim"])
    writer.add_expert_feed_forward_length(keys["moe_intermediate_size"])
    writer.add_expert_count(keys["n_routed_experts"])
    writer.add_expert_shared_count(keys["n_shared_experts"])
    writer.add_expert_group_count(keys["n_group"])
    writer.add_expert_group_used_count(keys["topk_group"])
    is_v3 = keys["model_type"] == "deepseek_v3"
    writer.add_expert_gating_func(ExpertGatingFuncType.SIGMOID if is_v3 else ExpertGatingFuncType.SOFTMAX)
    writer.add_expert_weights_scale(keys["routed_scaling_factor"])
    if keys.get("norm_topk_prob"):
        writer.add_expert_weights_norm(keys["norm_topk_prob"])
    writer.add_rope_dimension_count(keys["qk_rope_head_dim"])
    if rope_of(keys).get("mscale_all_dim") is not None:
        writer.add_rope_scaling_yarn_log_mul(0.1 * rope_of(keys)["mscale_all_dim"])


def _lfm2_moe(writer: GGUFWriter, keys: Mapping[str, Any]) -> None:
    kinds = keys["layer_types"]
    own = {**keys, "num_key_value_heads": [0 if kind == "conv" else keys["num_key_value_heads"] for kind in kinds]}
    _base(writer, {**own, "model_type": "without additions"})
    writer.add_expert_feed_forward_length(keys["moe_intermediate_size"])
    writer.add_leading_dense_block_count(keys["num_dense_layers"])
    writer.add_expert_gating_func(ExpertGatingFuncType.SIGMOID)
    writer.add_vocab_size(keys["vocab_size"])
    writer.add_shortconv_l_cache(keys["conv_L_cache"])


def _jamba(writer: GGUFWriter, keys: Mapping[str, Any]) -> None:
    period, offset = keys["attn_layer_period"], keys["attn_layer_offset"]
    attends = (layer % period == offset for layer in range(keys["num_hidden_layers"]))
    writer.add_block_count(keys["num_hidden_layers"])
    writer.add_context_length(keys["max_position_embeddings"])
    writer.add_embedding_length(keys["hidden_size"])
    writer.add_feed_forward_length(keys["intermediate_size"])
    writer.add_head_count(keys["num_attention_heads"])
    writer.add_head_count_kv([keys["num_key_value_heads"] if each else 0 for each in attends])
    writer.add_ssm_conv_kernel(keys["mamba_d_conv"])
    writer.add_ssm_inner_size(keys["mamba_expand"] * keys["hidden_size"])
    writer.add_ssm_state_size(keys["mamba_d_state"])
    writer.add_ssm_time_step_rank(keys["mamba_dt_rank"])
    writer.add_layer_norm_rms_eps(keys["rms_norm_eps"])
    writer.add_expert_count(keys["num_experts"])
    writer.add_expert_used_count(keys["num_experts_per_tok"])


_OWN: Mapping[str, Callable[[GGUFWriter, Mapping[str, Any]], None]] = {
    "bloom": _bloom,
    "deepseek_v2": _deepseek,
    "deepseek_v3": _deepseek,
    "falcon": _falcon,
    "falcon_mamba": _mamba,
    "gpt_bigcode": _starcoder,
    "jamba": _jamba,
    "lfm2": _lfm2,
    "lfm2_moe": _lfm2_moe,
    "mamba": _mamba,
    "mamba2": _mamba,
    "mpt": _mpt,
    "phi": _phi,
    "phi3": _phi3,
}
"""The functions of converters that do not use the common one."""

_OWN_ADDITIONS: Mapping[str, Callable[[GGUFWriter, Mapping[str, Any]], None]] = {
    "arcee": _llama,
    "cohere": _cohere,
    "cohere2": _cohere,
    "exaone4": _exaone4,
    "gemma2": _gemma2,
    "gemma3_text": _gemma3,
    "glm4": _glm4,
    "glm4_moe": _routed_experts,
    "gpt2": _gpt2,
    "gpt_neox": _neox,
    "gpt_oss": _gpt_oss,
    "granite": _granite,
    "granitemoe": _granite,
    "granitemoeshared": _granite,
    "llama": _llama,
    "mistral": _llama,
    "mixtral": _llama,
    "nemotron": _nemotron,
    "olmo": _olmo,
    "olmo3": _olmo3,
    "qwen2_moe": _shared_experts,
    "qwen3_moe": _shared_experts,
    "smollm3": _llama,
    "stablelm": _stablelm,
}

"""Small random configs of every family, in transformers' own words."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import combinations, permutations, product
from random import Random
from typing import Any

Keys = dict[str, Any]
Draw = Callable[[Iterable[Any]], Any]
"""Returns one of several values."""

VOCAB = 37
MAX_LEN = 32
WINDOW = 5


def one_of(*values: Any) -> Sequence[Any]:
    return values


def sizes(draw: Draw) -> Keys:
    """Draw what nearly all families call alike."""
    groups, heads_each, width = draw(one_of(1, 2)), draw(one_of(1, 2)), draw(one_of(4, 8))
    heads = groups * heads_each
    return {
        "vocab_size": VOCAB,
        "hidden_size": heads * width,
        "num_attention_heads": heads,
        "num_key_value_heads": groups,
        "num_hidden_layers": draw(one_of(1, 2, 3)),
        "intermediate_size": draw(one_of(12, 24)),
        "max_position_embeddings": MAX_LEN,
        "tie_word_embeddings": draw(one_of(False, True)),
        "bos_token_id": None,
        "eos_token_id": None,
        "pad_token_id": None,
    }


def alike_heads(draw: Draw) -> Keys:
    keys = sizes(draw)
    del keys["num_key_value_heads"]
    return keys


def rms(draw: Draw) -> Keys:
    return {"rms_norm_eps": draw(one_of(1e-6, 1e-5, 1e-2))}


def scaling(draw: Draw, *, dynamic: bool = False) -> Keys:
    """Draw a way to stretch rotation, or none."""
    theta = draw(one_of(100.0, 10_000.0))
    kinds: list[Keys] = [
        {"rope_type": "default"},
        {"rope_type": "linear", "factor": 3.0},
        {
            "rope_type": "llama3",
            "factor": 4.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 3.0,
            "original_max_position_embeddings": 16,
        },
        {
            "rope_type": "yarn",
            "factor": 4.0,
            "beta_fast": 16.0,
            "beta_slow": 2.0,
            "original_max_position_embeddings": 16,
        },
    ]
    if dynamic:
        kinds.append({"rope_type": "dynamic", "factor": 2.0})
    return {"rope_parameters": {**draw(one_of(*kinds)), "rope_theta": theta}}


def gpt2(draw: Draw) -> Keys:
    heads = draw(one_of(1, 2, 4))
    return {
        "vocab_size": VOCAB,
        "n_embd": heads * draw(one_of(4, 6)),
        "n_head": heads,
        "n_layer": draw(one_of(1, 2)),
        "n_positions": MAX_LEN,
        "n_inner": draw(one_of(None, 20)),
        "activation_function": draw(one_of("gelu_new", "gelu", "relu", "silu", "quick_gelu")),
        "scale_attn_weights": draw(one_of(False, True)),
        "layer_norm_epsilon": draw(one_of(1e-5, 1e-2)),
        "tie_word_embeddings": draw(one_of(False, True)),
        "bos_token_id": None,
        "eos_token_id": None,
    }


def gptj(draw: Draw) -> Keys:
    keys = gpt2(draw) | {"rotary_dim": draw(one_of(2, 4)), "tie_word_embeddings": False, "scale_attn_weights": True}
    return keys | {"n_embd": keys["n_head"] * 8}


def gpt_neox(draw: Draw) -> Keys:
    fraction = draw(one_of(0.5, 1.0))
    keys = {"use_parallel_residual": draw(one_of(False, True)), "attention_bias": draw(one_of(False, True))}
    stretched = scaling(draw)
    stretched["rope_parameters"]["partial_rotary_factor"] = fraction
    return alike_heads(draw) | keys | stretched


def opt(draw: Draw) -> Keys:
    keys = alike_heads(draw) | {"do_layer_norm_before": draw(one_of(True, False))}
    return keys | {"ffn_dim": keys.pop("intermediate_size"), "word_embed_proj_dim": keys["hidden_size"]}


def openai_gpt(draw: Draw) -> Keys:
    keys = gpt2(draw)
    for name in ("n_inner", "activation_function", "scale_attn_weights"):
        del keys[name]
    return keys | {"afn": draw(one_of("gelu", "relu", "swish"))}


def bert_generation(draw: Draw) -> Keys:
    activation = {"hidden_act": draw(one_of("gelu", "relu")), "layer_norm_eps": draw(one_of(1e-12, 1e-2))}
    return alike_heads(draw) | activation | {"is_decoder": True, "tie_word_embeddings": True}


def bloom(draw: Draw) -> Keys:
    heads = draw(one_of(1, 2, 3, 4, 6))
    return {
        "vocab_size": VOCAB,
        "hidden_size": heads * 4,
        "n_head": heads,
        "n_layer": draw(one_of(1, 2)),
        "apply_residual_connection_post_layernorm": draw(one_of(False, True)),
        "seq_length": MAX_LEN,
        "bos_token_id": None,
        "eos_token_id": None,
        "pad_token_id": None,
    }


def falcon(draw: Draw) -> Keys:
    keys = sizes(draw)
    groups = keys.pop("num_key_value_heads")
    keys |= {"ffn_hidden_size": keys.pop("intermediate_size"), "bias": draw(one_of(False, True)), "alibi": False}
    if draw(one_of(False, True)):
        return keys | {
            "new_decoder_architecture": True,
            "num_kv_heads": groups,
            "num_ln_in_parallel_attn": draw(one_of(1, 2)),
        }
    return keys | {"multi_query": draw(one_of(False, True)), "parallel_attn": draw(one_of(False, True))}


def llama(draw: Draw) -> Keys:
    biases = {"attention_bias": draw(one_of(False, True)), "mlp_bias": draw(one_of(False, True))}
    return sizes(draw) | rms(draw) | scaling(draw, dynamic=True) | biases | {"head_dim": draw(one_of(None, 6))}


def mistral(draw: Draw) -> Keys:
    return sizes(draw) | rms(draw) | scaling(draw) | {"sliding_window": draw(one_of(None, WINDOW))}


def mixtral(draw: Draw) -> Keys:
    keys = mistral(draw) | {"num_local_experts": draw(one_of(2, 4)), "num_experts_per_tok": draw(one_of(1, 2))}
    # without it, some versions of transformers multiply None when they stretch the rotation
    return keys | {"head_dim": keys["hidden_size"] // keys["num_attention_heads"]}


def qwen2(draw: Draw) -> Keys:
    windows = {"use_sliding_window": draw(one_of(False, True)), "sliding_window": WINDOW, "max_window_layers": 1}
    return sizes(draw) | rms(draw) | scaling(draw) | windows


def qwen3(draw: Draw) -> Keys:
    return qwen2(draw) | {"head_dim": draw(one_of(4, 8)), "attention_bias": draw(one_of(False, True))}


def qwen3_moe(draw: Draw) -> Keys:
    return (
        sizes(draw)
        | rms(draw)
        | {
            "head_dim": 8,
            "num_experts": 4,
            "num_experts_per_tok": draw(one_of(1, 2, 4)),
            "moe_intermediate_size": 10,
            "norm_topk_prob": draw(one_of(False, True)),
            "mlp_only_layers": list(draw([*combinations(range(3), 1), *combinations(range(3), 2), ()])),
            "decoder_sparse_step": draw(one_of(1, 2)),
        }
    )


def qwen2_moe(draw: Draw) -> Keys:
    experts = qwen3_moe(draw) | {"qkv_bias": draw(one_of(False, True))}
    windows: Keys = {"use_sliding_window": draw(one_of(False, True)), "sliding_window": WINDOW, "max_window_layers": 2}
    del experts["head_dim"]
    return experts | windows | scaling(draw) | {"shared_expert_intermediate_size": draw(one_of(10, 12, 20))}


def qwen3_next(draw: Draw) -> Keys:
    keys = qwen3_moe(draw) | scaling(draw) | {"attention_bias": draw(one_of(False, True))}
    keys["rope_parameters"]["partial_rotary_factor"] = draw(one_of(0.5, 1.0))
    return keys | linear_attention(draw) | {"shared_expert_intermediate_size": draw(one_of(10, 12))}


def qwen3_5_text(draw: Draw) -> Keys:
    keys = sizes(draw) | rms(draw) | scaling(draw) | {"attention_bias": draw(one_of(False, True)), "head_dim": 8}
    keys["rope_parameters"]["partial_rotary_factor"] = draw(one_of(0.5, 1.0))
    return keys | linear_attention(draw)


def qwen3_5_moe_text(draw: Draw) -> Keys:
    experts = {"num_experts": 4, "num_experts_per_tok": draw(one_of(1, 2)), "moe_intermediate_size": 10}
    keys = qwen3_5_text(draw) | experts | {"shared_expert_intermediate_size": draw(one_of(10, 12))}
    del keys["intermediate_size"]
    return keys


def olmo_hybrid(draw: Draw) -> Keys:
    keys = (
        sizes(draw) | rms(draw) | scaling(draw) | {"attention_bias": draw(one_of(False, True))} | linear_attention(draw)
    )
    if draw(one_of(False, True)):
        keys["rope_parameters"] = {"rope_type": "default", "rope_theta": None}
    if keys["num_hidden_layers"] == 1:
        keys |= {"num_hidden_layers": 2, "layer_types": ["linear_attention", "full_attention"]}
    return keys | {"linear_allow_neg_eigval": draw(one_of(False, True))}


def linear_attention(draw: Draw) -> Keys:
    """Draw the keys of gated DeltaNet, and an order of layers."""
    linear, full = ["linear_attention"], ["full_attention"]  # without attention, theirs has no cached decoding
    types = draw(one_of(full, linear + full, full + linear, linear * 2 + full, linear + full + linear))
    heads = draw(one_of(1, 2))
    return {
        "num_hidden_layers": len(types),
        "layer_types": types,
        "linear_conv_kernel_dim": draw(one_of(2, 4)),
        "linear_key_head_dim": draw(one_of(3, 4)),
        "linear_value_head_dim": draw(one_of(4, 5)),
        "linear_num_key_heads": heads,
        "linear_num_value_heads": heads * draw(one_of(1, 2)),
    }


def olmo(draw: Draw) -> Keys:
    return sizes(draw) | {"attention_bias": draw(one_of(False, True)), "clip_qkv": draw(one_of(None, 0.3))}


def olmo2(draw: Draw) -> Keys:
    return sizes(draw) | rms(draw) | scaling(draw) | {"attention_bias": draw(one_of(False, True))}


def olmoe(draw: Draw) -> Keys:
    moe = {"num_experts": 4, "num_experts_per_tok": 2, "norm_topk_prob": draw(one_of(False, True))}
    moe["clip_qkv"] = draw(one_of(None, 0.3))
    return sizes(draw) | rms(draw) | moe


def gemma(draw: Draw) -> Keys:
    return sizes(draw) | rms(draw) | {"head_dim": draw(one_of(4, 10)), "attention_bias": draw(one_of(False, True))}


def gemma2(draw: Draw) -> Keys:
    return (
        gemma(draw)
        | {
            "sliding_window": WINDOW,
            "query_pre_attn_scalar": draw(one_of(4, 9)),
            "attn_logit_softcapping": draw(one_of(None, 2.0)),
            "final_logit_softcapping": draw(one_of(None, 5.0)),
        }
        | _windowless(draw)
    )


def _windowless(draw: Draw) -> Keys:
    """Return what takes the windows away, or nothing."""
    return {"layer_types": ["full_attention"] * 2, "num_hidden_layers": 2} if draw(one_of(False, True)) else {}


def gemma3_text(draw: Draw) -> Keys:
    layers = draw(one_of(2, 6, 7))
    rope = {
        "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6},
        "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
    }
    keys = gemma(draw) | {"num_hidden_layers": layers, "sliding_window": WINDOW, "query_pre_attn_scalar": 7}
    caps = {"attn_logit_softcapping": draw(one_of(None, 2.0)), "final_logit_softcapping": draw(one_of(None, 5.0))}
    return keys | {"rope_parameters": rope} | caps


def olmo3(draw: Draw) -> Keys:
    keys = olmo2(draw) | {"num_hidden_layers": draw(one_of(2, 5)), "sliding_window": WINDOW}
    full = keys.pop("rope_parameters")
    local = {"rope_type": "default", "rope_theta": draw(one_of(full["rope_theta"], 1e5))}
    return keys | {"rope_parameters": {"full_attention": full, "sliding_attention": local}} | _windowless(draw)


def phi(draw: Draw) -> Keys:
    keys = sizes(draw) | {"qk_layernorm": draw(one_of(False, True)), "tie_word_embeddings": False}
    return keys | {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 0.5}}


def phi3(draw: Draw) -> Keys:
    keys = sizes(draw) | rms(draw) | {"sliding_window": draw(one_of(None, WINDOW))}
    pairs = keys["hidden_size"] // keys["num_attention_heads"] // 2
    if draw(one_of(False, True)):
        keys["original_max_position_embeddings"] = 8
        keys["rope_parameters"] = {
            "rope_type": "longrope",
            "rope_theta": 1e4,
            "short_factor": [1.0 + 0.25 * i for i in range(pairs)],
            "long_factor": [1.0 + 2.0 * i for i in range(pairs)],
        }
    return keys


def starcoder2(draw: Draw) -> Keys:
    window = draw(one_of(None, WINDOW))
    return sizes(draw) | scaling(draw) | {"use_bias": draw(one_of(False, True)), "sliding_window": window}


def stablelm(draw: Draw) -> Keys:
    flags = {"use_parallel_residual": draw(one_of(False, True)), "use_qkv_bias": draw(one_of(False, True))}
    fraction = {"rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 0.5}
    return sizes(draw) | flags | {"rope_parameters": fraction}


def _deepseek(draw: Draw) -> Keys:
    keys = sizes(draw)
    layers = draw(one_of(2, 3))
    return keys | {
        "num_hidden_layers": layers,
        "num_key_value_heads": keys["num_attention_heads"],
        "first_k_dense_replace": draw(one_of(0, 1, layers)),
        "q_lora_rank": draw(one_of(None, 10)),
        "kv_lora_rank": 12,
        "qk_nope_head_dim": 6,
        "qk_rope_head_dim": 4,
        "v_head_dim": draw(one_of(6, 10)),
        "moe_intermediate_size": 10,
        "n_routed_experts": 8,
        "num_experts_per_tok": 3,
        "n_shared_experts": draw(one_of(1, 2)),
        "attention_bias": draw(one_of(False, True)),
        "routed_scaling_factor": draw(one_of(1.0, 2.5)),
    }


def _sharpened(draw: Draw) -> Keys:
    stretched = {
        "rope_type": "yarn",
        "factor": 4.0,
        "rope_theta": 1e4,
        "original_max_position_embeddings": 16,
        "mscale": draw(one_of(0.707, 1.0)),
        "mscale_all_dim": draw(one_of(0.707, 1.0)),
    }
    return {"rope_parameters": draw(one_of({"rope_type": "default", "rope_theta": 1e4}, stretched))}


def deepseek_v2(draw: Draw) -> Keys:
    groups = draw(one_of(False, True))
    method = "group_limited_greedy" if groups else "greedy"
    chosen = {"topk_method": method, "n_group": 4 if groups else 1, "topk_group": 2 if groups else 1}
    return _deepseek(draw) | _sharpened(draw) | chosen | {"mlp_bias": draw(one_of(False, True))}


def deepseek_v3(draw: Draw) -> Keys:
    flags = {"norm_topk_prob": draw(one_of(False, True)), "rope_interleave": draw(one_of(False, True))}
    return _deepseek(draw) | {"n_group": 4, "topk_group": 2} | _sharpened(draw) | flags


def longcat_flash(draw: Draw) -> Keys:
    """Draw widths of heads that transformers uses for RoPE, under a name of its own."""
    heads, d_rope = draw(one_of(1, 2)), draw(one_of(2, 4))
    return {
        "vocab_size": VOCAB,
        "hidden_size": 16,
        "num_layers": draw(one_of(1, 2)),
        "num_attention_heads": heads,
        "ffn_hidden_size": draw(one_of(12, 24)),
        "q_lora_rank": draw(one_of(6, 10)),
        "kv_lora_rank": draw(one_of(8, 12)),
        "qk_nope_head_dim": draw(one_of(4, 6)),
        "qk_rope_head_dim": d_rope,
        "head_dim": d_rope,
        "v_head_dim": draw(one_of(4, 6)),
        "moe_topk": draw(one_of(2, 3)),  # transformers fails with 1
        "n_routed_experts": 4,
        "zero_expert_num": draw(one_of(0, 2, 3)),
        "expert_ffn_hidden_size": draw(one_of(8, 12)),
        "routed_scaling_factor": draw(one_of(1.0, 6.0)),
        "attention_bias": draw(one_of(False, True)),
        "max_position_embeddings": MAX_LEN,
        "rms_norm_eps": draw(one_of(1e-6, 1e-5, 1e-2)),
        "tie_word_embeddings": draw(one_of(False, True)),
        "rope_parameters": {"rope_type": "default", "rope_theta": draw(one_of(100.0, 10_000.0))},
        "bos_token_id": None,
        "eos_token_id": None,
    }


def glm4_moe_lite(draw: Draw) -> Keys:
    groups: Keys = draw(one_of({"n_group": 1, "topk_group": 1}, {"n_group": 4, "topk_group": 2}))
    keys = deepseek_v3(draw) | rms(draw) | groups
    del keys["first_k_dense_replace"]
    types = list(draw(permutations(["dense", "sparse", "sparse"])))[: keys["num_hidden_layers"]]
    listed: Keys = draw(one_of({}, {"mlp_layer_types": types}))
    return keys | listed


def axk1(draw: Draw) -> Keys:
    keys = glm4_moe_lite(draw) | {"q_lora_rank": draw(one_of(6, 10))}
    dense = {"first_k_dense_replace": draw(one_of(0, 1, 2))}
    return keys if "mlp_layer_types" in keys else keys | dense


def deepseek_v32(draw: Draw) -> Keys:
    keys = (
        _deepseek(draw)
        | rms(draw)
        | _sharpened(draw)
        | {"q_lora_rank": 10, "norm_topk_prob": draw(one_of(False, True))}
    )
    sizes = {"index_topk": draw(one_of(3, 8, 64)), "index_n_heads": 16, "index_head_dim": draw(one_of(4, 6))}
    groups: Keys = draw(one_of({"n_group": 1, "topk_group": 1}, {"n_group": 4, "topk_group": 2}))
    types = list(draw(permutations(["dense", "sparse", "sparse"])))[: keys["num_hidden_layers"]]
    listed: Keys = draw(one_of({}, {"mlp_layer_types": types}))
    return keys | sizes | groups | listed


def axk2(draw: Draw) -> Keys:
    keys = deepseek_v32(draw) | {"gated_norm_rank": draw(one_of(1, 4))}
    return keys if keys["n_group"] > 1 else keys | draw(one_of({}, {"n_group": None, "topk_group": None}))


def hy_v4(draw: Draw) -> Keys:
    keys = deepseek_v32(draw) | {"hidden_act": "silu", "swiglu_limit": draw(one_of(0.1, 10.0))}
    del keys["first_k_dense_replace"]
    later = [draw(one_of("shared", "full", "shared")) for _ in range(keys["num_hidden_layers"] - 1)]
    listed: Keys = draw(one_of({}, {"indexer_types": ["full", *later]}))
    hyper = {"hc_mult": draw(one_of(2, 3)), "hc_magnitude": draw(one_of(1.5, 2.0)), "hc_eps": draw(one_of(1e-6, 0.01))}
    return keys | listed | hyper


def glm_moe_dsa(draw: Draw) -> Keys:
    keys = deepseek_v32(draw)
    later = [draw(one_of("shared", "full", "shared")) for _ in range(keys["num_hidden_layers"] - 1)]
    types: Keys = draw(one_of({}, {"indexer_types": ["full", *later]}, {"index_topk_freq": 2}, {"index_topk_freq": 3}))
    return keys | types


def dots3_note_text(draw: Draw) -> Keys:
    keys = deepseek_v32(draw)
    for name in ("rope_scaling", "rope_parameters", "rope_theta"):
        keys.pop(name, None)
    layers, heads = keys["num_hidden_layers"], draw(one_of(1, 2, 4))
    types = ("indexed_attention", "sliding_attention", "full_attention")
    released: Keys = {
        "use_dsa": draw(one_of(True, False)),
        "use_sliding_window": draw(one_of(True, True, False)),
        "moe_layer_freq": draw(one_of(1, 2, [1, 0, 1])),
        "swa_num_attention_heads": heads,
        "swa_num_key_value_heads": heads,
        "swa_kv_lora_rank": 10,
        "swa_q_lora_rank": draw(one_of(6, 10)),
        "swa_head_dim": 8,
        "swa_qk_nope_head_dim": draw(one_of(2, 4)),
        "swa_v_head_dim": draw(one_of(6, 9)),
        "rope_theta": 100.0,
        "swa_rope_theta": 50.0,
    }
    local = {"num_attention_heads": heads, "num_key_value_heads": heads, "kv_lora_rank": 10}
    local |= {"qk_nope_head_dim": 2, "qk_rope_head_dim": draw(one_of(2, 4))}
    local["head_dim"] = local["qk_nope_head_dim"] + local["qk_rope_head_dim"]
    listed = list(draw(product(types, repeat=layers)))
    thetas = {name: {"rope_type": "default", "rope_theta": draw(one_of(100.0, 1e4))} for name in sorted(set(listed))}
    current: Keys = {
        "layer_types": listed,
        "rope_parameters": thetas,
        "per_layer_config": {i: local for i, each in enumerate(listed) if each == "sliding_attention"},
    }
    form: Keys = draw(one_of(released, current, current))
    width = {"head_dim": 10, "shared_experts_intermediate_size": draw(one_of(6, 10))}
    return keys | form | width | {"sliding_window": WINDOW}


def _delta_layers(draw: Draw) -> Keys:
    keys = _deepseek(draw) | rms(draw) | {"num_local_experts": 8, "tie_word_embeddings": False}
    del keys["n_routed_experts"]
    types = ["linear_attention", draw(one_of("linear_attention", "full_attention")), "full_attention"]
    keys["layer_types"] = list(draw(permutations(types)))[: keys["num_hidden_layers"]]
    groups: Keys = draw(one_of({"n_group": 1, "topk_group": 1}, {"n_group": 4, "topk_group": 2}))
    return keys | groups | {"norm_topk_prob": draw(one_of(False, True))}


def kimi_linear(draw: Draw) -> Keys:
    keys = _delta_layers(draw)
    linear = {
        "linear_num_heads": 2,
        "linear_head_dim": draw(one_of(1, 6)),
        "linear_conv_kernel_dim": draw(one_of(1, 4)),
    }
    return keys | linear


def bailing_hybrid(draw: Draw) -> Keys:
    bound = {"kda_safe_gate": draw(one_of(True, False)), "kda_lower_bound": draw(one_of(-5.0, -0.5))}
    width: Keys = draw(one_of({"head_dim": 6}, {"linear_head_dim": 6, "linear_num_heads": 3}))
    return _delta_layers(draw) | _sharpened(draw) | bound | width | {"short_conv_kernel_size": draw(one_of(1, 4))}


def granite(draw: Draw) -> Keys:
    multipliers = ("embedding", "residual", "attention")
    scales = {f"{name}_multiplier": draw(one_of(0.22, 1.0, 3.0)) for name in multipliers}
    return llama(draw) | scales | {"logits_scaling": draw(one_of(0.3, 1.0, 13.0)), "head_dim": draw(one_of(4, 6))}


def cohere(draw: Draw) -> Keys:
    scale = {"logit_scale": draw(one_of(0.0625, 0.8, 1.0)), "layer_norm_eps": draw(one_of(1e-5, 1e-2))}
    return (
        sizes(draw)
        | scaling(draw)
        | scale
        | {"attention_bias": draw(one_of(False, True)), "head_dim": draw(one_of(4, 6))}
    )


def cohere2(draw: Draw) -> Keys:
    keys = cohere(draw) | {"sliding_window": WINDOW, "sliding_window_pattern": draw(one_of(1, 2, 3))}
    del keys["head_dim"]
    return keys


def cohere2_moe(draw: Draw) -> Keys:
    """In the words of transformers, or with the types of each layer."""
    keys = cohere2(draw) | {
        "num_hidden_layers": draw(one_of(2, 3)),
        "head_dim": draw(one_of(4, 6)),
        "rms_norm_eps": draw(one_of(None, 1e-3)),
        "num_experts": 4,
        "num_experts_per_tok": draw(one_of(1, 2)),
        "num_shared_experts": draw(one_of(1, 0, 2)),
        "shared_expert_combination_strategy": draw(one_of("average", "sum")),
        "expert_selection_fn": draw(one_of("softmax", "sigmoid")),
        "norm_topk_prob": draw(one_of(False, True)),
        "prefix_dense_sliding_window_pattern": draw(one_of(1, 2)),
        "prefix_dense_intermediate_size": draw(one_of(None, 10)),
    }
    n_layers = keys["num_hidden_layers"]
    listed = {
        "layer_types": list(draw(product(("sliding_attention", "full_attention"), repeat=n_layers))),
        "mlp_layer_types": list(draw(product(("dense", "sparse"), repeat=n_layers))),
    }
    layers: Keys = draw(one_of({"first_k_dense_replace": 1}, listed))
    return keys | layers


def cohere_compass_text(draw: Draw) -> Keys:
    keys = cohere2(draw) | {"logit_scale": draw(one_of(None, 0.8))}
    del keys["sliding_window_pattern"]
    local = {"rope_type": "default", "rope_theta": draw(one_of(100.0, 1e4))}
    full = draw(one_of(None, {"rope_type": "default", "rope_theta": 1e4}))
    order = draw(one_of(["full_attention"], ["sliding_attention", "full_attention"], ["sliding_attention"]))
    types = (order * keys["num_hidden_layers"])[: keys["num_hidden_layers"]]
    blocks = {"full_attention": full, "sliding_attention": local}
    return keys | {"layer_types": types, "rope_parameters": {name: blocks[name] for name in set(types)}}


def exaone4(draw: Draw) -> Keys:
    keys = sizes(draw) | rms(draw) | scaling(draw) | {"head_dim": draw(one_of(4, 6))}
    if draw(one_of(False, True)):
        return keys | {"sliding_window": WINDOW, "sliding_window_pattern": draw(one_of(1, 2, 3))}
    return keys | {"sliding_window": None, "layer_types": ["full_attention"] * keys["num_hidden_layers"]}


def lfm2(draw: Draw) -> Keys:
    keys = sizes(draw) | scaling(draw) | {"norm_eps": draw(one_of(1e-6, 1e-2)), "conv_bias": draw(one_of(False, True))}
    kinds = draw(permutations(["full_attention", "conv", draw(one_of("conv", "full_attention"))]))
    kinds = list(kinds)[: keys["num_hidden_layers"]]
    kinds = kinds if "full_attention" in kinds else ["full_attention"]  # without any, theirs has no cached decoding
    keys["num_hidden_layers"] = len(kinds)
    adjusted: Keys = {"block_multiple_of": 8, "block_ffn_dim_multiplier": draw(one_of(1.0, 1.5))}
    keys |= {"conv_L_cache": draw(one_of(1, 2, 3)), "layer_types": kinds}
    return keys | (adjusted if draw(one_of(False, True)) else {"block_auto_adjust_ff_dim": False})


def nemotron_h(draw: Draw) -> Keys:
    keys, mamba = sizes(draw), mamba2(draw)
    for name in ("num_hidden_layers", "tie_word_embeddings"):
        del keys[name]
    others = draw(permutations(["linear_attention", "mlp", "moe"]))
    kinds = ["full_attention", *others[: draw(one_of(1, 2, 3))]]  # without attention, theirs has no cached decoding
    return keys | {
        "layers_block_type": list(draw(permutations(kinds))),
        "head_dim": draw(one_of(4, 6)),
        "mlp_hidden_act": draw(one_of("relu2", "gelu")),
        "mlp_bias": draw(one_of(True, False)),
        "mamba_num_heads": mamba["num_heads"],
        "mamba_head_dim": mamba["head_dim"],
        "ssm_state_size": mamba["state_size"],
        "time_step_min": 1e-9,  # transformers ignores it in decoding
        "n_routed_experts": 4,
        "moe_intermediate_size": 8,
        "moe_shared_expert_intermediate_size": draw(one_of(8, 12)),
        "moe_latent_size": draw(one_of(None, 6)),
        "norm_topk_prob": draw(one_of(False, True)),
        **{name: mamba[name] for name in ("n_groups", "conv_kernel", "chunk_size", "use_bias", "use_conv_bias")},
    }


def mamba_layers(draw: Draw, hidden_size: int) -> Keys:
    """Draw Mamba-2 layers in the words of Bamba, without bounds of the step size, as in ``mamba2``."""
    groups = draw(one_of(1, 2))
    return {
        "mamba_n_heads": 2 * groups,
        "mamba_expand": 2,
        "mamba_d_head": draw(one_of("auto", hidden_size // groups)),
        "mamba_n_groups": groups,
        "mamba_d_state": draw(one_of(1, 5)),
        "mamba_d_conv": draw(one_of(2, 4)),
        "mamba_chunk_size": draw(one_of(4, 256)),
        "mamba_conv_bias": draw(one_of(False, True)),
        "mamba_proj_bias": draw(one_of(False, True)),
    }


def bamba(draw: Draw) -> Keys:
    biases = {"attention_bias": draw(one_of(False, True)), "mlp_bias": draw(one_of(False, True))}
    keys = sizes(draw) | rms(draw) | biases
    keys |= mamba_layers(draw, keys["hidden_size"]) | {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4}}
    some = [[0], [0, 1], [1, 2]]  # without attention, theirs has no cached decoding
    return keys | {"num_hidden_layers": 3, "attn_layer_indices": draw(one_of(*some))}


def granitemoehybrid(draw: Draw) -> Keys:
    keys = granitemoe(draw)
    keys |= mamba_layers(draw, keys["hidden_size"]) | {"hidden_act": "silu"}
    keys |= draw(one_of({"num_local_experts": 0, "num_experts_per_tok": 0}, {"num_local_experts": 4}))
    kinds = draw(one_of(["full_attention"], ["linear_attention", "full_attention"]))
    return keys | {
        "layer_types": kinds,
        "num_hidden_layers": len(kinds),
        "position_embedding_type": draw(one_of("rope", "nope")),
        "shared_intermediate_size": keys["intermediate_size"] * draw(one_of(1, 2)),
    }


def smollm3(draw: Draw) -> Keys:
    keys = llama(draw) | {"no_rope_layer_interval": draw(one_of(1, 2, 3)), "head_dim": draw(one_of(4, 6))}
    if draw(one_of(False, True)):
        keys |= {"use_sliding_window": True, "sliding_window": WINDOW}
    if draw(one_of(False, True)):
        keys["no_rope_layers"] = list(draw(product((0, 1), repeat=3)))[: keys["num_hidden_layers"]]
    return keys


def gpt_oss(draw: Draw) -> Keys:
    stretched = {
        "rope_type": "yarn",
        "factor": 4.0,
        "rope_theta": 1e4,
        "original_max_position_embeddings": 16,
        "truncate": False,
    }
    return (
        sizes(draw)
        | rms(draw)
        | {
            "head_dim": 8,
            "sliding_window": WINDOW,
            "num_local_experts": 4,
            "num_experts_per_tok": draw(one_of(1, 2)),
            "num_hidden_layers": draw(one_of(2, 3)),
            "rope_parameters": draw(one_of(stretched, {"rope_type": "default", "rope_theta": 1e4})),
        }
    ) | _windowless(draw)


def glm(draw: Draw) -> Keys:
    keys = sizes(draw) | rms(draw) | scaling(draw) | {"attention_bias": draw(one_of(False, True)), "head_dim": 8}
    keys["rope_parameters"]["partial_rotary_factor"] = draw(one_of(0.5, 1.0))
    return keys


def hrm_text(draw: Draw) -> Keys:
    keys = alike_heads(draw)
    cycles = {"H_cycles": draw(one_of(1, 2, 3)), "L_cycles": draw(one_of(1, 2))}
    scale = draw(one_of({}, {"embedding_scale": 3.0}, {"initializer_range": 0.5}))
    biases = {"attention_bias": draw(one_of(False, True)), "mlp_bias": draw(one_of(False, True))}
    return {**keys, **rms(draw), **cycles, **scale, **biases, "head_dim": draw(one_of(4, 6)), **scaling(draw)}


def helium(draw: Draw) -> Keys:
    keys = llama(draw)
    return keys | {"head_dim": keys["hidden_size"] // keys["num_attention_heads"]}


def ernie4_5(draw: Draw) -> Keys:
    return (
        sizes(draw)
        | rms(draw)
        | scaling(draw)
        | {"use_bias": draw(one_of(False, True)), "head_dim": draw(one_of(4, 6))}
    )


def ernie4_5_moe(draw: Draw) -> Keys:
    keys = sizes(draw) | rms(draw) | scaling(draw) | {"num_hidden_layers": draw(one_of(3, 4))}
    return keys | {
        "moe_num_experts": 4,
        "moe_k": draw(one_of(1, 2)),
        "moe_num_shared_experts": draw(one_of(0, 1, 2)),
        "moe_intermediate_size": 10,
        "moe_layer_start_index": draw(one_of(0, 1, 2)),
        "moe_layer_end_index": draw(one_of(-1, 1, 2)),
        "moe_layer_interval": draw(one_of(1, 2)),
    }


def seed_oss(draw: Draw) -> Keys:
    return llama(draw) | {"attention_out_bias": draw(one_of(False, True)), "residual_dropout": draw(one_of(0.0, 0.1))}


def cwm(draw: Draw) -> Keys:
    layers = {"num_hidden_layers": draw(one_of(2, 5)), "sliding_window": WINDOW, "mlp_bias": draw(one_of(False, True))}
    return sizes(draw) | rms(draw) | scaling(draw) | layers | {"head_dim": draw(one_of(4, 6)), "bos_token_id": 0}


def granite_swa(draw: Draw) -> Keys:
    layers = draw(one_of(2, 5))
    keys = granite(draw) | {"num_hidden_layers": layers, "sliding_window": WINDOW} | _windowless(draw)
    n_layers = keys["num_hidden_layers"]
    each = list(draw(product((0.0, 500.0, 1e4), repeat=n_layers)))
    return keys | {"layer_rope_theta": draw(one_of(None, [500.0] * n_layers, each))}


def mpt(draw: Draw) -> Keys:
    heads = draw(one_of(1, 2, 3, 4))
    attention = {"clip_qkv": draw(one_of(None, 0.3)), "softmax_scale": draw(one_of(None, 0.3))}
    return {
        "vocab_size": VOCAB,
        "d_model": heads * 4,
        "n_heads": heads,
        "n_layers": draw(one_of(1, 2)),
        "max_seq_len": MAX_LEN,
        "tie_word_embeddings": draw(one_of(False, True)),
        "attn_config": attention,
    }


def ctrl(draw: Draw) -> Keys:
    heads = draw(one_of(1, 2))
    return {
        "vocab_size": VOCAB,
        "n_embd": heads * draw(one_of(4, 6)),
        "n_head": heads,
        "n_layer": draw(one_of(1, 2)),
        "n_positions": MAX_LEN,
        "dff": 20,
        "tie_word_embeddings": draw(one_of(False, True)),
    }


def xglm(draw: Draw) -> Keys:
    keys = alike_heads(draw)
    names = {
        "hidden_size": "d_model",
        "num_attention_heads": "attention_heads",
        "num_hidden_layers": "num_layers",
        "intermediate_size": "ffn_dim",
    }
    keys |= {"scale_embedding": draw(one_of(False, True)), "pad_token_id": draw(one_of(None, 0, 1))}
    return {names.get(name, name): value for name, value in keys.items()}


def gpt_neox_japanese(draw: Draw) -> Keys:
    keys = alike_heads(draw) | scaling(draw) | {"intermediate_multiple_size": draw(one_of(1, 3))}
    del keys["intermediate_size"]
    keys["rope_parameters"]["partial_rotary_factor"] = draw(one_of(0.5, 1.0))
    return keys


def hyperclovax(draw: Draw) -> Keys:
    scales = {
        "embedding_multiplier": draw(one_of(1.0, 3.0)),
        "residual_multiplier": draw(one_of(0.22, 1.0)),
        "attention_multiplier": draw(one_of(None, 0.3)),
        "logits_scaling": draw(one_of(0.125, 1.0)),
    }
    return llama(draw) | scales | {"use_post_norm": draw(one_of(False, True))}


def ministral(draw: Draw) -> Keys:
    types = list(draw(product(("sliding_attention", "full_attention"), repeat=draw(one_of(2, 3)))))
    layers: Keys = draw(one_of({}, {"layer_types": types, "num_hidden_layers": len(types)}))
    return mistral(draw) | layers | {"sliding_window": WINDOW, "head_dim": draw(one_of(4, 6))}


def nemotron(draw: Draw) -> Keys:
    keys = arcee(draw) | {"norm_eps": draw(one_of(1e-5, 1e-2)), "head_dim": draw(one_of(None, 8))}
    del keys["rms_norm_eps"]
    keys["rope_parameters"]["partial_rotary_factor"] = draw(one_of(0.5, 1.0))
    return keys


def persimmon(draw: Draw) -> Keys:
    keys = alike_heads(draw) | scaling(draw) | {"hidden_act": draw(one_of("relu2", "gelu"))}
    keys["rope_parameters"]["partial_rotary_factor"] = draw(one_of(0.5, 1.0))
    return keys | {"qk_layernorm": draw(one_of(False, True)), "layer_norm_eps": draw(one_of(1e-5, 1e-2))}


def biogpt(draw: Draw) -> Keys:
    return alike_heads(draw) | {
        "scale_embedding": draw(one_of(False, True)),
        "hidden_act": draw(one_of("gelu", "relu")),
    }


def youtu(draw: Draw) -> Keys:
    keys = _deepseek(draw) | _sharpened(draw) | {"rope_interleave": draw(one_of(False, True))}
    experts = ("moe_intermediate_size", "routed_scaling_factor", "num_experts_per_tok", "first_k_dense_replace")
    return {name: value for name, value in keys.items() if name not in experts and "_experts" not in name}


def minicpm3(draw: Draw) -> Keys:
    keys = youtu(draw) | rms(draw)
    del keys["rope_interleave"]
    return keys | {
        "mlp_bias": draw(one_of(False, True)),
        "v_head_dim": draw(one_of(None, 10)),
        "scale_emb": draw(one_of(1, 3.5)),
        "scale_depth": draw(one_of(None, 1.4)),
        "dim_model_base": draw(one_of(None, 3)),
    }


def hunyuan_v1_dense(draw: Draw) -> Keys:
    keys = (
        sizes(draw)
        | rms(draw)
        | scaling(draw, dynamic=True)
        | {"attention_bias": draw(one_of(False, True)), "head_dim": 8}
    )
    if keys["rope_parameters"]["rope_type"] == "dynamic":
        keys["rope_parameters"]["alpha"] = draw(one_of(None, 10.0))
    return keys


def nanochat(draw: Draw) -> Keys:
    cap = {"final_logit_softcapping": draw(one_of(None, 5.0)), "hidden_act": draw(one_of("relu2", "gelu"))}
    return sizes(draw) | rms(draw) | scaling(draw) | cap | {"attention_bias": draw(one_of(False, True))}


def arcee(draw: Draw) -> Keys:
    return llama(draw) | {"hidden_act": draw(one_of("relu2", "silu"))}


def diffllama(draw: Draw) -> Keys:
    pairs, heads_each, width = draw(one_of(1, 2)), draw(one_of(1, 2)), draw(one_of(4, 8))
    heads = {"num_key_value_heads": 2 * pairs, "num_attention_heads": 2 * pairs * heads_each}
    keys = llama(draw) | heads | {"hidden_size": heads["num_attention_heads"] * width}
    del keys["mlp_bias"]
    return keys


def proportional(draw: Draw) -> Keys:
    """Draw RoPE of global layers, proportional or not, and of layers with a window."""
    full = {"rope_type": "proportional", "partial_rotary_factor": draw(one_of(0.5, 0.25, 1.0)), "rope_theta": 1000.0}
    if draw(one_of(False, True)):
        full["factor"] = 2.0
    full = draw(one_of(full, full, {"rope_type": "default", "rope_theta": 50.0}))
    local = {"rope_type": "default", "rope_theta": draw(one_of(100.0, 1000.0))}
    return {"rope_parameters": {"full_attention": full, "sliding_attention": local}}


def gemma3n_text(draw: Draw) -> Keys:
    keys = sizes(draw) | rms(draw) | {"num_hidden_layers": draw(one_of(2, 3, 4)), "num_kv_shared_layers": 0}
    types = [draw(one_of("sliding_attention", "full_attention")) for _ in range(keys["num_hidden_layers"])]
    if draw(one_of(False, True)):  # layers at the end whose types earlier ones have
        types *= 2
        keys |= {"num_hidden_layers": len(types), "num_kv_shared_layers": draw(one_of(1, len(types) // 2))}
    full = draw(one_of({"rope_type": "default"}, {"rope_type": "linear", "factor": 3.0}))
    sparsity = draw(one_of([], [0.5], [0.9, 0.3]))
    width = keys["intermediate_size"]
    return keys | {
        "layer_types": types,
        "head_dim": draw(one_of(4, 8)),
        "sliding_window": WINDOW,
        "attention_bias": draw(one_of(False, True)),
        "final_logit_softcapping": draw(one_of(5.0, 30.0)),
        "hidden_activation": draw(one_of("gelu_pytorch_tanh", "silu")),
        "rope_parameters": {
            "full_attention": {**full, "rope_theta": 1e6},
            "sliding_attention": {"rope_type": "default", "rope_theta": draw(one_of(100.0, 1e6))},
        },
        "intermediate_size": draw(one_of(width, [width + 4 * (layer % 2) for layer in range(len(types))])),
        "activation_sparsity_pattern": [*sparsity, *[0.0] * (len(types) - len(sparsity))],
        "hidden_size_per_layer_input": draw(one_of(4, 6)),
        "vocab_size_per_layer_input": draw(one_of(VOCAB, VOCAB - 9)),
        "altup_num_inputs": draw(one_of(2, 3, 4)),
        "laurel_rank": draw(one_of(1, 3)),
    }


def gemma4_unified_text(draw: Draw) -> Keys:
    keys = sizes(draw) | rms(draw) | proportional(draw) | {"num_hidden_layers": draw(one_of(2, 3, 4))}
    types = [draw(one_of("sliding_attention", "full_attention")) for _ in range(keys["num_hidden_layers"] - 1)]
    types.append("full_attention")
    if draw(one_of(False, True)):  # layers at the end whose types earlier ones have
        types = draw(one_of(types, ["sliding_attention", "full_attention"])) * 2
        keys |= {"num_hidden_layers": len(types), "num_kv_shared_layers": draw(one_of(1, len(types) // 2))}
        keys |= {"use_double_wide_mlp": draw(one_of(False, True))}
    shares = draw(one_of(False, True))
    heads = {"num_global_key_value_heads": draw(one_of(1, None))} if shares else {}
    return (
        keys
        | heads
        | {
            "layer_types": types,
            "head_dim": draw(one_of(8, 16)),
            "global_head_dim": draw(one_of(8, 24)),
            "sliding_window": WINDOW,
            "attention_k_eq_v": shares,
            "attention_bias": draw(one_of(False, True)),
            "final_logit_softcapping": draw(one_of(None, 5.0)),
            "hidden_activation": draw(one_of("gelu_pytorch_tanh", "silu")),
            "use_bidirectional_attention": draw(one_of(None, "vision")),
        }
    )


def gemma4_text(draw: Draw) -> Keys:
    keys = gemma4_unified_text(draw)
    # their code reads the inputs of each layer if layers share keys and values
    inputs = one_of(4) if keys.get("num_kv_shared_layers") else one_of(0, 4, 4)
    if draw(one_of(False, True)):
        keys |= {"enable_moe_block": True, "num_experts": 4, "top_k_experts": draw(one_of(1, 2, 3))}
        keys |= {"moe_intermediate_size": draw(one_of(6, 12))}
    return keys | {
        "hidden_size_per_layer_input": draw(inputs),
        "vocab_size_per_layer_input": VOCAB,
    }


def lfm3(draw: Draw) -> Keys:
    keys = sizes(draw) | proportional(draw) | {"num_hidden_layers": draw(one_of(2, 3, 4))}
    names = ("conv", "full_attention", "sliding_attention")
    return keys | {
        "layer_types": [draw(one_of(*names)) for _ in range(keys["num_hidden_layers"] - 1)] + ["full_attention"],
        "head_dim": draw(one_of(8, 16)),
        "sliding_window": WINDOW,
        "norm_eps": draw(one_of(1e-5, 1e-2)),
        "conv_L_cache": draw(one_of(3, 7)),
        "conv_bias": draw(one_of(False, True)),
        "use_sandwich_norm": draw(one_of(False, True)),
        "use_attention_gate": draw(one_of(False, True)),
    }


def apertus(draw: Draw) -> Keys:
    keys = llama(draw) | {"hidden_act": draw(one_of("xielu", "xielu", "silu"))}
    del keys["mlp_bias"]
    if keys["head_dim"] is None:  # the code of this family reads null as a size
        del keys["head_dim"]
    return keys


def jais2(draw: Draw) -> Keys:
    keys = arcee(draw)
    del keys["rms_norm_eps"]
    return keys | {"layer_norm_eps": draw(one_of(1e-5, 1e-2))}


def bitnet(draw: Draw) -> Keys:
    keys = llama(draw) | {"hidden_act": draw(one_of("relu2", "silu"))}
    del keys["mlp_bias"], keys["head_dim"]
    return keys


def internlm3(draw: Draw) -> Keys:
    keys = llama(draw)
    return keys | {"mlp_bias": keys["attention_bias"]}


def vaultgemma(draw: Draw) -> Keys:
    keys = gemma2(draw)
    return keys | {"hidden_activation": draw(one_of("gelu_pytorch_tanh", "silu"))}


def gpt_bigcode(draw: Draw) -> Keys:
    return gpt2(draw) | {"multi_query": draw(one_of(False, True))}


def gpt_neo(draw: Draw) -> Keys:
    keys = alike_heads(draw)
    del keys["num_hidden_layers"]
    types = draw(one_of([[["global", "local"], 1]], [[["local"], 2], [["global"], 1]], [[["global"], 3]]))
    return keys | {
        "num_layers": sum(len(names) * count for names, count in types),
        "num_heads": keys.pop("num_attention_heads"),
        "attention_types": types,
        "window_size": WINDOW,
        "intermediate_size": draw(one_of(None, 20)),
    }


def mamba2(draw: Draw) -> Keys:
    """Without bounds of the step size, which transformers ignores in decoding."""
    groups, heads_each, width = draw(one_of(1, 2)), draw(one_of(1, 2)), draw(one_of(4, 8))
    heads, expand = groups * heads_each, draw(one_of(1, 2))
    return {
        "vocab_size": VOCAB,
        "hidden_size": heads * width // expand,
        "expand": expand,
        "num_heads": heads,
        "head_dim": width,
        "state_size": draw(one_of(1, 5)),
        "n_groups": groups,
        "conv_kernel": draw(one_of(2, 4)),
        "chunk_size": draw(one_of(4, 256)),
        "num_hidden_layers": draw(one_of(1, 2)),
        "use_bias": draw(one_of(False, True)),
        "use_conv_bias": draw(one_of(False, True)),
        "layer_norm_epsilon": draw(one_of(1e-5, 1e-2)),
        "tie_word_embeddings": draw(one_of(False, True)),
        "bos_token_id": None,
        "eos_token_id": None,
        "pad_token_id": None,
    }


def recurrent_gemma(draw: Draw) -> Keys:
    keys = sizes(draw) | rms(draw) | {"attention_bias": draw(one_of(False, True)), "attention_window_size": WINDOW}
    del keys["max_position_embeddings"]
    return keys | {
        "num_hidden_layers": 3,
        "block_types": draw(one_of(["recurrent", "attention"], ["attention", "recurrent", "recurrent"])),
        "conv1d_width": draw(one_of(2, 4)),
        "logits_soft_cap": draw(one_of(30.0, 0.5)),
    }


def mamba(draw: Draw) -> Keys:
    return {
        "vocab_size": VOCAB,
        "hidden_size": draw(one_of(4, 16)),
        "num_hidden_layers": draw(one_of(1, 2)),
        "expand": draw(one_of(1, 2)),
        "state_size": draw(one_of(1, 5)),
        "time_step_rank": draw(one_of("auto", 3)),
        "conv_kernel": draw(one_of(2, 4)),
        "use_bias": draw(one_of(False, True)),
        "use_conv_bias": draw(one_of(False, True)),
        "layer_norm_epsilon": draw(one_of(1e-5, 1e-2)),
        "tie_word_embeddings": draw(one_of(False, True)),
        "bos_token_id": None,
        "eos_token_id": None,
        "pad_token_id": None,
    }


def jetmoe(draw: Draw) -> Keys:
    keys = sizes(draw) | rms(draw) | scaling(draw)
    del keys["num_attention_heads"]
    return keys | {
        "kv_channels": draw(one_of(4, 6)),
        "activation_function": draw(one_of("silu", "gelu")),
        "num_local_experts": draw(one_of(3, 4)),
        "num_experts_per_tok": draw(one_of(1, 2, 3)),
    }


def rwkv(draw: Draw) -> Keys:
    width = draw(one_of(12, 16))
    return {
        "vocab_size": VOCAB,
        "hidden_size": width,
        "num_hidden_layers": draw(one_of(2, 3)),
        "context_length": MAX_LEN,
        "attention_hidden_size": draw(one_of(None, width)),  # transformers has no states of another width
        "intermediate_size": draw(one_of(None, 24)),
        "rescale_every": draw(one_of(6, 0)),
        "tie_word_embeddings": draw(one_of(False, True)),
    }


def xlstm(draw: Draw) -> Keys:
    """Draw widths that are multiples of 64, as the states of transformers are."""
    return {
        "vocab_size": VOCAB,
        "hidden_size": 128,
        "num_hidden_layers": draw(one_of(1, 2)),
        "num_heads": draw(one_of(1, 2, 4)),
        "qk_dim_factor": draw(one_of(0.5, 1.0)),
        "v_dim_factor": draw(one_of(0.5, 1.0)),
        "ffn_proj_factor": draw(one_of(0.3, 1.0, 2.667)),
        "ffn_round_up_to_multiple_of": draw(one_of(1, 12, 64)),
        "gate_soft_cap": draw(one_of(2.0, 15.0)),
        "output_logit_soft_cap": draw(one_of(5.0, 30.0)),
        "norm_eps": draw(one_of(1e-6, 1e-2)),
        "chunk_size": draw(one_of(4, 64)),
    }


def zamba(draw: Draw) -> Keys:
    keys = sizes(draw) | rms(draw) | {"hidden_act": draw(one_of("gelu", "silu"))}
    keys["tie_word_embeddings"] = True  # otherwise theirs does not share the block
    kinds = draw(one_of("HH", "HMHH", "MHHM"))  # theirs cannot share a block that one layer uses
    return keys | {
        "layers_block_type": [{"M": "linear_attention", "H": "hybrid"}[kind] for kind in kinds],
        "num_hidden_layers": len(kinds),
        "attention_head_dim": draw(one_of(None, 6)),
        "n_mamba_heads": draw(one_of(1, 2, 4)),
        "mamba_expand": draw(one_of(1, 2)),
        "mamba_d_state": draw(one_of(1, 5)),
        "mamba_d_conv": draw(one_of(2, 4)),
        "mamba_dt_rank": draw(one_of("auto", 3)),
        "mamba_conv_bias": draw(one_of(False, True)),
        "mamba_proj_bias": draw(one_of(False, True)),
    }


def zamba2(draw: Draw) -> Keys:
    """Draw hybrid layers that share one to three blocks; fewer layers than blocks use one each."""
    keys = sizes(draw) | {"rms_norm_eps": 1e-5, "hidden_act": draw(one_of("gelu", "silu"))}
    keys["tie_word_embeddings"] = True  # otherwise theirs does not share the blocks
    groups, adapts = draw(one_of(1, 2)), draw(one_of(False, True))
    kinds = draw(one_of("MH", "HMHH", "MHHMH", "HH"))
    if adapts:
        keys["num_key_value_heads"] = keys["num_attention_heads"]
    return keys | {
        "layers_block_type": [{"M": "linear_attention", "H": "hybrid"}[kind] for kind in kinds],
        "num_hidden_layers": len(kinds),
        "mamba_ngroups": groups,
        "n_mamba_heads": 2 * groups,
        "mamba_expand": draw(one_of(1, 2)),
        "mamba_d_state": draw(one_of(1, 5)),
        "mamba_d_conv": draw(one_of(2, 4)),
        "chunk_size": draw(one_of(4, 256)),
        "time_step_min": 1e-9,  # transformers ignores it in decoding
        "add_bias_linear": draw(one_of(False, True)),
        "num_mem_blocks": draw(one_of(1, 2, 3)),
        "use_shared_attention_adapter": adapts,
        "adapter_rank": draw(one_of(1, 3)),
        "use_mem_rope": draw(one_of(False, True)),
        "rope_parameters": {"rope_type": "default", "rope_theta": draw(one_of(100.0, 10_000.0))},
    }


def falcon_h1(draw: Draw) -> Keys:
    keys = sizes(draw) | rms(draw) | scaling(draw)
    heads, groups = draw(one_of(2, 4)), draw(one_of(1, 2))
    has_bias, has_mamba_bias, has_norm = (draw(one_of(False, True)) for _ in range(3))
    keys |= {
        "mamba_d_ssm": heads * 4,
        "mamba_n_heads": heads,
        "mamba_n_groups": groups,
        "mamba_d_state": draw(one_of(3, 8)),
        "mamba_chunk_size": draw(one_of(4, 256)),
        "mamba_conv_bias": draw(one_of(False, True)),
        "mamba_proj_bias": has_mamba_bias,
        "projectors_bias": has_mamba_bias,
        "mamba_rms_norm": has_norm,
        "mamba_norm_before_gate": not has_norm,
        "attention_bias": has_bias,
        "mlp_bias": draw(one_of(False, True)),
    }
    return keys | {
        "embedding_multiplier": draw(one_of(1.0, 5.5)),
        "lm_head_multiplier": draw(one_of(1.0, 0.25)),
        "key_multiplier": draw(one_of(1.0, 0.39)),
        "attention_in_multiplier": 1.0 if has_bias else draw(one_of(1.0, 1.5)),
        "attention_out_multiplier": draw(one_of(1.0, 0.9375)),
        "ssm_in_multiplier": 1.0 if has_mamba_bias else draw(one_of(1.0, 1.25)),
        "ssm_out_multiplier": draw(one_of(1.0, 0.23)),
        "mlp_multipliers": draw(one_of(None, [0.88, 0.58])),
        "ssm_multipliers": draw(one_of(None, [0.35, 0.25, 0.3, 0.5, 0.4])),
    }


def falcon_mamba(draw: Draw) -> Keys:
    return mamba(draw) | {"mixer_rms_eps": draw(one_of(1e-6, 1e-2))}


def jamba(draw: Draw) -> Keys:
    keys = sizes(draw) | rms(draw) | {"num_hidden_layers": 4, "mamba_expand": draw(one_of(1, 2))}
    period, experts = draw(one_of(2, 4)), draw(one_of(1, 2))
    return keys | {
        "attn_layer_period": period,
        "attn_layer_offset": draw(one_of(0, 1)),
        "num_experts": draw(one_of(1, 4)),
        "expert_layer_period": experts,
        "expert_layer_offset": experts - 1,
        "mamba_d_state": draw(one_of(1, 5)),
        "mamba_d_conv": draw(one_of(2, 4)),
        "mamba_dt_rank": draw(one_of("auto", 3)),
        "mamba_conv_bias": draw(one_of(False, True)),
        "mamba_proj_bias": draw(one_of(False, True)),
    }


def routed(draw: Draw) -> Keys:
    """Draw the keys of DeepSeek V3's experts in some layers, for a family without latent attention."""
    groups, dense = draw(one_of(1, 4)), draw(one_of(0, 1, 2))
    return (
        sizes(draw)
        | {"num_hidden_layers": dense + draw(one_of(1, 2))}
        | rms(draw)
        | scaling(draw)
        | {
            "head_dim": draw(one_of(4, 8)),
            "attention_bias": draw(one_of(False, True)),
            "first_k_dense_replace": dense,
            "moe_intermediate_size": 10,
            "n_routed_experts": 8,
            "num_experts_per_tok": 3,
            "n_shared_experts": draw(one_of(1, 2)),
            "n_group": groups,
            "topk_group": draw(one_of(2, 3)) if groups > 1 else 1,
            "norm_topk_prob": draw(one_of(False, True)),
            "routed_scaling_factor": draw(one_of(1.0, 2.5)),
        }
    )


def glm4_moe(draw: Draw) -> Keys:
    keys = routed(draw) | {"use_qk_norm": draw(one_of(False, True))}
    keys["rope_parameters"]["partial_rotary_factor"] = draw(one_of(0.5, 1.0))
    return keys


def solar_open(draw: Draw) -> Keys:
    keys = routed(draw)
    del keys["first_k_dense_replace"], keys["intermediate_size"]
    return keys


def dots1(draw: Draw) -> Keys:
    window = {"sliding_window": draw(one_of(None, WINDOW)), "max_window_layers": draw(one_of(0, 1, 2))}
    return routed(draw) | window


def minimax(draw: Draw) -> Keys:
    keys = mixtral(draw) | {"block_size": draw(one_of(2, 4, 256)), "head_dim": draw(one_of(4, 6))}
    factors = {"alpha": draw(one_of(1, 3.5)), "beta": draw(one_of(1.0, 0.5))}
    keys |= {f"{part}_{name}_factor": factors[name] for part in ("full_attn", "linear_attn", "mlp") for name in factors}
    types = [draw(one_of("linear_attention", "full_attention")) for _ in range(keys["num_hidden_layers"])]
    return keys | ({"layer_types": types} if draw(one_of(False, True)) else {})


def minimax_m2(draw: Draw) -> Keys:
    experts = {"num_local_experts": 4, "num_experts_per_tok": draw(one_of(1, 2)), "head_dim": 8}
    keys = sizes(draw) | rms(draw) | scaling(draw) | experts
    keys["rope_parameters"]["partial_rotary_factor"] = draw(one_of(0.5, 1.0))
    return keys


def flex_olmo(draw: Draw) -> Keys:
    keys = olmo2(draw) | {"num_experts": 4, "num_experts_per_tok": draw(one_of(1, 2))}
    return keys | {"norm_topk_prob": draw(one_of(False, True))}


def hunyuan_v1_moe(draw: Draw) -> Keys:
    one: Keys = {"num_experts": 1, "moe_topk": 1}
    several: Keys = {"num_experts": 4, "moe_topk": [2, 1, 2], "num_hidden_layers": 3}
    keys: Keys = draw(one_of(one, several))
    return hunyuan_v1_dense(draw) | keys


def granitemoe(draw: Draw) -> Keys:
    keys = granite(draw) | {"num_local_experts": 4, "num_experts_per_tok": draw(one_of(1, 2))}
    del keys["mlp_bias"]
    return keys


def exaone_moe(draw: Draw) -> Keys:
    keys = routed(draw) | {"num_experts": 8, "num_shared_experts": draw(one_of(1, 2)), "sliding_window": WINDOW}
    del keys["n_routed_experts"], keys["n_shared_experts"], keys["attention_bias"]
    if draw(one_of(False, True)):
        keys["mlp_layer_types"] = list(draw(permutations(["dense", *["sparse"] * 3])))[: keys["num_hidden_layers"]]
    return keys | {"sliding_window_pattern": draw(one_of(1, 2, 3))}


def afmoe(draw: Draw) -> Keys:
    dense = draw(one_of(0, 1, 2))
    experts = {
        "num_experts": 4,
        "num_experts_per_tok": 2,
        "num_shared_experts": draw(one_of(1, 2)),
        "num_dense_layers": dense,
        "moe_intermediate_size": 10,
        "route_scale": draw(one_of(1.0, 2.5)),
    }
    layers = {
        "num_hidden_layers": dense + draw(one_of(1, 2)),
        "sliding_window": WINDOW,
        "global_attn_every_n_layers": draw(one_of(1, 2)),
    }
    others = {"head_dim": draw(one_of(4, 8)), "mup_enabled": draw(one_of(False, True))}
    return sizes(draw) | rms(draw) | scaling(draw) | experts | layers | others


def granitemoeshared(draw: Draw) -> Keys:
    keys = granitemoe(draw)
    return keys | {"shared_intermediate_size": draw(one_of(0, 8, 24))}


def granitemoe_swa(draw: Draw) -> Keys:
    experts = {"num_local_experts": 4, "num_experts_per_tok": draw(one_of(1, 2))}
    keys = granite_swa(draw) | experts
    del keys["mlp_bias"]
    return keys | {"shared_intermediate_size": draw(one_of(0, 8, 24))}


def ministral3(draw: Draw) -> Keys:
    keys = mistral(draw) | {"sliding_window": draw(one_of(None, WINDOW)), "head_dim": draw(one_of(4, 8))}
    beta = {"llama_4_scaling_beta": draw(one_of(0.1, 2.0)), "original_max_position_embeddings": draw(one_of(4, 7))}
    return keys | {"rope_parameters": keys["rope_parameters"] | beta}


def llama4_text(draw: Draw) -> Keys:
    keys = sizes(draw) | rms(draw) | scaling(draw) | {"num_hidden_layers": draw(one_of(3, 4))}
    if draw(one_of(False, True)):
        keys["layer_types"] = (["full_attention", "chunked_attention"] * 2)[: keys["num_hidden_layers"]]
    if draw(one_of(False, True)):
        keys["moe_layers"] = [0, 2]
    return keys | {
        "head_dim": draw(one_of(4, 8)),
        "intermediate_size_mlp": draw(one_of(16, 20)),
        "num_local_experts": 4,
        "num_experts_per_tok": draw(one_of(1, 2)),
        "interleave_moe_layer_step": draw(one_of(1, 2)),
        "use_qk_norm": draw(one_of(False, True)),
        "no_rope_layer_interval": draw(one_of(2, 3)),
        "attention_chunk_size": draw(one_of(4, WINDOW)),
        "attn_temperature_tuning": draw(one_of(True, False, True)),
        "floor_scale": draw(one_of(1, 4)),
        "attn_scale": draw(one_of(0.1, 2.0)),
        "attention_bias": draw(one_of(False, True)),
    }


def lfm2_moe(draw: Draw) -> Keys:
    keys = lfm2(draw)
    for name in ("block_multiple_of", "block_ffn_dim_multiplier", "block_auto_adjust_ff_dim"):
        keys.pop(name, None)
    return keys | {
        "num_dense_layers": draw(one_of(0, 1)),
        "num_experts": 4,
        "num_experts_per_tok": draw(one_of(1, 2)),
        "moe_intermediate_size": 10,
        "use_expert_bias": draw(one_of(False, True)),
        "norm_topk_prob": draw(one_of(False, True)),
        "routed_scaling_factor": draw(one_of(1.0, 2.5)),
    }


def hy_v3(draw: Draw) -> Keys:
    keys = sizes(draw) | rms(draw) | scaling(draw) | {"num_hidden_layers": draw(one_of(2, 3))}
    if draw(one_of(False, True)):
        keys["mlp_layer_types"] = list(draw(permutations(["dense", "sparse", "sparse"])))[: keys["num_hidden_layers"]]
    return keys | {
        "head_dim": draw(one_of(4, 8)),
        "attention_bias": draw(one_of(False, True)),
        "mlp_bias": draw(one_of(False, True)),
        "num_experts": 4,
        "num_experts_per_tok": draw(one_of(1, 2)),
        "num_shared_experts": draw(one_of(1, 2)),
        "moe_intermediate_size": 10,
        "router_scaling_factor": draw(one_of(1.0, 2.5)),
    }


def mellum(draw: Draw) -> Keys:
    keys = sizes(draw) | rms(draw) | {"num_hidden_layers": 3, "head_dim": draw(one_of(4, 8))}
    full = scaling(draw)["rope_parameters"]
    rope = {"full_attention": full, "sliding_attention": {"rope_type": "default", "rope_theta": draw(one_of(1e3, 1e4))}}
    types = draw(
        permutations(["full_attention", "sliding_attention", draw(one_of("full_attention", "sliding_attention"))])
    )
    return keys | {
        "rope_parameters": rope,
        "layer_types": list(types),
        "mlp_layer_types": list(draw(permutations(["dense", "sparse", "sparse"]))),
        "sliding_window": WINDOW,
        "attention_bias": draw(one_of(False, True)),
        "num_experts": 4,
        "num_experts_per_tok": draw(one_of(1, 2)),
        "moe_intermediate_size": 10,
        "norm_topk_prob": draw(one_of(False, True)),
    }


def sarvam_moe(draw: Draw) -> Keys:
    return glm4_moe(draw) | {"head_dim": draw(one_of(4, 8))}


def sarvam_mla(draw: Draw) -> Keys:
    return deepseek_v3(draw) | {"q_lora_rank": draw(one_of(None, 6))}


def flint(draw: Draw) -> Keys:
    keys = qwen3_moe(draw) | {"sliding_window": WINDOW, "shared_expert_intermediate_size": draw(one_of(6, 10))}
    for name in ("use_sliding_window", "decoder_sparse_step", "mlp_only_layers"):
        keys.pop(name, None)
    layers = keys["num_hidden_layers"] = draw(one_of(2, 3, 4))
    listed = {
        "layer_types": [draw(one_of("sliding_attention", "full_attention")) for _ in range(layers)],
        "mlp_only_layers": draw(one_of([], [1])),
    }
    return keys | (listed if draw(one_of(False, True)) else {})


def beam(draw: Draw) -> Keys:
    keys = sizes(draw) | rms(draw) | {"head_dim": draw(one_of(4, 8)), "sliding_window": WINDOW}
    layers = keys["num_hidden_layers"] = draw(one_of(2, 3, 4))
    rope: Keys = scaling(draw)["rope_parameters"]
    unscaled: Keys = {"rope_type": "default", "rope_theta": 100.0}
    both = draw(one_of((None, rope), (rope, None), (rope, unscaled), (None, unscaled)))
    listed: Keys = {
        "layer_types": list(draw(product(("full_attention", "sliding_attention"), repeat=layers))),
        "mlp_layer_types": list(draw(product(("dense", "sparse"), repeat=layers))),
        "rope_parameters": dict(zip(("full_attention", "sliding_attention"), both, strict=True)),
    }
    chosen: Keys = draw(one_of({}, listed))
    return keys | {
        "attention_bias": draw(one_of(False, True)),
        "num_experts": 8,
        "num_experts_per_tok": draw(one_of(1, 3)),
        "moe_intermediate_size": 10,
        "n_group": draw(one_of(1, 4)),
        "topk_group": 2 if chosen is listed else 1,
        "norm_topk_prob": draw(one_of(False, True)),
        "routed_scaling_factor": draw(one_of(1.0, 2.5)),
        "final_logit_softcapping": draw(one_of(None, 3.0)),
        **chosen,
    }


def doge(draw: Draw) -> Keys:
    keys = sizes(draw) | rms(draw) | scaling(draw) | {"keep_window_size": draw(one_of(3, 64))}
    return keys | {
        "sliding_window": draw(one_of(None, WINDOW)),
        "attention_bias": draw(one_of(False, True)),
        "mlp_bias": draw(one_of(False, True)),
    }


def laguna(draw: Draw) -> Keys:
    keys = sizes(draw) | rms(draw) | {"head_dim": 8, "sliding_window": WINDOW, "num_hidden_layers": draw(one_of(2, 3))}
    layers, heads = keys["num_hidden_layers"], keys["num_attention_heads"]
    full = scaling(draw)["rope_parameters"] | {"partial_rotary_factor": draw(one_of(0.5, 1.0))}
    local = {"rope_type": "default", "rope_theta": 100.0, "partial_rotary_factor": draw(one_of(1.0, 0.5))}
    listed: Keys = {
        "layer_types": list(draw(product(("full_attention", "sliding_attention"), repeat=layers))),
        "mlp_layer_types": list(draw(product(("dense", "sparse"), repeat=layers))),
        "num_attention_heads_per_layer": list(draw(product((heads, 2 * heads), repeat=layers))),
    }
    chosen: Keys = draw(one_of({}, listed))
    return keys | {
        "rope_parameters": {"full_attention": full, "sliding_attention": local},
        "gating": draw(one_of(True, "per-element", "per-head")),
        "num_experts": 4,
        "num_experts_per_tok": draw(one_of(1, 2)),
        "moe_intermediate_size": 10,
        "shared_expert_intermediate_size": draw(one_of(6, 10)),
        "moe_routed_scaling_factor": draw(one_of(1.0, 2.5)),
        **chosen,
    }


def mimo_v2_flash(draw: Draw) -> Keys:
    keys = laguna(draw)
    for name in list(keys):
        if name.startswith(("gating", "num_attention_heads_", "num_experts", "shared_", "moe_routed")):
            del keys[name]
    keys |= {"num_attention_heads": 4, "num_key_value_heads": draw(one_of(1, 2)), "hidden_size": 16}
    window = draw(one_of({}, {"sliding_window_size": WINDOW - 2}))
    return keys | {
        "v_head_dim": draw(one_of(4, 6, 8)),
        "attention_value_scale": draw(one_of(None, 0.7)),
        "attention_bias": draw(one_of(False, True)),
        "n_routed_experts": 4,
        "num_experts_per_tok": draw(one_of(1, 2)),
        "n_group": (n_group := draw(one_of(1, 2))),
        "topk_group": n_group,
        "norm_topk_prob": draw(one_of(False, True)),
        "routed_scaling_factor": draw(one_of(None, 2.5)),
        **window,
    }


def modernbert_decoder(draw: Draw) -> Keys:
    keys = alike_heads(draw) | {"local_attention": draw(one_of(WINDOW * 2, WINDOW * 2 - 1))}
    layers = keys["num_hidden_layers"]
    keys |= {f"{name}_token_id": 0 for name in ("bos", "cls", "eos", "pad", "sep")}
    biases = ("attention_bias", "mlp_bias", "norm_bias", "decoder_bias", "classifier_bias")
    types = list(draw(product(("full_attention", "sliding_attention"), repeat=layers)))
    thetas = {name: {"rope_type": "default", "rope_theta": draw(one_of(100.0, 1e4))} for name in sorted(set(types))}
    return keys | {
        **{name: draw(one_of(False, True)) for name in biases},
        "hidden_activation": draw(one_of("gelu", "silu")),
        "classifier_activation": draw(one_of("gelu", "relu", "silu")),
        "norm_eps": draw(one_of(1e-5, 1e-2)),
        **draw(one_of({}, {"global_attn_every_n_layers": 2}, {"layer_types": types, "rope_parameters": thetas})),
    }


def aria_text(draw: Draw) -> Keys:
    keys = llama(draw) | {"moe_num_experts": 4, "moe_topk": draw(one_of(1, 2))}
    return keys | {"mlp_bias": draw(one_of(False, True)), "moe_num_shared_experts": draw(one_of(1, 2))}


def minimax_m3_vl_text(draw: Draw) -> Keys:
    keys = minimax_m2(draw) | {"swiglu_limit": draw(one_of(0.5, 7.0)), "routed_scaling_factor": draw(one_of(1.0, 2.0))}
    layers = keys["num_hidden_layers"]
    keys["mlp_layer_types"] = list(draw(permutations(["dense", "sparse", draw(one_of("dense", "sparse"))])))[:layers]
    return keys | {"dense_intermediate_size": 20, "shared_intermediate_size": draw(one_of(6, 10))}


def phimoe(draw: Draw) -> Keys:
    keys = mixtral(draw) | {"num_experts_per_tok": 2, "router_jitter_noise": draw(one_of(0.01, 0.3))}
    keys |= {"attention_bias": draw(one_of(False, True)), "lm_head_bias": draw(one_of(False, True))}
    keys["rope_parameters"] = {"rope_type": "default", "rope_theta": draw(one_of(100.0, 10_000.0))}
    pairs = keys["hidden_size"] // keys["num_attention_heads"] // 2
    scaled = {
        "rope_type": "longrope",
        "original_max_position_embeddings": 8,
        "short_factor": [1.0 + 0.25 * i for i in range(pairs)],
        "long_factor": [1.0 + 2.0 * i for i in range(pairs)],
        "short_mscale": 1.2,
        "long_mscale": 1.2,
    }
    if draw(one_of(False, True)):
        keys["rope_parameters"] |= scaled
    return keys


def kolibri1(draw: Draw) -> Keys:
    keys = sizes(draw) | rms(draw) | scaling(draw) | {"num_experts": 4, "head_dim": draw(one_of(4, 8))}
    del keys["intermediate_size"]
    keys |= {"num_experts_per_tok": draw(one_of(1, 2)), "norm_topk_prob": draw(one_of(False, True))}
    keys |= {"moe_intermediate_size": 10, "shared_expert_intermediate_size": draw(one_of(6, 10))}
    layers = keys["num_hidden_layers"]
    keys["sliding_window"] = WINDOW
    listed = {"layer_types": [draw(one_of("sliding_attention", "full_attention")) for _ in range(layers)]}
    return keys | (listed if draw(one_of(False, True)) else {})


def lara_mini(draw: Draw) -> Keys:
    keys = qwen3_5_moe_text(draw) | {"sliding_window": WINDOW, "norm_topk_prob": draw(one_of(False, True))}
    del keys["rope_parameters"]["partial_rotary_factor"]
    types = ["linear_attention", "sliding_attention", "full_attention"]
    return keys | {"layer_types": list(draw(permutations(types))), "num_hidden_layers": 3}


def dbrx(draw: Draw) -> Keys:
    keys, stretched = sizes(draw), scaling(draw, dynamic=True)
    attention = {"clip_qkv": draw(one_of(0.1, 0.3)), "kv_n_heads": keys["num_key_value_heads"]}
    experts = {
        "ffn_act_fn": draw(one_of(None, {"name": "gelu"})),
        "ffn_hidden_size": keys["intermediate_size"],
        "moe_num_experts": 4,
        "moe_top_k": draw(one_of(1, 2)),
        "moe_normalize_expert_weights": draw(one_of(None, 1.0)),
    }
    return {
        "vocab_size": VOCAB,
        "d_model": keys["hidden_size"],
        "n_heads": keys["num_attention_heads"],
        "n_layers": keys["num_hidden_layers"],
        "max_seq_len": MAX_LEN,
        "attn_config": {
            **attention,
            "rope_theta": stretched["rope_parameters"]["rope_theta"],
        },  # required, but not read
        "ffn_config": experts,
        **stretched,
    }


FAMILIES: dict[str, Callable[[Draw], Keys]] = {
    "apertus": apertus,
    "apertus1p5_text": apertus,
    "arcee": arcee,
    "axk1": axk1,
    "biogpt": biogpt,
    "bert-generation": bert_generation,
    "bloom": bloom,
    "codegen": gptj,
    "cohere": cohere,
    "cohere2": cohere2,
    "cohere2_moe": cohere2_moe,
    "cohere_compass_text": cohere_compass_text,
    "ctrl": ctrl,
    "cwm": cwm,
    "deepseek_v2": deepseek_v2,
    "deepseek_v3": deepseek_v3,
    "diffllama": diffllama,
    "ernie4_5": ernie4_5,
    "ernie4_5_moe": ernie4_5_moe,
    "exaone": llama,
    "exaone4": exaone4,
    "falcon": falcon,
    "gemma": gemma,
    "gemma2": gemma2,
    "gemma3_text": gemma3_text,
    "gemma3n_text": gemma3n_text,
    "gemma4_text": gemma4_text,
    "gemma4_unified_text": gemma4_unified_text,
    "lfm3": lfm3,
    "glm": glm,
    "glm4": glm,
    "gpt2": gpt2,
    "gpt_bigcode": gpt_bigcode,
    "gpt_neo": gpt_neo,
    "gpt_neox": gpt_neox,
    "gpt_neox_japanese": gpt_neox_japanese,
    "granitemoe": granitemoe,
    "hunyuan_v1_moe": hunyuan_v1_moe,
    "hy_v3": hy_v3,
    "lfm2_moe": lfm2_moe,
    "mellum": mellum,
    "flex_olmo": flex_olmo,
    "dots1": dots1,
    "glm4_moe": glm4_moe,
    "glm4_moe_lite": glm4_moe_lite,
    "deepseek_v32": deepseek_v32,
    "axk2": axk2,
    "hy_v4": hy_v4,
    "glm_moe_dsa": glm_moe_dsa,
    "kimi_linear": kimi_linear,
    "dots3_note_text": dots3_note_text,
    "bailing_hybrid": bailing_hybrid,
    "solar_open": solar_open,
    "sarvam_moe": sarvam_moe,
    "sarvam_mla": sarvam_mla,
    "beam": beam,
    "doge": doge,
    "laguna": laguna,
    "lara_mini": lara_mini,
    "phimoe": phimoe,
    "kolibri1": kolibri1,
    "dbrx": dbrx,
    "flint": flint,
    "aria_text": aria_text,
    "minimax_m3_vl_text": minimax_m3_vl_text,
    "minimax": minimax,
    "minimax_m2": minimax_m2,
    "exaone_moe": exaone_moe,
    "afmoe": afmoe,
    "granitemoeshared": granitemoeshared,
    "granitemoe_swa": granitemoe_swa,
    "granitemoehybrid": granitemoehybrid,
    "bamba": bamba,
    "gpt_oss": gpt_oss,
    "granite_swa": granite_swa,
    "gptj": gptj,
    "granite": granite,
    "helium": helium,
    "hrm_text": hrm_text,
    "hunyuan_v1_dense": hunyuan_v1_dense,
    "hyperclovax": hyperclovax,
    "internlm3": internlm3,
    "iquestcoder": llama,
    "jais2": jais2,
    "bitnet": bitnet,
    "modernbert-decoder": modernbert_decoder,
    "mimo_v2_flash": mimo_v2_flash,
    "llama": llama,
    "llama4_text": llama4_text,
    "recurrent_gemma": recurrent_gemma,
    "jetmoe": jetmoe,
    "rwkv": rwkv,
    "longcat_flash": longcat_flash,
    "xlstm": xlstm,
    "mamba": mamba,
    "falcon_h1": falcon_h1,
    "zamba": zamba,
    "zamba2": zamba2,
    "falcon_mamba": falcon_mamba,
    "jamba": jamba,
    "mamba2": mamba2,
    "minicpm3": minicpm3,
    "ministral": ministral,
    "ministral3": ministral3,
    "mistral": mistral,
    "mixtral": mixtral,
    "mpt": mpt,
    "nanochat": nanochat,
    "nemotron": nemotron,
    "olmo": olmo,
    "olmo2": olmo2,
    "olmo3": olmo3,
    "olmoe": olmoe,
    "openai-gpt": openai_gpt,
    "opt": opt,
    "persimmon": persimmon,
    "phi": phi,
    "phi3": phi3,
    "qwen2": qwen2,
    "qwen3": qwen3,
    "qwen3_moe": qwen3_moe,
    "qwen2_moe": qwen2_moe,
    "qwen3_next": qwen3_next,
    "qwen3_5_text": qwen3_5_text,
    "qwen3_5_moe_text": qwen3_5_moe_text,
    "olmo_hybrid": olmo_hybrid,
    "seed_oss": seed_oss,
    "lfm2": lfm2,
    "nemotron_h": nemotron_h,
    "smollm3": smollm3,
    "stablelm": stablelm,
    "starcoder2": starcoder2,
    "vaultgemma": vaultgemma,
    "xglm": xglm,
    "youtu": youtu,
}


def configs(family: str, count: int) -> list[Keys]:
    """Return the keys of several random configs of a family.

    Of every two values drawn at the same place, both occur: a draw takes the values of a random order in turn.
    """
    return [FAMILIES[family](_take_in_turn(family, number)) for number in range(count)]


def _take_in_turn(family: str, number: int) -> Draw:
    place = 0

    def draw(values: Iterable[Any]) -> Any:
        nonlocal place
        place += 1
        order = list(values)
        Random(f"{family} {place}").shuffle(order)
        return order[number % len(order)]

    return draw

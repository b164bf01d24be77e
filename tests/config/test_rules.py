"""Rules between fields: when they report a problem; their suggested fixes are valid."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tinylm_cli.config.amounts import read_amount
from tinylm_cli.config.base import MAX_DIM, MAX_N_HEADS
from tinylm_cli.config.dependencies import REQUIREMENTS, Problem, applies, defaults, satisfying_values
from tinylm_cli.config.diagnostic_codes import CODES
from tinylm_cli.config.fields import Field, fields
from tinylm_cli.config.rules import RULES, broken_rules
from tinylm_cli.config.schema import ModelConfig

Values = dict[str, Any]

DEFAULTS: Values = {name: field.example if field.required else field.default for name, field in fields().items()}
LATENT = {"attention.kind": "latent", "position.kind": "rope"}
ROPE = {"position.kind": "rope"}
EXPERTS = {"feed_forward.n_experts": 8}
LONGROPE = {**ROPE, "position.scaling": "longrope", "position.original_max_len": 64}


def _problems(changes: Values) -> list[Problem]:
    return list(broken_rules({**DEFAULTS, **changes}))


def _single_problem(changes: Values) -> Problem:
    (problem,) = _problems(changes)
    return problem


def test_the_defaults_break_no_rule() -> None:
    assert _problems({}) == []


def test_heads() -> None:
    problem = _single_problem({"d_model": 128, "n_heads": 5})
    assert problem.message == "d_model 128 is not divisible by n_heads 5"
    assert problem.help == "write n_heads: 4 or 8, or d_model: 120 or 130"
    assert "exceeds" in _single_problem({"d_model": 4, "n_heads": 8}).message
    assert _problems({"d_model": 128, "n_heads": 5, "attention.d_head": 3}) == []


def test_odd_widths() -> None:
    odd = {"d_model": 5, "n_heads": 5}
    assert _single_problem(odd).code == "odd-sinusoidal-width"
    assert _problems({**odd, "position.kind": "learned"}) == []


# changes to the defaults, code, message, remedy
CASES: list[tuple[Values, str, str, str]] = [
    (
        {"tie_weights": True, "head.kind": "none"},
        "without-effect",
        "tie_weights true has no effect: only an LM head is tied to the token embedding, head.kind is none",
        "write tie_weights: false, or head.kind: lm",
    ),
    (
        {"attention.n_kv_heads": 3, "n_heads": 32},
        "kv-heads-do-not-divide",
        "n_heads 32 is not divisible by attention.n_kv_heads 3",
        "write attention.n_kv_heads: 2 or 4, or omit attention.n_kv_heads",
    ),
    (
        {"attention.n_kv_heads": 8},
        "kv-heads-do-not-divide",
        "attention.n_kv_heads 8 exceeds n_heads 4",
        "write attention.n_kv_heads: 4, or omit attention.n_kv_heads",
    ),
    (
        {**ROPE, "d_model": 132},
        "odd-rotary-width",
        "d_model 132 / n_heads 4 is 33, which is odd; RoPE rotates pairs of dimensions",
        "write d_model: 128 or 136, or attention.d_head: 34",
    ),
    (
        {**ROPE, "attention.d_head": 65},
        "odd-rotary-width",
        "attention.d_head 65 is odd; RoPE rotates pairs of dimensions",
        "write attention.d_head: 64 or 66",
    ),
    (
        {**ROPE, "attention.d_head": 80, "position.rotary_fraction": 0.42},
        "odd-rotary-width",
        "position.rotary_fraction 0.42 of 80 dimensions per head is 33; RoPE rotates pairs of dimensions",
        "write position.rotary_fraction: 0.4 or 0.43",
    ),
    (
        {**ROPE, "position.rotary_fraction": 0.01},
        "odd-rotary-width",
        "position.rotary_fraction 0.01 of 32 dimensions per head is 0; RoPE rotates pairs of dimensions",
        "write position.rotary_fraction: 0.07",
    ),
    (
        {**LATENT, "attention.d_rope": 63},
        "odd-rotary-width",
        "attention.d_rope 63 is odd; RoPE rotates pairs of dimensions",
        "write attention.d_rope: 62 or 64",
    ),
    (
        {**EXPERTS, "feed_forward.top_k": 9},
        "top-k-above-experts",
        "feed_forward.top_k 9 exceeds feed_forward.n_experts 8",
        "write feed_forward.top_k: 8, or feed_forward.n_experts: 9",
    ),
    (
        {**EXPERTS, "feed_forward.n_groups": 3},
        "expert-groups",
        "feed_forward.n_experts 8 is not divisible by feed_forward.n_groups 3",
        "write feed_forward.n_groups: 2 or 4",
    ),
    (
        {**EXPERTS, "feed_forward.n_groups": 4, "feed_forward.top_k_groups": 5},
        "expert-groups",
        "feed_forward.top_k_groups 5 exceeds feed_forward.n_groups 4",
        "write feed_forward.top_k_groups: 4",
    ),
    (
        {**EXPERTS, "feed_forward.n_groups": 4, "feed_forward.top_k": 5},
        "expert-groups",
        "feed_forward.top_k 5 exceeds the 2 experts in the 1 group that the router selects",
        "write feed_forward.top_k_groups: 3, or feed_forward.top_k: 2",
    ),
    (
        {**EXPERTS, "feed_forward.n_dense_layers": 4},
        "contradiction",
        "feed_forward.n_dense_layers 4 leaves no layer with experts: n_layers is 4",
        "write feed_forward.n_dense_layers: 3, or omit feed_forward.n_experts",
    ),
    (
        {"attention.kind": "latent"},
        "contradiction",
        "attention.kind latent requires position.kind rope, for its attention.d_rope dimensions, or none",
        "write position.kind: rope, or attention.kind: multi_head",
    ),
    (
        {**LATENT, "attention.q_rank": 8, "attention.index_top_k": 4, "attention.index_d_head": 33},
        "contradiction",
        "attention.index_d_head 33 is below the attention.d_rope 64 dimensions that RoPE rotates",
        "write attention.index_d_head: 64, or attention.d_rope: 32",
    ),
    (
        {**LATENT, "attention.q_rank": 8, "attention.index_top_k": 4, "attention.window": 2},
        "contradiction",
        "attention.window 2 and attention.index_top_k 4 both restrict the attended positions",
        "omit attention.index_top_k, or omit attention.window",
    ),
    (
        {**LATENT, "attention.index_top_k": 4},
        "without-effect",
        "attention.index_top_k has no effect unless attention.q_rank is set",
        "omit attention.index_top_k, or write attention.q_rank: 1536",
    ),
    (
        {**LATENT, "position.rotary_fraction": 0.5},
        "contradiction",
        "position.rotary_fraction 0.5 has no effect: latent attention applies RoPE to attention.d_rope dimensions",
        "omit position.rotary_fraction, or write attention.kind: multi_head",
    ),
    (
        {"norm.bias": True, "norm.kind": "rmsnorm", "norm.weight": False},
        "contradiction",
        "norm.bias true requires norm.kind layernorm and norm.weight true",
        "omit norm.bias, or write norm.kind: layernorm and norm.weight: true",
    ),
    (
        {"block.parallel": True, "norm.placement": "post"},
        "contradiction",
        "block.parallel true requires norm.placement pre",
        "write norm.placement: pre, or omit block.parallel",
    ),
    (
        {"attention.window": 64, "attention.window_pattern": "GG"},
        "contradiction",
        "attention.window 64 has no effect: attention.window_pattern GG has no local layer (L)",
        "omit attention.window, or write attention.window_pattern: LG",
    ),
    (
        {**ROPE, "position.scaling": "linear"},
        "needs-field",
        "position.scaling linear requires position.scaling_factor, the factor of the context length",
        "write position.scaling_factor: 8, or position.scaling: none",
    ),
    (
        {**ROPE, "position.scaling": "llama3", "position.original_max_len": 8192, "max_len": 131072},
        "needs-field",
        "position.scaling llama3 requires position.scaling_factor, the factor of the context length",
        "write position.scaling_factor: 16, or position.scaling: none",
    ),
    (
        {**ROPE, "position.scaling": "yarn", "position.scaling_factor": 4.0, "max_len": 131072},
        "needs-field",
        "position.scaling yarn requires position.original_max_len, the context length before scaling",
        "write position.original_max_len: 32768, or the context length of pretraining",
    ),
    (
        {
            **ROPE,
            "position.scaling": "llama3",
            "position.scaling_factor": 8.0,
            "position.original_max_len": 8192,
            "position.low_freq_factor": 5.0,
        },
        "contradiction",
        "position.low_freq_factor 5 must not exceed position.high_freq_factor 4",
        "write position.low_freq_factor: 1.0 and position.high_freq_factor: 4.0",
    ),
    (
        {
            **ROPE,
            "position.scaling": "yarn",
            "position.scaling_factor": 8.0,
            "position.original_max_len": 8192,
            "position.beta_slow": 40.0,
        },
        "contradiction",
        "position.beta_slow 40 must not exceed position.beta_fast 32",
        "write position.beta_slow: 1.0 and position.beta_fast: 32.0",
    ),
    (
        LONGROPE,
        "needs-field",
        "position.scaling longrope requires position.short_factors and position.long_factors,"
        " one number per rotated pair (16)",
        "write position.short_factors as a list of 16 numbers and position.long_factors as a list of 16 numbers",
    ),
    (
        {**LONGROPE, "position.short_factors": (1.0,) * 16, "position.long_factors": (1.0,)},
        "contradiction",
        "position.long_factors has 1 number, but RoPE rotates 16 pairs",
        "write position.long_factors as a list of 16 numbers",
    ),
    (
        {"position.theta": 500_000.0},
        "without-effect",
        "position.theta has no effect unless position.kind is rope",
        "omit position.theta, or write position.kind: rope",
    ),
    (
        {"position.local_theta": 1e6},
        "without-effect",
        "position.local_theta has no effect unless position.kind is rope and attention.window is set",
        "omit position.local_theta, or write position.kind: rope and attention.window: 1024",
    ),
    (
        {"position.low_freq_factor": 2.0},
        "without-effect",
        "position.low_freq_factor has no effect unless position.scaling is llama3",
        "omit position.low_freq_factor, or write position.kind: rope and position.scaling: llama3",
    ),
    (
        {**LATENT, "attention.n_kv_heads": 8},
        "without-effect",
        "attention.n_kv_heads has no effect unless attention.kind is multi_head",
        "omit attention.n_kv_heads, or write attention.kind: multi_head",
    ),
    (
        {"attention.chunked": True},
        "without-effect",
        "attention.chunked has no effect unless attention.window is set",
        "omit attention.chunked, or write attention.window: 1024",
    ),
    (
        {"attention.temperature_len": 4096},
        "without-effect",
        "attention.temperature_len has no effect unless attention.temperature_scale is set",
        "omit attention.temperature_len, or write attention.temperature_scale: 0.1",
    ),
    (
        {"attention.qk_norm_weight": False},
        "without-effect",
        "attention.qk_norm_weight has no effect unless attention.qk_norm is not none",
        "omit attention.qk_norm_weight, or write attention.qk_norm: per_head",
    ),
    (
        {"norm.weight": False, "attention.qk_norm": "full", "attention.qk_norm_weight": False},
        "without-effect",
        "attention.qk_norm_weight has no effect unless norm.weight is true",
        "omit attention.qk_norm_weight, or write norm.weight: true",
    ),
    (
        {"attention.keys_as_values": True},
        "contradiction",
        "attention.keys_as_values true requires attention.v_norm true, so that keys differ from values",
        "write attention.v_norm: true, or omit attention.keys_as_values",
    ),
    (
        {"attention.keys_as_values": True, "attention.v_norm": True},
        "contradiction",
        "attention.keys_as_values true requires attention.qk_norm per_head, so that keys differ from values",
        "write attention.qk_norm: per_head, or omit attention.keys_as_values",
    ),
    (
        {"feed_forward.activation": "xielu", "embedding.d_per_layer": 8},
        "contradiction",
        "feed_forward.activation xielu is not supported with embedding.d_per_layer, whose gates have no scalars",
        "write feed_forward.activation: silu",
    ),
    (
        {"embedding.n_codebooks": 4, "embedding.d_per_layer": 8},
        "contradiction",
        "embedding.n_codebooks 4 is not supported with embedding.d_per_layer, whose embeddings are of one token",
        "omit embedding.n_codebooks, or embedding.d_per_layer",
    ),
    (
        {"position.proportional": True},
        "without-effect",
        "position.proportional has no effect unless position.kind is rope",
        "omit position.proportional, or write position.kind: rope",
    ),
    (
        {"attention.gate_per_head": True},
        "without-effect",
        "attention.gate_per_head has no effect unless attention.gate is true",
        "omit attention.gate_per_head, or write attention.gate: true",
    ),
    (
        {"feed_forward.sub_norm": True, "feed_forward.n_experts": 8},
        "without-effect",
        "feed_forward.sub_norm has no effect unless feed_forward.n_experts is not set",
        "omit feed_forward.sub_norm, or write feed_forward.n_experts: null",
    ),
    (
        {"n_heads": 8, "attention.n_kv_heads": 2, "attention.n_experts": 3},
        "top-k-above-experts",
        "n_heads / attention.n_kv_heads, 4, exceeds attention.n_experts 3",
        "write attention.n_experts: 4",
    ),
    (
        {"feed_forward.channel_mixing": True, "feed_forward.gated": True},
        "without-effect",
        "feed_forward.channel_mixing has no effect unless feed_forward.gated is false",
        "omit feed_forward.channel_mixing, or write feed_forward.gated: false",
    ),
    (
        {"head.dense": True, "head.n_mtp_layers": 1},
        "without-effect",
        "head.dense has no effect unless head.n_mtp_layers is 0",
        "omit head.dense, or write head.n_mtp_layers: 0",
    ),
    (
        {"block.parallel": True, "block.shared_norm": True, "block.mixer_norm": False},
        "without-effect",
        "block.shared_norm has no effect unless block.mixer_norm is true",
        "omit block.shared_norm, or write block.mixer_norm: true",
    ),
    (
        {"block.parallel": True, "block.depth_scaled_residual": True},
        "without-effect",
        "block.depth_scaled_residual has no effect unless block.parallel is false",
        "omit block.depth_scaled_residual, or write block.parallel: false",
    ),
    (
        {"block.hyper_streams": 4, "block.depth_scaled_residual": True},
        "without-effect",
        "block.depth_scaled_residual has no effect unless block.hyper_streams is not set",
        "omit block.depth_scaled_residual, or write block.hyper_streams: null",
    ),
    (
        {"head.n_mtp_layers": 1, "block.depth_scaled_residual": True},
        "without-effect",
        "block.depth_scaled_residual has no effect unless head.n_mtp_layers is 0",
        "omit block.depth_scaled_residual, or write head.n_mtp_layers: 0",
    ),
    (
        {"block.parallel": True, "block.skip_weight": True},
        "without-effect",
        "block.skip_weight has no effect unless block.parallel is false",
        "omit block.skip_weight, or write block.parallel: false",
    ),
    (
        {"position.kind": "alibi", "attention.dynamic_mask_top_k": 64},
        "without-effect",
        "attention.dynamic_mask_top_k has no effect unless position.kind is not alibi",
        "omit attention.dynamic_mask_top_k, or write position.kind: rope",
    ),
    (
        {"attention.window": 8, "attention.chunked": True, "attention.dynamic_mask_top_k": 64},
        "without-effect",
        "attention.dynamic_mask_top_k has no effect unless attention.chunked is false",
        "omit attention.dynamic_mask_top_k, or write attention.chunked: false",
    ),
    (
        {"attention.gate_bias": "per_head"},
        "without-effect",
        "attention.gate_bias has no effect unless attention.gate is true",
        "omit attention.gate_bias, or write attention.gate: true",
    ),
    (
        {"attention.temperature_growth": "power"},
        "without-effect",
        "attention.temperature_growth has no effect unless attention.temperature_scale is set",
        "omit attention.temperature_growth, or write attention.temperature_scale: 0.1",
    ),
    (
        {"loop.n_loops": 2, "loop.n_coda_layers": 1, "n_layers": 1},
        "contradiction",
        "loop.n_loops repeats no layer: prelude and coda have 1 layer, n_layers is 1",
        "write n_layers: 2, or omit loop.n_coda_layers",
    ),
    (
        {"loop.n_loops": 1},
        "without-effect",
        "loop.n_loops 1 has no effect: layers run once without a loop",
        "write loop.n_loops: 2, or omit loop.n_loops",
    ),
    (
        {"loop.n_loops": 2, "block.hyper_streams": 4},
        "contradiction",
        "block.hyper_streams 4 is not supported with loop.n_loops: the passes of a loop share one residual stream",
        "omit block.hyper_streams, or loop.n_loops",
    ),
    (
        {"norm.placement": "post_residual", "block.hyper_streams": 4},
        "without-effect",
        "block.hyper_streams has no effect unless norm.placement is pre, post or sandwich",
        "omit block.hyper_streams, or write norm.placement: pre",
    ),
    (
        {"block.hyper_streams": 4, "block.altup_streams": 4},
        "without-effect",
        "block.altup_streams has no effect unless block.hyper_streams is not set",
        "omit block.altup_streams, or write block.hyper_streams: null",
    ),
    (
        {"block.altup_streams": 4, "head.n_mtp_layers": 1},
        "without-effect",
        "block.altup_streams has no effect unless head.n_mtp_layers is 0",
        "omit block.altup_streams, or write head.n_mtp_layers: 0",
    ),
    (
        {"norm.placement": "post", "block.laurel_rank": 8},
        "without-effect",
        "block.laurel_rank has no effect unless norm.placement is pre or sandwich",
        "omit block.laurel_rank, or write norm.placement: pre",
    ),
    (
        {"feed_forward.activation_sparsity": 0.9},
        "without-effect",
        "feed_forward.activation_sparsity has no effect unless feed_forward.gated is true",
        "omit feed_forward.activation_sparsity, or write feed_forward.gated: true",
    ),
    (
        {"embedding.per_layer_vocab_size": 8},
        "without-effect",
        "embedding.per_layer_vocab_size has no effect unless embedding.d_per_layer is set",
        "omit embedding.per_layer_vocab_size, or write embedding.d_per_layer: 256",
    ),
    (
        {"vocab_size": 256, "embedding.d_per_layer": 8, "embedding.per_layer_vocab_size": 300},
        "contradiction",
        "embedding.per_layer_vocab_size 300 exceeds vocab_size 256",
        "write embedding.per_layer_vocab_size: 256, or vocab_size: 300",
    ),
    (
        {"block.mixer": "shared_block_mamba", "block.altup_streams": 2},
        "contradiction",
        "block.altup_streams 2 is not supported with block.mixer shared_block_mamba",
        "omit block.altup_streams",
    ),
    (
        {**EXPERTS, "feed_forward.gated": True, "feed_forward.clamp": 7.0, "feed_forward.expert_clamp": 7.0},
        "without-effect",
        "feed_forward.expert_clamp has no effect unless feed_forward.clamp is not set",
        "omit feed_forward.expert_clamp, or write feed_forward.clamp: null",
    ),
    (
        {"block.parallel": True, "block.shared_norm": True, "block.feed_forward_norm_gate_rank": 4},
        "without-effect",
        "block.feed_forward_norm_gate_rank has no effect unless block.shared_norm is false",
        "omit block.feed_forward_norm_gate_rank, or write block.shared_norm: false",
    ),
    (
        {"attention.d_value": 16, "attention.differential": True},
        "without-effect",
        "attention.d_value has no effect unless attention.differential is false",
        "omit attention.d_value, or write attention.differential: false",
    ),
    (
        {"n_heads": 3, "d_model": 6, "attention.differential": True},
        "heads-do-not-divide",
        "n_heads 3 is odd, but attention.differential needs pairs of heads",
        "omit attention.differential",
    ),
    (
        {"feed_forward.activation": "xielu", "feed_forward.n_experts": 8},
        "contradiction",
        "feed_forward.activation xielu requires a dense network, but feed_forward.n_experts is set",
        "write feed_forward.activation: silu",
    ),
    (
        {"feed_forward.router_weight_on_input": True},
        "without-effect",
        "feed_forward.router_weight_on_input has no effect unless feed_forward.n_experts is set",
        "omit feed_forward.router_weight_on_input, or write feed_forward.n_experts: 8",
    ),
    (
        {"feed_forward.n_experts": 8, "feed_forward.shared_scale": 0.5},
        "without-effect",
        "feed_forward.shared_scale has no effect unless feed_forward.n_shared_experts is above 0",
        "omit feed_forward.shared_scale, or write feed_forward.n_shared_experts: 1",
    ),
    (
        {"feed_forward.n_experts": 8, "feed_forward.n_shared_experts": 1, "feed_forward.branch_norms": True},
        "without-effect",
        "feed_forward.branch_norms has no effect unless norm.placement is sandwich",
        "omit feed_forward.branch_norms, or write norm.placement: sandwich",
    ),
    (
        {"norm.placement": "sandwich", "feed_forward.n_experts": 8, "feed_forward.out_norm": True},
        "without-effect",
        "feed_forward.out_norm has no effect unless norm.placement is pre",
        "omit feed_forward.out_norm, or write norm.placement: pre",
    ),
    (
        {"feed_forward.top_k_groups": 4},
        "without-effect",
        "feed_forward.top_k_groups has no effect unless feed_forward.n_groups is above 1",
        "omit feed_forward.top_k_groups, or write feed_forward.n_experts: 8 and feed_forward.n_groups: 8",
    ),
    (
        {"block.mixer": "none", "block.feed_forward": False},
        "contradiction",
        "block.mixer none and block.feed_forward false leave nothing in a layer",
        "omit block.feed_forward, or write block.mixer: attention",
    ),
    (
        {"block.mixer": "short_conv", "position.kind": "rope"},
        "without-effect",
        "position.kind rope has no effect: it acts inside attention, and block.mixer is short_conv",
        "write position.kind: none, or block.mixer: attention",
    ),
    (
        {"block.mixer": "short_conv", "attention.window": 8},
        "without-effect",
        "attention.window has no effect unless block.mixer is attention, attention_mamba2, shared_block_mamba or"
        " shared_block_mamba2",
        "omit attention.window, or write block.mixer: attention",
    ),
    (
        {"short_conv.kernel_size": 4},
        "without-effect",
        "short_conv.kernel_size has no effect unless block.mixer is short_conv",
        "omit short_conv.kernel_size, or write block.mixer: short_conv",
    ),
    (
        {
            "block.mixer": "gated_deltanet",
            "gated_deltanet.n_key_heads": 6,
            "gated_deltanet.n_value_heads": 16,
        },
        "heads-do-not-divide",
        "gated_deltanet.n_value_heads 16 is not a multiple of gated_deltanet.n_key_heads 6",
        "write gated_deltanet.n_key_heads: 4 or 8, or omit gated_deltanet.n_value_heads",
    ),
    (
        {"block.mixer": "gated_deltanet", "gated_deltanet.d_key": 8, "gated_deltanet.n_value_heads": 3},
        "heads-do-not-divide",
        "gated_deltanet.n_value_heads 3 is not a multiple of gated_deltanet.n_key_heads 16",
        "write gated_deltanet.n_key_heads: 3, or omit gated_deltanet.n_value_heads",
    ),
    (
        {"block.mixer": "gated_deltanet", "d_model": 192},
        "heads-do-not-divide",
        "d_model 192 is not divisible by gated_deltanet.d_key 128",
        "write gated_deltanet.n_key_heads, or gated_deltanet.d_key: 96 or 192",
    ),
    (
        {"block.mixer": "kimi_delta_attention", "kimi_delta_attention.d_head": 48},
        "heads-do-not-divide",
        "d_model 128 is not divisible by kimi_delta_attention.d_head 48",
        "write kimi_delta_attention.n_heads, or kimi_delta_attention.d_head: 32 or 64",
    ),
    (
        {"block.mixer": "lightning_attention", "lightning_attention.d_head": 129},
        "heads-do-not-divide",
        "d_model 128 is not divisible by lightning_attention.d_head 129",
        "write lightning_attention.n_heads, or lightning_attention.d_head: 128",
    ),
    (
        {"block.mixer": "mlstm"},
        "heads-do-not-divide",
        "d_model 128 is not divisible by mlstm.d_value 512",
        "write mlstm.n_heads, or mlstm.d_value: 128",
    ),
    (
        {"block.mixer": "mamba", "mamba.d_inner": 30, "mamba.n_heads": 4},
        "heads-do-not-divide",
        "mamba.n_heads 4 does not divide the 30 inner dimensions of mamba",
        "write mamba.n_heads: 3 or 5",
    ),
    (
        {"block.mixer": "rg_lru", "rg_lru.d_inner": 30, "rg_lru.n_blocks": 4},
        "heads-do-not-divide",
        "rg_lru.n_blocks 4 does not divide the 30 inner dimensions of rg_lru",
        "write rg_lru.n_blocks: 3 or 5",
    ),
    (
        {"block.feed_forward": False, "feed_forward.gated": True},
        "without-effect",
        "feed_forward.gated has no effect unless block.feed_forward is true",
        "omit feed_forward.gated, or write block.feed_forward: true",
    ),
    (
        {"block.mixer": "mamba2", "d_model": 144},
        "heads-do-not-divide",
        "2 × d_model 144 is not divisible by mamba2.d_head 64",
        "write mamba2.n_heads, or mamba2.d_head: 48 or 72",
    ),
    (
        {"block.mixer": "mamba2", "mamba2.n_heads": 6, "mamba2.n_groups": 4},
        "heads-do-not-divide",
        "the 6 heads of mamba2 cannot be divided into mamba2.n_groups 4",
        "write mamba2.n_groups: 3 or 6",
    ),
    (
        {"block.mixer": "mamba2", "mamba2.n_groups": 5},
        "heads-do-not-divide",
        "the 4 heads of mamba2 cannot be divided into mamba2.n_groups 5",
        "write mamba2.n_groups: 1",
    ),
    (
        {"block.mixer": "mamba2", "mamba2.min_dt": 0.2, "mamba2.max_dt": 0.1},
        "contradiction",
        "mamba2.min_dt 0.2 must be below mamba2.max_dt 0.1",
        "omit mamba2.min_dt",
    ),
    (
        {"block.mixer": "shared_block_mamba", "position.kind": "rope", "attention.kind": "latent"},
        "contradiction",
        "attention.kind latent is not supported with block.mixer shared_block_mamba",
        "write attention.kind: multi_head",
    ),
    (
        {"block.mixer": "shared_block_mamba", "attention.differential": True},
        "contradiction",
        "attention.differential true is not supported with block.mixer shared_block_mamba",
        "omit attention.differential",
    ),
    (
        {"block.mixer": "shared_block_mamba", "feed_forward.n_experts": 4},
        "contradiction",
        "feed_forward.n_experts 4 is not supported with block.mixer shared_block_mamba",
        "omit feed_forward.n_experts",
    ),
    (
        {"block.mixer": "shared_block_mamba", "feed_forward.activation": "xielu"},
        "contradiction",
        "feed_forward.activation xielu is not supported with block.mixer shared_block_mamba",
        "write feed_forward.activation: silu",
    ),
    (
        {"block.mixer": "shared_block_mamba", "feed_forward.channel_mixing": True},
        "contradiction",
        "feed_forward.channel_mixing true is not supported with block.mixer shared_block_mamba",
        "omit feed_forward.channel_mixing",
    ),
    (
        {"block.mixer": "shared_block_mamba", "block.feed_forward_norm_gate_rank": 4},
        "contradiction",
        "block.feed_forward_norm_gate_rank 4 is not supported with block.mixer shared_block_mamba",
        "omit block.feed_forward_norm_gate_rank",
    ),
    (
        {"block.mixer": "shared_block_mamba", "norm.placement": "post"},
        "contradiction",
        "norm.placement post is not supported with block.mixer shared_block_mamba",
        "write norm.placement: pre",
    ),
    (
        {"block.mixer": "shared_block_mamba", "block.parallel": True},
        "contradiction",
        "block.parallel true is not supported with block.mixer shared_block_mamba",
        "omit block.parallel",
    ),
    (
        {"block.mixer": "shared_block_mamba", "block.normed_residual": True},
        "contradiction",
        "block.normed_residual true is not supported with block.mixer shared_block_mamba",
        "omit block.normed_residual",
    ),
    (
        {"block.mixer": "shared_block_mamba", "head.n_mtp_layers": 1},
        "contradiction",
        "head.n_mtp_layers 1 is not supported with block.mixer shared_block_mamba",
        "omit head.n_mtp_layers",
    ),
    (
        {"embedding.d_per_layer": 8, "head.n_mtp_layers": 1},
        "contradiction",
        "head.n_mtp_layers is not supported with embedding.d_per_layer: MTP modules have no per-layer embeddings",
        "omit head.n_mtp_layers, or embedding.d_per_layer",
    ),
    (
        {"budget.seq_len": 2048},
        "contradiction",
        "budget.seq_len 2048 exceeds max_len 1024",
        "write budget.seq_len: 1024, or max_len: 2048",
    ),
    (
        {"budget.nominal_tolerance": 0.05},
        "without-effect",
        "budget.nominal_tolerance has no effect unless nominal_params is set",
        "omit budget.nominal_tolerance, or write nominal_params: 125M",
    ),
]


@pytest.mark.parametrize(("changes", "code", "message", "help_"), CASES)
def test_messages(changes: Values, code: str, message: str, help_: str) -> None:
    problem = _single_problem(changes)
    assert (problem.code, problem.message, problem.help) == (code, message, help_)


def test_every_rule_has_a_message() -> None:
    speaking = {rule for changes, *_ in CASES for rule in RULES if list(rule({**DEFAULTS, **changes}))}
    silent = [rule.__name__ for rule in RULES if rule not in speaking]
    assert silent == ["_heads_divide_model", "_sinusoidal_width_is_even"], "which tests of their own hear"


@pytest.mark.parametrize(
    "changes",
    [
        {**LATENT, "attention.d_head": None, "d_model": 129, "n_heads": 7},
        {**ROPE, "d_model": 129, "attention.d_head": 64},
        {**EXPERTS, "feed_forward.n_groups": 4, "feed_forward.top_k_groups": 2, "feed_forward.top_k": 4},
        {"norm.bias": False, "norm.kind": "rmsnorm"},
        {"norm.bias": True},
        {**ROPE, "position.scaling": "linear", "position.scaling_factor": 2.0},
        {**ROPE, "position.scaling": "linear", "position.scaling_factor": 1.0},  # which does nothing, and says so
        {"feed_forward.top_k": 2, "position.scaling": "none", "position.theta": 10_000.0},  # as by default
    ],
)
def test_valid_configs(changes: Values) -> None:
    assert _problems(changes) == []


def test_each_fault_is_reported_once() -> None:
    indivisible = {**ROPE, "d_model": 127, "n_heads": 5}
    assert [problem.code for problem in _problems(indivisible)] == ["heads-do-not-divide"]
    too_many = {**EXPERTS, "feed_forward.n_groups": 4, "feed_forward.top_k": 99}
    assert [problem.code for problem in _problems(too_many)] == ["top-k-above-experts"]
    llama = {"position.scaling": "llama3", "position.original_max_len": 8, "position.low_freq_factor": 2.0}
    assert [problem.fields[0] for problem in _problems(llama)] == ["position.scaling"]
    assert [problem.code for problem in _problems({"position.scaling": "llama3"})] == ["without-effect"]


def test_rules_need_valid_fields() -> None:
    values = {name: value for name, value in {**DEFAULTS, "d_model": 127}.items() if name != "n_heads"}
    assert list(broken_rules(values)) == []
    unsure = {name: value for name, value in DEFAULTS.items() if name != "position.kind"}
    assert list(broken_rules({**unsure, "position.theta": 5.0})) == []
    assert list(broken_rules({})) == []


def test_requirements() -> None:
    for name, needs in REQUIREMENTS.items():
        assert name in defaults()
        assert not applies(name, DEFAULTS) or name not in ("position.theta", "feed_forward.top_k")
        mended = {**DEFAULTS, **{other: _value(text) for other, text in satisfying_values(needs, {}).items()}}
        assert applies(name, mended), name
        for need in needs:
            assert need.field in fields()
            assert need.met(_value(need.example))


def _any_of(field: Field) -> st.SearchStrategy[Any]:
    """Draw values that are sound by themselves, often the default and often small."""
    bounds = {
        word: float(number.replace(",", ""))
        for word, number in re.findall(r"(from|to|above|below|at most) ([\d.,]*\d)", field.expected)
    }
    least = max(getattr(each, "min_length", 0) for each in (None, *field.constraints))
    most = min(getattr(each, "max_length", 40) for each in (None, *field.constraints))
    strategies: dict[str, Any] = {
        "boolean": st.booleans,
        "choice": lambda: st.sampled_from(field.choices),
        **dict.fromkeys(("count", "size", "flops"), lambda: st.integers(1, 10**18)),
        "pattern": lambda: st.text("LG", min_size=1, max_size=8),
        "numbers": lambda: st.lists(st.floats(0.5, 64), min_size=least, max_size=most).map(tuple),
        "integer": lambda: st.integers(int(bounds["from"]), 64) | st.integers(int(bounds["from"]), int(bounds["to"])),
        "share": lambda: st.floats(0, 1),
        "text": lambda: st.text("a b", min_size=1),
        "number": lambda: st.floats(
            bounds.get("from", bounds.get("above")),
            bounds.get("to", bounds.get("at most", bounds.get("below"))),
            exclude_min="above" in bounds,
            exclude_max="below" in bounds,
        ),
    }
    drawn: st.SearchStrategy[Any] = strategies[field.kind]()
    return drawn if field.required else drawn | st.just(field.default)


ANY = {
    name: _any_of(field)
    for name, field in fields().items()
    if not name.startswith("layers.")
    # which concern several kinds of layers
    and name not in ("attention.kv_from", "attention.index_shared", "feed_forward.shortcut")
}
ANY["block.shared_block"] = st.sampled_from(["shared", "other"])
ANY["mamba2.multipliers"] = st.none() | st.tuples(*[st.floats(0.5, 64)] * 5)  # its length is fixed
FEW = st.lists(st.sampled_from(sorted(ANY)), max_size=12, unique=True)


@st.composite
def _drawn(draw: st.DrawFn) -> Values:
    """Draw a config whose fields are each sound, a few of them or whole blocks away from the default."""
    changed = set(draw(FEW))
    for start in draw(
        st.lists(st.sampled_from(["position.", "attention.", "feed_forward.", "budget.", ""]), max_size=2)
    ):
        changed |= {name for name in ANY if name.startswith(start) and ("." in name) == bool(start)}
    values = {**DEFAULTS, **{name: draw(ANY[name]) for name in sorted(changed)}}
    contexts: list[Values] = [ROPE, LATENT, EXPERTS, LONGROPE]
    for context in draw(st.lists(st.sampled_from(contexts), max_size=2)):
        values |= context
    return values


@given(_drawn())
def test_every_rule_reads_fields_that_exist(values: Values) -> None:
    for rule in RULES:
        for problem in rule(values):  # a name of no field would be a KeyError
            assert set(problem.fields) <= set(fields())


@given(_drawn())
def test_proposals_fix_their_rule(values: Values) -> None:
    for problem in broken_rules(values):
        _assert_sound(problem)
        proposals = list(_proposals(problem.help))
        assert proposals, problem.help
        for proposal in proposals:
            mended = {**values, **proposal}
            _assert_in_range(proposal)
            left = {(each.code, each.fields) for each in broken_rules(mended)}
            assert (problem.code, problem.fields) not in left, (problem, proposal)


@given(_drawn(), st.randoms(use_true_random=False))
def test_remedies_lead_to_valid_config(values: Values, random: Any) -> None:
    """A field that a remedy omitted is not set again by the remedy of a field that depends on it."""
    omitted: set[str] = set()
    for _ in range(200):
        problem = next(broken_rules(values), None)
        if problem is None:
            break
        proposals = list(_proposals(problem.help))
        forward = [each for each in proposals if all(each[name] == DEFAULTS[name] for name in omitted & each.keys())]
        proposal = random.choice(forward or proposals)
        omitted |= {name for name, value in proposal.items() if value == DEFAULTS[name]}
        values = {**values, **proposal}
    assert list(broken_rules(values)) == []
    assert ModelConfig.model_validate(_nested(values))


@given(st.integers(1, MAX_DIM), st.integers(1, MAX_N_HEADS), st.sampled_from(["sinusoidal", "learned", "rope"]))
def test_remedies_at_range_ends(d_model: int, n_heads: int, kind: str) -> None:
    for wide, heads in product((d_model, MAX_DIM, MAX_DIM - 1), (n_heads, 1, MAX_N_HEADS - 1)):
        values = {**DEFAULTS, "d_model": wide, "n_heads": heads, "position.kind": kind}
        for problem in broken_rules(values):
            for proposal in _proposals(problem.help):
                _assert_in_range(proposal)
                left = {each.code for each in broken_rules({**values, **proposal})}
                assert problem.code not in left, (problem, proposal)


def _assert_sound(problem: Problem) -> None:
    assert problem.code in CODES
    assert set(problem.fields) <= set(fields())
    assert problem.fields[0] in problem.message
    assert len(set(problem.fields)) == len(problem.fields)


def _assert_in_range(proposal: Values) -> None:
    for name, value in proposal.items():
        wrong = [found["loc"] for found in _errors(_nested({**DEFAULTS, name: value})) if found["loc"]]
        assert wrong == [], (name, value)


def _errors(values: Values) -> list[Any]:
    try:
        ModelConfig.model_validate(values)
    except ValidationError as error:
        return list(error.errors())
    return []


def _proposals(help_: str) -> Iterator[Values]:
    """Parse ``write n_heads: 4 or 8, or d_model: 120`` as n_heads 4, n_heads 8, d_model 120; also omitted fields."""
    for part in help_.split(", or "):
        left_out = re.fullmatch(r"omit (\S+)", part)
        if left_out:
            yield {left_out[1]: fields()[left_out[1]].default}
            continue
        pairs = [_assignments(each) for each in part.removeprefix("write ").split(" and ")]
        for chosen in product(*pairs):
            if chosen and all(chosen):
                yield {name: value for name, value in chosen if name}


def _assignments(text: str) -> list[tuple[str, Any]]:
    numbers = re.fullmatch(r"(\S+) as a list of ([\d,]+) numbers?", text)
    if numbers:
        return [(numbers[1], (1.0,) * int(numbers[2].replace(",", "")))]
    name, colon, values = text.partition(": ")
    return [(name, _value(value)) for value in values.split(" or ")] if colon else []


def _value(text: str) -> Any:
    if text in ("true", "false", "null"):
        return {"true": True, "false": False, "null": None}[text]
    amount = read_amount(text, "count")
    return amount or (int(text) if text.isdigit() else float(text) if text[0].isdigit() else text)


def _nested(values: Values) -> Values:
    nested: Values = {}
    for name, value in values.items():
        block, _, last = name.rpartition(".")
        (nested.setdefault(block, {}) if block else nested)[last] = value
    return nested

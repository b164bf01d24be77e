"""Requirements of fields: a field without effect is reported, and the remedy gives it one."""

from __future__ import annotations

import pytest

from tests.config.rule_problems import (
    DEFAULTS,
    EXPERTS,
    LATENT,
    Values,
    parse_value,
    single_problem,
)
from tinylm_cli.config.dependencies import REQUIREMENTS, applies, defaults, satisfying_values
from tinylm_cli.config.fields import fields

# changes to the defaults, code, message, remedy
CASES: list[tuple[Values, str, str, str]] = [
    (
        {**LATENT, "attention.index_top_k": 4},
        "without-effect",
        "attention.index_top_k has no effect unless attention.q_rank is set",
        "omit attention.index_top_k, or write attention.q_rank: 1536",
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
        {"block.feed_forward": False, "feed_forward.gated": True},
        "without-effect",
        "feed_forward.gated has no effect unless block.feed_forward is true",
        "omit feed_forward.gated, or write block.feed_forward: true",
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
    problem = single_problem(changes)
    assert (problem.code, problem.message, problem.help) == (code, message, help_)


def test_requirements() -> None:
    for name, needs in REQUIREMENTS.items():
        assert name in defaults()
        assert not applies(name, DEFAULTS) or name not in ("position.theta", "feed_forward.top_k")
        mended = {**DEFAULTS, **{other: parse_value(text) for other, text in satisfying_values(needs, {}).items()}}
        assert applies(name, mended), name
        for need in needs:
            assert need.field in fields()
            assert need.met(parse_value(need.example))

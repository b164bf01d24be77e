"""Rules between fields: when they report a problem, and what they say."""

from __future__ import annotations

import pytest

from tests.config.rule_problems import (
    DEFAULTS,
    EXPERTS,
    LATENT,
    ROPE,
    Values,
    problems,
    single_problem,
)
from tinylm_cli.config.loop_rules import LOOP_RULES
from tinylm_cli.config.position_rules import POSITION_RULES
from tinylm_cli.config.rules import RULES, broken_rules


def test_the_defaults_break_no_rule() -> None:
    assert problems({}) == []


def test_heads() -> None:
    problem = single_problem({"d_model": 128, "n_heads": 5})
    assert problem.message == "d_model 128 is not divisible by n_heads 5"
    assert problem.help == "write n_heads: 4 or 8, or d_model: 120 or 130"
    assert "exceeds" in single_problem({"d_model": 4, "n_heads": 8}).message
    assert problems({"d_model": 128, "n_heads": 5, "attention.d_head": 3}) == []


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
        {"n_heads": 8, "attention.n_kv_heads": 2, "attention.n_experts": 3},
        "top-k-above-experts",
        "n_heads / attention.n_kv_heads, 4, exceeds attention.n_experts 3",
        "write attention.n_experts: 4",
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
        {"storage.quantization": "int4", "storage.strategy": "group", "storage.group_size": 48},
        "contradiction",
        "storage.group_size 48 does not divide d_model 128, the inputs of a linear weight",
        "write storage.group_size: 16",
    ),
    (
        {"storage.quantization": "mxfp4", "d_model": 120},
        "contradiction",
        "storage.quantization mxfp4 has a scale per 32 inputs, but d_model 120 is no multiple",
        "write storage.quantization: float8, or d_model: 128",
    ),
]


@pytest.mark.parametrize(("changes", "code", "message", "help_"), CASES)
def test_messages(changes: Values, code: str, message: str, help_: str) -> None:
    problem = single_problem(changes)
    assert (problem.code, problem.message, problem.help) == (code, message, help_)


def test_every_rule_has_a_message() -> None:
    own = [rule for rule in RULES if rule not in (*LOOP_RULES, *POSITION_RULES)]
    speaking = {rule for changes, *_ in CASES for rule in own if list(rule({**DEFAULTS, **changes}))}
    silent = [rule.__name__ for rule in own if rule not in speaking]
    assert silent == ["_heads_divide_model"], "which a test of its own hears"


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
    assert problems(changes) == []


def test_each_fault_is_reported_once() -> None:
    indivisible = {**ROPE, "d_model": 127, "n_heads": 5}
    assert [problem.code for problem in problems(indivisible)] == ["heads-do-not-divide"]
    too_many = {**EXPERTS, "feed_forward.n_groups": 4, "feed_forward.top_k": 99}
    assert [problem.code for problem in problems(too_many)] == ["top-k-above-experts"]
    llama = {"position.scaling": "llama3", "position.original_max_len": 8, "position.low_freq_factor": 2.0}
    assert [problem.fields[0] for problem in problems(llama)] == ["position.scaling"]
    assert [problem.code for problem in problems({"position.scaling": "llama3"})] == ["without-effect"]


def test_rules_need_valid_fields() -> None:
    values = {name: value for name, value in {**DEFAULTS, "d_model": 127}.items() if name != "n_heads"}
    assert list(broken_rules(values)) == []
    unsure = {name: value for name, value in DEFAULTS.items() if name != "position.kind"}
    assert list(broken_rules({**unsure, "position.theta": 5.0})) == []
    assert list(broken_rules({})) == []

"""Suggestions for similar names, other tools' names and values of the wrong type; every suggestion is valid."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinylm_cli.config.fields import fields
from tinylm_cli.config.loader import parse_config
from tinylm_cli.config.source import Source
from tinylm_cli.config.suggestions import (
    suggest_block,
    suggest_choice,
    suggest_keys,
    suggest_value,
)
from tinylm_cli.errors import ConfigError

MINIMAL = "vocab_size: 256\nd_model: 128\nn_heads: 4\nn_layers: 4\nd_ff: 512\n"


@pytest.mark.parametrize(
    ("wrong", "block", "meant"),
    [
        ("n_embd", "", ["d_model"]),
        ("Hidden_Size", "", ["d_model"]),
        ("layer_norm_epsilon", "", ["norm.eps"]),
        ("rms_norm_eps", "norm", ["norm.eps"]),
        ("type", "norm", ["norm.kind"]),
        ("type", "position", ["position.kind"]),
        ("type", "attention", ["attention.kind"]),
        ("type", "head", ["head.kind"]),
        ("d-model", "", ["d_model"]),
        ("D_MODEL", "", ["d_model"]),
        ("vocabsize", "", ["vocab_size"]),
        ("feed_foward", "", ["feed_forward"]),
        ("eps", "", ["norm.eps"]),
        ("esp", "norm", ["norm.eps"]),
        ("activation", "", ["feed_forward.activation"]),
        ("activaton", "", ["feed_forward.activation"]),
        ("bias", "", ["norm.bias", "attention.bias", "feed_forward.bias", "head.bias"]),
        ("bias", "position", ["norm.bias", "attention.bias", "feed_forward.bias", "head.bias"]),
        ("logit_softcap", "", ["attention.logit_softcap", "head.logit_softcap"]),
        ("kind", "", ["position.kind", "norm.kind", "attention.kind", "head.kind"]),
        ("window", "position", ["attention.window"]),
        ("theta", "attention", ["position.theta"]),
        ("n_kv_heds", "attention", ["attention.n_kv_heads"]),
        ("normalize", "feed_forward", ["feed_forward.renormalize"]),
        ("n_heads", "attention", ["n_heads"]),
        ("norm.eps", "", ["norm.eps"]),
        ("norm.esp", "", ["norm.eps"]),
        ("max_params", "", ["budget.max_params"]),
        ("max_parameters", "budget", ["budget.max_params"]),
        ("dtype", "", []),
        ("dtyp", "budget", ["budget.dtype"]),
        ("favorite_color", "", []),
        ("true", "", []),
        ("learning rate", "", []),
        ("", "", []),
        ("x" * 100_000, "", []),
        ("kind", "layers", ["layers.kinds"]),
    ],
)
def test_keys(wrong: str, block: str, meant: list[str]) -> None:
    assert list(suggest_keys(wrong, block)) == meant


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("num_key_value_heads", "attention.n_kv_heads"),
        ("head_dim", "attention.d_head"),
        ("rope_theta", "position.theta"),
        ("rope_scaling", "position.scaling"),
        ("rope_local_base_freq", "position.local_theta"),
        ("original_max_position_embeddings", "position.original_max_len"),
        ("partial_rotary_factor", "position.rotary_fraction"),
        ("rotary_pct", "position.rotary_fraction"),
        ("short_factor", "position.short_factors"),
        ("sliding_window", "attention.window"),
        ("layer_types", "layers.pattern"),
        ("query_pre_attn_scalar", "attention.scale"),
        ("attn_logit_softcapping", "attention.logit_softcap"),
        ("final_logit_softcapping", "head.logit_softcap"),
        ("kv_lora_rank", "attention.kv_rank"),
        ("q_lora_rank", "attention.q_rank"),
        ("qk_nope_head_dim", "attention.d_nope"),
        ("qk_rope_head_dim", "attention.d_rope"),
        ("v_head_dim", "attention.d_value"),
        ("num_experts", "feed_forward.n_experts"),
        ("num_local_experts", "feed_forward.n_experts"),
        ("n_routed_experts", "feed_forward.n_experts"),
        ("num_experts_per_tok", "feed_forward.top_k"),
        ("moe_intermediate_size", "feed_forward.d_expert"),
        ("n_shared_experts", "feed_forward.n_shared_experts"),
        ("first_k_dense_replace", "feed_forward.n_dense_layers"),
        ("norm_topk_prob", "feed_forward.renormalize"),
        ("routed_scaling_factor", "feed_forward.routed_scale"),
        ("scoring_func", "feed_forward.router"),
        ("n_group", "feed_forward.n_groups"),
        ("topk_group", "feed_forward.top_k_groups"),
        ("swiglu_limit", "feed_forward.clamp"),
        ("hidden_activation", "feed_forward.activation"),
        ("rms_norm", "norm.kind"),
        ("use_parallel_residual", "block.parallel"),
        ("tie_word_embeddings", "tie_weights"),
        ("n_query_groups", "attention.n_kv_heads"),
    ],
)
def test_names_of_published_configs(name: str, meant: str) -> None:
    assert suggest_keys(name, "") == (meant,)


@pytest.mark.parametrize(
    ("wrong", "block"),
    [("mlp", "feed_forward"), ("MoE", "feed_forward"), ("self_attn", "attention"), ("norms", "norm")],
)
def test_blocks(wrong: str, block: str) -> None:
    assert suggest_block(wrong) == block


@given(st.text(max_size=20), st.sampled_from(["", "norm", "attention"]))
def test_suggested_keys_exist(wrong: str, block: str) -> None:
    known = {*fields(), *(name.partition(".")[0] for name in fields())}
    assert set(suggest_keys(wrong, block)) <= known


@pytest.mark.parametrize(
    ("wrong", "name", "meant"),
    [
        ("RMSNorm", "norm.kind", "rmsnorm"),
        ("layer_norm", "norm.kind", "layernorm"),
        ("groupnorm", "norm.kind", None),
        ("gelu_new", "feed_forward.activation", "gelu_tanh"),
        ("GELU-tanh", "feed_forward.activation", "gelu_tanh"),
        ("swish", "feed_forward.activation", "silu"),
        ("gelu_python", "feed_forward.activation", "gelu"),
        ("elu", "feed_forward.activation", None),
        ("rotary", "position.kind", "rope"),
        ("RoPE", "position.kind", "rope"),
        ("absolute", "position.kind", "learned"),
        ("t5", "position.kind", None),
        ("multihead", "attention.kind", "multi_head"),
        ("pre_norm", "norm.placement", "pre"),
        ("relu6", "feed_forward.activation", None),
        ("relu3", "feed_forward.activation", None),
        ("mish", "feed_forward.activation", None),
        ("gelu_10", "feed_forward.activation", None),
        ("leaky_relu", "feed_forward.activation", None),
        ("siluu", "feed_forward.activation", "silu"),
        ("relu_2", "feed_forward.activation", "relu2"),
        ("mrope", "position.scaling", None),
        ("mrope", "position.kind", None),
        ("alibi2", "position.kind", None),
        ("scalenorm", "norm.kind", None),
        ("yran", "position.scaling", "yarn"),
        ("su", "position.scaling", "longrope"),
        ("default", "position.scaling", "none"),
        ("rms", "norm.kind", "rmsnorm"),
        ("gelu_new", "norm.kind", None),
        ("", "norm.kind", None),
    ],
)
def test_choices(wrong: str, name: str, meant: str | None) -> None:
    assert suggest_choice(wrong, fields()[name].choices) == meant


@pytest.mark.parametrize(
    ("written", "name", "meant"),
    [
        ("8", "n_layers", "8"),
        (" 8 ", "n_layers", "8"),
        ("1e3", "d_ff", "1000"),
        ("128.0", "d_model", "128"),
        ("2.5", "d_model", None),
        ("50_257", "vocab_size", "50257"),
        ("50k", "vocab_size", "50000"),
        ("1.1K", "vocab_size", "1100"),
        ("2b", "vocab_size", None),
        ("1.2345k", "vocab_size", None),
        ("50,257", "vocab_size", "50257"),
        ("50 257", "vocab_size", "50257"),
        ("5,7", "vocab_size", None),
        ("128,", "d_model", "128"),
        ("128;", "d_model", "128"),
        ("128# wide", "d_model", "128"),
        ("-8", "n_layers", None),
        ("1e400", "d_ff", None),
        ("nan", "d_ff", None),
        ("0,1", "dropout", "0.1"),
        ("10%", "dropout", "0.1"),
        ("150 %", "dropout", None),
        ("1e−5", "norm.eps", "1.0e-5"),
        ("yes", "tie_weights", "true"),
        ("OFF", "tie_weights", "false"),
        ("Flase", "tie_weights", "false"),
        ("1", "tie_weights", "true"),
        ("banana", "tie_weights", None),
        ("125m", "nominal_params", "125M"),
        ("130 m", "budget.max_params", "130M"),
        ("24gib", "budget.max_kv_bytes", "24GiB"),
        ("80 gb", "budget.max_kv_bytes", "80GB"),
        ("80 gigabytes", "budget.max_kv_bytes", None),
        ("512 kbytes", "budget.max_kv_bytes", "512kB"),
        ("24g", "budget.max_kv_bytes", None),
        ("24_000", "budget.max_kv_bytes", "24000"),
        ("2.5 gflops", "budget.max_flops_per_token", "2.5G"),
        ("2.5b", "budget.max_flops_per_token", "2.5G"),
        ("5%", "budget.nominal_tolerance", "0.05"),
        ("~1.5 b", "nominal_params", "1.5B"),
        ("7G", "nominal_params", "7B"),
        ("1.25e8", "nominal_params", "125000000"),
        ("lots", "nominal_params", None),
        ("null", "position.kind", "none"),
        ("null", "norm.kind", None),
        ("true", "attention.qk_norm", "per_head"),
        ("false", "attention.qk_norm", "none"),
        ("true", "norm.kind", None),
        ("llg", "attention.window_pattern", "LLG"),
        ("swa", "attention.window_pattern", None),
        ("500k", "position.theta", "500000.0"),
        ("8k", "max_len", "8192"),
        ("1 M", "attention.window", "1048576"),
        ("4K", "budget.seq_len", "4096"),
        ("2k", "mamba2.chunk_len", "2048"),
        ("32k", "position.original_max_len", "32768"),
        ("1.5k", "max_len", "1500"),
        ("4,096", "max_len", "4096"),
        ("1 M", "position.theta", "1000000.0"),
        ("25%", "position.rotary_fraction", "0.25"),
        ("500_000", "position.theta", "500000.0"),
        ("1,5", "position.short_factors", None),
    ],
)
def test_values(written: str, name: str, meant: str | None) -> None:
    assert suggest_value(written, fields()[name]) == meant


@given(st.text(alphabet="0123456789.,_ eE+-%KMBTGkmb~;#xo'", max_size=12), st.sampled_from(sorted(fields())))
def test_suggested_values_are_valid(written: str, name: str) -> None:
    guess = suggest_value(written, fields()[name])
    if guess is None:
        return
    codes = _codes(f"{name}={guess}")  # valid by itself; rules between fields may still reject it
    assert not codes & {"wrong-type", "unknown-choice", "out-of-range", "not-finite"}


def _codes(override: str) -> set[str]:
    try:
        parse_config(Source("x", MINIMAL), [override])
    except ConfigError as error:
        return {found.code for found in error.diagnostics}
    return set()

"""Keys of a config.json that are wrong, unknown or unsupported: each at its place, all at once, by the file's names."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.interop.changes import CONFIGS, Change, errors_of, flat
from tinylm_cli.config.fields import fields
from tinylm_cli.config.loader import resolve_config
from tinylm_cli.config.source import Source
from tinylm_cli.config.yaml_scalar import scalar
from tinylm_cli.errors import ConfigError
from tinylm_cli.interop.config_json import read_json
from tinylm_cli.interop.families import FAMILIES
from tinylm_cli.interop.family_lookup import ALIASES
from tinylm_cli.interop.key_validation import SUPERSEDED
from tinylm_cli.interop.load import ConfigText, import_config, load_config, parse_config_text
from tinylm_cli.interop.shared_keys import filled_fields
from tinylm_cli.interop.to_tinylm import map_config

UNSUPPORTED: list[tuple[str, dict[str, Any]]] = [
    ("gpt2", {"scale_attn_by_inverse_layer_idx": True}),
    ("minimax", {"linear_attn_alpha_factor": 2.0}),
    ("minimax", {"hidden_act": "gelu"}),
    ("minimax", {"layer_types": ["linear_attention", "sliding_attention"] * 40}),
    ("minimax_m2", {"attn_type_list": [0, 1]}),
    ("minimax_m2", {"use_qk_norm": False}),
    ("minimax_m3_vl_text", {"layer_types": ["full_attention"] * 59 + ["minimax_m3_sparse"]}),
    ("minimax_m3_vl_text", {"sparse_attention_config": {"sparse_attention_freq": [0, 1]}}),
    ("sarvam_moe", {"use_bias": True}),
    ("gpt2", {"add_cross_attention": True}),
    ("gptj", {"rotary_dim": None}),
    ("gptj", {"rotary": False}),
    ("opt", {"_remove_final_layer_norm": True}),
    ("opt", {"word_embed_proj_dim": 512}),
    ("falcon", {"apply_residual_connection_post_layernorm": True}),
    ("falcon", {"alibi": True}),
    ("falcon", {"num_ln_in_parallel_attn": 2}),
    ("falcon-new", {"parallel_attn": False}),
    ("llama", {"hidden_act": "xielu"}),
    ("llama", {"partial_rotary_factor": 0.5}),
    ("llama", {"is_encoder_decoder": True}),
    ("solar_open", {"first_k_dense_replace": 1}),
    ("granitemoe", {"mlp_bias": True}),
    ("falcon_h1", {"projectors_bias": True}),
    ("falcon_h1", {"mlp_multipliers": [1.0]}),
    ("falcon_h1", {"ssm_multipliers": [1.0, 1.0, -1.0, 1.0, 1.0]}),
    ("zamba", {"tie_word_embeddings": False}),
    ("zamba", {"hidden_mamba_act": "gelu"}),
    ("zamba2", {"tie_word_embeddings": False}),
    ("zamba2", {"rms_norm_eps": 1e-6}),
    ("zamba2", {"layers_block_type": ["attention"] * 54}),
    ("qwen3_next", {"hidden_act": "gelu"}),
    ("olmo_hybrid", {"layer_types": ["linear_attention"] * 32}),
    ("afmoe", {"attention_bias": True}),
    ("beam", {"layer_types": ["chunked_attention"] * 52}),
    ("doge", {"is_moe": True}),
    ("exaone_moe", {"mlp_layer_types": ["dense"] * 31 + ["latent"]}),
    ("mpt", {"logit_scale": "inv_sqrt_d_model"}),
    ("mpt", {"expansion_ratio": 2}),
    ("xglm", {"pad_token_id": 2}),
    ("granite_swa", {"layer_rope_theta": [1e4] * 23 + [0.5]}),
    ("granite_swa", {"layer_rope_theta": [1e4] * 23 + [1]}),
    ("gemma2", {"use_bidirectional_attention": True}),
    ("cohere", {"use_qk_norm": True}),
    ("cohere2", {"layer_types": ["chunked_attention"] * 40}),
    ("helium", {"head_dim": 64}),
    ("gpt_neo", {"attention_layers": ["global", "sliding"] * 6}),
    ("iquestcoder", {"clip_qkv": 8.0}),
    ("iquestcoder", {"use_sliding_window": True}),
    ("stablelm", {"qk_layernorm": True}),
    ("starcoder2", {"norm_type": "rms_norm"}),
    ("deepseek_v2", {"scoring_func": "sigmoid"}),
    ("deepseek_v2", {"norm_topk_prob": True}),
    ("deepseek_v2", {"topk_method": "noaux_tc"}),
    ("deepseek_v2", {"moe_layer_freq": 2}),
    ("deepseek_v3", {"num_key_value_heads": 8}),
    ("deepseek_v3", {"topk_method": "greedy"}),
    ("mamba2", {"hidden_act": "gelu"}),
    ("mamba", {"hidden_act": "gelu"}),
    ("jamba", {"sliding_window": 8}),
    ("recurrent_gemma", {"hidden_activation": "relu"}),
    ("rwkv", {"layer_norm_epsilon": 1e-6}),
    ("longcat_flash", {"zero_expert_type": "drop"}),
    ("longcat_flash", {"router_bias": True}),
    ("longcat_flash", {"head_dim": 96}),
    ("longcat_flash", {"qk_head_dim": 128}),
    ("xlstm", {"use_bias": True}),
    ("xlstm", {"tie_word_embeddings": True}),
    ("xlstm", {"eps": 1e-5}),
    ("xlstm", {"weight_mode": "fused"}),
    ("xlstm", {"qk_dim_factor": 0.51}),
    ("xlstm", {"v_dim_factor": 1.01}),
    ("recurrent_gemma", {"block_types": ["recurrent", "global"]}),
    ("bamba", {"partial_rotary_factor": 1.0}),
    ("granitemoehybrid", {"hidden_act": "gelu"}),
    ("granitemoehybrid", {"layer_types": ["sliding_attention"] * 40}),
    ("gpt_oss", {"swiglu_alpha": 1.0}),
    ("hrm_text", {"num_key_value_heads": 4}),
    ("hy_v4", {"hidden_act": "gelu"}),
    ("hy_v4", {"index_topk_freq": 2}),
    ("hy_v4", {"first_k_dense_replace": 2}),
    ("glm_moe_dsa", {"indexer_types": ["shared", "full"] * 39}),
    ("glm_moe_dsa", {"indexer_types": ["full", "half"] * 39}),
    ("glm_moe_dsa", {"index_topk_pattern": "SFF" * 26}),
    ("glm_moe_dsa", {"index_topk_pattern": 4}),
    ("deepseek_v32", {"layer_types": ["full_attention"] * 61}),
    ("dots3_note_text", {"layer_types": ["chunked_attention"] * 46}),
    ("dots3_note_text", {"moe_layer_freq": 0}),
    ("dots3_note_text", {"moe_layer_freq": [1] * 45}),
    ("dots3_note_text", {"n_shared_experts": 0}),
    ("dots3_note_text", {"rope_scaling": {"rope_type": "linear", "factor": 2.0}}),
    ("dots3_note_text", {"head_dim": 98}),
    ("dots3_note_text", {"swa_head_dim": 192}),
    ("dots3_note_text", {"swa_num_key_value_heads": 32}),
    ("dots3_note_text", {"per_layer_config": {"2": {"intermediate_size": 8}}}),
    ("dots3_note_text", {"per_layer_config": {"2": {"v_head_dim": 64}}}),
    ("dots3_note_text", {"per_layer_config": {"local": {"v_head_dim": 64}}}),
    ("kimi_linear", {"tie_word_embeddings": True}),
    ("kimi_linear", {"mla_use_nope": False}),
    ("bailing_hybrid", {"hidden_act": "gelu"}),
    ("gpt_oss", {"layer_types": ["chunked_attention"] * 24}),
    ("llama4_text", {"layer_types": ["sliding_attention"] * 48}),
    ("git", {"position_embedding_type": "relative_key"}),
    ("mimo_v2_flash", {"layer_types": ["chunked_attention"] * 48}),
    ("modernbert-decoder", {"layer_types": ["chunked_attention"] * 22}),
    ("modernbert-decoder", {"local_attention": 1}),
    ("modernbert-decoder", {"rope_scaling": {"rope_type": "linear", "factor": 2.0}}),
    ("modernbert-decoder", {"sliding_window": 0}),
]


@pytest.mark.parametrize(("family", "keys"), UNSUPPORTED, ids=[f"{f}-{next(iter(k))}" for f, k in UNSUPPORTED])
def test_unsupported_value(family: str, keys: dict[str, Any], changed: Change) -> None:
    ((key, _),) = keys.items()
    path = changed(family, **keys)
    with pytest.raises(ConfigError) as raised:
        load_config(path)
    (found,) = raised.value.diagnostics
    assert (found.code, found.field) == ("unsupported-setting", key)
    assert found.message.startswith(key)
    assert found.span is not None
    line = Path(path).read_text(encoding="utf-8").splitlines()[found.span.line - 1]
    assert f'"{key}"' in line


@pytest.mark.parametrize("family", ["zamba", "zamba2"])
def test_default_layer_types(family: str, changed: Change) -> None:
    """The stored config lists the layer types that transformers uses."""
    assert load_config(changed(family, layers_block_type=None)).config == load_config(changed(family)).config


def test_width_of_attention_in_a_shared_block(changed: Change) -> None:
    with pytest.raises(ConfigError) as raised:
        load_config(changed("zamba", attention_hidden_size=3712))
    (found,) = raised.value.diagnostics
    assert (found.code, found.field) == ("contradiction", "attention_hidden_size")
    assert found.message == "attention_hidden_size 3712 is not twice hidden_size, 7424"


def test_adapters_of_grouped_heads(changed: Change) -> None:
    """The adapters of queries, keys and values have equally many outputs."""
    with pytest.raises(ConfigError) as raised:
        load_config(changed("zamba2", num_key_value_heads=16))
    (found,) = raised.value.diagnostics
    assert (found.code, found.field) == ("unsupported-setting", "use_shared_attention_adapter")
    grouped = load_config(changed("zamba2", num_key_value_heads=16, use_shared_attention_adapter=False)).config
    assert (grouped.n_kv_heads, grouped.attention.adapter_rank) == (16, None)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("num_attention_heads", 12, "num_attention_heads 12 does not divide twice hidden_size, 5120"),
        ("n_mamba_heads", 7, "n_mamba_heads 7 does not divide mamba_expand × hidden_size, 5120"),
    ],
)
def test_heads_of_zamba2(key: str, value: int, message: str, changed: Change) -> None:
    with pytest.raises(ConfigError) as raised:
        load_config(changed("zamba2", **{key: value, "num_key_value_heads": None}))
    (found,) = raised.value.diagnostics
    assert (found.code, found.field, found.message) == ("contradiction", key, message)


@pytest.mark.parametrize(
    "keys",
    [{"layers_block_type": []}, {"layers_block_type": None, "hybrid_override_pattern": ""}],
    ids=["list", "text"],
)
def test_nemotron_h_without_layers(keys: dict[str, Any], changed: Change) -> None:
    with pytest.raises(ConfigError) as raised:
        load_config(changed("nemotron_h", **keys))
    (found,) = raised.value.diagnostics
    listed = list(keys)[-1]
    assert (found.code, found.field, found.message) == ("contradiction", listed, f"{listed} lists no layers")


def test_layers_of_hrm_text(changed: Change) -> None:
    """One key counts the layers of a module; the other counts all passes, or without the first key one module."""
    with pytest.raises(ConfigError) as raised:
        load_config(changed("hrm_text", num_hidden_layers=16))
    (found,) = raised.value.diagnostics
    assert (found.code, found.field) == ("contradiction", "num_hidden_layers")
    assert found.message == "num_hidden_layers 16 is not the number of layers in all passes, 128"
    of_module = load_config(changed("hrm_text", num_hidden_layers=16, num_layers_per_stack=None)).config
    assert of_module == load_config(changed("hrm_text")).config


def test_scale_of_embeddings(changed: Change) -> None:
    """HRM-Text's default is the inverse of their standard deviation."""
    config = load_config(changed("hrm_text", embedding_scale=None, initializer_range=0.25)).config
    assert config.embedding.multiplier == 4.0


@pytest.mark.parametrize(
    ("family", "key", "value"),
    [
        ("smollm3", "no_rope_layers", [1, 0]),
        ("llama4_text", "no_rope_layers", [1, 0]),
        ("llama4_text", "layer_types", ["chunked_attention"] * 2),
        ("cohere2", "layer_types", ["sliding_attention"] * 3),
    ],
)
def test_too_few_layers(family: str, key: str, value: list[Any], changed: Change) -> None:
    with pytest.raises(ConfigError) as raised:
        load_config(changed(family, **{key: value}))
    (found,) = raised.value.diagnostics
    assert (found.code, found.field) == ("contradiction", key)
    assert f"lists {len(value)} layers, but num_hidden_layers is" in found.message


@pytest.mark.parametrize(
    ("full", "local", "code", "field"),
    [
        (..., {"rope_theta": 1e4}, "missing-key", "full_attention"),
        (None, {"rope_type": "default"}, "missing-key", "sliding_attention.rope_theta"),
        (
            {"rope_theta": 1e4, "partial_rotary_factor": 0.5},
            {"rope_theta": 1e4},
            "unsupported-setting",
            "full_attention",
        ),
        ({"rope_theta": 1e4}, {"rope_theta": 1e4, "rope_type": "linear"}, "unsupported-setting", "sliding_attention"),
    ],
)
def test_rope_of_beam(full: Any, local: Any, code: str, field: str, changed: Change) -> None:
    """A block for each type of layers, or null for one without RoPE."""
    blocks = {"full_attention": full, "sliding_attention": local}
    given = {name: block for name, block in blocks.items() if block is not ...}
    with pytest.raises(ConfigError) as raised:
        load_config(changed("beam", rope_parameters=given))
    (found,) = raised.value.diagnostics
    assert (found.code, (found.field or "").startswith(f"rope_parameters.{field}")) == (code, True)


def test_windows_of_beam(changed: Change) -> None:
    with pytest.raises(ConfigError) as raised:
        load_config(changed("beam", sliding_window=None))
    (found,) = raised.value.diagnostics
    assert (found.code, found.field) == ("contradiction", "layer_types")


def test_layers_of_a_checkpoint(changed: Change) -> None:
    """Kimi Linear's config lists the layers of each kind, from 1."""
    lists = {"full_attn_layers": [4], "kda_layers": [1, 2, 3, 5]}
    with pytest.raises(ConfigError) as raised:
        load_config(changed("kimi_linear", linear_attn_config=lists))
    (found,) = raised.value.diagnostics
    assert (found.code, found.field) == ("contradiction", "linear_attn_config.kda_layers")
    assert load_config(changed("kimi_linear", linear_attn_config=lists, num_hidden_layers=5)).config.n_layers == 5


def test_theta_without_effect(changed: Change) -> None:
    """DBRX's code reads ``rope_theta`` beside ``attn_config`` only, and published configs have it inside."""
    with pytest.raises(ConfigError) as raised:
        load_config(changed("dbrx", rope_theta=...))
    (found,) = raised.value.diagnostics
    assert (found.code, found.field) == ("contradiction", "attn_config.rope_theta")
    assert found.message.startswith("attn_config.rope_theta 500000 contradicts rope_theta 10000")
    with pytest.raises(ConfigError) as raised:
        load_config(changed("dbrx", rope_theta="x"))
    assert [each.field for each in raised.value.diagnostics] == ["rope_theta"]


@pytest.mark.parametrize("power", [2.0, 3])
def test_power_of_expert_weights(power: float, changed: Change) -> None:
    with pytest.raises(ConfigError) as raised:
        load_config(changed("dbrx", ffn_config={"moe_normalize_expert_weights": power}))
    (found,) = raised.value.diagnostics
    assert (found.code, found.field) == ("unsupported-setting", "ffn_config.moe_normalize_expert_weights")


def test_required_key_that_the_reader_reports(changed: Change) -> None:
    path = Path(changed("deepseek_v2"))
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace('"num_experts_per_tok": 6', '"num_experts_per_tok": "\\ud800"'), encoding="utf-8")
    with pytest.raises(ConfigError) as raised:
        load_config(str(path))
    assert [found.field or found.code for found in raised.value.diagnostics]


def test_unknown_key(changed: Change) -> None:
    path = changed("llama", num_hiden_layers=3, logit_scale=0.1, use_something=None)
    with pytest.raises(ConfigError) as raised:
        load_config(path)
    typo, scale = raised.value.diagnostics
    assert (typo.code, typo.help) == ("unknown-setting", "did you mean num_hidden_layers?")
    assert (scale.code, scale.field) == ("unknown-setting", "logit_scale")


def test_many_unknown_keys(changed: Change) -> None:
    """The first twenty are compared with every known key, which takes a while."""
    path = changed("llama", **{f"num_hidden_layer{n}": n for n in range(21)})
    with pytest.raises(ConfigError) as raised:
        load_config(path)
    *compared, last = raised.value.diagnostics
    assert [each.help for each in compared] == ["did you mean num_hidden_layers?"] * 20
    assert last.help == (
        'llama has no such key in transformers 5.24; ignore=["num_hidden_layer20"] reads the file without it'
    )


def test_ignored_keys(changed: Change) -> None:
    found = import_config(changed("llama", use_something=None, _name_or_path="x", auto_map={"AutoModel": "evil.py"}))
    assert {"use_something", "_name_or_path", "auto_map", "use_cache"} <= set(found.ignored)
    assert "hidden_size" not in found.ignored


@pytest.mark.parametrize(
    ("keys", "code", "words"),
    [
        ({"hidden_size": "4096"}, "wrong-type", 'must be an integer from 1 to 1,048,576, not "4096"'),
        ({"hidden_size": 4096.5}, "wrong-type", "must be an integer from 1 to 1,048,576, not 4096.5"),
        ({"hidden_size": True}, "wrong-type", "must be an integer from 1 to 1,048,576, not true"),
        ({"hidden_size": None}, "wrong-type", "not null"),
        ({"hidden_size": [4096]}, "wrong-type", "not [4096]"),
        ({"hidden_size": 10**15}, "out-of-range", "hidden_size must be an integer from 1 to 1,048,576"),
        ({"hidden_size": 10**10}, "out-of-range", "hidden_size must be an integer from 1 to 1,048,576"),
        (
            {"rms_norm_eps": float("nan")},
            "not-finite",
            "rms_norm_eps must be a number above 0 and at most 0.1, not NaN",
        ),
        ({"rms_norm_eps": 10.0}, "out-of-range", "rms_norm_eps must be a number"),
        ({"rope_theta": float("inf")}, "not-finite", "not Infinity"),
        ({"rope_theta": -1}, "out-of-range", "must be a number above 1"),
        ({"tie_word_embeddings": "false"}, "wrong-type", "must be true or false"),
        ({"hidden_act": 3}, "wrong-type", "hidden_act must be the name of an activation, not 3"),
        ({"rope_scaling": "yarn"}, "wrong-type", "must be an object"),
        ({"num_key_value_heads": 5}, "kv-heads-do-not-divide", "num_key_value_heads 5"),
        ({"num_attention_heads": 0}, "out-of-range", "n_heads must be an integer from 1"),
    ],
)
def test_wrong_value(keys: dict[str, Any], code: str, words: str, changed: Change) -> None:
    with pytest.raises(ConfigError) as raised:
        load_config(changed("llama", **keys))
    found = raised.value.diagnostics[0]
    assert found.code == code
    assert words in found.message
    assert found.span is not None
    assert f'"{next(iter(keys))}"' in found.span.text
    assert len(raised.value.diagnostics) == 1


def test_quoted_number(changed: Change) -> None:
    with pytest.raises(ConfigError) as raised:
        load_config(changed("llama", hidden_size="4096"))
    assert raised.value.diagnostics[0].help == "write 4096 without quotes"


def test_all_errors_in_order(changed: Change) -> None:
    path = changed("llama", hidden_size="x", num_hidden_layers=-1, vocab_size=0, nonsense=1)
    assert [code for code, _ in errors_of(path)] == ["wrong-type", "out-of-range", "out-of-range", "unknown-setting"]


def test_override_of_a_value_that_others_follow(changed: Change) -> None:
    """MPT has d_ff as a multiple of d_model, whose value is then needed."""
    wrong = changed("mpt", d_model=[[]])
    with pytest.raises(ConfigError) as raised:
        load_config(wrong, ["d_model=64"])
    assert [(found.code, found.field) for found in raised.value.diagnostics] == [("wrong-type", "d_model")]
    assert load_config(wrong, ["d_model=64", "d_ff=256", "n_heads=4"]).config.d_ff == 256


def test_override_of_a_wrong_value(changed: Change) -> None:
    assert load_config(changed("llama", num_hidden_layers=0), ["n_layers=2"]).config.n_layers == 2
    assert load_config(changed("llama", hidden_size="4096"), ["d_model=128"]).config.d_model == 128
    assert errors_of(changed("llama", hidden_size="4096"), "n_layers=2")[0][0] == "wrong-type"
    assert errors_of(changed("opt", enable_bias=3), "attention.bias=true")[0][0] == "wrong-type"


def _read_by_transformers(model_type: str, keys: dict[str, int], name: str) -> Any:
    transformers = pytest.importorskip("transformers")
    return getattr(transformers.AutoConfig.for_model(model_type, **keys), name)


@pytest.mark.parametrize(
    ("sample", "name", "alias", "field"),
    [
        ("gpt2", "n_embd", "hidden_size", "d_model"),
        ("gpt2", "n_layer", "num_hidden_layers", "n_layers"),
        ("falcon", "hidden_size", "n_embed", "d_model"),
        ("bloom", "hidden_size", "n_embed", "d_model"),
        ("mixtral", "num_local_experts", "num_experts", "feed_forward.n_experts"),
        ("granitemoe", "num_local_experts", "num_experts", "feed_forward.n_experts"),
        ("dbrx", "max_position_embeddings", "max_seq_len", "max_len"),
    ],
)
def test_two_names_of_a_key(sample: str, name: str, alias: str, field: str, changed: Change) -> None:
    """Of two names with different values, the one counts that transformers reads, in either order."""
    body = json.loads((CONFIGS / f"{sample}.json").read_text(encoding="utf-8"))
    values = {name: 1536, alias: 768} if field == "d_model" else {name: 24, alias: 12}
    for keys in (values, dict(reversed(values.items()))):
        read = _read_by_transformers(body["model_type"], keys, name)
        sizes = {"num_attention_heads": 12, "num_kv_heads": 12} if sample == "falcon" else {}
        heads = {"n_head": 12} if sample == "bloom" else {}
        path = changed(sample, **{name: ..., **sizes, **heads, **keys})
        assert flat(path)[field] == read
        assert {name, alias} & set(import_config(path).ignored)


def test_two_names_with_one_value(changed: Change) -> None:
    assert flat(changed("gpt2", hidden_size=768))["d_model"] == 768
    assert not {"hidden_size", "n_embd"} & set(import_config(changed("gpt2", hidden_size=768)).ignored)


KEYS = sorted(
    {key for family in FAMILIES.values() for key in (*family.keys.model_fields, *family.keys.aliases)}
    | {"rope_scaling", "rope_parameters", "rope_theta", "layer_types", "mlp_only_layers", "text_config", "surprise"}
    | {"partial_rotary_factor", "rotary_pct", "word_embed_proj_dim", "n_inner", "head_dim", "sliding_window"}
)
ROPE_KEYS = (
    "rope_type type factor rope_theta mscale mscale_all_dim beta_fast beta_slow attention_factor short_factor"
    " long_factor original_max_position_embeddings low_freq_factor high_freq_factor full_attention sliding_attention"
)
NUMBERS = st.one_of(
    st.integers(-2, 70), st.sampled_from([0, 1, 2, 64, 128, 10**9, 10**12, 10**30, -(10**40)]), st.floats()
)
WORDS = st.sampled_from(
    [
        "",
        "gelu",
        "silu",
        "linear",
        "dynamic",
        "yarn",
        "llama3",
        "longrope",
        "default",
        "greedy",
        "noaux_tc",
        "😀",
        "\x00",
    ]
)
SCALARS = st.one_of(st.none(), st.booleans(), NUMBERS, WORDS)
LISTS = st.one_of(
    st.lists(SCALARS, max_size=4), st.lists(st.floats(0.5, 9), min_size=2, max_size=4),
    st.lists(st.sampled_from(["full_attention", "sliding_attention"]), max_size=6),
)  # fmt: skip
ROPE = st.dictionaries(
    st.sampled_from(ROPE_KEYS.split()),
    st.one_of(SCALARS, LISTS, st.dictionaries(st.sampled_from(ROPE_KEYS.split()), SCALARS, max_size=4)),
    max_size=9,
)
VALUES = st.one_of(SCALARS, SCALARS, LISTS, ROPE)


@given(
    st.sampled_from(list(FAMILIES)),
    st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=14),
)
def test_any_keys(family: str, body: dict[str, Any]) -> None:
    text = json.dumps({"model_type": family, **body})
    try:
        root = read_json(Source("x.json", text)).root
    except ConfigError:
        return
    assert root is not None
    mapped = map_config(root, "x.json")
    for error in mapped.errors:
        assert error.message
        assert error.help
        assert "\n" not in error.message
        assert len(error.message) < 160
    with contextlib.suppress(ConfigError):
        resolve_config(mapped.root, "x", "x.json", mapped.errors)


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=8), inner, max_size=3)),
    max_leaves=8,
)


ANY_KEY = st.one_of(st.sampled_from(["model_type", "architectures", *KEYS]), st.text(max_size=6))


@given(body=st.dictionaries(ANY_KEY, JSON))
def test_any_json(body: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "any.json"
    path.write_text(json.dumps(body), encoding="utf-8")
    with contextlib.suppress(ConfigError):
        load_config(str(path))


TOLD: list[tuple[str, dict[str, Any], tuple[str, ...], str, str]] = [
    ("mamba2", {"time_step_limit": "x"}, (), "time_step_limit must be a list of two numbers", ": [0.0, 0.1]"),
    (
        "smollm3",
        {"no_rope_layers": ..., "no_rope_layer_interval": None},
        (),
        "no_rope_layer_interval is missing",
        "the value 4",
    ),
    ("llama", {"hidden_size": 4100}, (), "hidden_size 4100 is not divisible by num_attention_heads 32", "hidden_size"),
    ("gpt2", {"n_embd": 770}, (), "n_embd 770 is not divisible by n_head 12", "n_head: 11 or 14"),
    ("gpt2", {"n_embd": ..., "hidden_size": 770}, (), "hidden_size 770 is not divisible by n_head 12", "hidden_size"),
    ("gemma3", {"text_config": {"num_hidden_layers": 0}}, (), "text_config.num_hidden_layers must be", "num_hidden"),
    ("llama", {}, ("n_heads=31",), "hidden_size 4096 is not divisible by n_heads 31", "n_heads: 16 or 32"),
    (
        "llama",
        {"hidden_size": 4100},
        ("d_model=4097",),
        "d_model 4097 is not divisible by num_attention_heads",
        "d_mod",
    ),
    ("falcon", {"multi_query": True}, ("attention.n_kv_heads=2",), "is not divisible by attention.n_kv_heads 2", "1"),
    (
        "mamba2",
        {"expand": 3},
        (),
        "expand 3 × hidden_size 4096 is not num_heads × head_dim, 8192",
        "expand × hidden_size / head_dim",
    ),
    (
        "mamba2",
        {"time_step_limit": [0.1]},
        (),
        "time_step_limit is not a list of two numbers",
        "write two numbers",
    ),
    ("gptj", {"rotary_dim": 63}, (), "rotary_dim 63 is odd", "write 62 or 64"),
    ("gptj", {"rotary_dim": 1}, (), "rotary_dim 1 is odd", "write 2"),
    ("gptj", {"n_embd": 80, "rotary_dim": 8}, (), "rotary_dim 8 exceeds the head dimension, 5", "write 4 or less"),
    ("codegen", {"n_embd": 1026, "n_head": 9}, (), "this family's code divides it into 4 shards", ""),
    ("gpt_neo", {"attention_layers": ..., "attention_types": [["local", 3]]}, (), "must be a list of types", "[[["),
    ("gpt_neo", {"attention_layers": ..., "num_layers": 3}, (), "attention_types lists 12 layers", "one type per"),
    ("internlm3", {"bias": True}, (), "qkv_bias and bias differ", "the same value"),
    ("deepseek_v2", {"num_experts_per_tok": "six"}, (), "num_experts_per_tok must be an integer", "_per_tok: 6"),
    ("mamba", {"time_step_rank": -1}, (), 'time_step_rank must be a whole number, or "auto", not -1', "_rank: 48"),
    ("mamba", {"time_step_rank": "x"}, (), 'time_step_rank must be a whole number, or "auto", not "x"', "_rank: 48"),
    ("mamba", {"time_step_rank": {"factor": 2}}, (), 'a whole number, or "auto", not a block of fields', "_rank: 48"),
    ("llama", {}, ("hidden_size=3",), 'unknown key "hidden_size"', "did you mean d_model?"),
    ("llama", {}, ("n_layer=3",), 'unknown key "n_layer"', "did you mean n_layers?"),
]


@pytest.mark.parametrize(("family", "keys", "overrides", "message", "remedy"), TOLD)
def test_names_in_messages(
    family: str, keys: dict[str, Any], overrides: tuple[str, ...], message: str, remedy: str, changed: Change
) -> None:
    """Messages use the file's keys, and tinylm's fields for ``--set`` and for values without a key."""
    with pytest.raises(ConfigError) as raised:
        load_config(changed(family, **keys), overrides)
    found = raised.value.diagnostics
    assert any(message in each.message and remedy in each.help for each in found), found


def test_reported_key_is_not_missing(tmp_path: Path) -> None:
    """A key whose value cannot even be read, here a date of YAML, is present."""
    text = json.dumps({"model_type": "llama", "vocab_size": 9, "hidden_size": 8, "num_hidden_layers": 1})
    (tmp_path / "config.json").write_text(text.replace('"hidden_size": 8', '"hidden_size": 1e9999'), encoding="utf-8")
    with pytest.raises(ConfigError) as raised:
        load_config(str(tmp_path))
    told = [found.message for found in raised.value.diagnostics if "hidden_size" in found.message]
    assert len(told) == 1, told


def test_surrogate_pair(tmp_path: Path) -> None:
    """JSON writes a character beyond 16 bits as two escapes: the excerpt shows them, the value is one character."""
    text = r'{"model_type": "\ud83d\ude00", "hidden_size": "\ud83d\ude00!"}'
    (tmp_path / "config.json").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as raised:
        load_config(str(tmp_path))
    found = raised.value.diagnostics[0]
    assert found.message.endswith("\N{GRINNING FACE}")
    assert found.span is not None
    assert found.span.text == text
    assert text[found.span.column - 1 : found.span.end_column - 1] == r'"\ud83d\ude00"'


_DERIVE_MORE = {
    *("d_model", "hidden_size", "n_embd", "num_attention_heads", "max_position_embeddings"),
    *("qk_nope_head_dim", "qk_rope_head_dim", "intermediate_size", "moe_intermediate_size"),
}
"""Keys from which some families derive several fields, such as the width of the feed-forward network."""


@pytest.mark.parametrize("name", sorted(path.stem for path in CONFIGS.glob("*.json")))
def test_overrides_of_invalid_keys(name: str) -> None:
    """An override replaces the value of an invalid key; the key is an error only if more is derived from it."""
    body = json.loads((CONFIGS / f"{name}.json").read_text(encoding="utf-8"))
    family = FAMILIES[ALIASES.get(body["model_type"], body["model_type"])]
    for key in body.keys() & family.keys.model_fields.keys():
        filled = filled_fields(family.keys, key)
        source = Source(f"{name}.json", json.dumps(body | {key: [[]]}))
        overrides = [f"{field}={scalar(fields()[field].example)}" for field in filled]
        if not filled or "None" in overrides:
            continue
        assert key in _DERIVE_MORE or key not in _reported(source, overrides)


def _reported(source: Source, overrides: list[str]) -> list[str | None]:
    try:
        parse_config_text(ConfigText(source, as_json=True), overrides)
    except ConfigError as error:
        return [each.field for each in error.diagnostics]
    return []


_WITHOUT_N_LAYERS = {"hrm_text", "llava", "llava_next", "longcat_flash", "nemotron_h"}

INVALID: list[tuple[str, str]] = [
    *((path.stem, "n_layers") for path in CONFIGS.glob("*.json") if path.stem not in _WITHOUT_N_LAYERS),
    ("cohere2_moe", "first_k_dense_replace"), ("hrm_text", "num_hidden_layers"), ("lfm3", "conv_bias"),
    ("longcat_flash", "num_layers"),
    ("nemotron_h", "layers_block_type"),
]  # fmt: skip
"""A sample config, and a key, or the field that it fills."""


@pytest.mark.parametrize(("name", "key"), sorted(INVALID))
def test_an_invalid_key_is_the_only_error(name: str, key: str) -> None:
    """The fields that depend on it are not reported to be missing or without effect."""
    body = json.loads((CONFIGS / f"{name}.json").read_text(encoding="utf-8"))
    keys = FAMILIES[ALIASES.get(body["model_type"], body["model_type"])].keys
    inner = body.get(keys.language_model_key, body)
    known = inner.keys() & keys.model_fields.keys()
    (written,) = [each for each in known if each == key or key in filled_fields(keys, each)]
    inner[written] = [[]]
    with pytest.raises(ConfigError) as raised:
        parse_config_text(ConfigText(Source(f"{name}.json", json.dumps(body)), as_json=True), [])
    assert len(raised.value.diagnostics) == 1, raised.value.diagnostics


def test_consequences_of_contradictory_keys(changed: Change) -> None:
    """No experts follow from the offset, so that the family's router has no effect: not an error of the file."""
    with pytest.raises(ConfigError) as raised:
        load_config(changed("jamba", attn_layer_offset=9))
    assert [each.field for each in raised.value.diagnostics] == ["attn_layer_offset"]


@pytest.mark.parametrize("name", sorted(path.stem for path in CONFIGS.glob("*.json")))
def test_null_in_any_key(name: str) -> None:
    """A key that is null has its default, or is an error of the file."""
    body = json.loads((CONFIGS / f"{name}.json").read_text(encoding="utf-8"))
    for key in body:
        text = json.dumps(body | {key: None})
        with contextlib.suppress(ConfigError):
            parse_config_text(ConfigText(Source(f"{name}.json", text), as_json=True), [])


@pytest.mark.parametrize("model_type", [name for name, family in FAMILIES.items() if not family.language_models])
def test_precedence_of_names(model_type: str) -> None:
    """Of two names with different values, the one counts that transformers reads, for every number with two names."""
    transformers = pytest.importorskip("transformers")
    if model_type not in transformers.CONFIG_MAPPING:
        pytest.skip("transformers has no such family")
    for alias, name in FAMILIES[model_type].keys.aliases.items():
        try:
            config = transformers.CONFIG_MAPPING[model_type](**{alias: 6, name: 12})
        except Exception:
            continue
        read = getattr(config, name, None)
        if type(read) is int and read in (6, 12):
            assert (read == 12) == (f"{model_type}.{alias}" in SUPERSEDED), alias

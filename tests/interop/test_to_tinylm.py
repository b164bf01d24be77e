"""Fields of a translated config.json, their origins, and sizes taken from the family's defaults."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.interop.changes import CONFIGS, Change, errors_of, flat
from tinylm_cli.config.layer_kinds import layer_pattern
from tinylm_cli.config.loader import LoadedConfig
from tinylm_cli.errors import ConfigError
from tinylm_cli.interop.families import FAMILIES
from tinylm_cli.interop.load import import_config, load_config
from tinylm_cli.interop.shared_keys import filled_fields
from tinylm_cli.wording import SET

_NO_GROUPS = ("kimi_linear", "nemotron_h")  # the first names n_group otherwise, the sample of the other has no experts


def test_leading_dense_layers(changed: Change) -> None:
    found = flat(changed("qwen3_moe", mlp_only_layers=[1, 0]))
    assert found["feed_forward.n_dense_layers"] == 2
    dense = flat(changed("qwen3_moe", num_experts=0))
    assert (dense["feed_forward.n_experts"], dense["feed_forward.router"]) == (None, "topk_softmax")
    single = flat(changed("qwen3_moe", num_experts=1, num_experts_per_tok=1))
    assert (single["feed_forward.n_experts"], single["feed_forward.router"]) == (1, "softmax")
    assert flat(changed("deepseek_v3", first_k_dense_replace=61))["feed_forward.n_experts"] is None


def test_default_window_layers(changed: Change) -> None:
    windowed = {"use_sliding_window": True, "max_window_layers": ...}
    found = flat(changed("qwen2", num_hidden_layers=29, **windowed))
    assert found["attention.window_pattern"] == "G" * 28 + "L"


def test_expert_groups(changed: Change) -> None:
    found = flat(changed("deepseek_v2", topk_method="group_limited_greedy", n_group=8, topk_group=3))
    assert (found["feed_forward.n_groups"], found["feed_forward.top_k_groups"]) == (8, 3)
    assert errors_of(changed("deepseek_v2", topk_method="group_limited_greedy", n_group=None))[0][0] == "missing-key"
    assert errors_of(changed("deepseek_v2", num_experts_per_tok=...))[0][0] == "missing-key"


@pytest.mark.parametrize(("n_groups", "top_k_groups"), [(1, 1), (2, 1), (4, 2)])
@pytest.mark.parametrize(
    "name",
    [name for name, family in FAMILIES.items() if "n_group" in family.keys.model_fields and name not in _NO_GROUPS],
)
def test_any_expert_groups(name: str, n_groups: int, top_k_groups: int, changed: Change) -> None:
    method = {"topk_method": "group_limited_greedy"} if name == "deepseek_v2" else {}
    found = flat(changed(name, n_group=n_groups, topk_group=top_k_groups, **method))
    assert (found["feed_forward.n_groups"], found["feed_forward.top_k_groups"]) == (n_groups, top_k_groups)


def test_aliases(changed: Change) -> None:
    found = flat(changed("gpt2", n_layer=..., num_hidden_layers=3, n_embd=..., hidden_size=144))
    assert (found["n_layers"], found["d_model"], found["d_ff"]) == (3, 144, 576)


def test_score_scale(changed: Change) -> None:
    assert flat(changed("gpt2", scale_attn_weights=False))["attention.scale"] == 1.0
    assert flat(changed("gemma2", query_pre_attn_scalar=224))["attention.scale"] == 224**-0.5


@pytest.mark.parametrize(
    ("limit", "bounds"),
    [
        ([0.0, {"__float__": "Infinity"}], (0.0, None)),
        ([0.001, 0.1], (0.001, 0.1)),
        (..., (0.0, None)),
    ],
)
def test_bounds_of_step_sizes(limit: object, bounds: tuple[float, float | None], changed: Change) -> None:
    found = flat(changed("mamba2", time_step_limit=limit))
    assert (found["mamba2.min_dt"], found["mamba2.max_dt"]) == bounds


@pytest.mark.parametrize("rotated", range(2, 97, 2))
def test_rotary_dim(rotated: int, changed: Change) -> None:
    config = load_config(changed("gptj", n_embd=192, n_head=2, rotary_dim=rotated)).config
    assert int(config.d_head * config.position.rotary_fraction) == rotated


@pytest.mark.parametrize(
    ("sizes", "codes"),
    [
        ({"n_embd": 8, "n_head": 16}, ["heads-do-not-divide"]),
        ({"n_embd": 16, "n_head": 16}, ["odd-rotary-width"]),
        ({"n_embd": 32, "n_head": 16}, ["contradiction"]),
    ],
)
def test_rotary_dim_of_narrow_heads(sizes: dict[str, int], codes: list[str], changed: Change) -> None:
    """A head of fewer than two dimensions is the only error: no rotary_dim would do."""
    assert [code for code, _ in errors_of(changed("gptj", **sizes))] == codes


def test_phi_qk_norm(changed: Change) -> None:
    assert flat(changed("phi", qk_layernorm=True))["attention.qk_norm"] == "per_head"


def test_falcon_forms(changed: Change) -> None:
    found = flat(changed("falcon", parallel_attn=False, multi_query=False, bias=True))
    assert not found["block.parallel"]
    assert not found["block.shared_norm"]
    assert found["attention.n_kv_heads"] is None
    assert found["feed_forward.bias"]
    assert flat(changed("falcon-new", num_ln_in_parallel_attn=1))["block.shared_norm"]


def test_text_config(changed: Change) -> None:
    assert "vision_config" in import_config(changed("gemma3")).ignored
    assert not flat(changed("gemma3", tie_word_embeddings=False))["tie_weights"]
    assert flat(changed("gemma3", text_config=...))["d_model"] == 2304
    assert import_config(changed("fuyu")).loaded.left_out == "only the language model of fuyu is counted"
    assert import_config(changed("gemma3")).loaded.left_out == (
        "only the language model of gemma3 is read, without its vision encoder (416,866,032 parameters) and its"
        " projector (2,950,272 parameters)"
    )
    assert import_config(changed("paligemma", vision_config={"model_type": "other"})).loaded.left_out == (
        "only the language model of paligemma is counted; vision_config is not; the tokens of its prompts attend to"
        " each other in both directions, which tinylm reads causally"
    )
    body = {"hidden_size": "x", "vision": 1}
    with pytest.raises(ConfigError) as raised:
        load_config(changed("gemma3", text_config=body, surprise=1))
    assert {each.field for each in raised.value.diagnostics} == {
        "text_config.hidden_size", "text_config.vision", "surprise"
    }  # fmt: skip


def test_language_model_of_a_multimodal_config(changed: Change) -> None:
    assert flat(changed("llava", text_config={"model_type": "mistral"}))["attention.window"] == 4096
    with pytest.raises(ConfigError) as raised:
        load_config(changed("llava", text_config={"model_type": "mamba"}))
    (found,) = raised.value.diagnostics
    assert (found.code, found.field) == ("unknown-family", "text_config.model_type")
    assert found.message == "text_config.model_type mamba is not supported in llava"
    assert found.help == "the supported language models are llama, mistral"


def test_overrides(changed: Change) -> None:
    loaded = load_config(
        changed("llama-2"),
        ["n_heads=16", "norm.kind=layernorm", "position.scaling=linear", "position.scaling_factor=2.0"],
    )
    assert (loaded.config.n_kv_heads, loaded.config.d_head, loaded.config.norm.kind) == (16, 256, "layernorm")
    origin = loaded.origins["norm.kind"]
    assert origin is not None
    assert origin.source == SET


def _origin(loaded: LoadedConfig, field: str) -> str:
    span = loaded.origins[field]
    return "" if span is None else span.text.strip()


_GLOBAL_HEADS = {f"{layer:02}": {"head_dim": 256} for layer in range(5, 60, 6)}
_LINEAR = {"rope_type": "linear", "factor": 2.0}
_TYPED_ROPE = {f"{name}_attention": {"rope_type": "default", "rope_theta": 1e4} for name in ("indexed", "sliding")}


@pytest.mark.parametrize(
    ("name", "keys", "ignored"),
    [
        ("bailing_hybrid", {"kda_safe_gate": False, "kda_lower_bound": -5.0}, "kda_lower_bound"),
        ("cohere2_moe", {"expert_selection_fn": "softmax", "norm_topk_prob": False}, "norm_topk_prob"),
        ("cohere2_moe", {"rms_norm_eps": 1e-6, "layer_norm_eps": 1e-5}, "layer_norm_eps"),
        ("dbrx", {}, "attn_config.rope_theta ffn_config.moe_jitter_eps ffn_config.moe_loss_weight"),
        ("dots1", {}, "max_window_layers"),
        ("dots3_note_text", {"mlp_layer_types": ["sparse"] * 46}, "first_k_dense_replace moe_layer_freq"),
        ("dots3_note_text", {"rope_parameters": _TYPED_ROPE}, "rope_theta swa_rope_theta"),
        (
            "exaone4",
            {"sliding_window": None, "layer_types": ..., "sliding_window_pattern": 4},
            "sliding_window_pattern",
        ),
        ("gemma2", {}, "hidden_act"),
        ("gemma3n_text", {"hidden_act": "gelu", "altup_lr_multiplier": 2.0}, "hidden_act altup_lr_multiplier"),
        ("gemma4_text", {}, "use_double_wide_mlp vocab_size_per_layer_input"),
        ("gemma4_text", {"num_experts": 4, "top_k_experts": 2}, "num_experts top_k_experts"),
        ("gemma4_text", {"per_layer_config": _GLOBAL_HEADS, "global_head_dim": 512}, "global_head_dim"),
        ("hunyuan_v1_dense", {"rope_scaling": {**_LINEAR, "alpha": 1000.0}}, "rope_scaling.alpha"),
        ("kolibri1", {"intermediate_size": 9}, "intermediate_size"),
        ("lara_mini", {"intermediate_size": 9}, "intermediate_size"),
        ("llama", {"rope_scaling": {**_LINEAR, "beta_fast": 32}}, "rope_scaling.beta_fast"),
        (
            "llama4_text",
            {"attn_temperature_tuning": False, "attn_scale": 0.1, "floor_scale": 9},
            "attn_scale floor_scale",
        ),
        ("llama4_text", {"layer_types": ["full_attention"] * 48}, "attention_chunk_size"),
        ("minimax", {"layer_types": ["full_attention"] * 80}, "linear_attn_alpha_factor linear_attn_beta_factor"),
        ("minimax_m2", {"partial_rotary_factor": 0.5, "rotary_dim": 32}, "rotary_dim"),
        ("nemotron_h", {"num_hidden_layers": 9}, "num_hidden_layers"),
        ("phi3", {"rope_scaling": None}, "original_max_position_embeddings"),
        ("phimoe", {}, "rope_scaling.long_factor"),
        ("phimoe", {"rope_scaling": {"rope_type": "default", "short_mscale": 1.2}}, "rope_scaling.short_mscale"),
        ("qwen2", {}, "sliding_window max_window_layers"),
        ("qwen2_moe", {}, "sliding_window max_window_layers"),
        ("qwen3_5_moe_text", {"intermediate_size": 9}, "intermediate_size"),
        ("recurrent_gemma", {"hidden_act": "gelu"}, "hidden_act"),
        ("smollm3", {"sliding_window": 64}, "sliding_window layer_types"),
        ("solar_open", {"intermediate_size": 9}, "intermediate_size"),
    ],
)
def test_keys_without_effect(name: str, keys: dict[str, Any], ignored: str, changed: Change) -> None:
    """A key that other keys make irrelevant is said to be ignored, and the model is that without it."""
    found = import_config(changed(name, **keys))
    assert set(ignored.split()) <= set(found.ignored)
    without = changed(name, **keys | {key: ... for key in ignored.split() if key in keys})
    assert import_config(without).loaded.config == found.loaded.config


def test_window_with_effect(changed: Change) -> None:
    assert "sliding_window" not in import_config(changed("qwen2", use_sliding_window=True)).ignored


def test_origins(changed: Change) -> None:
    loaded = load_config(changed("llama"))
    assert _origin(loaded, "d_model") == '"hidden_size": 4096,'
    assert _origin(loaded, "position.scaling_factor") == '"factor": 8.0,'
    assert _origin(loaded, "position.kind") == '"model_type": "llama",'
    assert _origin(loaded, "attention.window") == ""


def test_broken_rule(changed: Change) -> None:
    with pytest.raises(ConfigError) as raised:
        load_config(changed("llama", hidden_size=4100, num_attention_heads=32))
    (found,) = raised.value.diagnostics
    assert found.code == "heads-do-not-divide"
    assert found.span is not None
    assert found.span.text.strip() == '"num_attention_heads": 32,'
    assert found.labels[0].span.text.strip() == '"hidden_size": 4100,'


def test_assumed_sizes(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text('{"model_type": "opt", "hidden_size": 64, "vocab_size": null, "ffn_dim": 99}', encoding="utf-8")
    with pytest.raises(ConfigError):
        import_config(str(path))
    path.write_text('{"model_type": "opt", "hidden_size": 48, "ffn_dim": 99}', encoding="utf-8")
    assumed = {"vocab_size": 50272, "n_heads": 12, "n_layers": 12, "max_len": 2048}
    assert import_config(str(path)).assumed == assumed
    del assumed["n_layers"]
    assert import_config(str(path), ["n_layers=3"]).assumed == assumed


@pytest.mark.parametrize("name", [path.stem for path in CONFIGS.glob("*.json")])
def test_given_sizes_are_not_assumed(name: str) -> None:
    """Sizes in a published config are used; only sizes without a key are family defaults."""
    path = CONFIGS / f"{name}.json"
    found = import_config(str(path))
    if name not in ("llava", "llava_next"):  # whose text_config has only what differs from the defaults
        assert not {"n_layers", "d_model"} & found.assumed.keys()
    body = json.loads(path.read_text(encoding="utf-8"))
    body = body.get("text_config", body)
    keys = FAMILIES[found.family].keys
    said = {name for key in keys.model_fields for name in filled_fields(keys, key) if body.get(key) is not None}
    assert not said & found.assumed.keys()


def test_windows_of_modernbert(changed: Change) -> None:
    """``local_attention`` counts both sides; ``sliding_window``, which transformers writes, takes precedence."""
    for keys, window in (({"local_attention": 65}, 32), ({"sliding_window": 48}, 48)):
        found = import_config(changed("modernbert-decoder", **keys))
        pattern = layer_pattern(found.loaded.config)
        assert [kind.attention.window for kind in pattern][:4] == [None, window, window, None]
        assert [kind.block.mixer_norm for kind in pattern][:4] == [False, True, True, True]
        assert ("local_attention" in found.ignored) == ("sliding_window" in keys)


def test_rope_of_modernbert(changed: Change) -> None:
    """A block of RoPE takes precedence over the older keys, and cannot be scaled."""
    blocks = {"sliding_attention": {"rope_type": "default", "rope_theta": 500.0}}
    found = import_config(changed("modernbert-decoder", rope_parameters=blocks))
    assert [kind.position.theta for kind in layer_pattern(found.loaded.config)][:2] == [160_000.0, 500.0]
    assert "local_rope_theta" in found.ignored
    assert "global_rope_theta" not in found.ignored
    blocks["sliding_attention"] |= {"rope_type": "linear", "factor": 2.0}
    path = changed("modernbert-decoder", rope_parameters=blocks)
    with pytest.raises(ConfigError, match="does not scale the RoPE of this family"):
        load_config(path)


@pytest.mark.parametrize(("size", "window"), [(128, 129), (None, 128)])
def test_window_of_mimo(size: int | None, window: int, changed: Change) -> None:
    """``sliding_window_size`` does not count the position itself; layers with a window have twice the KV heads."""
    kinds = layer_pattern(load_config(changed("mimo_v2_flash", sliding_window_size=size)).config).kinds
    assert [kind.attention.window for kind in kinds] == [None, window, None]
    assert [(kind.n_kv_heads, kind.attention.sinks) for kind in kinds] == [(4, False), (8, True), (4, False)]
    assert [kind.feed_forward.n_experts for kind in kinds] == [None, 256, 256]


LOCAL, FULL = "sliding_attention", "full_attention"


def test_shared_keys_and_values(changed: Change) -> None:
    """The last layers read keys and values of the last other layer of their type; the last layer is always global."""
    sizes = {"num_hidden_layers": 6, "hidden_size_per_layer_input": 8, "intermediate_size": 64}
    types = [LOCAL, FULL, LOCAL, LOCAL, FULL, LOCAL]
    given = {**sizes, "layer_types": types, "num_kv_shared_layers": 3}
    found = flat(changed("gemma4_text", **given))
    assert found["layers.first"] == "local, full, local, shared-local"
    assert found["layers.pattern"] == "shared-full"  # twice
    kinds = found["layers.kinds"]
    assert [kinds[name]["attention"].get("kv_from") for name in kinds] == [None, None, "local", "full"]
    assert not any("d_ff" in kind for kind in kinds.values())
    wide = flat(changed("gemma4_text", **given, use_double_wide_mlp=True))["layers.kinds"]
    assert [kind.get("d_ff") for kind in wide.values()] == [None, None, 128, 128]


def test_layers_of_gemma3n(changed: Change) -> None:
    """They differ in windows, widths and sparsity; the RoPE of global layers alone is scaled."""
    given = {
        "num_hidden_layers": 6,
        "layer_types": [LOCAL, FULL, LOCAL, FULL, LOCAL, FULL],
        "num_kv_shared_layers": 2,
        "intermediate_size": [64, 64, 64, 96, 64, 64],
        "activation_sparsity_pattern": [0.5, 0.0, 0.0, 0.0, 0.0, 0.0],
        "rope_parameters": {
            "full_attention": {"rope_type": "linear", "factor": 2.0, "rope_theta": 5e5},
            "sliding_attention": {"rope_type": "default", "rope_theta": 1e3},
        },
    }
    found = flat(changed("gemma3n_text", **given))
    assert (found["position.scaling"], found["position.theta"], found["d_ff"]) == ("linear", 5e5, 64)
    kinds = found["layers.kinds"]
    order = ["sparse-local", "full", "local", "full_3", "shared-local", "shared-full"]
    assert found["layers.pattern"] == ", ".join(order)
    assert list(kinds) == order
    local = {"theta": 1e3, "scaling": "none"}
    assert kinds["sparse-local"]["position"] == local
    assert kinds["sparse-local"]["feed_forward"] == {"activation_sparsity": 0.5}
    assert kinds["full_3"] == {"d_ff": 96}
    assert kinds["shared-local"] == {"position": local, "attention": {"window": 512, "kv_from": "local"}}
    assert kinds["shared-full"] == {"attention": {"kv_from": "full_3"}}


def test_default_layers_of_gemma3n(changed: Change) -> None:
    """Every fifth layer is global, and only the first layers of a longer model are sparse."""
    absent = {"layer_types": ..., "activation_sparsity_pattern": ..., "rope_parameters": ...}
    short = flat(changed("gemma3n_text", **absent, num_hidden_layers=10, num_kv_shared_layers=0, intermediate_size=64))
    assert short["layers.pattern"] == "4 local, full"
    assert short["layers.kinds"]["local"]["position"] == {"theta": 1e4}
    longer = flat(changed("gemma3n_text", **absent, num_hidden_layers=12, num_kv_shared_layers=1, intermediate_size=64))
    kinds = longer["layers.kinds"]
    sparse = [name for name, kind in kinds.items() if kind.get("feed_forward") == {"activation_sparsity": 0.95}]
    assert sparse == ["sparse-local", "sparse-full"]


@pytest.mark.parametrize(
    ("keys", "field", "message"),
    [
        ({"altup_active_idx": 1}, "altup_active_idx", "altup_active_idx 1 is not supported: tinylm's layers compute"),
        (
            {"intermediate_size": [64, 64]},
            "intermediate_size",
            "intermediate_size lists 2 layers, but num_hidden_layers is 35",
        ),
        (
            {"activation_sparsity_pattern": [0.5]},
            "activation_sparsity_pattern",
            "activation_sparsity_pattern lists 1 layer, but num_hidden_layers is 35",
        ),
        (
            {"num_kv_shared_layers": 32},
            "num_kv_shared_layers",
            "no layer before the last 32 has keys and values for their full_attention",
        ),
        (
            {"rope_parameters": {"sliding_attention": {"rope_type": "linear", "factor": 2.0}}},
            "rope_parameters.sliding_attention.rope_type",
            'rope_parameters.sliding_attention.rope_type "linear" is not supported: tinylm scales RoPE only in global',
        ),
    ],
)
def test_unsupported_layers_of_gemma3n(keys: dict[str, object], field: str, message: str, changed: Change) -> None:
    with pytest.raises(ConfigError) as raised:
        load_config(changed("gemma3n_text", **keys))
    (found,) = raised.value.diagnostics
    assert found.field == field
    assert found.message.startswith(message)


@pytest.mark.parametrize(
    ("keys", "code", "message"),
    [
        (
            {"num_kv_shared_layers": 2, "layer_types": [LOCAL, LOCAL, FULL]},
            "contradiction",
            "no layer before the last 2 has keys and values for their full_attention",
        ),
        (
            {"num_kv_shared_layers": 9, "layer_types": [LOCAL, FULL, FULL]},
            "contradiction",
            "no layer before the last 3 has keys and values for their full_attention and sliding_attention",
        ),
        (
            {"num_kv_shared_layers": 1, "layer_types": [LOCAL, FULL, FULL], "hidden_size_per_layer_input": 0},
            "unsupported-setting",
            "num_kv_shared_layers 1 is not supported: in transformers, layers that share keys and values need"
            " hidden_size_per_layer_input",
        ),
    ],
)
def test_impossible_sharing(keys: dict[str, object], code: str, message: str, changed: Change) -> None:
    """At the key, once."""
    given = {"num_hidden_layers": 3, "hidden_size_per_layer_input": 8, **keys}
    with pytest.raises(ConfigError) as raised:
        load_config(changed("gemma4_text", **given))
    (found,) = raised.value.diagnostics
    assert (found.code, found.field, found.message) == (code, "num_kv_shared_layers", message)


def test_experts_per_token_of_each_layer(changed: Change) -> None:
    """Hunyuan-A13B lists the experts per token, and sizes that transformers does not read."""
    lists = {"moe_intermediate_size": [11008] * 32, "num_shared_expert": [1] * 32, "attention_head_dim": 128}
    found = flat(changed("hunyuan_v1_moe", moe_topk=[8] * 32, **lists))
    assert (found["feed_forward.top_k"], found["layers.kinds"]) == (8, {})
    found = flat(changed("hunyuan_v1_moe", moe_topk=[4] * 31 + [2]))
    assert found["layers.kinds"] == {"top_4": {"feed_forward": {"top_k": 4}}, "top_2": {"feed_forward": {"top_k": 2}}}
    for keys, code in (
        ({"moe_topk": [8] * 31}, "contradiction"),
        ({"num_shared_expert": [1] * 31 + [2]}, "unsupported-setting"),
        ({"moe_intermediate_size": 64}, "unsupported-setting"),
    ):
        assert [each for each, _ in errors_of(changed("hunyuan_v1_moe", **keys))] == [code]


def test_published_keys_of_nemotron_h(changed: Change) -> None:
    """RoPE, which it does not apply, and multi-token prediction are left out; an earlier name of head_dim is read."""
    keys = {"rope_theta": 10000, "partial_rotary_factor": 1.0, "num_nextn_predict_layers": 1, "head_dim": ...}
    found = flat(changed("nemotron_h", attention_head_dim=64, moe_latent_size=1024, **keys))
    assert (found["position.kind"], found["head.n_mtp_layers"], found["attention.d_head"]) == ("none", 0, 64)
    assert found["layers.kinds"]["moe"]["feed_forward"]["d_latent"] == 1024


def test_fewer_embeddings_for_each_layer(changed: Change) -> None:
    found = flat(changed("gemma4_text", hidden_size_per_layer_input=8, vocab_size_per_layer_input=200_000))
    assert found["embedding.per_layer_vocab_size"] == 200_000
    unknown = changed("gemma4_text", hidden_size_per_layer_input=8, vocab_size_per_layer_input=None)
    assert [code for code, _ in errors_of(unknown)] == ["missing-key"]


def test_equal_global_sizes(changed: Change) -> None:
    """transformers writes no sizes for a global layer if they equal the other layers'."""
    keys = {"per_layer_config": {}, "global_head_dim": ..., "num_global_key_value_heads": ...}
    found = flat(changed("gemma4_text", **keys))
    assert "d_head" not in found["layers.kinds"]["full"]["attention"]
    assert found["attention.d_head"] == 256


EXPERTS = {"enable_moe_block": True, "num_experts": 8, "top_k_experts": 2, "moe_intermediate_size": 24}


def test_experts_beside_a_dense_network(changed: Change) -> None:
    """The dense network is a shared expert, also where layers that share keys and values have a wider one."""
    sizes = {"num_hidden_layers": 4, "hidden_size_per_layer_input": 8, "intermediate_size": 64}
    sharing = {"layer_types": [LOCAL, FULL, LOCAL, FULL], "num_kv_shared_layers": 2, "use_double_wide_mlp": True}
    found = flat(changed("gemma4_text", **EXPERTS, **sizes, **sharing))
    assert {name: found[f"feed_forward.{name}"] for name in ("n_experts", "top_k", "d_expert", "d_shared_expert")} == {
        "n_experts": 8, "top_k": 2, "d_expert": 24, "d_shared_expert": 64,
    }  # fmt: skip
    wide = [kind.get("feed_forward") for kind in found["layers.kinds"].values()]
    assert wide == [None, None, {"d_shared_expert": 128}, {"d_shared_expert": 128}]


@pytest.mark.parametrize("key", ["num_experts", "top_k_experts", "moe_intermediate_size"])
def test_sizes_of_experts_are_required(key: str, changed: Change) -> None:
    with pytest.raises(ConfigError) as raised:
        load_config(changed("gemma4_text", **{**EXPERTS, key: ...}))
    (found,) = raised.value.diagnostics
    assert (found.code, found.field) == ("missing-key", key)
    assert found.message == f"{key} is missing: enable_moe_block is true"

"""Keys that are not understood: what they may change, which commands they stop, and how to leave them out."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import tinylm_cli as tinylm
from tests.interop.changes import Change
from tinylm_cli.errors import ConfigError, UsageError
from tinylm_cli.interop.key_effects import Effect, KeyPolicy, effect_of
from tinylm_cli.interop.load import load_config

Here = Callable[..., Any]


@pytest.mark.parametrize(
    ("key", "value", "effect"),
    [
        ("logit_scale", 0.5, Effect.values),
        ("embedding_multiplier", 12.0, Effect.values),
        ("residual_multiplier", 0.2, Effect.values),
        ("layer_norm_eps", 1e-3, Effect.values),
        ("clip_qkv", 8.0, Effect.values),
        ("attn_logit_softcapping", 50.0, Effect.values),
        ("rope_theta", 2.0, Effect.values),
        ("use_mrope", True, Effect.values),
        ("rope_scaling.rope_type", "mrope", Effect.values),
        ("text_config.rope_parameters.extra", 1, Effect.values),
        ("scoring_func", "sigmoid", Effect.values),
        ("norm_topk_prob", True, Effect.values),
        ("query_pre_attn_scalar", 144, Effect.values),
        ("use_logn_attn", True, Effect.values),
        ("scale_attn_by_inverse_layer_idx", True, Effect.values),
        ("attention_window_size", 64, Effect.costs),
        ("attention_chunk_size", 64, Effect.costs),
        ("is_causal", False, Effect.costs),
        ("use_bidirectional_attention", True, Effect.costs),
        ("hidden_act", "mish", Effect.costs),
        ("hidden_act", "swiglu", Effect.tensors),
        ("hidden_act", "xielu", Effect.tensors),
        ("use_qk_norm", True, Effect.tensors),
        ("qkv_bias", True, Effect.tensors),
        ("num_extra_layers", 2, Effect.tensors),
        ("layer_scale_init_value", 0.1, Effect.tensors),
        ("ffn_dim_multiplier", 1.3, Effect.tensors),
        ("learnable_scale", True, Effect.tensors),
        ("topk_method", "noaux_tc", Effect.tensors),
        ("alibi", True, Effect.tensors),
        ("surprise", 1, Effect.tensors),
        ("surprise", 0.25, Effect.values),
        ("mlp_ratio", 2.5, Effect.tensors),
        ("no_rope_layers", [1, 0], Effect.values),
        ("qk_rope_head_dim", 64, Effect.tensors),
        ("scale_depth", 1.4, Effect.values),
        ("num_local_experts", 8, Effect.tensors),
    ],
)
def test_effects(key: str, value: Any, effect: Effect) -> None:
    assert effect_of(key, value) == effect


@pytest.mark.parametrize(
    ("keys", "stopped"),
    [
        ({"logit_scale": 0.5}, "values"),
        ({"rope_scaling": {"rope_type": "mrope", "factor": 2.0}}, "values"),
        ({"rms_norm_epss": 1e-3}, "values"),
        ({"attention_window_size": 64}, "values costs"),
        ({"hidden_act": "mish"}, "values costs"),
        ({"use_qk_norm": True}, "values costs tensors"),
        ({"logit_scale": 0.5, "use_qk_norm": True}, "values costs tensors"),
    ],
)
def test_least_effect_that_is_an_error(keys: dict[str, Any], stopped: str, changed: Change) -> None:
    """A key with less effect is left out, as if it were not in the file."""
    without: Any = {"factor": 2.0} if "rope_scaling" in keys else ...
    expected = load_config(changed("llama", rope_scaling=without)).config
    path = changed("llama", **{"rope_scaling": ..., **keys})
    for least in Effect:
        if least.name in stopped.split():
            with pytest.raises(ConfigError) as raised:
                load_config(path, (), KeyPolicy(reported=least))
            shown = {each.field for each in raised.value.diagnostics}
            assert all(effect_of(name, "mish" if name == "hidden_act" else 1) >= least for name in shown)
        else:
            loaded = load_config(path, (), KeyPolicy(reported=least))
            assert set(loaded.ignored_keys.values()) == {"no_effect_here"}
            assert loaded.config == expected


@pytest.mark.parametrize(
    ("family", "keys"),
    [
        ("gpt2", {"scale_attn_by_inverse_layer_idx": True}),
        ("deepseek_v2", {"scoring_func": "sigmoid"}),
        ("deepseek_v2", {"norm_topk_prob": True}),
        ("rwkv", {"layer_norm_epsilon": 1e-6}),
        ("xlstm", {"eps": 1e-5}),
        ("zamba2", {"rms_norm_eps": 1e-6}),
        ("iquestcoder", {"clip_qkv": 8.0}),
        ("mpt", {"logit_scale": "inv_sqrt_d_model"}),
        ("gpt_oss", {"swiglu_alpha": 1.0}),
        ("llama", {"partial_rotary_factor": 0.5}),
    ],
)
def test_arithmetic_does_not_stop_counting(family: str, keys: dict[str, Any], changed: Change) -> None:
    """The families need not say so: it follows from the names of the keys."""
    loaded = load_config(changed(family, **keys), (), KeyPolicy(reported=Effect.tensors))
    assert loaded.ignored_keys == dict.fromkeys(keys, "no_effect_here")
    with pytest.raises(ConfigError):
        load_config(changed(family, **keys))


def test_invalid_values_stop_every_command(changed: Change) -> None:
    with pytest.raises(ConfigError):
        load_config(changed("llama", rms_norm_eps="x"), (), KeyPolicy(reported=Effect.tensors))


def test_ignore(changed: Change) -> None:
    keys = {"use_qk_norm": True, "rope_scaling": {"rope_type": "linear", "factor": 0.5}, "odd.key": 3}
    policy = KeyPolicy(("use_qk_norm", "rope_scaling", "odd.key"))
    loaded = load_config(changed("llama", **keys), (), policy)
    assert loaded.ignored_keys == dict.fromkeys(policy.ignored, "requested")
    assert loaded.config == load_config(changed("llama", rope_scaling=None)).config


def test_ignore_key_in_a_block(changed: Change) -> None:
    block = {"rope_type": "linear", "factor": 2.0, "facto": 1}
    with pytest.raises(ConfigError):
        load_config(changed("llama", rope_scaling=block))
    loaded = load_config(changed("llama", rope_scaling=block), (), KeyPolicy(("rope_scaling.facto",)))
    assert (loaded.config.position.scaling, loaded.config.position.scaling_factor) == ("linear", 2.0)


def test_ignored_key_has_the_default_of_its_family(changed: Change) -> None:
    loaded = load_config(changed("llama", rms_norm_eps="x"), (), KeyPolicy(("rms_norm_eps",)))
    assert loaded.config.norm.eps == 1e-6


def test_python(changed: Change) -> None:
    path = changed("llama", use_qk_norm=True)
    with pytest.raises(ConfigError) as raised:
        tinylm.load(path)
    assert 'ignore=["use_qk_norm"]' in raised.value.diagnostics[0].help
    model = tinylm.load(path, ignore=["use_qk_norm"])
    assert model.params().ignored_keys == {"use_qk_norm": "requested"}
    assert model.with_changes({"n_layers": 1}).loaded.ignored_keys == {"use_qk_norm": "requested"}
    assert "Keys left out on request: use_qk_norm." in str(model.params())
    assert tinylm.load(path, ignore="use_qk_norm").config == model.config
    with pytest.raises(UsageError):
        tinylm.load(path, ignore=["use_qk_norm", "nothing"])


SMALL = {"num_hidden_layers": 1, "hidden_size": 16, "intermediate_size": 16, "vocab_size": 32}
HEADS = {"num_attention_heads": 2, "num_key_value_heads": 2, "max_position_embeddings": 16, "head_dim": 8}

COMMANDS = [
    ["params"],
    ["params", "--explain"],
    ["build", "--meta"],
    ["show"],
    ["estimate"],
    ["compare", "@n_layers=2"],
    ["sweep", "n_layers=1,2"],
    ["forward", "--meta"],
    ["generate"],
    ["check"],
    ["validate"],
    ["import"],
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_ignores(command: list[str], changed: Change, here: Here) -> None:
    """The text and the JSON of every report name the key."""
    path = changed("llama", use_qk_norm=True, rope_scaling=..., **SMALL, **HEADS)
    verb, *arguments = command
    refused = here(verb, path, *arguments)
    assert refused.code == 1
    assert "--ignore use_qk_norm" in refused.out + refused.err
    shown = here(verb, path, *arguments, "--ignore", "use_qk_norm")
    assert shown.code == 0, shown.err
    assert "Keys left out on request: use_qk_norm." in shown.out + shown.err
    done = here(verb, path, *arguments, "--ignore", "use_qk_norm", "--format", "json")
    assert '"ignored_keys": {"use_qk_norm": "requested"}' in json.dumps(json.loads(done.out))


def test_export_and_new_ignore(changed: Change, here: Here, tmp_path: Path) -> None:
    path = changed("llama", use_qk_norm=True, rope_scaling=..., **SMALL, **HEADS)
    assert here("new", "-c", path, "-o", str(tmp_path / "a.yaml")).code == 1
    assert here("new", "-c", path, "-o", str(tmp_path / "a.yaml"), "--ignore", "use_qk_norm").code == 0
    done = here("export", path, "-o", str(tmp_path / "out"), "--ignore", "use_qk_norm", "-f", "json")
    assert json.loads(done.out)["ignored_keys"] == {"use_qk_norm": "requested"}


@pytest.mark.parametrize(
    ("command", "stops"),
    [
        (["params"], {"tensors"}),
        (["estimate"], {"tensors", "costs"}),
        (["compare", "@n_layers=2"], {"tensors", "costs"}),
        (["sweep", "n_layers=1,2"], {"tensors", "costs"}),
        (["show"], {"tensors", "costs", "values"}),
        (["build", "--meta"], {"tensors", "costs", "values"}),
        (["import"], {"tensors", "costs", "values"}),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_keys_that_stop_a_command(command: list[str], stops: set[str], changed: Change, here: Here) -> None:
    verb, *arguments = command
    samples: dict[str, dict[str, Any]] = {
        "values": {"logit_scale": 0.5},
        "costs": {"attention_window_size": 8},
        "tensors": {"use_qk_norm": True},
    }
    for effect, keys in samples.items():
        path = changed("llama", rope_scaling=..., **keys, **SMALL, **HEADS)
        assert (here(verb, path, *arguments).code == 1) == (effect in stops), effect


def test_next_command_leaves_out_the_same_keys(changed: Change, here: Here) -> None:
    """A key that does not stop counting stops the build that is suggested next."""
    path = changed("llama", logit_scale=0.5, rope_scaling=..., **SMALL, **HEADS)
    shown = here("params", path)
    assert "without effect on this report: logit_scale." in shown.out.replace("\n", " ")
    assert shown.err.strip().endswith("--ignore logit_scale")


@pytest.mark.parametrize("arguments", [["tiny"], ["llama-2-7b"], []])
def test_key_that_no_config_has(arguments: list[str], here: Here) -> None:
    assert here("params", *arguments, "--ignore", "use_qk_norm").code == 2

"""RoPE and its scaling in a config.json, in both forms."""

from __future__ import annotations

from typing import Any

import pytest

from tests.interop.changes import Change, errors_of, flat
from tinylm_cli.errors import ConfigError
from tinylm_cli.interop.load import load_config

ROPES: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"rope_theta": 5e5}, {"theta": 5e5, "scaling": "none"}),
    ({"rope_parameters": {"rope_type": "default", "rope_theta": 7e5}}, {"theta": 7e5, "scaling": "none"}),
    ({"rope_parameters": {"rope_theta": 7e5}, "rope_theta": 3e5}, {"theta": 7e5}),
    ({"rope_scaling": {"type": "linear", "factor": 4}}, {"scaling": "linear", "scaling_factor": 4.0, "theta": 1e4}),
    ({"rope_scaling": {"type": "dynamic", "factor": 2.0}}, {"scaling": "dynamic", "original_max_len": 2048}),
    ({"rope_scaling": {"type": "dynamic", "rope_type": "linear", "factor": 2.0}}, {"scaling": "linear"}),
    (
        {"rope_scaling": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 512}},
        {"scaling": "yarn", "original_max_len": 512, "attention_factor": None, "beta_fast": 32.0, "truncate": True},
    ),
    (
        {"rope_parameters": {"rope_type": "yarn", "factor": 4.0, "attention_factor": 0.9, "beta_fast": 16}},
        {"original_max_len": 2048, "attention_factor": 0.9, "beta_fast": 16.0},
    ),
    ({"rope_scaling": {"rope_type": "yarn", "factor": 4.0, "mscale": 1.0}}, {"attention_factor": None}),
    ({"rope_scaling": {}}, {"scaling": "none"}),
    ({"rope_scaling": {"rope_type": "default", "factor": 8.0}}, {"scaling": "none"}),
]


@pytest.mark.parametrize(("keys", "expected"), ROPES)
def test_rope_parameters_and_rope_scaling(keys: dict[str, Any], expected: dict[str, Any], changed: Change) -> None:
    bare = {"rope_theta": ..., "rope_scaling": ..., "max_position_embeddings": 2048}
    found = flat(changed("llama", **{**bare, **keys}))
    assert {key: found[f"position.{key}"] for key in expected} == expected


@pytest.mark.parametrize(("outside", "inside"), [(1024, 512), (1024, None), (None, 512)])
def test_place_of_original_length(outside: int | None, inside: int | None, changed: Change) -> None:
    """The key outside the block wins, and an error points to it."""
    key = "original_max_position_embeddings"
    block = {"rope_type": "yarn", "factor": 4.0} | ({} if inside is None else {key: inside})
    outer = {} if outside is None else {key: outside}
    loaded = load_config(changed("llama", rope_scaling=block, max_position_embeddings=2048, **outer))
    assert loaded.config.position.original_max_len == (outside or inside)
    span = loaded.origins["position.original_max_len"]
    assert span is not None
    assert span.text.strip(" ,") == f'"{key}": {outside or inside}'


@pytest.mark.parametrize(
    ("block", "field", "code"),
    [
        ({"rope_type": "linear"}, "rope_scaling.factor", "missing-key"),
        (
            {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0},
            "rope_scaling.high_freq_factor",
            "missing-key",
        ),
        ({"rope_type": "longrope", "short_factor": [1.0] * 64}, "rope_scaling.long_factor", "missing-key"),
        ({"rope_type": "linear", "factor": 2.0, "facto": 1}, "rope_scaling.facto", "unknown-setting"),
        ({"rope_type": "mrope", "factor": 2.0}, "rope_scaling.rope_type", "unsupported-setting"),
        ({"rope_type": "linear", "factor": 0}, "rope_scaling.factor", "out-of-range"),
        ({"rope_type": "linear", "factor": 0.5}, "rope_scaling.factor", "out-of-range"),
    ],
)
def test_wrong_scaling(block: dict[str, Any], field: str, code: str, changed: Change) -> None:
    with pytest.raises(ConfigError) as raised:
        load_config(changed("llama", rope_scaling=block))
    assert (raised.value.diagnostics[0].field, raised.value.diagnostics[0].code) == (field, code)


def test_gemma3_rope_parameters(changed: Change) -> None:
    rope = {
        "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 2e6},
        "sliding_attention": {"rope_type": "default", "rope_theta": 3e4},
    }
    old = {"rope_theta": ..., "rope_local_base_freq": ..., "rope_scaling": ...}
    found = flat(changed("gemma3_text", rope_parameters=rope, **old))
    assert (found["position.theta"], found["position.local_theta"]) == (2e6, 3e4)
    assert (found["position.scaling"], found["position.scaling_factor"]) == ("linear", 8.0)
    rope["sliding_attention"] = {"rope_type": "linear", "factor": 2.0}
    assert errors_of(changed("gemma3_text", rope_parameters=rope, **old))[0][0] == "unsupported-setting"


@pytest.mark.parametrize(
    ("changes", "field", "code"),
    [
        ({"llama_4_scaling_beta": ...}, "llama_4_scaling_beta", "missing-key"),
        ({"llama_4_scaling_beta": -0.1}, "llama_4_scaling_beta", "unsupported-setting"),
        (
            {"rope_type": "default", "type": "default", "original_max_position_embeddings": ...},
            "original_max_position_embeddings",
            "missing-key",
        ),
    ],
)
def test_wrong_temperature(changes: dict[str, Any], field: str, code: str, changed: Change) -> None:
    block = {
        "rope_type": "yarn",
        "factor": 16.0,
        "original_max_position_embeddings": 16384,
        "llama_4_scaling_beta": 0.1,
    }
    kept = {name: value for name, value in {**block, **changes}.items() if value is not ...}
    with pytest.raises(ConfigError) as raised:
        load_config(changed("ministral3", rope_parameters=kept))
    assert (raised.value.diagnostics[0].field, raised.value.diagnostics[0].code) == (f"rope_parameters.{field}", code)


def test_temperature_of_other_scalings(changed: Change) -> None:
    """``temperature_len`` is the pretraining length; a scale of 0 disables the temperature."""
    linear = {"rope_type": "linear", "factor": 2.0, "original_max_position_embeddings": 512}
    found = flat(changed("ministral3", rope_parameters={**linear, "llama_4_scaling_beta": 0.5}))
    assert (found["attention.temperature_scale"], found["attention.temperature_len"]) == (0.5, 512)
    found = flat(changed("ministral3", rope_parameters={**linear, "llama_4_scaling_beta": 0.0}))
    assert found["attention.temperature_scale"] is None

"""Equivalent configs have equal canonical fields."""

from __future__ import annotations

from typing import Any

import pytest

from tinylm_cli.config.base import MAX_WINDOW_PATTERN
from tinylm_cli.config.canonical import canonical_fields, without_named_kinds
from tinylm_cli.config.schema import LABELS, ModelConfig

SHAPE = {"vocab_size": 256, "d_model": 64, "n_heads": 4, "n_layers": 4, "d_ff": 128}
WINDOW = {"window": 8, "window_pattern": "LG"}


def said(**values: Any) -> dict[str, Any]:
    return canonical_fields(ModelConfig.model_validate({**SHAPE, **values}))


def test_resolved_and_applicable_only() -> None:
    plain = said()
    assert (plain["attention.d_head"], plain["attention.n_kv_heads"], plain["attention.scale"]) == (16, 4, 0.25)
    assert plain["embedding.multiplier"] == 8.0
    assert plain["norm.bias"] is True
    assert not {"position.theta", "feed_forward.top_k", "attention.window_pattern", *LABELS} & plain.keys()
    assert said(nominal_params=5)["vocab_size"] == 256


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({}, {"attention": {"d_head": 16, "scale": 0.25, "n_kv_heads": 4, "out_bias": True}}),
        ({"attention": WINDOW}, {"attention": {**WINDOW, "window_pattern": "LGLG"}}),
        ({"feed_forward": {"n_experts": 4}}, {"feed_forward": {"n_experts": 4, "d_expert": 128}}),
        ({"feed_forward": {"n_experts": 4}}, {"feed_forward": {"n_experts": 4, "expert_bias": True}}),
        ({}, {"nominal_params": 5}),
        (
            {"block": {"mixer": "gated_deltanet"}, "gated_deltanet": {"d_key": 8, "o_norm_eps": 1e-5}},
            {"block": {"mixer": "gated_deltanet"}, "gated_deltanet": {"d_key": 8, "n_value_heads": 8}},
        ),
        (
            {"feed_forward": {"n_experts": 4, "n_shared_experts": 2, "d_shared_expert": 64, "d_expert": 128}},
            {"feed_forward": {"n_experts": 4, "n_shared_experts": 1}},
        ),
        (
            {"feed_forward": {"n_experts": 4, "n_shared_experts": 3, "d_shared_expert": 64}},
            {"feed_forward": {"n_experts": 4, "n_shared_experts": 1, "d_shared_expert": 192}},
        ),
        (
            {"attention": WINDOW},
            {"layers": {"pattern": "l, g", "kinds": {"l": {"attention": {"window": 8}}, "g": {}}}},
        ),
        (
            {"attention": {"window": 8, "window_pattern": "GL"}, "feed_forward": {"n_experts": 4, "n_dense_layers": 1}},
            {
                "feed_forward": {"n_experts": 4},
                "layers": {
                    "first": "dense, local",
                    "last": "full, local",
                    "kinds": {
                        "dense": {"feed_forward": {"n_experts": None}},
                        "local": {"attention": {"window": 8}},
                        "full": {},
                    },
                },
            },
        ),
        (
            {"layers": {"pattern": "a, b", "kinds": {"a": {"d_ff": 64}, "b": {}}}},
            {"layers": {"first": "a, b, a", "last": "b", "kinds": {"a": {"d_ff": 64}, "b": {"d_ff": 128}}}},
        ),
        (
            {"position": {"kind": "rope", "theta": 1e6, "local_theta": 1e4}, "attention": WINDOW},
            {
                "position": {"kind": "rope", "theta": 1e4},
                "attention": {"window": 8},
                "layers": {
                    "pattern": "l, g",
                    "kinds": {"l": {}, "g": {"attention": {"window": None}, "position": {"theta": 1e6}}},
                },
            },
        ),
    ],
)
def test_equivalent_spellings(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert said(**one) == said(**other) != said(**one, dropout=0.5)


def test_narrow_layers() -> None:
    """Their d_head would be 0; it has no effect."""
    linear = {"linear": {"block": {"mixer": "short_conv"}}, "full": {"attention": {"d_head": 8}}}
    config = ModelConfig.model_validate(
        {"vocab_size": 8, "d_model": 3, "n_heads": 16, "n_layers": 2, "d_ff": 8, "position": {"kind": "none"}}
        | {"layers": {"pattern": "linear, full", "kinds": linear}}
    )
    fields = canonical_fields(config)
    assert fields["layers.pattern"] == [0, 1]


def test_scaling_of_layers_with_windows() -> None:
    """RoPE scaling affects layers with a window unless they have a theta of their own, be it the same one."""
    scaled = {"kind": "rope", "theta": 1e4, "scaling": "linear", "scaling_factor": 2.0}
    unscaled_locally = said(position={**scaled, "local_theta": 1e4}, attention=WINDOW)
    assert said(position=scaled, attention=WINDOW) != unscaled_locally
    kinds = {"l": {"position": {"scaling": "none"}}, "g": {"attention": {"window": None}}}
    named = said(position=scaled, attention={"window": 8}, layers={"pattern": "l, g", "kinds": kinds})
    assert named == unscaled_locally


def test_windows_of_deep_models() -> None:
    """The longest patterns that agree on 510 layers differ, in a result that does not grow with the layers."""
    longest, shorter = (
        said(n_layers=100_000, attention={"window": 8, "window_pattern": "L" * n + "G"})["attention.window_pattern"]
        for n in (511, 510)
    )
    assert longest[:510] == shorter[:510]
    assert longest[510:513] == [8, None, 8]
    assert shorter[510:513] == [None, 8, 8]
    assert len(longest) == len(shorter) == 1024


def test_kinds_that_no_other_field_selects() -> None:
    layers = {"pattern": "a, b", "kinds": {"a": {"d_ff": 64}, "b": {"n_heads": 2}}}
    found = said(layers=layers)
    assert found["layers.pattern"] == [0, 1, 0, 1]
    one, other = found["layers.kinds"]
    assert (one["d_ff"], other["d_ff"], one["n_heads"], other["n_heads"]) == (64, 128, 4, 2)
    assert "d_ff" not in found
    assert found["d_model"] == 64
    assert found != said(layers={**layers, "pattern": "b, a"})


def test_names_of_shared_keys_and_values() -> None:
    """``kv_from`` is the index of a kind, independent of its name."""
    found = [
        said(layers={"pattern": f"{a}, b", "kinds": {a: {"d_ff": 64}, "b": {"attention": {"kv_from": a}}}})
        for a in ("a", "z")
    ]
    assert found[0] == found[1]
    assert found[0]["layers.kinds"][1]["attention.kv_from"] == 0
    other: dict[str, Any] = {
        "pattern": "a, c, b, b",
        "kinds": {"a": {"d_ff": 64}, "b": {"attention": {"kv_from": "a"}}, "c": {}},
    }
    last = said(layers=other)
    assert last != said(layers=other | {"kinds": other["kinds"] | {"b": {"attention": {"kv_from": "c"}}}})


def test_names_of_shared_blocks() -> None:
    """They are numbered in the order of their first layers."""

    def with_blocks(first: str, second: str, order: str = "a, b, a, b") -> dict[str, Any]:
        block = {"mixer": "shared_block_mamba"}
        kinds = {"a": {"block": {**block, "shared_block": first}}, "b": {"block": {**block, "shared_block": second}}}
        return said(layers={"pattern": order, "kinds": kinds})

    assert with_blocks("x", "y") == with_blocks("y", "x", "b, a, b, a") == with_blocks("p", "q")
    assert [kind["block.shared_block"] for kind in with_blocks("x", "y")["layers.kinds"]] == [0, 1]
    assert with_blocks("x", "x") == said(block={"mixer": "shared_block_mamba", "shared_block": "z"})
    assert with_blocks("x", "y") != with_blocks("x", "x")


def test_without_named_kinds_gives_the_same_layers() -> None:
    layers = {"pattern": "l, g", "kinds": {"l": {"attention": {"window": 8}}, "g": {}}}
    config = ModelConfig.model_validate({**SHAPE, "layers": layers})
    short = without_named_kinds(config)
    assert short is not None
    assert (short.attention.window, short.attention.window_pattern, short.layers.kinds) == (8, "LG", {})
    assert ModelConfig.model_validate(short.model_dump()) == short
    assert without_named_kinds(short) == short
    windows = {"l": {"attention": {"window": 8}}, "g": {"attention": {"window": 9}}}
    assert without_named_kinds(ModelConfig.model_validate({**SHAPE, "layers": {**layers, "kinds": windows}})) is None


@pytest.mark.parametrize("length", [MAX_WINDOW_PATTERN, MAX_WINDOW_PATTERN + 1])
def test_longest_window_pattern(length: int) -> None:
    """Kinds of layers that repeat after more layers than a window pattern may have need their names."""
    windows = {"local": {"attention": {"window": 8}}, "full": {}}
    layers = {"kinds": windows, "pattern": f"{length - 1} local, full"}
    short = without_named_kinds(ModelConfig.model_validate({**SHAPE, "n_layers": length, "layers": layers}))
    if length > MAX_WINDOW_PATTERN:
        assert short is None
    else:
        assert short is not None
        assert short.attention.window_pattern == "L" * (length - 1) + "G"

"""A config as YAML: it reads back as the same config, here and by readers of YAML 1.1."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.config.yaml_1_1 import read_yaml_1_1
from tinylm_cli.cli.wording import as_options
from tinylm_cli.config.fields import MODEL, fields
from tinylm_cli.config.loader import load_yaml_config, parse_config
from tinylm_cli.config.presets import presets
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.config.source import Source
from tinylm_cli.config.yaml_writer import SCHEMA_LINE, field_listings, to_commented_yaml, to_yaml


def _read(text: str) -> ModelConfig:
    return parse_config(Source("x.yaml", text)).config


@settings(max_examples=40)
@given(st.data())
def test_round_trip(valid_values: st.SearchStrategy[dict[str, Any]], data: st.DataObject) -> None:
    config = ModelConfig.model_validate(data.draw(valid_values))
    assert _read(to_yaml(config)) == config
    assert _read(to_commented_yaml(config, "drawn", as_options)) == config
    assert ModelConfig.model_validate(read_yaml_1_1(to_yaml(config))) == config


@pytest.mark.parametrize("name", presets())
def test_each_preset_reads_back(name: str) -> None:
    config = load_yaml_config(name).config
    assert _read(to_yaml(config)) == config


TINY = """\
vocab_size: 256
d_model: 128
n_heads: 4
n_layers: 4
d_ff: 512
max_len: 1024
dropout: 0.1
tie_weights: true
embedding:
  norm: false
  n_codebooks: 1
position:
  kind: sinusoidal
  sinusoids: interleaved
  offset: 0
norm:
  kind: layernorm
  eps: 1.0e-5
  placement: pre
  weight: true
  zero_centered: false
attention:
  kind: multi_head
  bias: true
  qk_norm: none
  gate: false
  v_norm: false
  keys_as_values: false
  sub_norm: false
  out_multiplier: 1.0
  differential: false
  sinks: false
feed_forward:
  activation: gelu
  gated: false
  bias: true
  out_multiplier: 1.0
  sub_norm: false
  channel_mixing: false
block:
  mixer: attention
  feed_forward: true
  parallel: false
  mixer_norm: true
  residual_multiplier: 1.0
  skip_multiplier: 1.0
  skip_weight: false
  depth_scaled_residual: false
  normed_residual: false
  layer_scalar: false
head:
  kind: lm
  bias: false
  dense: false
  logit_scale: 1.0
  n_mtp_layers: 0
storage:
  dtype: bfloat16
  quantization: none
nominal_params: 500000
"""


def test_fields_with_effect_in_order() -> None:
    assert to_yaml(load_yaml_config("tiny").config) == TINY


def test_dependent_fields() -> None:
    rope = to_yaml(
        load_yaml_config(
            "tiny", [f"position.{each}" for each in ("kind=rope", "scaling=linear", "scaling_factor=2.0")]
        ).config
    )
    position = (
        "position:\n  kind: rope\n  theta: 10000.0\n  rotary_fraction: 1.0\n  proportional: false\n  pairing: half\n"
        "  scaling: linear\n"
    )
    assert f"{position}  scaling_factor: 2.0\nnorm:" in rope
    experts = to_yaml(load_yaml_config("tiny", ["feed_forward.n_experts=8"]).config)
    assert "  n_experts: 8\n  top_k: 2\n  n_zero_experts: 0\n" in experts
    assert "renormalize" not in experts
    assert "renormalize: false" in to_yaml(
        load_yaml_config("tiny", ["feed_forward.n_experts=8", "feed_forward.router=softmax"]).config
    )


def test_null_is_the_same_as_absent() -> None:
    absent = ["attention.n_kv_heads=null", "norm.bias=~", "position.short_factors=null", "nominal_params=500K"]
    assert to_yaml(load_yaml_config("tiny", absent).config) == TINY


def test_list_on_one_line() -> None:
    factors = f"[{', '.join(['1.0', '1.0e-5'] * 8)}]"
    changes = ["position.kind=rope", "position.scaling=longrope", "position.original_max_len=64"]
    config = load_yaml_config("tiny", [*changes, *(f"position.{each}_factors={factors}" for each in ("short", "long"))])
    assert f"\n  short_factors: {factors}\n  long_factors: {factors}\n" in to_yaml(config.config)


def test_commented_yaml() -> None:
    config = load_yaml_config("tiny").config
    text = to_commented_yaml(config, "mine: started from tiny.", as_options)
    assert text.startswith(f"{SCHEMA_LINE}\n#\n# mine: started from tiny.\n\n")
    shown = {name for name, origin in parse_config(Source("x.yaml", text)).origins.items() if origin is not None}
    course = {name for name in fields() if "." not in name} - {"name", "description"}
    kinds = {"position.kind", "norm.kind", "norm.eps", "attention.bias"}
    assert shown == course | kinds | {f"feed_forward.{name}" for name in ("activation", "gated", "bias")}
    words = " ".join(line.strip().removeprefix("# ") for line in text.splitlines())
    for name in shown:
        assert fields()[name].description in words
        assert fields()[name].choices or fields()[name].expected in words
    assert text.endswith("tinylm schema --format markdown\n")
    assert all(len(line) <= 80 for line in text.splitlines())
    assert len(text.splitlines()) <= 70


def test_commented_yaml_overrides() -> None:
    changes = ["position.kind=rope", "position.theta=5e5", "attention.n_kv_heads=2", "block.parallel=true"]
    text = to_commented_yaml(load_yaml_config("tiny", changes).config, "x", as_options)
    for line in ("  theta: 500000.0", "  n_kv_heads: 2", "block:", "  parallel: true"):
        assert line in text.splitlines()
    assert "embedding:" not in text


def test_listings_are_the_course_model() -> None:
    listings = dict(field_listings())
    assert list(listings) == ["", *MODEL.blocks]
    text = "\n".join(listings.values())
    assert _read(text) == ModelConfig(vocab_size=256, d_model=128, n_heads=4, n_layers=4, d_ff=512)
    words = " ".join(line.strip().removeprefix("# ") for line in text.splitlines())
    for name, field in fields().items():
        last = name.rpartition(".")[2]
        assert f"{last}: " in text
        assert field.description in words
        assert all(choice in words for choice in field.choices)
    assert all(len(line) <= 60 for line in text.splitlines())


@pytest.mark.parametrize(
    ("name", "line"),
    [
        (
            "position.scaling",
            "one of none, linear, dynamic, llama3, yarn, longrope; none by default; only",
        ),
        ("feed_forward.top_k", "an integer from 1 to 65,536; 2 by default; only if feed_forward.n_experts is set"),
        ("vocab_size", "an integer from 1 to 100,000,000; required"),
    ],
)
def test_listing_explains_fields(name: str, line: str) -> None:
    text = dict(field_listings())[name.rpartition(".")[0]]
    assert line in " ".join(each.strip().removeprefix("# ") for each in text.splitlines())


def test_kinds_of_layers() -> None:
    """In the order of the schema, a line for each block, and a line for each field of a long block."""
    experts = {
        "routed_scale": 2.5,
        "renormalize": True,
        "n_experts": 8,
        "router": "sigmoid",
        "top_k": 4,
        "d_expert": 96,
    }
    kinds = {"moe": {"feed_forward": experts}, "plain": {}, "local": {"attention": {"n_kv_heads": 2, "window": 8}}}
    values = {"vocab_size": 8, "d_model": 8, "n_heads": 2, "n_layers": 3, "d_ff": 8}
    config = ModelConfig.model_validate({**values, "layers": {"pattern": "moe, plain, local", "kinds": kinds}})
    text = to_yaml(config)
    assert (
        text[text.index("\nlayers:") + 1 :]
        == """layers:
  pattern: moe, plain, local
  kinds:
    moe:
      feed_forward:
        n_experts: 8
        top_k: 4
        d_expert: 96
        router: sigmoid
        renormalize: true
        routed_scale: 2.5
    plain: {}
    local:
      attention: {n_kv_heads: 2, window: 8}
storage:
  dtype: bfloat16
  quantization: none
"""
    )
    assert _read(text) == config

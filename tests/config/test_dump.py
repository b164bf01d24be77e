"""A config as YAML: it reads back as the same config, here and by readers of YAML 1.1."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from tinylm_cli.config.dump import SCHEMA_LINE, scalar, to_commented_yaml, to_yaml
from tinylm_cli.config.fields import fields
from tinylm_cli.config.loader import load_config, parse_config
from tinylm_cli.config.presets import presets
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.config.source import Source


def _yaml_1_1(text: str) -> Any:
    reader = YAML(typ="safe", pure=True)
    reader.version = "1.1"
    return reader.load(text)


def _read(text: str) -> ModelConfig:
    return parse_config(Source("x.yaml", text)).config


@given(st.data())
def test_what_is_written_reads_back(valid_values: st.SearchStrategy[dict[str, Any]], data: st.DataObject) -> None:
    config = ModelConfig.model_validate(data.draw(valid_values))
    assert _read(to_yaml(config)) == config
    assert _read(to_commented_yaml(config, "drawn")) == config
    assert ModelConfig.model_validate(_yaml_1_1(to_yaml(config))) == config


@pytest.mark.parametrize("name", presets())
def test_each_preset_reads_back(name: str) -> None:
    config = load_config(name).config
    assert _read(to_yaml(config)) == config


def test_every_field_is_written_in_the_order_of_the_schema() -> None:
    text = to_yaml(load_config("tiny").config)
    assert text == (
        "vocab_size: 256\nd_model: 128\nn_heads: 4\nn_layers: 4\nd_ff: 512\nmax_len: 1024\ndropout: 0.1\n"
        "tie_weights: true\nposition:\n  kind: sinusoidal\nnorm:\n  kind: layernorm\n  eps: 1.0e-5\n"
        "attention:\n  bias: true\nfeed_forward:\n  activation: gelu\n  bias: true\nnominal_params: 500000\n"
    )


def test_a_config_to_start_from_explains_every_field() -> None:
    config = load_config("tiny").config
    text = to_commented_yaml(config, "mine: started from tiny.")
    assert text.startswith(f"{SCHEMA_LINE}\n#\n# mine: started from tiny.\n\n")
    said = " ".join(text.replace("#", " ").split())
    for field in fields().values():
        assert field.description in said
        assert field.choices or field.wants in said
    assert all(len(line) <= 120 for line in text.splitlines())


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "true"),
        (False, "false"),
        (8, "8"),
        ("gelu", "gelu"),
        (0.1, "0.1"),
        (0.0, "0.0"),
        (1e-5, "1.0e-5"),
        (1.5e-7, "1.5e-7"),
        (1e-10, "1.0e-10"),
        (5e-324, "5.0e-324"),
    ],
)
def test_scalars(value: Any, text: str) -> None:
    assert scalar(value) == text


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_float_is_a_float_in_every_yaml(value: float) -> None:
    assert _yaml_1_1(scalar(value)) == value

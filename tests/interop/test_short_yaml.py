"""A config written as short YAML reads back as the same config."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import ValidationError

from tinylm_cli.config.blocks import BLOCKS
from tinylm_cli.config.dependencies import applying_fields
from tinylm_cli.config.loader import parse_config
from tinylm_cli.config.presets import shipped
from tinylm_cli.config.schema import ModelConfig, flatten
from tinylm_cli.config.source import Source
from tinylm_cli.config.yaml_writer import SCHEMA_LINE, to_short_yaml
from tinylm_cli.interop.load import load_config

CONFIGS = sorted((Path(__file__).resolve().parent / "configs").glob("*.json"))
NAMES = [*shipped(), *map(str, CONFIGS)]


@cache
def config_of(name: str) -> ModelConfig:
    return load_config(name).config


def _read(text: str) -> ModelConfig:
    return parse_config(Source("x.yaml", text)).config


@pytest.mark.parametrize("name", NAMES, ids=lambda name: Path(name).name)
def test_every_model_reads_back(name: str) -> None:
    assert _read(to_short_yaml(config_of(name), "a title\nof two lines")) == config_of(name)


_PARTS = st.sampled_from(NAMES).map(lambda name: config_of(name).model_dump())


@given(
    _PARTS,
    st.dictionaries(st.sampled_from(sorted(BLOCKS)), _PARTS, max_size=3),
    st.fixed_dictionaries(
        {}, optional={
            "dropout": st.floats(0, 0.99), "max_len": st.integers(1, 10**9), "tie_weights": st.booleans(),
            "nominal_params": st.integers(1, 10**18), "d_ff": st.integers(1, 10**6),
        },
    ),
    st.fixed_dictionaries({}, optional={"eps": st.floats(1e-300, 0.1, exclude_min=True)}),
)  # fmt: skip
def test_every_combination_of_models_reads_back(
    base: dict[str, Any], blocks: dict[str, dict[str, Any]], fields: dict[str, Any], norm: dict[str, Any]
) -> None:
    values = {**base, **{name: other[name] for name, other in blocks.items()}, **fields}
    values["norm"] = {**values["norm"], **norm}
    try:
        config = ModelConfig.model_validate(values)
    except ValidationError:
        assume(False)
        raise
    if "d_ff" not in applying_fields(flatten(config.model_dump())):  # it is not written, and absent it is 1
        config = config.model_copy(update={"d_ff": 1})
    assert _read(to_short_yaml(config, "drawn")) == config


def test_only_differences_are_written() -> None:
    assert to_short_yaml(config_of("gpt2"), "gpt2: a title") == (
        f"{SCHEMA_LINE}\n#\n# gpt2: a title\n\n"
        "vocab_size: 50257\nd_model: 768\nn_heads: 12\nn_layers: 12\nd_ff: 3072\n\n"
        "embedding:\n  multiplier: 1.0\n\nposition:\n  kind: learned\n\n"
        "feed_forward:\n  activation: gelu_tanh\n\nnominal_params: 124439808\n"
    )

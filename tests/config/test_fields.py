"""The textual description of each field of the schema."""

from __future__ import annotations

import re
from typing import Any

import pytest
from pydantic import ValidationError

from tinylm_cli.config.blocks import BLOCKS
from tinylm_cli.config.fields import MODEL, Field, Schema, fields
from tinylm_cli.config.layers import Layers
from tinylm_cli.config.schema import ModelConfig, flatten


def test_fields_in_order() -> None:
    config = ModelConfig(vocab_size=256, d_model=128, n_heads=4, n_layers=4, d_ff=512)
    assert list(fields()) == list(flatten(config.model_dump()))


def test_blocks_of_schema() -> None:
    assert MODEL.blocks == {**BLOCKS, "layers": Layers}
    assert MODEL.fields is fields()


def test_dotted_names() -> None:
    assert MODEL.here("norm.eps") == "norm.eps"
    assert Schema(ModelConfig, "mine").here("norm.eps") == "mine.norm.eps"


def test_expected_states_type_and_range() -> None:
    said = {name: field.expected for name, field in fields().items()}
    expected = {
        "vocab_size": "an integer from 1 to 100,000,000",
        "d_model": "an integer from 1 to 1,048,576",
        "n_heads": "an integer from 1 to 65,536",
        "n_layers": "an integer from 1 to 100,000",
        "d_ff": "an integer from 1 to 16,777,216",
        "max_len": "an integer from 1 to 1,000,000,000",
        "dropout": "a number from 0 to below 1",
        "tie_weights": "true or false",
        "embedding.multiplier": "a number above 0 and at most 1,000,000",
        "position.kind": "one of sinusoidal, learned, rope, alibi, none",
        "position.offset": "an integer from 0 to 1,024",
        "position.theta": "a number above 1 and at most 1,000,000,000,000",
        "position.rotary_fraction": "a number above 0 and at most 1",
        "position.pairing": "one of half, adjacent",
        "position.scaling": "one of none, linear, dynamic, llama3, yarn, longrope",
        "position.scaling_factor": "a number from 1 to 1,000,000",
        "position.short_factors": "a list of numbers above 0 and at most 1,000,000,000",
        "norm.kind": "one of layernorm, rmsnorm",
        "norm.eps": "a number above 0 and at most 0.1",
        "feed_forward.activation_sparsity": "a number above 0 and below 1",
        "norm.bias": "true or false",
        "attention.n_kv_heads": "an integer from 1 to 65,536",
        "attention.qk_norm": "one of none, per_head, full",
        "attention.window_pattern": "a pattern of L and G, such as LLLLLG",
        "feed_forward.activation": "one of gelu, gelu_tanh, quick_gelu, relu, relu2, silu, xielu",
        "feed_forward.n_shared_experts": "an integer from 0 to 65,536",
        "nominal_params": "a count such as 125M or 124439808",
        "budget.max_params": "a count such as 125M or 124439808",
        "budget.max_kv_bytes": "a size such as 24GiB or 80GB",
        "budget.max_flops_per_token": "a number of operations such as 2.5G or 2.5e9",
        "budget.nominal_tolerance": "a share such as 0.05 or 5%",
        "budget.dtype": "one of bfloat16, float16, float32, float64",
    }
    assert {name: said[name] for name in expected} == expected


def test_expected_agrees_with_schema() -> None:
    for field in fields().values():
        values: list[object] = [field.example] if field.example is not None else []
        wants = field.expected.replace(",", "")
        if field.kind in ("integer", "number"):
            least, most = re.findall(r"[\d.]*\d", wants)
            read = int if field.kind == "integer" else float
            values += [] if "below" in wants else [read(most)]
            values += [] if "above" in wants else [read(least)]
            assert not _fits(field, read(most) + 1)
            assert not _fits(field, read(least) - 1)
        for value in values:
            assert _fits(field, value), (field.name, value)


def _fits(field: Field, value: object) -> bool:
    owner = MODEL.blocks.get(field.name.rpartition(".")[0], ModelConfig)
    last = field.name.rpartition(".")[2]
    try:
        owner.model_validate({**(REQUIRED if owner is ModelConfig else {}), last: value})
    except ValidationError as error:
        return all(found["type"] == "fields_disagree" for found in error.errors())
    return True


REQUIRED = {"vocab_size": 256, "d_model": 128, "n_heads": 4, "n_layers": 4, "d_ff": 512}


def test_examples() -> None:
    for name, field in fields().items():
        assert field.required == (name in REQUIRED)
        if field.required:
            assert field.default is None
            assert isinstance(field.example, int)
        elif field.default is None:
            assert field.example is not None
        elif name == "attention.window_pattern":
            assert (field.default, field.example) == ("L", "LG")
        elif name == "layers.kinds":
            assert (field.default, field.example) == ({}, {"local": {}, "full": {}})
        else:
            assert field.example == field.default


def test_optional_fields_say_so() -> None:
    follows = {name for name, field in fields().items() if "default: " in field.description}
    assert follows <= {name for name, field in fields().items() if field.default is None}


def test_choices() -> None:
    assert {name for name, field in fields().items() if field.choices} == {
        name for name, field in fields().items() if field.kind == "choice"
    }
    for field in fields().values():
        assert not field.choices or field.default in (*field.choices, None)
        assert all(choice == choice.lower() for choice in field.choices)


def test_the_examples_make_a_valid_config() -> None:
    examples = {name: field.example for name, field in fields().items() if "." not in name}
    assert ModelConfig.model_validate(examples)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"nominal_params": "5 cats"}, "not an amount: expected an integer, or a number and its unit"),
        (
            {"nominal_params": 5, "budget": {"nominal_tolerance": "x"}},
            "not a share: expected a number such as 0.05 or a percentage such as 5%",
        ),
    ],
)
def test_messages_in_python(values: dict[str, Any], message: str) -> None:
    """A config that is made in Python has pydantic's errors, without positions."""
    shape = {"vocab_size": 8, "d_model": 8, "n_heads": 1, "n_layers": 1, "d_ff": 8}
    with pytest.raises(ValidationError, match=message):
        ModelConfig.model_validate(shape | values)

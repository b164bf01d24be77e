"""What the schema says of each field, in words."""

from __future__ import annotations

from tinylm_cli.config.fields import fields
from tinylm_cli.config.schema import ModelConfig, flatten


def test_every_leaf_of_a_config_is_a_field_in_the_same_order() -> None:
    config = ModelConfig(vocab_size=256, d_model=128, n_heads=4, n_layers=4, d_ff=512)
    assert list(fields()) == list(flatten(config.model_dump()))


def test_words_say_the_type_and_the_range() -> None:
    assert {name: field.wants for name, field in fields().items()} == {
        "vocab_size": "an integer from 1 to 100,000,000",
        "d_model": "an integer from 1 to 1,048,576",
        "n_heads": "an integer from 1 to 65,536",
        "n_layers": "an integer from 1 to 100,000",
        "d_ff": "an integer from 1 to 16,777,216",
        "max_len": "an integer from 1 to 1,000,000,000",
        "dropout": "a number from 0 to below 1",
        "tie_weights": "true or false",
        "position.kind": "one of sinusoidal, learned, none",
        "norm.kind": "one of layernorm, rmsnorm",
        "norm.eps": "a number above 0, up to 0.1",
        "attention.bias": "true or false",
        "feed_forward.activation": "one of gelu, gelu_tanh, relu, silu",
        "feed_forward.bias": "true or false",
        "nominal_params": "a count such as 125M or 124439808",
    }


def test_required_fields_have_an_example_and_the_others_a_default() -> None:
    for name, field in fields().items():
        assert field.required == (name in {"vocab_size", "d_model", "n_heads", "n_layers", "d_ff"})
        if field.required:
            assert field.default is None
            assert isinstance(field.example, int)
        else:
            assert field.example == field.default


def test_only_choices_have_words_to_choose_from() -> None:
    assert {name for name, field in fields().items() if field.choices} == {
        name for name, field in fields().items() if field.kind == "choice"
    }
    for field in fields().values():
        assert not field.choices or field.default in field.choices


def test_the_examples_make_a_valid_config() -> None:
    examples = {name: field.example for name, field in fields().items() if "." not in name}
    assert ModelConfig.model_validate(examples)

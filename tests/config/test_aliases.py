"""Other tools' names of blocks, fields and choices lead to fields that exist."""

from __future__ import annotations

from tinylm_cli.config.aliases import BLOCK_ALIASES, CHOICE_ALIASES, COMPOUND_CHOICES, FIELD_ALIASES, IGNORED_KEYS
from tinylm_cli.config.blocks import BLOCKS
from tinylm_cli.config.fields import fields
from tinylm_cli.config.loader import parse_config
from tinylm_cli.config.schema import LABELS
from tinylm_cli.config.source import Source
from tinylm_cli.config.suggestions import expand_choice

MINIMAL = "vocab_size: 256\nd_model: 128\nn_heads: 4\nn_layers: 4\nd_ff: 512\n"


def test_aliases_are_valid() -> None:
    ours = {*fields(), *(name.rpartition(".")[2] for name in fields()), *BLOCKS}
    run_time = {"seq_len", "dtype"}  # which a budget has too, and others write where they mean the model
    assert ours & {*FIELD_ALIASES, *IGNORED_KEYS} == run_time
    assert {f"budget.{name}" for name in run_time} | {"storage.dtype"} <= LABELS
    assert set(FIELD_ALIASES.values()) <= {*fields(), "kind"}
    assert set(BLOCK_ALIASES.values()) <= set(BLOCKS)
    words = {choice for field in fields().values() for choice in field.choices}
    assert not words & set(CHOICE_ALIASES)
    assert {word for word in CHOICE_ALIASES.values() if word} <= words


def test_compound_choices() -> None:
    for (name, word), values in COMPOUND_CHOICES.items():
        assert word not in fields()[name].choices
        assert expand_choice(word.upper().replace("_", "-"), name) == values
        block = name.rpartition(".")[0]
        extra = [f"{block}.n_experts=4"] if "score_correction" in values else []
        overrides = [f"{block}.{key}={value}" for key, value in values.items()]
        parse_config(Source("x", MINIMAL), [*overrides, *extra])
    assert expand_choice("swiglu", "norm.kind") == {}

"""Errors in a config.json name its own keys."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tinylm_cli.config.diagnostic_codes import diagnostic
from tinylm_cli.config.fields import fields
from tinylm_cli.config.validation_errors import name_foreign_keys
from tinylm_cli.errors import ConfigError, Label, Span
from tinylm_cli.interop.load import load_config

SPAN = Span("config.json", 1, 1, 2, "{")
KEYS = {"d_model": "hidden_size", "n_heads": "num_attention_heads", "attention.n_kv_heads": "num_key_value_heads"}


def test_every_field_is_renamed() -> None:
    error = diagnostic(
        "heads-do-not-divide",
        "d_model 500 is not divisible by n_heads 12",
        "config.json",
        SPAN,
        field="n_heads",
        help="write n_heads: 10 or 20, or d_model: 492",
        labels=(Label(SPAN, "d_model is 500"),),
    )
    found = name_foreign_keys(error, KEYS)
    assert found.message == "hidden_size 500 is not divisible by num_attention_heads 12"
    assert found.help == "write num_attention_heads: 10 or 20, or hidden_size: 492"
    assert (found.field, found.labels[0].text) == ("num_attention_heads", "hidden_size is 500")
    assert name_foreign_keys(error, {}) is error


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("write attention.n_kv_heads: 4, or omit attention.n_kv_heads", "K: 4, or K: null"),
        ("omit attention.n_kv_heads, or write n_kv_heads: 2", "K: null, or write K: 2"),
        ("for example n_kv_heads: 2", "for example K: 2"),
        ("attention.n_kv_heads_of_ours, my.attention.n_kv_heads", None),
    ],
)
def test_remedy_fits_the_foreign_file(ours: str, theirs: str | None) -> None:
    error = diagnostic("out-of-range", "m", "config.json", SPAN, field="attention.n_kv_heads", help=ours)
    found = name_foreign_keys(error, KEYS)
    expected = ours if theirs is None else theirs.replace("K", "num_key_value_heads")
    assert found.help.removeprefix("write ") == expected.removeprefix("write ")


def test_only_full_names_are_replaced() -> None:
    """A name that is a part of another name is not replaced."""
    keys = {name: f"<{number}>" for number, name in enumerate(fields())}
    text = " ".join(fields())
    found = name_foreign_keys(diagnostic("out-of-range", text, "s", SPAN), keys)
    assert re.fullmatch(r"(<\d+> ?)+", found.message)
    assert found.message.split() == list(keys.values())


@pytest.mark.parametrize(
    ("override", "message", "remedy"),
    [
        ("n_head=4", 'unknown key "n_head" at the top level', "did you mean n_heads?"),
        ("n_heads=5", "n_embd 768 is not divisible by n_heads 5", "n_heads: 4 or 6"),
    ],
)
def test_overrides(override: str, message: str, remedy: str, tmp_path: Path) -> None:
    """Overrides set fields: they are named so, also if the message names a key of the file."""
    path = tmp_path / "config.json"
    path.write_text('{"model_type": "gpt2", "n_embd": 768, "n_head": 12}', encoding="utf-8")
    with pytest.raises(ConfigError) as raised:
        load_config(str(path), [override])
    (found,) = raised.value.diagnostics
    assert message in found.message
    assert remedy in found.help

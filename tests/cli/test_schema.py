"""``tinylm schema``: the JSON Schema of a config."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from ruamel.yaml import YAML

Here = Callable[..., Any]

ROOT = Path(__file__).resolve().parents[2]


def test_is_shipped_schema(here: Here) -> None:
    shipped = (ROOT / "configs" / "tinylm.schema.json").read_text(encoding="utf-8")
    assert here("schema").out == shipped
    assert here("schema", "--format", "json").out == shipped


def test_presets_follow_schema(here: Here, folder: Path) -> None:
    schema = json.loads(here("schema").out)
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    read = YAML(typ="safe", pure=True).load
    for path in (*sorted((ROOT / "configs").glob("*.yaml")), folder / "toy.yaml"):
        assert not list(validator.iter_errors(read(path)))
    for wrong in ({}, {"vocab_size": "8"}, {**read(folder / "toy.yaml"), "d_modl": 8}):
        assert list(validator.iter_errors(wrong))


@pytest.mark.parametrize("option", ["--output", "-o"])
def test_output_file(option: str, here: Here, folder: Path) -> None:
    shown = here("schema").out
    assert here("schema", option, "tinylm.schema.json").out == ""
    assert (folder / "tinylm.schema.json").read_text(encoding="utf-8") == shown


def test_the_fields_in_markdown(here: Here, golden_words: Callable[[str, str], None]) -> None:
    golden_words("schema.md", here("schema", "--format", "markdown").out)

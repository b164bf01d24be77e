"""The JSON Schema accepts the configs that the loader accepts, within the limits of JSON Schema."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import ValidationError
from ruamel.yaml import YAML

from tinylm_cli.config.fields import MODEL, fields
from tinylm_cli.config.presets import presets
from tinylm_cli.config.schema import ModelConfig, json_schema

ROOT = Path(__file__).resolve().parents[2]

ANYTHING = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**20), 10**20),
    st.integers(-2, 2),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(["", "8", "true", "125M", "1.5B", "125m", "M", "rmsnorm", "learned", "gelu", "LG", "LG\n", "lg"]),
    st.lists(st.integers(), max_size=1),
    st.lists(st.floats(allow_nan=False, allow_infinity=False) | st.booleans() | st.just("1.0"), max_size=3),
    st.lists(st.floats(0.5, 2), max_size=3),
    st.dictionaries(st.sampled_from(["kind", "eps", "x"]), st.integers(), max_size=1),
)


@cache
def _validator() -> Draft202012Validator:
    return Draft202012Validator(json_schema())


def _accepted_by_schema(values: dict[str, Any]) -> bool:
    return bool(_validator().is_valid(values))


def _accepted_by_fields(values: dict[str, Any]) -> bool:
    """Return whether every field is right by itself: a rule between fields is more than a schema can say."""
    try:
        ModelConfig.model_validate(values)
    except ValidationError as error:
        return all(found["type"] == "fields_disagree" for found in error.errors())
    return True


def _put(values: dict[str, Any], name: str, value: Any) -> dict[str, Any]:
    block, _, last = name.rpartition(".")
    return {**values, block: {**values.get(block, {}), last: value}} if block else {**values, last: value}


def _integral(value: Any) -> bool:
    return isinstance(value, float) and math.isfinite(value) and value == int(value)


def test_valid_json_schema() -> None:
    Draft202012Validator.check_schema(json_schema())


@given(st.data())
def test_valid_configs_satisfy_the_json_schema(
    valid_values: st.SearchStrategy[dict[str, Any]], data: st.DataObject
) -> None:
    values = data.draw(valid_values)
    assert ModelConfig.model_validate(values)
    assert _accepted_by_schema(values)


@given(st.data(), st.sampled_from([*fields(), *MODEL.blocks, "x", "norm.x"]), ANYTHING)
def test_json_schema_agrees_with_pydantic(
    valid_values: st.SearchStrategy[dict[str, Any]], data: st.DataObject, name: str, value: Any
) -> None:
    assume(not _integral(value))  # to JSON Schema 8.0 is an integer, and to a config it is not
    values = _put(data.draw(valid_values), name, value)
    assert _accepted_by_schema(values) == _accepted_by_fields(values)


@pytest.mark.parametrize("name", [name for name, field in fields().items() if field.required])
def test_missing_field_in_both_schemas(name: str) -> None:
    values = {other: field.example for other, field in fields().items() if field.required and other != name}
    assert not _accepted_by_schema(values)
    assert not _accepted_by_fields(values)


@pytest.mark.parametrize("name", presets())
def test_the_shipped_configs_satisfy_it(name: str) -> None:
    values = YAML(typ="safe", pure=True).load(presets()[name].read_text(encoding="utf-8"))
    assert list(_validator().iter_errors(values)) == []


def test_descriptions() -> None:
    schema = json_schema()
    for name, properties in {
        "": schema["properties"],
        **{k: v["properties"] for k, v in schema["$defs"].items()},
    }.items():
        for field, described in properties.items():
            assert described.get("description") or "$ref" in described, (name, field)


def test_shipped_schema(tinylm: Callable[..., Any], golden: Callable[[Path, str], None]) -> None:
    printed = tinylm("schema")
    assert printed.code == 0
    assert json.loads(printed.out) == json_schema()
    golden(ROOT / "configs" / "tinylm.schema.json", printed.out)

"""SARIF 2.1.0: the parts of the standard's schema that a reader relies on, held over every broken config."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from tinylm_cli.config.assertion import ASSERT
from tinylm_cli.config.diagnostic_codes import CODES
from tinylm_cli.config.loader import parse_config
from tinylm_cli.config.source import read_source
from tinylm_cli.errors import ConfigError, Diagnostic, InputError, Span
from tinylm_cli.render.sarif import sarif_failure, to_sarif
from tinylm_cli.reports.validate import FileResult
from tinylm_cli.wording import SET

BAD = Path(__file__).resolve().parent.parent / "bad"

_TEXT = {"type": "object", "required": ["text"], "properties": {"text": {"type": "string", "minLength": 1}}}
_REGION = {
    "type": "object",
    "required": ["startLine", "startColumn", "endColumn"],
    "additionalProperties": False,
    "properties": {name: {"type": "integer", "minimum": 1} for name in ("startLine", "startColumn", "endColumn")},
}
_ARTIFACT = {"type": "object", "required": ["uri"], "properties": {"uri": {"type": "string", "minLength": 1}}}
_LOCATION = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "physicalLocation": {
            "type": "object",
            "required": ["artifactLocation"],
            "additionalProperties": False,
            "properties": {"artifactLocation": _ARTIFACT, "region": _REGION},
        },
        "logicalLocations": {"type": "array", "items": {"required": ["fullyQualifiedName"]}},
        "message": _TEXT,
    },
}
_REPLACEMENT = {
    "type": "object",
    "required": ["deletedRegion", "insertedContent"],
    "properties": {"deletedRegion": _REGION, "insertedContent": _TEXT},
}
_CHANGE = {
    "type": "object",
    "required": ["artifactLocation", "replacements"],
    "properties": {
        "artifactLocation": _ARTIFACT,
        "replacements": {"type": "array", "minItems": 1, "items": _REPLACEMENT},
    },
}
_RESULT = {
    "type": "object",
    "required": ["ruleId", "ruleIndex", "level", "message", "locations"],
    "additionalProperties": False,
    "properties": {
        "ruleId": {"enum": list(CODES)},
        "ruleIndex": {"type": "integer", "minimum": 0},
        "level": {"const": "error"},
        "message": _TEXT,
        "locations": {"type": "array", "items": _LOCATION},
        "relatedLocations": {"type": "array", "uniqueItems": True, "items": _LOCATION},
        "fixes": {
            "type": "array",
            "uniqueItems": True,
            "items": {
                "type": "object",
                "required": ["artifactChanges"],
                "properties": {"artifactChanges": {"type": "array", "minItems": 1, "items": _CHANGE}},
            },
        },
    },
}
_INVOCATION = {
    "type": "object",
    "required": ["executionSuccessful"],
    "additionalProperties": False,
    "properties": {
        "executionSuccessful": {"type": "boolean"},
        "toolExecutionNotifications": {"type": "array", "items": {"required": ["message", "level"]}},
    },
}
_RULE = {"type": "object", "required": ["id", "shortDescription"], "properties": {"shortDescription": _TEXT}}
_DRIVER = {
    "type": "object",
    "required": ["name", "version", "rules"],
    "properties": {"rules": {"type": "array", "uniqueItems": True, "items": _RULE}},
}
_RUN = {
    "type": "object",
    "required": ["tool", "results", "invocations", "columnKind"],
    "additionalProperties": False,
    "properties": {
        "tool": {"type": "object", "required": ["driver"], "properties": {"driver": _DRIVER}},
        "columnKind": {"const": "unicodeCodePoints"},
        "results": {"type": "array", "items": _RESULT},
        "invocations": {"type": "array", "items": _INVOCATION},
    },
}
SCHEMA = {
    "type": "object",
    "required": ["version", "runs", "$schema"],
    "additionalProperties": False,
    "properties": {
        "$schema": {"type": "string", "format": "uri"},
        "version": {"const": "2.1.0"},
        "runs": {"type": "array", "minItems": 1, "items": _RUN},
    },
}
"""https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json, what is used of it."""


def run(text: str) -> dict[str, Any]:
    document = json.loads(text)
    Draft202012Validator(SCHEMA).validate(document)
    (only,) = document["runs"]
    rules = [rule["id"] for rule in only["tool"]["driver"]["rules"]]
    assert all(rules[result["ruleIndex"]] == result["ruleId"] for result in only["results"])
    return dict(only)


def result_of(path: Path) -> FileResult:
    try:
        parse_config(read_source(str(path)))
    except ConfigError as error:
        return FileResult(str(path), "invalid", None, "", "", error.diagnostics)
    return FileResult(str(path), "valid", 1, "", "", ())


def test_corpus() -> None:
    results = [result_of(path) for path in sorted(BAD.glob("*.yaml"))]
    whole = run(to_sarif(results))
    assert len(whole["results"]) == sum(len(each.diagnostics) for each in results) > 400
    assert sum("fixes" in each for each in whole["results"]) > 50
    assert whole["invocations"] == [{"executionSuccessful": True}]


def test_place() -> None:
    span = Span("a b/ü%.yaml", 3, 5, 9, "  kind: RMS")
    error = Diagnostic("unknown-choice", "m", span.source, span, "norm.kind", "h")
    (found,) = run(to_sarif([FileResult(span.source, "invalid", None, "", "", (error,))]))["results"]
    assert found["message"] == {"text": "m; h"}
    (place,) = found["locations"]
    assert place["physicalLocation"] == {
        "artifactLocation": {"uri": "a%20b/%C3%BC%25.yaml"},
        "region": {"startLine": 3, "startColumn": 5, "endColumn": 9},
    }
    assert place["logicalLocations"] == [{"fullyQualifiedName": "norm.kind"}]


@pytest.mark.parametrize(
    ("path", "uri"),
    [("/a b.yaml", "file:///a%20b.yaml"), ("-x.yaml", "-x.yaml"), ("lone\udc80.yaml", "lone%80.yaml")],
)
def test_uri(path: str, uri: str) -> None:
    (found,) = run(to_sarif([FileResult(path, "invalid", None, "", "", (Diagnostic("tag", "m", path),))]))["results"]
    assert found["locations"] == [{"physicalLocation": {"artifactLocation": {"uri": uri}}}]


def test_unreadable() -> None:
    only = run(to_sarif([FileResult("x.yaml", "unreadable", None, "no such file: x.yaml", "h", ())]))
    assert only["results"] == []
    (invocation,) = only["invocations"]
    assert not invocation["executionSuccessful"]
    (note,) = invocation["toolExecutionNotifications"]
    assert note["message"]["text"] == "no such file: x.yaml; h"


def test_failure() -> None:
    assert not run(sarif_failure(InputError("m")))["invocations"][0]["executionSuccessful"]
    option = Diagnostic("unknown-figure", "m", ASSERT, Span(ASSERT, 1, 1, 2, "x"))
    inside = Diagnostic("wrong-type", "n", "w.yaml", Span("w.yaml", 1, 1, 2, "x"))
    mixed = run(sarif_failure(ConfigError((option, inside))))
    (invocation,) = mixed["invocations"]
    assert not invocation["executionSuccessful"]
    (note,) = invocation["toolExecutionNotifications"]
    assert (note["descriptor"], note["message"]["text"]) == ({"id": "unknown-figure"}, "m")
    assert [result["message"]["text"] for result in mixed["results"]] == ["n"], "an option is in no file"


def test_override() -> None:
    override = Diagnostic("empty-document", "m", SET, Span(SET, 1, 1, 2, "x"))
    failed = FileResult("w.yaml", "invalid", None, "", "", (override,))
    assert [result["locations"] for result in run(to_sarif([failed]))["results"]] == [[]]

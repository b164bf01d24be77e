"""A translation: fields with the positions of their keys, and errors that do not follow from other errors."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tinylm_cli.config.source import Source
from tinylm_cli.errors import Span
from tinylm_cli.interop.config_json import read_json
from tinylm_cli.interop.translation import Translation

HOME = Span("x.json", 9, 1, 2, "")


def translation(prefix: str = "", displayed: dict[str, str] | None = None, **keys: Any) -> Translation:
    root = read_json(Source("x.json", json.dumps(keys, indent=1))).root
    assert root is not None
    to = Translation("x.json", HOME, prefix)
    to.node, to.displayed = root, displayed or {}
    return to


def test_put() -> None:
    to = translation(width=64, rope={"theta": 2.0})
    to.put("d_model", 64, "width")
    to.put("position.theta", 2.0, "rope.theta")
    to.put("position.kind", "rope")
    to.put("d_ff", 256, "absent", "width")
    assert {name: node.span.line for name, node in to.fields.items()} == {
        "d_model": 2, "position.theta": 4, "position.kind": 9, "d_ff": 2,
    }  # fmt: skip
    assert to.keys == {"d_model": "width", "position.theta": "rope.theta"}
    to.put("d_ff", None)
    assert to.get("d_ff") is None
    assert to.get("d_model") == 64


def test_a_wrong_key_is_reported_once() -> None:
    to = translation(width=64, heads=7)
    to.unsupported("heads", "7 is odd")
    to.unsupported("heads", "7 is prime")
    to.contradiction("width", "width does not fit heads", "change one", "heads")
    to.put("n_heads", 7, "heads")
    assert [error.message for error in to.errors] == ["heads 7 is not supported: 7 is odd"]
    assert to.get("n_heads") is None
    assert to.fields["n_heads"].reported


def test_names_are_spelled_as_in_the_file() -> None:
    to = translation("text_config.", {"width": "text_config.n_embd"}, width="x", heads=3)
    to.contradiction("width", "a", "b")
    to.missing("layers", "it has no default", "add it")
    assert [error.field for error in to.errors] == ["text_config.n_embd", "text_config.layers"]
    assert to.errors[1].message == "text_config.layers is missing: it has no default"


def test_ignore() -> None:
    to = translation(cap=None, slope=2.0)
    to.ignore("cap", "slope", "absent")
    assert to.ignored == ["slope"]


@pytest.mark.parametrize(("key", "given"), [("a", True), ("b.c", True), ("b.d", False), ("e", False), ("a.x", False)])
def test_is_given(key: str, *, given: bool) -> None:
    assert translation(a=0, b={"c": False, "d": None}).is_given(key) is given

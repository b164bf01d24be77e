"""Reports as JSON: strict, ASCII, raw integers, and null for NaN and infinity."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinylm_cli.render.json import plain, to_document, to_json
from tinylm_cli.reports import SCHEMA_VERSION


class _Inner(NamedTuple):
    name: str
    share: float


@dataclass(frozen=True)
class _Report:
    total_params: int
    parts: tuple[_Inner, ...]
    extra: dict[str, Any]


def _strict(text: str) -> Any:
    def refuse(constant: str) -> None:
        pytest.fail(f"{constant} is not JSON")

    return json.loads(text, parse_constant=refuse)


def test_fields_and_schema_version() -> None:
    report = _Report(10**18, (_Inner("a", 0.5), _Inner("b", math.nan)), {"x": (1, None, True)})
    assert _strict(to_json(report)) == {
        "schema_version": SCHEMA_VERSION,
        "total_params": 10**18,
        "parts": [{"name": "a", "share": 0.5}, {"name": "b", "share": None}],
        "extra": {"x": [1, None, True]},
    }


def test_integers() -> None:
    assert '"total_params": 1000000000000000' in to_json(_Report(10**15, (), {}))


@given(st.floats())
def test_not_finite(value: float) -> None:
    read = _strict(to_document(plain({"x": [value]})))["x"][0]
    assert read == value if math.isfinite(value) else read is None


@given(st.text())
def test_text_round_trip(text: str) -> None:
    document = to_document(plain({text: text}))
    assert document.isascii()
    assert document.replace("\n", "").isprintable()
    assert _strict(document) == {text: text}


def test_final_line_break() -> None:
    assert to_document({}) == "{}\n"

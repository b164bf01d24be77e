"""One value of a report, by its path."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from tinylm_cli.cli.report_value import report_value
from tinylm_cli.errors import UsageError


class Row(NamedTuple):
    name: str
    params: int


class Report(NamedTuple):
    title: str
    rows: tuple[Row, ...]
    sizes: dict[str, Any]


REPORT = Report(
    "two\nlines\x1b",
    (Row("blocks.0", 3), Row("blocks.0.ln.weight", 10**30), Row("0", 7)),
    {"a": None, "b": [1.5, True], "c.d": {"e": "x"}},
)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("rows.0.params", "3\n"),
        ("rows.blocks.0.params", "3\n"),
        ("rows.blocks.0.ln.weight.params", f"{10**30}\n"),
        ("rows.2.name", "0\n"),
        ("title", "two\nlines\\x1b\n"),
        ("sizes.a", "null\n"),
        ("sizes.b.0", "1.5\n"),
        ("sizes.b", "[\n  1.5,\n  true\n]\n"),
        ("sizes.c.d.e", "x\n"),
        ("schema_version", "2\n"),
    ],
)
def test_paths(path: str, text: str) -> None:
    assert report_value(REPORT, path) == text


@pytest.mark.parametrize(
    ("path", "message", "remedy"),
    [
        ("params", "the report has no params", "did you mean rows.0.params?"),
        ("rows.0.parms", "rows.0 has no parms", "did you mean rows.0.params?"),
        ("parms", "the report has no parms", "did you mean rows.0.params?"),
        ("rows.block.0", "rows has no block", "did you mean rows.blocks.0?"),
        ("rows.9", "rows has no 9", "the fields are blocks.0, blocks.0.ln.weight, 0, 1, 2"),
        ("title.x", "title has no x", "title is a single value; end the path there"),
        ("zzz", "the report has no zzz", "the fields are schema_version, title, rows, sizes"),
        (".title", "the report has no empty name", None),
    ],
)
def test_wrong_paths(path: str, message: str, remedy: str | None) -> None:
    with pytest.raises(UsageError) as caught:
        report_value(REPORT, path)
    assert caught.value.message == f"--get {path}: {message}"
    if remedy is not None:
        assert caught.value.help == remedy

"""Every YAML parser error has a readable message at the right position."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tinylm_cli.config.source import Source
from tinylm_cli.config.syntax_errors import corrected_pair
from tinylm_cli.config.yaml_reader import read_yaml
from tinylm_cli.errors import ConfigError, Diagnostic

BAD = Path(__file__).resolve().parents[1] / "bad"


def _found(text: str) -> Diagnostic:
    with pytest.raises(ConfigError) as raised:
        read_yaml(Source("x.yaml", text))
    found = raised.value.diagnostics[-1]
    assert found.code == "yaml-syntax"
    return found


def _pointed(text: str) -> tuple[str, str, int]:
    """Return the message, the text under the carets, and the line."""
    found = _found(text)
    span = found.span
    assert span is not None
    return found.message, span.text[span.column - 1 : span.end_column - 1], span.line


@pytest.mark.parametrize(
    ("text", "message", "pointed", "line"),
    [
        ("a:\n\tb: 1\n", "YAML cannot be indented with tabs", "\t", 2),
        ("a: 1\n  b: 2\n", "a key is indented under a value", "b", 2),
        ("a: 1: 2\n", "a second ': ' in a value", ":", 1),
        ("a\nb: 1\n", "expected ': ' between a key and its value", "a", 1),
        ("b: 1\na 2\n", "expected ': ' between a key and its value", "a 2", 2),
        ("b: 1\na 2\nc: 3\n", "expected ': ' between a key and its value", "a 2", 2),
        ("a:\r    b: 1\r  c: 2\r", "inconsistent indentation", "c", 3),
        ("a: {b: 1}}\n", "unmatched }", "}", 1),
        ("[1] 2\n", "extra text after a value", "2", 1),
        ("a: 1\n- b\n", "a list item among the fields", "-", 2),
        ("a: - b\n", "a list cannot start on the line of its key", "-", 1),
        ("a: [1\nb: 2\n", "expected a comma or ] here", ":", 2),
        ("a: {b: 1\n", "unclosed {", "{", 1),
        ("a: [[1], {b: 1}\n", "unclosed [", "[", 1),
        ("a: 'b\nc: 1\n", "unterminated quote", "'", 1),
        ('a: "b\n---\n', "unterminated quote", '"', 1),
        ("a: @b\n", "a value cannot begin with @", "@", 1),
        ("a: & b\n", "a value cannot begin with &", "&", 1),
        ("a: |b\n", "a value cannot begin with |", "|", 1),
        ("a: ]\n", "expected a value before ]", "]", 1),
        ("{a: 1,,}\n", "expected a value before ,", ",", 1),
        ('a: "\\q"\n', "unknown escape sequence \\q", "\\q", 1),
        ('a: "\\x1"\n', "incomplete escape sequence", "\\x1", 1),
        ("a: !e!b 1\n", "YAML tag with an undeclared prefix", "!e!b", 1),
        ("a: !<b 1\n", "malformed YAML tag", "!<b", 1),
        ("%YAML 1.2\na: 1\n", "expected --- after the YAML directive", "%YAML 1.2", 1),
        ("%YAML x\n--- a\n", "invalid YAML directive: expected a digit, but found 'x'", "x", 1),
        ("<<<<<<< HEAD\na: 1\n", "unresolved merge conflict", "<<<<<<< HEAD", 1),
        (f"a: 1\n{'k' * 1100}: 2\n", "a key is longer than 1,024 characters", "k" * 240, 2),
    ],
)
def test_syntax_errors(text: str, message: str, pointed: str, line: int) -> None:
    assert _pointed(text) == (message, pointed, line)


def test_unclosed_bracket_label() -> None:
    (label,) = _found("a: [1\nb: 2\n").labels
    assert (label.text, label.span.line, label.span.column) == ("opened here", 1, 4)


@pytest.mark.parametrize(
    ("line", "pair"),
    [
        ("d_model = 128", "d_model: 128"),
        ("d_model=128", "d_model: 128"),
        ("  d_model:128  ", "d_model: 128"),
        ("d_model 128", "d_model: 128"),
        ("d_model:\N{NO-BREAK SPACE}128", "d_model: 128"),
        ("norm.eps = 1e-6", "norm.eps: 1e-6"),
        ("width = 128", None),
        ("config = dict(d_model=128)", None),
        ("d_model", None),
        ("", None),
    ],
)
def test_suggested_line(line: str, pair: str | None) -> None:
    assert corrected_pair(line) == pair


def test_no_raw_parser_message() -> None:
    pages = list(BAD.glob("*.txt"))
    assert pages
    for path in pages:
        assert not re.search(r"yaml\.org", path.read_text(encoding="utf-8")), path.name

"""Parsing one YAML document to nodes with positions; no expansion, no execution, bounded time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.python_calls import count_calls
from tinylm_cli.config.loader import parse_config
from tinylm_cli.config.source import MAX_BYTES, Source
from tinylm_cli.config.yaml_reader import MAX_DEPTH, MAX_EVENTS, Document, read_yaml
from tinylm_cli.errors import ConfigError

PIECES = [
    *("d_model", "norm", "kind", "eps", "5", "1e400", ".nan", "null", "true", "0o9", "é", "宽", "\U0001f469‍\U0001f4bb"),
    *(": ", ":", "- ", "? ", "[", "]", "{", "}", ",", "\n", "\r\n", "\r", "\n  ", "  ", "\t", " ", "\x85", "\u2028"),
    *("&a ", "*a", "!!int ", "!", "!<", "!e!x", "<<: ", "|\n", ">-\n", "|9\n", "'", '"', "\\", "\\u12", "\\UFFFFFFFF"),
    *("#", " # ", "%YAML 1.2\n", "%TAG ! x\n", "---\n", "...\n", "@", "`", "%", "=", "~", "\ufeff", "\u202e", "\x00"),
]
yamlish = st.lists(st.sampled_from(PIECES), max_size=25).map("".join)


def _read(text: str) -> Document:
    return read_yaml(Source("x.yaml", text))


def _codes(text: str) -> list[str]:
    try:
        return [found.code for found in _read(text).diagnostics]
    except ConfigError as error:
        return [found.code for found in error.diagnostics]


@settings(max_examples=300)
@given(st.one_of(yamlish, st.text(max_size=60)), st.sampled_from([(), ("n_layers=2",), ("a.b.c.d=[",), ("norm=",)]))
@example('"\\UFFFFFFFF', ())
@example("%YAML 1." + "1" * 5000 + "\n--- {}", ())
@example("%YAML 1.128\n--- {}", ())
@example('"\\ud800": 1', ())
def test_fuzz(text: str, overrides: tuple[str, ...]) -> None:
    try:
        parse_config(Source("x.yaml", text), overrides)
    except ConfigError as error:
        for found in error.diagnostics:
            assert found.message
            assert found.help
            assert "\n" not in found.message


def test_a_tree_of_plain_values() -> None:
    document = _read("a: 1\nb: {c: [x, 1.5, 'no'], d: }\n\"e\": |\n  text\n")
    assert document.diagnostics == []
    assert document.root is not None
    assert document.root.plain() == {"a": 1, "b": {"c": ["x", 1.5, "no"], "d": None}, "e": "text\n"}


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "\ufeff"])
def test_an_empty_document_has_no_value(text: str) -> None:
    root = _read(text).root
    assert root is None or root.is_absent


def test_value_spans() -> None:
    root = _read("a:   wide 1 # c\nb:\n  c: [1,\n      2]\n").root
    assert root is not None
    assert root.entries is not None
    a, b = root.entries["a"], root.entries["b"]
    assert (a.key_span.column, a.key_span.end_column) == (1, 2)
    assert (a.value.span.line, a.value.span.column, a.value.span.end_column) == (1, 6, 12)
    assert b.value.entries is not None
    c = b.value.entries["c"].value
    assert (c.span.line, c.span.column, c.span.end_column) == (3, 6, 9)


def test_absent_value_span() -> None:
    root = _read("a:\nb: 1\n").root
    assert root is not None
    assert root.entries is not None
    assert root.entries["a"].value.span == root.entries["a"].key_span


@pytest.mark.parametrize(
    ("text", "codes"),
    [
        ("a: 1\na: 2\nb: {c: 1, c: 2}\n", ["duplicate-key", "duplicate-key"]),
        ("'a': 1\na: 2\n", ["duplicate-key"]),
        ("a: &x 1\nb: *x\n", ["anchor", "alias"]),
        ("a: &x !t 1\n", ["anchor", "tag"]),
        ("<<: {a: 1}\n", ["merge-key"]),
        ("'<<': 1\n", []),
        ("[a]: 1\n{b: c}: 2\n", ["key-not-a-name", "key-not-a-name"]),
        ("a: " + "1" * 101, ["number-too-long"]),
        ("a: 1\n---\nb: 2\n", ["several-documents"]),
        ("a: \x1b[31m", ["control-character"]),
        ('"\\ud800": "\\udfff"', ["control-character", "control-character"]),
        ("a: &x 1\nb: *x\nc: [", ["anchor", "alias", "yaml-syntax"]),
    ],
)
def test_rejected_documents(text: str, codes: list[str]) -> None:
    assert _codes(text) == codes


def test_duplicate_keeps_first() -> None:
    root = _read("a: 1\na: 2\n*b : 3\n<<: 4\n").root
    assert root is not None
    assert root.plain() == {"a": 1}


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ("{a: ", "}")])
def test_depth(opening: str, closing: str) -> None:
    assert _codes(opening * MAX_DEPTH + closing * MAX_DEPTH) == []
    assert _codes(opening * (MAX_DEPTH + 1) + closing * (MAX_DEPTH + 1)) == ["too-deep"]
    assert _codes(opening * 5_000) == ["too-deep"]


def _filled(piece: Callable[[int], str], start: str = "", end: str = "") -> str:
    pieces, size, number = [start], len(start) + len(end), 0
    while size + len(piece(number)) <= MAX_BYTES // 2:
        pieces.append(piece(number))
        size += len(pieces[-1])
        number += 1
    return "".join([*pieces, end])


HOSTILE = {
    "unknown keys": _filled(lambda i: f"unknown_{i}: {i}\n"),
    "unknown keys near a field": _filled(lambda i: f"d_model{i}: {i}\n"),
    "duplicate keys": _filled(lambda _: "d_model: 1\n"),
    "keys on one line": _filled(lambda i: f"u{i}: {i}, ", "{", "}"),
    "values on one line": _filled(lambda _: "1, ", "a: [", "]"),
    "aliases on one line": _filled(lambda _: "*a, ", "a: &a 1\nb: [", "]"),
    "anchors": _filled(lambda i: f"u{i}: &a{i} 1\n"),
    "tags": _filled(lambda i: f"u{i}: !a{i} 1\n"),
    "alias bomb": _filled(lambda i: f"u{i + 1}: &u{i + 1} [*u{i}, *u{i}]\n", "u0: &u0 x\n"),
    "deep blocks": _filled(lambda i: f"{' ' * i}a:\n"),
    "deep flow": "[" * (MAX_BYTES // 4),
    "dashes": "-\n" * (MAX_BYTES // 4),
    "question marks": "? " * (MAX_BYTES // 4),
    "one word": "a: " + "x" * (MAX_BYTES - 3),
    "one quote": 'a: "' + "x" * (MAX_BYTES - 4),
    "escapes": 'a: "' + "\\n" * (MAX_BYTES // 4 - 4) + '"',
    "comments": "# c\n" * (MAX_BYTES // 8),
    "blank lines": "\n" * (MAX_BYTES // 4),
    "directives": "%A b\n" * (MAX_BYTES // 20),
    "documents": "---\n" * (MAX_BYTES // 4),
    "digits": "a: " + "1" * (MAX_BYTES - 3),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_scanned_once(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The number of spans grows with the input; guesses and diagnostics are bounded."""
    calls = {"span": 0, "guess": 0}
    for owner, method, key in ((Source, "span", "span"), (_guesses(), "suggest", "guess")):
        monkeypatch.setattr(owner, method, _counting(getattr(owner, method), calls, key))
    with pytest.raises(ConfigError) as raised:
        parse_config(Source("x.yaml", HOSTILE[name]))
    assert len(raised.value.diagnostics) <= 51
    assert calls["span"] <= 4 * MAX_EVENTS
    assert calls["guess"] <= 50
    assert sum(len(found.message) + len(found.help) for found in raised.value.diagnostics) < 20_000


def _guesses() -> Any:
    from tinylm_cli.config import suggestions

    return suggestions


def _counting(function: Callable[..., Any], calls: dict[str, int], key: str) -> Callable[..., Any]:
    def counted(*args: Any, **kwargs: Any) -> Any:
        calls[key] += 1
        return function(*args, **kwargs)

    return counted


def test_hostile_files_are_fast(tinylm: Callable[..., Any], tmp_path: Any) -> None:
    """The bound is generous for half a dozen seconds of work, and quadratic reading takes many minutes."""
    for name in ("unknown keys near a field", "keys on one line", "aliases on one line", "alias bomb", "dashes"):
        (tmp_path / f"{name.replace(' ', '-')}.yaml").write_bytes(HOSTILE[name].encode())
    result = tinylm("validate", tmp_path, timeout=60)
    assert result.code == 1
    assert "5 configs: 5 invalid." in result.out


def test_independent_documents() -> None:
    """A source is parsed once, and a change to its document does not reach the next one."""
    source = Source("x.yaml", "a: {b: [1, 2]}\n")
    first = read_yaml(source)
    again = count_calls(lambda: read_yaml(source))
    assert again < count_calls(lambda: read_yaml(Source("x.yaml", source.text))) / 10
    assert first.root is not None
    assert first.root.entries is not None
    first.root.entries["a"].value.entries = {}
    second = read_yaml(source).root
    assert second is not None
    assert second.plain() == {"a": {"b": [1, 2]}}


@pytest.mark.parametrize(
    "word", ["8", "-8", "8k", "1e-5", "null", "true", "rmsnorm", "0x1F", "0o17", "1.", "1.5.2", "a-b"]
)
def test_plain_word(word: str) -> None:
    """A value without YAML's syntax is the scalar that it is in a list."""
    alone, listed = _read(word).root, _read(f"[{word}]").root
    assert alone is not None
    assert listed is not None
    assert listed.items is not None
    assert (alone.scalar, alone.written, alone.quoted) == (listed.items[0].scalar, word, False)
    assert (alone.span.column, alone.span.end_column) == (1, len(word) + 1)

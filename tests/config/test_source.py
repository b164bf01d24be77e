"""Reading bytes: rejected input, and positions in the text."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinylm_cli.config.source import MAX_BYTES, MAX_JSON_BYTES, STDIN, Source, read_source
from tinylm_cli.errors import ConfigError, InputError, Span, TinylmError


def test_file_is_read_unchanged(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes("d_model: 宽\r\nx".encode())
    source = read_source(str(path))
    assert (source.name, source.text) == (str(path), "d_model: 宽\r\nx")


def test_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(b"\xef\xbb\xbfa: 1\n")
    assert read_source(str(path)).text == "a: 1\n"


class _Stdin:
    def __init__(self, data: bytes) -> None:
        self.buffer = io.BytesIO(data)
        self.closed = False


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", _Stdin(b"a: 1\n"))
    source = read_source("-")
    assert (source.name, source.text) == (STDIN, "a: 1\n")


def test_closed_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(InputError, match="standard input is closed"):
        read_source("-")


def test_unreadable_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "large").write_bytes(b"#" * (MAX_BYTES + 1))
    for reference, reason in {
        str(tmp_path / "none.yaml"): "no such file",
        str(tmp_path): "is a folder",
        str(tmp_path / "pipe"): "not a regular file",
        str(tmp_path / "large"): "larger than 256 KiB",
        "/dev/null/x": "cannot read",
        "a\0b": "not a path",
        "x" * 5000: "cannot read",
    }.items():
        with pytest.raises(InputError, match=reason):
            read_source(reference)


def test_size_of_json(tmp_path: Path) -> None:
    """Exports of quantized models list their modules; only JSON may be larger than a page of YAML by far."""
    body = '{"a": "' + "x" * (MAX_JSON_BYTES - 9) + '"}'
    for start in ("", " \n", "\ufeff"):
        text = start + body[: MAX_JSON_BYTES - len(start.encode())]
        (tmp_path / "full").write_text(text, encoding="utf-8")
        assert read_source(str(tmp_path / "full")).text == text.removeprefix("\ufeff")
        (tmp_path / "full").write_text(text + " ", encoding="utf-8")
        with pytest.raises(InputError, match="larger than 8 MiB"):
            read_source(str(tmp_path / "full"))


def test_largest_file(tmp_path: Path) -> None:
    (tmp_path / "full").write_bytes(b"#" * MAX_BYTES)
    assert len(read_source(str(tmp_path / "full")).text) == MAX_BYTES


@pytest.mark.parametrize(
    ("data", "line", "column", "shown"),
    [
        (b"ok: 1\nbad: \xff\xfe\nmore", 2, 6, "bad: \\xff\\xfe"),
        (b"\xc3", 1, 1, "\\xc3"),
        ("宽: ".encode() + b"\xff", 1, 4, "宽: \\xff"),
        (b"\xef\xbb\xbf\xff", 1, 1, "\\xff"),  # after a byte order mark
        (b"\xef\xbb\xbfok: 1\nbad: \xff", 2, 6, "bad: \\xff"),
    ],
)
def test_the_first_byte_that_is_not_utf8(tmp_path: Path, data: bytes, line: int, column: int, shown: str) -> None:
    (tmp_path / "a").write_bytes(data)
    with pytest.raises(ConfigError) as raised:
        read_source(str(tmp_path / "a"))
    (found,) = raised.value.diagnostics
    assert found.code == "not-utf8"
    assert found.span is not None
    assert (found.span.line, found.span.column, found.span.text) == (line, column, shown)
    assert found.span.end_column == column + 4


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be"])
def test_a_wider_encoding_is_named(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "a").write_bytes("d_model: 1\n".encode(encoding))
    with pytest.raises(ConfigError, match=f"the file is {encoding[:6].upper()}"):
        read_source(str(tmp_path / "a"))


@given(st.binary(max_size=200))
def test_fuzz_bytes(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(data)
    try:
        source = read_source(str(path))
    except TinylmError:
        return
    assert source.text == data.decode("utf-8-sig")


@pytest.mark.parametrize("line_break", ["\n", "\r\n", "\r"])
def test_span_within_line(line_break: str) -> None:
    source = Source("x", line_break.join(["one", "two: 2", ""]))
    start = source.text.index("2")
    span = source.span(start, start + 99)
    assert (span.line, span.column, span.end_column, span.text) == (2, 6, 7, "two: 2")
    end = len(source.text)
    assert source.span(end, end)[1:5] == (3, 1, 2, "")


def test_span_in_option() -> None:
    source = Source("--set", "512", line_text="d_model=512", shift=len("d_model="))
    assert source.span(0, 3) == Span("--set", 1, 9, 12, "d_model=512")
    assert source.span(1, 1) == Span("--set", 1, 10, 11, "d_model=512")
    empty = Source("--set", "", line_text="d_model=", shift=len("d_model="))
    assert empty.span(0, 0) == Span("--set", 1, 9, 10, "d_model=")


@given(st.text(alphabet="a宽 \n\r\u2028\x85", max_size=60), st.data())
def test_span_text(text: str, data: st.DataObject) -> None:
    source = Source("x", text)
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    span = source.span(start, end)
    assert span.end_column > span.column >= 1
    assert "\n" not in span.text
    assert "\r" not in span.text
    pointed = span.text[span.column - span.text_column : span.end_column - span.text_column]
    assert text[start:].startswith(pointed)
    before = text[:start].replace("\r\n", "\n").replace("\r", "\n")
    if not (text[:start].endswith("\r") and text[start:].startswith("\n")):  # between the two halves of one break
        assert span.line == before.count("\n") + 1


@given(st.integers(0, 5000), st.integers(1, 5000))
def test_span_of_long_line(start: int, length: int) -> None:
    source = Source("x", "".join(chr(97 + i % 26) for i in range(10_000)))
    span = source.span(start, start + length)
    assert len(span.text) <= 240
    offset = span.column - span.text_column
    assert 0 <= offset <= 60
    assert span.text[offset] == source.text[start]

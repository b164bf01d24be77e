"""Capabilities of the terminal, derived from the environment."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinylm_cli.render.terminal import MAX_WIDTH, MIN_WIDTH, Terminal, is_terminal, terminal_of


class _Stream(io.StringIO):
    def __init__(self, *, tty: bool = True, encoding: str | None = "utf-8") -> None:
        super().__init__()
        self.tty = tty
        self._encoding = encoding

    def isatty(self) -> bool:
        return self.tty

    def fileno(self) -> int:
        return 77

    @property
    def encoding(self) -> Any:  # type: ignore[override]
        return self._encoding


def _of(environ: Mapping[str, str], *, tty: bool = False, encoding: str | None = "utf-8") -> Terminal:
    return terminal_of(_Stream(tty=tty, encoding=encoding), environ)


@pytest.mark.parametrize(
    ("columns", "width"),
    [
        ("60", 60),
        ("0", 80),
        ("abc", 80),
        ("", 80),
        ("-5", 80),
        ("1e2", 80),
        ("１００", 80),
        (" 60", 80),
        ("1", MIN_WIDTH),
        ("99999", MAX_WIDTH),
        ("100000000000000000000", 80),
    ],
)
def test_columns(columns: str, width: int) -> None:
    assert _of({"COLUMNS": columns}).width == width


def test_width_of_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "get_terminal_size", lambda _: os.terminal_size((132, 40)))
    assert _of({}, tty=True).width == 132
    assert _of({"COLUMNS": "70"}, tty=True).width == 70
    assert _of({}, tty=False).width == 80


@pytest.mark.parametrize("size", [0, 3, 100_000])
def test_any_width(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr(os, "get_terminal_size", lambda _: os.terminal_size((size, 40)))
    assert MIN_WIDTH <= _of({}, tty=True).width <= MAX_WIDTH


def test_unknown_width(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: int) -> os.terminal_size:
        raise OSError

    monkeypatch.setattr(os, "get_terminal_size", refuse)
    assert _of({}, tty=True).width == 80


@pytest.mark.parametrize(
    ("environ", "tty", "color"),
    [
        ({}, True, True),
        ({}, False, False),
        ({"NO_COLOR": "1"}, True, False),
        ({"NO_COLOR": ""}, True, True),
        ({"FORCE_COLOR": "1"}, False, True),
        ({"FORCE_COLOR": "0"}, False, False),
        ({"FORCE_COLOR": "false"}, False, False),
        ({"FORCE_COLOR": ""}, False, False),
        ({"NO_COLOR": "1", "FORCE_COLOR": "1"}, True, False),
        ({"TERM": "dumb"}, True, False),
        ({"TERM": "dumb", "FORCE_COLOR": "1"}, True, True),
    ],
)
def test_color(environ: dict[str, str], tty: bool, color: bool) -> None:
    assert _of(environ, tty=tty).color is color


@pytest.mark.parametrize(
    ("environ", "encoding", "unicode"),
    [
        ({}, "utf-8", True),
        ({}, "UTF8", True),
        ({}, "ascii", False),
        ({}, "latin-1", False),
        ({}, None, True),
        ({"LC_ALL": "C"}, "utf-8", False),
        ({"LC_ALL": "POSIX"}, "utf-8", False),
        ({"LC_CTYPE": "C"}, "utf-8", False),
        ({"LANG": "C"}, "utf-8", False),
        ({"LC_ALL": "C.UTF-8", "LANG": "C"}, "utf-8", True),
        ({"LC_ALL": "", "LANG": "de_DE.UTF-8"}, "utf-8", True),
    ],
)
def test_character_set(environ: dict[str, str], encoding: str | None, unicode: bool) -> None:
    assert _of(environ, encoding=encoding).unicode is unicode


def test_no_stream() -> None:
    assert terminal_of(None, {}) == Terminal(80, color=False, unicode=True)
    assert not is_terminal(None)


def test_closed_stream() -> None:
    stream = io.StringIO()
    stream.close()
    assert not is_terminal(stream)


@given(st.dictionaries(st.sampled_from(["COLUMNS", "NO_COLOR", "FORCE_COLOR", "TERM", "LANG", "LC_ALL"]), st.text()))
def test_any_environment(environ: dict[str, str]) -> None:
    assert MIN_WIDTH <= _of(environ, tty=True).width <= MAX_WIDTH

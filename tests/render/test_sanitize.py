"""Sanitizing makes untrusted text visible and inert."""

from __future__ import annotations

import ast
import re
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinylm_cli.render.sanitize import OUR_SIGNS, escape_controls, for_terminal, to_ascii, without_workflow_commands
from tinylm_cli.render.styled_lines import cell_len, set_cell_size
from tinylm_cli.render.terminal import Terminal

PACKAGE = Path(__file__).parents[2] / "tinylm_cli"
HIDDEN = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("plain", "plain"),
        ("\x1b[31m", "\\x1b[31m"),
        ("a\nb\r\tc", "a\\nb\\r\\tc"),
        ("\x00\x07\x7f\x9b", "\\x00\\x07\\x7f\\x9b"),
        ("\u202eevil\u202c", "\\u202eevil\\u202c"),
        ("\u2066\u2069\u200e\u200f\u061c", "\\u2066\\u2069\\u200e\\u200f\\u061c"),
        ("\u200b\u200d\ufeff\u00ad", "\\u200b\\u200d\\ufeff\\xad"),
        ("\u2028\u2029", "\\u2028\\u2029"),
        ("\ud800", "\\ud800"),
        ("\ue000", "\\ue000"),
        ("\U000e0041", "\\U000e0041"),
        ("宽é模", "宽é模"),
        ("[bold]x[/nope]", "[bold]x[/nope]"),
    ],
)
def test_escape_controls(text: str, seen: str) -> None:
    assert escape_controls(text) == seen


def test_every_unprintable_character() -> None:
    every = [chr(code) for code in (*range(0x20000), *range(0xE0000, 0xE1000), 0xF0000, 0x10FFFD)]
    assert not {c for c in escape_controls("".join(every)) if unicodedata.category(c) in HIDDEN}
    kept = [c for c in every if unicodedata.category(c) not in HIDDEN]
    assert escape_controls("".join(kept)) == "".join(kept)


@given(st.text())
def test_any_text(text: str) -> None:
    for terminal in (Terminal(), Terminal(unicode=False)):
        seen = for_terminal(text, terminal)
        assert not {c for c in seen if unicodedata.category(c) in HIDDEN}
        assert for_terminal(seen, terminal) == seen
        assert seen.encode("utf-8").decode("utf-8") == seen


@given(st.text())
def test_to_ascii(text: str) -> None:
    assert to_ascii(text).isascii()


def test_look_alikes() -> None:
    assert to_ascii("256 × 128 … − ─ └─ ✓") == "256 x 128 ... - - `- ok"
    assert "\\" not in to_ascii(OUR_SIGNS)


@pytest.mark.parametrize(
    "part",
    [
        *("analysis", "config/blocks.py", "config/feed_forward.py", "config/mixers"),
        *("model/checks", "render/units.py", "render/views"),
    ],
)
def test_every_sign_in_our_texts_has_a_look_alike(part: str) -> None:
    files = [PACKAGE / part] if part.endswith(".py") else sorted((PACKAGE / part).rglob("*.py"))
    assert files
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and "\n" not in node.value:
                assert not re.search(r"\\[xuU]", to_ascii(node.value)), node.value


@given(st.text(alphabet=st.characters(exclude_categories=("Cc", "Cf", "Cs", "Co", "Zl", "Zp"))))
def test_cell_len_agrees_with_rich(text: str) -> None:
    from rich.cells import cell_len as measured

    assert cell_len(text) == measured(text)


def test_cell_len_of_wide_characters() -> None:
    assert cell_len("宽") == 2
    assert cell_len("…─×") == 3
    assert cell_len(set_cell_size("宽宽", 3)) == 3


@pytest.mark.parametrize(
    ("text", "inert"),
    [
        ("::error::x\n", "\\x3a:error::x\n"),
        ("a\n \t::set-output name=x::y", "a\n \t\\x3a:set-output name=x::y"),
        ("\x1b[1;31m::error::x", "\x1b[1;31m\\x3a:error::x"),
        ("say ##[error]x", "say \\x23#[error]x"),
        ("##vso[task.complete]", "\\x23#vso[task.complete]"),
        ("###[error]", "#\\x23#[error]"),
        ("a::b ## title: # x [y]", "a::b ## title: # x [y]"),
    ],
)
def test_workflow_commands(text: str, inert: str) -> None:
    assert without_workflow_commands(text) == inert


@given(st.text(alphabet=":#[vso eror\n\x1bm1"))
def test_any_workflow_command(text: str) -> None:
    inert = without_workflow_commands(text)
    assert not re.search(r"^(\s|\x1b\[[0-9;]*m)*::|##(\[|vso\[)", inert, re.MULTILINE)
    assert without_workflow_commands(inert) == inert

"""Blocks as text: spaced, wrapped, inert, and the same with color as without."""

from __future__ import annotations

import re
import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from tinylm_cli.render.blocks import Block, Branch, Cell, Column, Heading, Listing, Note, Table, Tree
from tinylm_cli.render.styled_lines import cell_len, wrap
from tinylm_cli.render.terminal import Terminal
from tinylm_cli.render.text import to_text

outside = st.text(alphabet="ab [/]宽\x1b\u202e:_\n", max_size=60)


def _blocks(text: str) -> list[Block]:
    table = Table((Column("h", shrink=True), Column("n", right=True)), ((Cell(text, "name"), "1"),))
    return [Heading(text, text), Note(text, "bad"), Note(text), table, Listing(text)]


def test_blank_lines() -> None:
    blocks: list[Block] = [Heading("a", "b"), Note("c"), Note("d"), Listing("e\nf"), Heading("g")]
    assert to_text(blocks, Terminal()) == "a  b\n\nc\nd\n\ne\nf\n\ng\n"


@given(outside)
def test_color(text: str) -> None:
    plain = to_text(_blocks(text), Terminal())
    assert not {c for c in plain if c != "\n" and unicodedata.category(c) in {"Cc", "Cf", "Cs"}}
    colored = to_text(_blocks(text), Terminal(color=True))
    assert re.sub(r"\x1b\[[0-9;]*m", "", colored) == plain


@given(outside)
def test_ascii(text: str) -> None:
    assert to_text(_blocks(text), Terminal(unicode=False)).isascii()


@given(st.lists(st.text(alphabet="ab宽", min_size=1, max_size=9), min_size=1), st.integers(20, 60))
def test_wrap(words: list[str], width: int) -> None:
    lines = list(wrap(" ".join(words), width, indent="  ", first="> "))
    assert all(cell_len(line) <= width for line in lines)
    assert " ".join(line.removeprefix("> ").strip() for line in lines) == " ".join(words)
    assert lines[0].startswith("> ")
    assert all(line.startswith("  ") for line in lines[1:])


def test_long_word() -> None:
    assert list(wrap(f"a {'b' * 30} c", 20)) == ["a", "b" * 30, "c"]


def test_trailing_blanks() -> None:
    table = Table((Column("a"), Column("b")), (("x", ""), ("long", "y")))
    assert not re.search(r" \n", to_text([table], Terminal()))


def test_note_on_a_column() -> None:
    """It is there with its column, and not in a terminal too narrow for it."""
    table = Table((Column("name"), Column("detail", keep=1)), (("x" * 30, "y" * 30),))
    view: list[Block] = [table, Note("About the detail.", column="detail"), Note("About all.")]
    assert "About the detail.\nAbout all.\n" in to_text(view, Terminal(80))
    narrow = to_text(view, Terminal(40))
    assert "About the detail" not in narrow
    assert narrow.endswith("\n\nHidden column: detail.\nAbout all.\n")


def test_hidden_columns() -> None:
    columns = (Column("name"), Column("b", keep=1), Column("empty", keep=1), Column("", keep=1), Column("a", keep=2))
    row = ("x" * 30, "y" * 30, "", "z" * 30, "v" * 30)
    for block in (Table(columns, (row,)), Tree(columns, Branch(row))):
        assert to_text([block], Terminal(40)).endswith("\n\nHidden columns: b, a.\n")
        assert "Hidden" not in to_text([block], Terminal(200))

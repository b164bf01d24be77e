"""Markdown for a pull request: nothing from outside breaks out of its cell, line or fence."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from tinylm_cli.errors import Diagnostic, Span
from tinylm_cli.render.blocks import (
    Bar,
    Block,
    Branch,
    Cell,
    Column,
    DiagnosticBlock,
    Heading,
    Listing,
    Note,
    Table,
    Tree,
)
from tinylm_cli.render.markdown import to_markdown

HOSTILE = [
    "a | b",
    "a\nb",
    "<script>alert(1)</script>",
    "<!-- -->",
    "[link](javascript:x)",
    "![image](http://x)",
    "**bold** _em_ ~~gone~~ `code`",
    "# heading",
    "> quote",
    "&lt;b&gt; &#60;",
    "\\",
    "\\|",
    "|---|",
    "- [ ] item",
    "@someone",
    "\u202e\x1b[31m",
    "```",
    "http://example.com/a_b_c",
]
parser = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])


def _kinds(markdown: str) -> list[str]:
    """Return the kinds of everything that a reader of the markdown would see, inside out."""
    kinds = []
    for token in parser.parse(markdown):
        kinds.append(token.type)
        kinds += [child.type for child in token.children or ()]
    return kinds


def _texts(markdown: str) -> list[str]:
    """Return the text of each inline piece, as a reader sees it."""
    return [
        "".join(child.content for child in token.children or ())
        for token in parser.parse(markdown)
        if token.type == "inline"
    ]


@pytest.mark.parametrize("text", HOSTILE)
def test_cell_boundaries(text: str) -> None:
    columns = (Column(text), Column("n", right=True))
    markdown = to_markdown([Table(columns, ((text, Cell(text, "bad")),), (text, text))])
    assert len(markdown.splitlines()) == 4
    assert _kinds(markdown).count("th_open") == 2
    assert _kinds(markdown).count("td_open") == 4
    assert not {"html_inline", "html_block", "link_open", "image", "code_inline", "s_open"} & set(_kinds(markdown))


@given(st.one_of(st.sampled_from(HOSTILE), st.text(max_size=40)))
def test_cell_round_trip(text: str) -> None:
    markdown = to_markdown([Table((Column("h"),), ((f"x{text}x",),))])
    _, read = _texts(markdown)
    from tinylm_cli.render.sanitize import escape_controls

    assert read.split() == escape_controls(f"x{text}x").split()


@pytest.mark.parametrize("text", HOSTILE)
def test_diagnostic(text: str) -> None:
    found = Diagnostic("wrong-type", text, text, Span(text, 3, 4, 5, "x"), "", text)
    markdown = to_markdown([DiagnosticBlock(found), DiagnosticBlock(found)])
    kinds = _kinds(markdown)
    assert kinds.count("list_item_open") == 2
    assert not {"html_inline", "html_block", "link_open", "image", "code_inline", "fence", "table_open"} & set(kinds)
    assert "3:4" in _texts(markdown)[0]


@pytest.mark.parametrize("text", ["```", "````\n```", "~~~", "plain\n```yaml\nx: 1\n```", "\x1b[31m"])
def test_listing(text: str) -> None:
    markdown = to_markdown([Listing(text, "yaml"), Note("after")])
    fences = [token for token in parser.parse(markdown) if token.type == "fence"]
    assert len(fences) == 1
    assert fences[0].content == text.replace("\x1b", "\\x1b") + "\n"
    assert _texts(markdown) == ["after"]


@pytest.mark.parametrize("text", HOSTILE)
def test_headings_and_notes(text: str) -> None:
    for block in (Heading(text, text), Heading(f"x{text}")):
        assert len(to_markdown([block]).splitlines()) == 1
        assert _kinds(to_markdown([block])).count("heading_open") == 1
    note: Block = Note(f"x {text}")
    assert not {"html_inline", "html_block", "link_open", "image", "code_inline"} & set(_kinds(to_markdown([note])))


def test_table() -> None:
    table = Table(
        (Column("part"), Column("share", right=True), Column("")), (("a", "50%", Bar(0.5)),), ("total", "100%", "")
    )
    assert to_markdown([table]) == "| part | share |\n| --- | ---: |\n| a | 50% |\n| **total** | **100%** |\n"


def test_tree() -> None:
    tree = Tree((Column("m"),), Branch((Cell("root"),), (Branch((Cell("leaf"),)),)))
    assert to_markdown([tree]) == "| m |\n| --- |\n| root |\n| \N{EM SPACE}leaf |\n"


def test_blank_lines() -> None:
    assert re.fullmatch(
        r"### a\n\nb\n\n- \*\*x.yaml\*\* wrong-type: m\n",
        to_markdown([Heading("a"), Note("b"), DiagnosticBlock(Diagnostic("wrong-type", "m", "x.yaml"))]),
    )


@pytest.mark.parametrize(
    ("text", "inert"),
    [
        ("ask @someone", "ask &#64;someone"),
        ("see #12 or o/r#12, GH-12", "see &#35;12 or o/r&#35;12, GH&#45;12"),
        (
            "https://example.com, www.example.com, a@example.com",
            "https&#58;//example.com, www&#46;example.com, a&#64;example.com",
        ),
        ("# of layers, a: b, 3 @ 4", "# of layers, a: b, 3 @ 4"),
    ],
)
def test_mentions_and_links(text: str, inert: str) -> None:
    """GitHub would notify a person, or link an issue or a page, that an outside text names."""
    assert to_markdown([Note(text)]) == f"{inert}\n"

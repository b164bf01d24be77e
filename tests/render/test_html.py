"""HTML for notebooks: nothing from outside becomes markup, and every block has its place."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from tinylm_cli.errors import Diagnostic, Span
from tinylm_cli.quantities import Quantity, binary_bytes
from tinylm_cli.render.blocks import (
    Bar,
    Block,
    Branch,
    Cell,
    Column,
    DiagnosticBlock,
    ErrorBlock,
    Heading,
    Listing,
    Note,
    Stack,
    StackBar,
    Table,
    Tree,
)
from tinylm_cli.render.html import to_html
from tinylm_cli.reports.flops import COMPONENTS

HOSTILE = ["<script>alert(1)</script>", '"><img src=x onerror=y>', "&lt;b&gt;", "\x1b[31m\u202e", "</pre></table>"]


class Page(HTMLParser):
    """The tags and the text of a page; every tag must be closed in its order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert {name for name, _ in attrs} <= {"style"}
        self.tags.append(tag)
        self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += f"{data} "


def _everywhere(text: str) -> list[Block]:
    span = Span(text, 1, 1, 2, text)
    bar = StackBar(text, (Quantity(text, 1),), Quantity(text, 1))
    return [
        Heading(text, text),
        Note(text, "bad"),
        Listing(text),
        ErrorBlock(text, text),
        DiagnosticBlock(Diagnostic("unknown-key", text, text, span, help=text)),
        Table((Column(text),), ((Cell(text, "good"),),), (text,)),
        Tree((Column(text),), Branch((text,), (Branch((Cell(text),)),))),
        Stack(text, (text,), (bar, bar), limit=Quantity(text, 2), limit_name=text),
    ]


@pytest.mark.parametrize("text", HOSTILE)
def test_text_is_escaped(text: str) -> None:
    page, plain = Page(to_html(_everywhere(text))), Page(to_html(_everywhere("x")))
    assert page.tags == plain.tags
    assert not re.search("[\x1b\u202e]", page.text)
    if text.isprintable():
        assert page.text.count(text) == plain.text.count("x")


def test_table_equals_screen() -> None:
    columns = (Column("part"), Column("bytes", right=True), Column(""), Column("unused", key="id"))
    table = Table(columns, (("head", binary_bytes(2048), Bar(0.5), ""),), ("total", "2.00 KiB", "", ""))
    page = Page(to_html([table]))
    assert page.text.split() == ["part", "bytes", "head", "2.00", "KiB", "total", "2.00", "KiB"]
    assert page.tags.count("td") == 6


def test_bar_lengths() -> None:
    bars = (StackBar("a", (Quantity("1", 1), Quantity("3", 3)), Quantity("4", 4)),)
    html = to_html([Stack("memory", ("weights", "cache"), bars, limit=Quantity("8", 8))])
    assert re.findall(r"width:([\d.]+)%", html) == ["12.50", "37.50"]


def test_every_component_has_its_own_fill() -> None:
    """Of a model with all components of FLOPs: the part of the bar, and the swatch of the legend."""
    parts = StackBar("", tuple(Quantity("1", 1) for _ in COMPONENTS), Quantity(str(len(COMPONENTS)), len(COMPONENTS)))
    html = to_html([Stack("forward pass", COMPONENTS, (parts,))])
    fills = re.findall(r"width:4.00%;background:([^\"]+)", html)
    swatches = re.findall(r'<span style="color:(#\w+)">([■▨▧▥▤])<', html)
    assert len(set(fills)) == len(fills) == len(COMPONENTS) == len(set(swatches)) == len(swatches)
    assert [color in fill for fill, (color, _) in zip(fills, swatches, strict=True)] == [True] * len(fills)
    assert [fill == color for fill, (color, _) in zip(fills, swatches, strict=True)] == [
        sign == "■" for _, sign in swatches
    ]


def test_a_table_without_rows_is_left_out() -> None:
    assert Page(to_html([Table((Column("a"),), ())])).tags == ["div"]

"""Colors, and the widths of text that is cached."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.text import Text

from tinylm_cli.render.blocks import Cell, Style
from tinylm_cli.render.styled_lines import cell_len, paint
from tinylm_cli.render.terminal import Terminal

RICH: dict[Style, str] = {
    "plain": "", "strong": "bold", "muted": "dim", "good": "green", "bad": "bold red", "warn": "yellow", "name": "cyan",
    "hue-1": "blue", "hue-2": "yellow", "hue-3": "magenta", "hue-4": "cyan", "hue-5": "green", "hue-6": "white",
}  # fmt: skip
"""What each style is to rich."""


@pytest.mark.parametrize("style", RICH)
def test_escape_sequences(style: Style) -> None:
    """A styled piece is written as rich writes it."""
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, color_system="standard", legacy_windows=False, _environ={})
    console.print(Text.assemble("a ", ("b", RICH[style]), " c"), soft_wrap=True)
    assert paint([[Cell("a "), Cell("b", style), Cell(" c")]], Terminal(color=True)) == file.getvalue()


@pytest.mark.parametrize(
    ("pieces", "shown"),
    [
        ([Cell("a", "good"), Cell("  ")], "\x1b[32ma\x1b[0m\n"),
        ([Cell("a "), Cell(" b  ", "good"), Cell(" ", "bad"), Cell("")], "a \x1b[32m b\x1b[0m\n"),
        ([Cell(" ", "good")], "\n"),
        ([], "\n"),
    ],
)
def test_blanks_at_the_end(pieces: list[Cell], shown: str) -> None:
    assert paint([pieces], Terminal(color=True)) == shown


@given(st.text(alphabet="ab×…█宽", max_size=9))
def test_widths(text: str) -> None:
    """Each character of ours takes one cell, a wide one two, however often it is measured."""
    assert cell_len(text) == cell_len(text) == len(text) + text.count("宽")

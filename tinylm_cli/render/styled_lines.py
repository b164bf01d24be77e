"""Styled lines: what every text lowering ends in.

A line is a list of cells until it is painted, so that plain output, which pipes and CI logs want, never pays for rich.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tinylm_cli.render.blocks import Cell, Style
from tinylm_cli.render.cell_width import cell_len
from tinylm_cli.render.terminal import Terminal

Line = list[Cell]

_STYLES: dict[Style, str] = {
    "plain": "",
    "strong": "bold",
    "muted": "dim",
    "good": "green",
    "bad": "bold red",
    "warn": "yellow",
    "name": "cyan",
    "hue-1": "blue",
    "hue-2": "yellow",
    "hue-3": "magenta",
    "hue-4": "cyan",
    "hue-5": "green",
    "hue-6": "white",
}


def line(*pieces: Cell | str) -> Line:
    """Return a line of pieces that are already safe to show."""
    return [Cell(piece) if isinstance(piece, str) else piece for piece in pieces]


def paint(lines: Iterable[Line], terminal: Terminal) -> str:
    """Return the lines as one string, with escape sequences where the terminal has color."""
    if not terminal.color:
        return "".join(f"{''.join(cell.text for cell in each).rstrip()}\n" for each in lines)
    from rich.console import Console
    from rich.text import Text

    console = Console(
        width=terminal.width, force_terminal=True, color_system="standard", legacy_windows=False, _environ={}
    )
    with console.capture() as capture:
        for each in lines:
            text = Text.assemble(*((cell.text, _STYLES[cell.style]) for cell in each))
            text.rstrip()
            console.print(text, soft_wrap=True)
    return capture.get()


def wrap(text: str, width: int, indent: str = "", first: str = "") -> Iterator[str]:
    """Break a sentence at spaces into lines of at most ``width`` cells, hanging under ``first``."""
    current = first
    empty = True
    for word in text.split(" "):
        if not empty and cell_len(current) + 1 + cell_len(word) > width:
            yield current
            current, empty = indent, True
        current += word if empty else f" {word}"
        empty = False
    yield current

"""Styled lines of text: how wide they are in terminal cells, where they wrap, and their colors.

A line is a list of cells until :func:`paint` joins them, so that output without color never imports rich. Nor does a
width, unless a character may take two cells.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tinylm_cli.render.blocks import Cell, Style
from tinylm_cli.render.sanitize import OUR_SIGNS
from tinylm_cli.render.terminal import Terminal

Line = list[Cell]

_WITHOUT_OURS = str.maketrans("", "", OUR_SIGNS)

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
    """Return a line of pieces, which are already sanitized."""
    return [Cell(piece) if isinstance(piece, str) else piece for piece in pieces]


def paint(lines: Iterable[Line], terminal: Terminal) -> str:
    """Join the lines to one string, with escape sequences if the terminal has color."""
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


def cell_len(text: str) -> int:
    """Return how many terminal cells a text takes; ASCII and our own signs take one each."""
    if text.isascii() or text.translate(_WITHOUT_OURS).isascii():
        return len(text)
    from rich.cells import cell_len as measured

    return measured(text)


def set_cell_size(text: str, total: int) -> str:
    """Return a text cut or padded to ``total`` cells; a space replaces half a wide character."""
    from rich.cells import set_cell_size as resized

    return resized(text, total)


def chop(text: str, width: int) -> list[str]:
    """Return a text in pieces of at most ``width`` cells, broken anywhere."""
    from rich.cells import chop_cells

    return chop_cells(text, width)

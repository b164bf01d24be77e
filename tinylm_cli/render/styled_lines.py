"""Styled lines of text: their width in terminal cells, wrapping and color.

A line is a list of cells until :func:`paint` joins them. rich is imported only to measure and cut text that may have
characters of two cells.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache

from tinylm_cli.render.blocks import Cell, Style
from tinylm_cli.render.sanitize import OUR_SIGNS
from tinylm_cli.render.terminal import Terminal

Line = list[Cell]

_WITHOUT_OURS = str.maketrans("", "", OUR_SIGNS)

_STYLES: dict[Style, str] = {
    "plain": "",
    "strong": "1",  # bold
    "muted": "2",  # dim
    "good": "32",  # green
    "bad": "1;31",  # bold red
    "warn": "33",  # yellow
    "name": "36",  # cyan
    "hue-1": "34",  # blue
    "hue-2": "33",  # yellow
    "hue-3": "35",  # magenta
    "hue-4": "36",  # cyan
    "hue-5": "32",  # green
    "hue-6": "37",  # white
}
"""Parameters of the escape sequence of each style (ECMA-48, Select Graphic Rendition)."""


def line(*pieces: Cell | str) -> Line:
    """Return a line of pieces, which are already sanitized."""
    return [Cell(piece) if isinstance(piece, str) else piece for piece in pieces]


def paint(lines: Iterable[Line], terminal: Terminal) -> str:
    """Join the lines to one string, with escape sequences if the terminal has color."""
    if not terminal.color:
        return "".join(f"{''.join([cell.text for cell in each]).rstrip()}\n" for each in lines)
    return "".join(f"{_colored(each)}\n" for each in lines)


def _colored(pieces: Line) -> str:
    """Return the text of a line with escape sequences, without blanks at its end."""
    shown: list[str] = []
    for text, style, _ in reversed(pieces):
        text = text if shown else text.rstrip()
        if text:
            shown.append(f"\x1b[{_STYLES[style]}m{text}\x1b[0m" if _STYLES[style] else text)
    return "".join(reversed(shown))


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
    """Return the width of a text in terminal cells; ASCII and our own signs take one each."""
    return len(text) if text.isascii() else _non_ascii_len(text)


@lru_cache(maxsize=4096)  # tables repeat their cells
def _non_ascii_len(text: str) -> int:
    if text.translate(_WITHOUT_OURS).isascii():
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

"""Blocks lowered to text: aligned, cut to the width of the terminal, colored by rich where there is color."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tinylm_cli.render.blocks import (
    Block,
    Cell,
    Failure,
    Heading,
    Listing,
    Mistake,
    Note,
    Stack,
    Style,
    Table,
    Tree,
    drawn,
)
from tinylm_cli.render.sanitize import shown
from tinylm_cli.render.stacked_bars import bar_lines, legend
from tinylm_cli.render.styled_lines import Line, cell_len, line, paint, wrap
from tinylm_cli.render.table_layout import Grid, split_table, tree_rows
from tinylm_cli.render.terminal import Terminal

_DIFF: dict[str, Style] = {"+": "good", "-": "bad", "@": "muted"}


def to_text(blocks: Iterable[Block], terminal: Terminal) -> str:
    """Return the blocks as lines of at most ``terminal.width`` columns, separated by blank lines.

    Only a ``Listing``, which is to be copied as it is, and a word longer than the width may stand out.
    """
    lines: list[Line] = []
    previous: Block | None = None
    for block in drawn(blocks):
        if previous is not None and not (isinstance(previous, Note) and isinstance(block, Note)):
            lines.append([])
        lines.extend(_lower(block, terminal))
        previous = block
    return paint(lines, terminal)


def _lower(block: Block, terminal: Terminal) -> Iterator[Line]:
    match block:
        case Heading(text, detail):
            yield from _heading(shown(text, terminal), shown(detail, terminal), terminal.width)
        case Note(text, style):
            for words in wrap(shown(text, terminal), terminal.width):
                yield line(Cell(words, style))
        case Listing(text, language):
            for written in text.splitlines():
                style = _DIFF.get(written[:1], "plain") if language == "diff" else "plain"
                yield line(Cell(shown(written, terminal), style))
        case Mistake(diagnostic):
            from tinylm_cli.render.diagnostics import diagnostic_lines

            yield from diagnostic_lines(diagnostic, terminal)
        case Failure(message, remedy):
            from tinylm_cli.render.diagnostics import error_lines

            yield from error_lines(message, remedy, terminal)
        case Table(columns, rows, total):
            for position, grid in enumerate(split_table(columns, [*rows, *([total] if total else [])], terminal)):
                yield from [[]] if position else []
                yield from _draw(grid, ruled=total is not None)
        case Tree(columns, root):
            yield from _draw(Grid(columns, list(tree_rows(root)), terminal), ruled=False)
        case Stack():
            keys = yield from bar_lines(block, terminal)
            yield from _lower(legend(block, keys), terminal)


def _heading(text: str, detail: str, width: int) -> Iterator[Line]:
    if detail and cell_len(text) + 2 + cell_len(detail) <= width:
        yield line(Cell(text, "strong"), Cell(f"  {detail}", "muted"))
        return
    for words in wrap(text, width):
        yield line(Cell(words, "strong"))
    for words in wrap(detail, width) if detail else ():
        yield line(Cell(words, "muted"))


def _draw(grid: Grid, *, ruled: bool) -> Iterator[Line]:
    if grid.has_headers:
        yield line(*(Cell(piece.text, "muted") for piece in grid.header()))
    last = len(grid.rows) - 1
    for index, lines in enumerate(grid.lines()):
        if ruled and index == last:
            yield line(Cell(grid.rule(), "muted"))
        yield from (line(*pieces) for pieces in lines)

"""Convert blocks to terminal text: aligned, fitted to the terminal's width, colored."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import TYPE_CHECKING

from tinylm_cli.render.blocks import (
    Block,
    Cell,
    Column,
    DiagnosticBlock,
    ErrorBlock,
    Heading,
    Listing,
    Note,
    Stack,
    Style,
    Table,
    Tree,
    drawable,
    has_content,
)
from tinylm_cli.render.sanitize import for_terminal
from tinylm_cli.render.styled_lines import Line, cell_len, line, paint, wrap
from tinylm_cli.render.terminal import DEFAULT_WIDTH, Terminal

if TYPE_CHECKING:
    from tinylm_cli.render.table_layout import TableLayout

_DIFF: dict[str, Style] = {"+": "good", "-": "bad", "@": "muted"}


def to_text(blocks: Iterable[Block], terminal: Terminal) -> str:
    """Return the blocks as lines of at most ``terminal.width`` columns, with blank lines between blocks.

    Only a ``Listing`` and a word longer than the width may exceed it. A note on a column is omitted with its column.
    The columns that do not fit are named below their table if the terminal is narrower than usual or the table asks
    for it.
    """
    lines: list[Line] = []
    previous: Block | None = None
    headers: frozenset[str] = frozenset()  # of the columns that the last table shows
    for block in drawable(blocks):
        if isinstance(block, Note) and block.column and block.column not in headers:
            continue
        if previous is not None and not (isinstance(previous, Note) and isinstance(block, Note)):
            lines.append([])
        previous = block
        if not isinstance(block, Table | Tree):
            lines.extend(_lines(block, terminal))
            continue
        layouts = _table_layouts(block, terminal)
        shown = {column for layout in layouts for column in layout.shown}
        headers = frozenset(column.header for column in shown)
        lines.extend(_draw_all(block, layouts))
        names_hidden = terminal.width < DEFAULT_WIDTH or (isinstance(block, Table) and block.names_hidden)
        if names_hidden and (hidden := _hidden(block, shown)):
            previous = Note(f"Hidden {'columns' if len(hidden) > 1 else 'column'}: {', '.join(hidden)}.", "muted")
            lines.extend([[], *_lines(previous, terminal)])
    return paint(lines, terminal)


def _lines(block: Block, terminal: Terminal) -> Iterator[Line]:
    match block:
        case Heading(text, detail):
            yield from _heading(for_terminal(text, terminal), for_terminal(detail, terminal), terminal.width)
        case Note(text, style):
            for words in wrap(for_terminal(text, terminal), terminal.width):
                yield line(Cell(words, style))
        case Listing(text, language):
            for written in text.splitlines():
                style = _DIFF.get(written[:1], "plain") if language == "diff" else "plain"
                yield line(Cell(for_terminal(written, terminal), style))
        case DiagnosticBlock(diagnostic):
            from tinylm_cli.render.diagnostics import diagnostic_lines

            yield from diagnostic_lines(diagnostic, terminal)
        case ErrorBlock(message, remedy):
            from tinylm_cli.render.diagnostics import error_lines

            yield from error_lines(message, remedy, terminal)
        case Table() | Tree():
            yield from _draw_all(block, _table_layouts(block, terminal))
        case Stack():
            from tinylm_cli.render.stacked_bars import bar_lines, legend

            keys = yield from bar_lines(block, terminal)
            yield from _lines(legend(block, keys), terminal)


def _heading(text: str, detail: str, width: int) -> Iterator[Line]:
    if detail and cell_len(text) + 2 + cell_len(detail) <= width:
        yield line(Cell(text, "strong"), Cell(f"  {detail}", "muted"))
        return
    for words in wrap(text, width):
        yield line(Cell(words, "strong"))
    for words in wrap(detail, width) if detail else ():
        yield line(Cell(words, "muted"))


def _table_layouts(block: Table | Tree, terminal: Terminal) -> tuple[TableLayout, ...]:
    from tinylm_cli.render.table_layout import TableLayout, split_table, tree_rows

    if isinstance(block, Tree):
        return (TableLayout(block.columns, list(tree_rows(block.root)), terminal),)
    rows = (*block.rows, *((block.total,) if block.total else ()))
    return tuple(split_table(block.columns, rows, terminal, of_differences=block.of_differences))


def _hidden(block: Table | Tree, shown: Collection[Column]) -> list[str]:
    """Return the headings of the columns that have content but do not fit."""
    from tinylm_cli.render.table_layout import tree_rows

    rows = list(tree_rows(block.root)) if isinstance(block, Tree) else block.rows
    dropped = [(i, column.header) for i, column in enumerate(block.columns) if column.header and column not in shown]
    return list(dict.fromkeys(header for i, header in dropped if any(has_content(row[i]) for row in rows)))


def _draw_all(block: Table | Tree, layouts: Iterable[TableLayout]) -> Iterator[Line]:
    for position, layout in enumerate(layouts):
        yield from [[]] if position else []
        yield from _draw(layout, ruled=isinstance(block, Table) and block.total is not None)


def _draw(layout: TableLayout, *, ruled: bool) -> Iterator[Line]:
    if layout.has_headers:
        yield line(*(Cell(piece.text, "muted") for piece in layout.header()))
    last = len(layout.rows) - 1
    for index, lines in enumerate(layout.lines()):
        if ruled and index == last:
            yield line(Cell(layout.rule(), "muted"))
        yield from lines

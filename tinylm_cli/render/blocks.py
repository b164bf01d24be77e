"""The blocks of an output document: headings, tables, trees, stacked bars, notes, listings, errors.

A view builds blocks from a report; each output format (text, Markdown, CSV, LaTeX, HTML) converts them once. Strings in
blocks may come from outside: the formats sanitize them, views do not. A ``Quantity`` is shown as formatted text and
written to CSV as its number.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Literal, NamedTuple

from tinylm_cli.errors import Diagnostic
from tinylm_cli.quantities import Quantity

Style = Literal[
    "plain", "strong", "muted", "good", "bad", "warn", "name", "hue-1", "hue-2", "hue-3", "hue-4", "hue-5", "hue-6"
]
"""The meaning of a piece of text; hues only distinguish neighbors."""


class Cell(NamedTuple):
    """A piece of text with a style."""

    text: str  # The shown text; CSV writes the number of a ``Quantity``.
    style: Style = "plain"  # Its meaning, which color may show.
    key: str = ""  # The text in CSV, as JSON spells it; ``text`` when empty.


class Bar(NamedTuple):
    """A share from 0 to 1, drawn as a bar if the terminal is wide enough."""

    share: float


class Column(NamedTuple):
    """A column of a table."""

    header: str  # Its heading; may be empty.
    right: bool = False  # Whether it is aligned right, as numbers are.
    # Priority in a narrow terminal; 9 is always kept. ``table_layout.TableLayout`` has the order of all steps.
    keep: int = 9
    shrink: bool = False  # Whether its text may be cut in the middle, where names differ least.
    wrap: bool = False  # Whether its text wraps, or moves under its row if little room is left; it is never cut.
    # Its name in CSV, the dotted path of the value in JSON; the heading when empty. A column with None, or with
    # neither, is not in CSV. A column whose heading and cells are empty is in CSV only.
    key: str | None = ""
    # Positive if a wide table may be split into several, one under another: columns of one group stay side by side, and
    # the columns of group 0 are repeated in each part.
    group: int = 0


Row = tuple["str | Cell | Bar", ...]


class Heading(NamedTuple):
    """A title and a detail on the same line."""

    text: str
    detail: str = ""


class Table(NamedTuple):
    """Rows under columns; a table without rows appears in CSV only, as a header."""

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]  # Rows of one cell per column.
    total: Row | None = None  # A last row under a rule; not in CSV.
    main: bool = False  # Whether CSV, which holds one table, holds this one.
    # Its name for ``--table``; empty if it repeats another table. Tables with one name are parts of one table: CSV
    # takes the first.
    name: str = ""
    caption: str = ""  # Its caption in LaTeX; the heading when empty.
    names_hidden: bool = False  # Whether hidden columns are named in a terminal of any width, not only in a narrow one.
    # Whether a terminal that is too narrow for all groups of columns shows only the rows that differ in each part.
    of_differences: bool = False


class Branch(NamedTuple):
    """A node of a tree: its cells, and the branches under it."""

    cells: Row
    children: tuple[Branch, ...] = ()


class Tree(NamedTuple):
    """A table whose first column is drawn as a tree; ``name`` and ``caption`` as in :class:`Table`."""

    columns: tuple[Column, ...]
    root: Branch
    name: str = ""
    caption: str = ""


class StackBar(NamedTuple):
    """One bar of a ``Stack``."""

    name: str  # Its label; empty if it is the only bar.
    amounts: tuple[Quantity, ...]  # One amount for each part, >= 0.
    total: Quantity  # Sum of the parts: the length of the bar.


class Stack(NamedTuple):
    """Stacked bars on one scale, with a legend."""

    title: str  # The quantity that the parts add up to, such as ``memory``.
    parts: tuple[str, ...]  # Names of the parts, from left to right.
    bars: tuple[StackBar, ...]  # At least one.
    key: str = "part_bytes"  # Name of an amount in JSON.
    limit: Quantity | None = None  # Position of a mark, such as the memory of a GPU; None for no mark.
    limit_name: str = ""  # Label of the mark.
    name: str = ""  # As in :class:`Table`.
    caption: str = ""  # As in :class:`Table`.


class Note(NamedTuple):
    """A sentence; ``column`` is the heading of a column of the table above that it explains, if any."""

    text: str
    style: Style = "plain"
    column: str = ""


class Listing(NamedTuple):
    """Text to be copied unchanged, such as a YAML file."""

    text: str
    language: str = ""


class DiagnosticBlock(NamedTuple):
    """A diagnostic with its place in a source."""

    diagnostic: Diagnostic


class ErrorBlock(NamedTuple):
    """An error without a place in a source; ``help`` may be empty."""

    message: str
    help: str = ""


Block = Heading | Table | Tree | Stack | Note | Listing | DiagnosticBlock | ErrorBlock


AnyTable = Table | Tree | Stack
"""The blocks that ``--table`` can name and CSV can hold."""

View = tuple[Block, ...]
"""The blocks of one output, from top to bottom."""


def drawable(blocks: Iterable[Block]) -> Iterator[Block]:
    """Yield the blocks to draw: all but tables whose cells are empty, which exist for CSV alone."""
    return (block for block in blocks if not isinstance(block, Table) or any(map(has_content, chain(*block.rows))))


def has_content(cell: str | Cell | Bar) -> bool:
    """Return whether a cell shows anything."""
    return isinstance(cell, Bar) or bool(cell.text if isinstance(cell, Cell) else cell)


def indented_rows(branch: Branch, depth: int = 0) -> Iterator[Row]:
    """Yield a tree's rows from the root down, each first cell indented by an em space per level."""
    first, *others = branch.cells
    label = first if isinstance(first, Cell) else Cell(str(first))
    yield (Cell("\N{EM SPACE}" * depth + label.text, label.style), *others)
    for child in branch.children:
        yield from indented_rows(child, depth + 1)


def tables_by_name(view: View) -> dict[str, AnyTable]:
    """Return the named tables of a view, in order; of several parts with one name, the first."""
    found: dict[str, AnyTable] = {}
    for block in view:
        if isinstance(block, AnyTable) and block.name:
            found.setdefault(block.name, block)
    return found


def main_table(view: View) -> AnyTable:
    """Return the table marked as main, else the first."""
    tables = [block for block in view if isinstance(block, AnyTable)]
    assert tables, "a command without a table does not offer CSV"
    return next((table for table in tables if isinstance(table, Table) and table.main), tables[0])


def other_tables(view: View) -> list[str]:
    """Return the names of the non-empty tables other than the main one."""
    chosen = main_table(view)
    return [
        name
        for name, table in tables_by_name(view).items()
        if table is not chosen and (not isinstance(table, Table) or table.rows)
    ]


def single_table(view: View, name: str) -> View:
    """Return one table with all its parts, under the view's first heading and the heading right above the table.

    Raises:
        KeyError: If no table has the name.
    """
    table = tables_by_name(view)[name]
    place = view.index(table)
    headings = [index for index, block in enumerate(view[:place]) if isinstance(block, Heading)]
    above = [view[index] for index in headings if index in (headings[0], place - 1)]
    return (
        *above,
        *(block for block in view[place:] if isinstance(block, AnyTable) and block.name == name),
    )

"""The few kinds of blocks that every output is made of.

A view builds blocks from a report; ``text``, ``markdown``, ``csv`` and ``latex`` lower them. Strings here may come from
outside: lowering, and nothing before it, makes them safe. A string that is a ``Quantity`` is a number to a program.
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
"""What a piece of text means; the hues only tell neighbors apart."""


class Cell(NamedTuple):
    """A piece of text with a meaning that color may show.

    Attributes:
        text: What people are shown; as a ``Quantity``, a number to a program.
        style: What it means.
        key: What CSV says instead, the word that JSON has for it; the text when empty.
    """

    text: str
    style: Style = "plain"
    key: str = ""


class Bar(NamedTuple):
    """A share from 0 to 1, drawn as a bar where there is room."""

    share: float


class Column(NamedTuple):
    """A column of a table.

    Attributes:
        header: Its heading; may be empty.
        right: True to align right, as numbers are.
        keep: How long to keep it when the width is short: columns below 5 go first, smallest number first; then
            ``wrap`` columns are wrapped and ``shrink`` columns cut; then columns below 9 go; 9 never goes.
        shrink: True when its text may be cut in the middle, where names differ least.
        wrap: True when its text is never cut: it goes over several lines or, where little room is left, under its row.
        key: What CSV calls it, the name that JSON has for it, with dots the path to it; the heading when empty. A
            column with neither, or with None, is there for the eye, and not in CSV. One without a word in its heading
            and its cells is there for CSV, and seen nowhere.
        group: Above 0 where a wide table may go over several, one under another: columns of one number, from 1 up, stay
            side by side, and those of group 0 stand before each.
    """

    header: str
    right: bool = False
    keep: int = 9
    shrink: bool = False
    wrap: bool = False
    key: str | None = ""
    group: int = 0


Row = tuple["str | Cell | Bar", ...]


class Heading(NamedTuple):
    """What the output is about, and a word beside it."""

    text: str
    detail: str = ""


class Table(NamedTuple):
    """Rows under columns; one without rows is shown to nobody but a program, which is told the columns.

    Attributes:
        columns: What the rows hold.
        rows: A cell for each column.
        total: A last row set apart; CSV, whose readers sum for themselves, leaves it out.
        main: True where a view has several tables and this is what was asked for: CSV has room for one.
        name: What ``--table`` takes; empty where it only draws what another table says. Tables of one name are one,
            drawn in parts, of which a program is given the first.
        caption: What it shows, in a document; what the heading says when empty.
    """

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    total: Row | None = None
    main: bool = False
    name: str = ""
    caption: str = ""


class Branch(NamedTuple):
    """A node of a tree: its cells, and the branches under it."""

    cells: Row
    children: tuple[Branch, ...] = ()


class Tree(NamedTuple):
    """A table whose first column is drawn as a tree; ``name`` and ``caption`` are those of a ``Table``."""

    columns: tuple[Column, ...]
    root: Branch
    name: str = ""
    caption: str = ""


class StackBar(NamedTuple):
    """One bar of a ``Stack``.

    Attributes:
        name: What it is of; empty where the stack is of one thing.
        amounts: One for each part, >= 0.
        whole: Their sum in words; its value is the length of the bar.
    """

    name: str
    amounts: tuple[Quantity, ...]
    whole: Quantity


class Stack(NamedTuple):
    """Bars of the same parts laid end to end, one above the other on one scale, and a legend under them.

    Attributes:
        title: What the parts are parts of: ``memory``.
        parts: Their names, in the order in which they are laid.
        bars: One or more.
        key: What JSON calls an amount.
        limit: Where to draw a mark that bars should stay left of; None for no mark.
        limit_name: What sets the limit.
        name: As that of a ``Table``.
        caption: Likewise.
    """

    title: str
    parts: tuple[str, ...]
    bars: tuple[StackBar, ...]
    key: str = "part_bytes"
    limit: Quantity | None = None
    limit_name: str = ""
    name: str = ""
    caption: str = ""


class Note(NamedTuple):
    """A sentence; its style says whether it is good news."""

    text: str
    style: Style = "plain"


class Listing(NamedTuple):
    """Text to be taken as it is, such as a YAML file."""

    text: str
    language: str = ""


class Mistake(NamedTuple):
    """A diagnostic, at its place."""

    diagnostic: Diagnostic


class Failure(NamedTuple):
    """Something that could not be carried out, and what to do about it; ``help`` may be empty."""

    message: str
    help: str = ""


Block = Heading | Table | Tree | Stack | Note | Listing | Mistake | Failure


AnyTable = Table | Tree | Stack
"""The blocks that ``--table`` can name and CSV can hold."""

View = tuple[Block, ...]
"""What a command shows, from top to bottom."""


def drawn(blocks: Iterable[Block]) -> Iterator[Block]:
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
    """Return the names of the non-empty tables beside the main one."""
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

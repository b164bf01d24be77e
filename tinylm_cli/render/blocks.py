"""The few kinds of blocks that every output is made of.

A view builds blocks from a report; ``text`` and ``markdown`` lower them. Strings here may come from outside: lowering,
and nothing before it, makes them safe.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from tinylm_cli.errors import Diagnostic

Style = Literal["plain", "strong", "muted", "good", "bad", "warn", "name"]


class Cell(NamedTuple):
    """A piece of text with a meaning that colour may show."""

    text: str
    style: Style = "plain"


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
    """

    header: str
    right: bool = False
    keep: int = 9
    shrink: bool = False
    wrap: bool = False


Row = tuple["str | Cell | Bar", ...]


class Heading(NamedTuple):
    """What the output is about, and a word beside it."""

    text: str
    detail: str = ""


class Table(NamedTuple):
    """Rows under columns; ``total`` is a last row set apart."""

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    total: Row | None = None


class Branch(NamedTuple):
    """A node of a tree: its cells, and the branches under it."""

    cells: Row
    children: tuple[Branch, ...] = ()


class Tree(NamedTuple):
    """A table whose first column is drawn as a tree."""

    columns: tuple[Column, ...]
    root: Branch


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


Block = Heading | Table | Tree | Note | Listing | Mistake | Failure


View = tuple[Block, ...]
"""What a command shows, from top to bottom."""

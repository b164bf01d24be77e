"""Tables of records: a column states its heading, the field that it reads and how it shows it, in one place."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter
from typing import Any, NamedTuple

from tinylm_cli.quantities import Quantity
from tinylm_cli.render.blocks import Bar, Cell, Column, Row, Style, Table
from tinylm_cli.render.units import csv_only, shape


class RecordColumn(NamedTuple):
    """A column, and the cell that it shows of a record."""

    column: Column
    cell: Callable[[Any], str | Cell | Bar]


def field(
    header: str,
    key: str,
    text: Callable[[Any], str] = str,
    *,
    parent: str = "",
    style: Style = "plain",
    right: bool | None = None,
    keep: int = 9,
    shrink: bool = False,
    wrap: bool = False,
) -> RecordColumn:
    """Return a column of one field; None is an empty cell.

    Args:
        header: The heading.
        key: Name of the field, and of the column in CSV; dotted for a field of a field.
        text: Formats a value that is not None.
        parent: The field that contains ``key``, if CSV omits its name.
        style: As in :class:`Cell`.
        right: Whether it is aligned right; None for every format but ``str``, as numbers are.
        keep: As in :class:`Column`.
        shrink: As in :class:`Column`.
        wrap: As in :class:`Column`.
    """
    read = attrgetter(f"{parent}.{key}" if parent else key)

    def cell(record: Any) -> str | Cell:
        value = read(record)
        return "" if value is None else Cell(text(value), style)

    return RecordColumn(Column(header, text is not str if right is None else right, keep, shrink, wrap, key), cell)


def computed(
    header: str,
    key: str | None,
    cell: Callable[[Any], str | Cell | Bar],
    *,
    right: bool = False,
    keep: int = 9,
    shrink: bool = False,
    wrap: bool = False,
) -> RecordColumn:
    """Return a column of cells that depend on more than one field; for the arguments see :class:`Column`."""
    return RecordColumn(Column(header, right, keep, shrink, wrap, key), cell)


def listed(
    header: str,
    key: str | None,
    cells: Iterable[str | Cell | Bar],
    *,
    right: bool = True,
    keep: int = 9,
    wrap: bool = False,
) -> RecordColumn:
    """Return a column that depends on all records, such as rounded shares; ``cells`` has a cell for each record."""
    remaining = iter(cells)
    return computed(header, key, lambda _: next(remaining), right=right, keep=keep, wrap=wrap)


def repeats(keep: int = 2) -> RecordColumn:
    """Return the column of a record's ``count``: ``× 12``, empty for one; for ``keep`` see :class:`Column`."""

    def cell(record: Any) -> Cell:
        return Cell(Quantity(f"× {record.count:,}" if record.count > 1 else "", record.count), "muted")

    return computed("", "count", cell, right=True, keep=keep)


def bar(key: str) -> RecordColumn:
    """Return a column that draws a share as a bar; a narrow terminal drops it first."""
    read = attrgetter(key)
    return computed("", None, lambda record: Bar(read(record)), keep=1)


def only_csv(*keys: str, parent: str = "") -> tuple[RecordColumn, ...]:
    """Return columns of fields that only CSV shows; for ``parent`` see :func:`field`."""
    return tuple(_only_csv(key, attrgetter(f"{parent}.{key}" if parent else key)) for key in keys)


def _only_csv(key: str, read: Callable[[Any], Any]) -> RecordColumn:
    return computed("", key, lambda record: csv_value(read(record)))


def shape_cell(dimensions: Sequence[int] | None, style: Style = "muted") -> str | Cell:
    """Return ``256 × 128``, as a list in CSV; empty for None."""
    return "" if dimensions is None else Cell(shape(dimensions), style, str(list(dimensions)))


def csv_value(value: str | float | None) -> str | Cell:
    """Return a cell that only CSV shows."""
    return "" if value is None else Cell("", key=value) if isinstance(value, str) else csv_only(value)


def record_table(
    records: Iterable[Any],
    columns: Iterable[RecordColumn],
    *,
    total: Row | None = None,
    main: bool = False,
    name: str = "",
    caption: str = "",
    names_hidden: bool = False,
) -> Table:
    """Return a table with a row for each record; for the other arguments see :class:`Table`."""
    columns = tuple(columns)
    rows = tuple(tuple(each.cell(record) for each in columns) for record in records)
    return Table(tuple(each.column for each in columns), rows, total, main, name, caption, names_hidden)

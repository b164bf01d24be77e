"""Convert one table of a view to CSV, with exact numbers and the names of JSON.

A CSV file holds one table, because CSV readers treat every line as a row. Quoting follows RFC 4180,
https://www.rfc-editor.org/rfc/rfc4180; lines end in a line feed.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Iterator

from tinylm_cli.quantities import Quantity
from tinylm_cli.render.blocks import Bar, Block, Branch, Cell, Column, Row, Stack, Table, Tree, main_table
from tinylm_cli.render.sanitize import escape_controls
from tinylm_cli.render.stacked_bars import legend

# first characters of a spreadsheet formula, including full-width variants:
# https://owasp.org/www-community/attacks/CSV_Injection
_FORMULA = tuple("=+-@＝＋－＠")

Value = str | float
"""The exact value of a cell: a string or a number (int, float or bool)."""


def to_csv(blocks: Iterable[Block]) -> str:
    """Return the main table of a view with a header; a tree gets a ``depth`` column.

    Text that a spreadsheet would run as a formula gets a leading apostrophe.
    """
    names, rows = to_records(main_table(tuple(blocks)))
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(map(_escape, names))
    writer.writerows(map(_format_value, row) for row in rows)
    return buffer.getvalue()


def to_records(block: Table | Tree | Stack) -> tuple[list[str], list[list[Value]]]:
    """Return the column names of a table, as in JSON, and the exact values of each row."""
    table = _as_table(block)
    named = [(index, _column_name(column)) for index, column in enumerate(table.columns)]
    return (
        [name for _, name in named if name],
        [[_value(row[index]) for index, name in named if name] for row in table.rows],
    )


def _as_table(block: Table | Tree | Stack) -> Table:
    match block:
        case Tree(columns, root):
            return Table((Column("depth", right=True), *columns), tuple(_tree_rows(root, 0)))
        case Stack():
            return legend(block)
        case _:
            return block


def _tree_rows(branch: Branch, depth: int) -> Iterator[Row]:
    yield (Quantity(str(depth), depth), *branch.cells)
    for child in branch.children:
        yield from _tree_rows(child, depth + 1)


def _column_name(column: Column) -> str:
    return "" if column.key is None else column.key or column.header


def _value(cell: str | Cell | Bar) -> Value:
    text = "" if isinstance(cell, Bar) else cell.key or cell.text if isinstance(cell, Cell) else cell
    return text.value if isinstance(text, Quantity) else text


def _format_value(value: Value) -> str:
    if isinstance(value, str):
        return _escape(value)
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value) if math.isfinite(value) else ""


def _escape(text: str) -> str:
    safe = escape_controls(text)
    return f"'{safe}" if safe.lstrip().startswith(_FORMULA) else safe

"""One table of a view as CSV: numbers as they are, under the names that JSON has for them.

Quoting is that of RFC 4180, https://www.rfc-editor.org/rfc/rfc4180; lines end as all of standard output does. It holds
one table, because its readers take every line for a row.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Iterator

from tinylm_cli.quantities import Quantity
from tinylm_cli.render.blocks import Bar, Block, Branch, Cell, Column, Row, Stack, Table, Tree
from tinylm_cli.render.sanitize import visible
from tinylm_cli.render.stacked_bars import legend
from tinylm_cli.render.tables import main

# what a spreadsheet takes for the beginning of a formula, also in the width of Asian letters:
# https://owasp.org/www-community/attacks/CSV_Injection
_FORMULA = tuple("=+-@＝＋－＠")


def to_csv(blocks: Iterable[Block]) -> str:
    """Return the main table of a view, its header first; a tree has the depth of each row before it.

    A text that a spreadsheet would run as a formula gets an apostrophe in front; numbers do not.
    """
    table = _as_table(main(tuple(blocks)))
    named = [(index, _named(column)) for index, column in enumerate(table.columns)]
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n")
    writer.writerow([_text(name) for _, name in named if name])
    writer.writerows([_value(row[index]) for index, name in named if name] for row in table.rows)
    return written.getvalue()


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


def _named(column: Column) -> str:
    return "" if column.key is None else column.key or column.header


def _value(cell: str | Cell | Bar) -> str:
    text = "" if isinstance(cell, Bar) else cell.key or cell.text if isinstance(cell, Cell) else cell
    if not isinstance(text, Quantity):
        return _text(text)
    if isinstance(text.value, bool):
        return str(text.value).lower()
    return repr(text.value) if math.isfinite(text.value) else ""


def _text(text: str) -> str:
    safe = visible(text)
    return f"'{safe}" if safe.lstrip().startswith(_FORMULA) else safe

"""A table too wide for the terminal as several, one under another: nothing that was asked for is left out."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence

from tinylm_cli.render.blocks import Column, Row
from tinylm_cli.render.table_layout import GAP, MIN_SHRUNK, OPTIONAL, Grid
from tinylm_cli.render.terminal import Terminal

_ALWAYS = 9


def spread(columns: Sequence[Column], rows: Sequence[Row], terminal: Terminal) -> Iterator[Grid]:
    """Yield the grids that a table takes: one, or as few as hold every group of its columns.

    Each begins with the columns of no group. What may be left out of a group is shown as far as it costs no further
    grid, and alike in all of them.
    """
    if not any(column.group for column in columns):
        yield Grid(columns, rows, terminal)
        return
    whole = Grid(columns, rows, terminal._replace(width=sys.maxsize)).widths
    cut = {i: min(width, MIN_SHRUNK) if columns[i].shrink else width for i, width in whole.items()}
    chosen = _parts(columns, whole, terminal.width, _ALWAYS)
    for least in sorted({column.keep for column in columns if column.group}):
        parts = _parts(columns, whole, terminal.width, least)
        widths = whole if least < OPTIONAL else cut
        if len(parts) == len(chosen) and all(_total(part, widths) <= terminal.width for part in parts):
            chosen = parts
            break
    for part in chosen:
        yield Grid([columns[i] for i in part], [tuple(row[i] for i in part) for row in rows], terminal)


def _parts(columns: Sequence[Column], widths: Mapping[int, int], room: int, least: int) -> list[list[int]]:
    """Return which columns go side by side, of the groups those kept at least so long."""
    repeated = [i for i, column in enumerate(columns) if not column.group]
    parts = [list(repeated)]
    for group in sorted({column.group for column in columns} - {0}):
        members = [i for i, column in enumerate(columns) if column.group == group and column.keep >= least]
        if parts[-1] != repeated and _total((*parts[-1], *members), widths) > room:
            parts.append(list(repeated))
        parts[-1] += members
    return parts


def _total(part: Iterable[int], widths: Mapping[int, int]) -> int:
    """Return how wide columns are side by side; one with nothing in it takes no room."""
    shown = [widths[i] for i in part if i in widths]
    return sum(shown) + GAP * (len(shown) - 1)

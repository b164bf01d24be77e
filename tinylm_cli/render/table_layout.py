"""The layout of a table in a terminal: the columns that fit, their widths, cut cells, and tables that are split."""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import zip_longest

from tinylm_cli.render.blocks import Bar, Branch, Cell, Column, Row
from tinylm_cli.render.sanitize import for_terminal
from tinylm_cli.render.styled_lines import cell_len, chop, set_cell_size, wrap
from tinylm_cli.render.terminal import Terminal

_GAP = 2
"""Cells between two columns."""
_BLANK = Cell(" " * _GAP)

_BAR_WIDTH = 20
_EIGHTHS = "▏▎▍▌▋▊▉"
_MIN_SHRUNK = 16
"""Narrowest width of a cut column while other columns can still be dropped."""

_MIN_CUT = 8
_MIN_WRAPPED = 24
_TRIED_WIDTHS = 4
"""Widths to try, from the narrowest, until no two cells of a column are cut to the same text."""

_LEAD = " " * 8
_OPTIONAL = 5
"""Columns whose ``keep`` is below this are dropped before any column is cut."""

_KEPT = 8
"""Groups are split over one more layout before a column is dropped whose ``keep`` is at least this."""

_ALWAYS = 9


class TableLayout:
    """Rows under columns within the terminal's width, without empty columns.

    A table that is too wide changes in this order until it fits:

    1. Columns whose ``keep`` is below 5 are dropped, smallest first.
    2. A ``wrap`` column wraps, or moves under its row if it would be too narrow to read.
    3. ``shrink`` columns are cut in the middle of their cells; a shortened list of layers such as ``0..4, 6..10, …,
       24..25`` becomes ``0..4, …, 24..25``.
    4. Columns whose ``keep`` is below 9 are dropped.
    5. ``shrink`` columns are cut shorter.

    Two cells of a column that would be cut to the same text wrap instead.
    """

    def __init__(self, columns: Sequence[Column], rows: Sequence[Row], terminal: Terminal) -> None:
        self.terminal = terminal
        self.columns = list(columns)
        self.rows = [list(row) for row in rows]
        for row in self.rows:
            assert len(row) == len(self.columns), f"{len(row)} cells under {len(self.columns)} columns"
        self._largest = [
            max((c.share for c in self._cells(i) if isinstance(c, Bar)), default=0.0) for i in self._indices
        ]
        # most cells of a long column are equal, so each distinct one is sanitized, measured and padded once
        self._distinct = [{cell: self._shown(cell, i) for cell in dict.fromkeys(self._cells(i))} for i in self._indices]
        self._text = [[shown[cell] for shown, cell in zip(self._distinct, row, strict=True)] for row in self.rows]
        self._headers = [for_terminal(column.header, terminal) for column in self.columns]
        self._kept = [i for i in self._indices if not self.rows or any(self._texts(i))]
        self._widths = [max(map(cell_len, (self._headers[i], *self._texts(i)))) for i in self._indices]
        self._under: list[int] = []
        self._fit()
        self._ambiguous = {i: self._ambiguous_at(i, self._widths[i]) for i in self._kept if self.columns[i].shrink}

    @property
    def widths(self) -> dict[int, int]:
        """Width of each shown column, by index."""
        return {i: self._widths[i] for i in self._kept}

    @property
    def shown(self) -> set[Column]:
        """The columns that are not dropped."""
        return {self.columns[i] for i in (*self._kept, *self._under)}

    @property
    def has_headers(self) -> bool:
        """Whether any shown column has a header."""
        return any(self._headers[i] for i in self._kept)

    def header(self) -> list[Cell]:
        """Return the pieces of the header line."""
        return self._line([Cell(header) for header in self._headers])

    def lines(self) -> Iterator[list[list[Cell]]]:
        """Yield the lines of each row as pieces: one line, or several if a cell wraps."""
        if not self._under and not any(self.columns[i].wrap or self._ambiguous.get(i) for i in self._kept):
            padded = {i: {cell: self._padded(cell, i) for cell in self._distinct[i].values()} for i in self._kept}
            for row in self._text:
                yield [_spaced([padded[i][row[i]] for i in self._kept])]
            return
        for row in self._text:
            cells = [list(self._pieces(cell, i)) for i, cell in enumerate(row)]
            lines = [self._line(pieces) for pieces in zip_longest(*cells, fillvalue=Cell(""))]
            for i in self._under:
                words = wrap(row[i].text, self.terminal.width - len(_LEAD)) if row[i].text else ()
                lines += [[Cell(_LEAD), Cell(part, row[i].style)] for part in words]
            yield lines

    def rule(self) -> str:
        """Return a rule as wide as the table."""
        return ("─" if self.terminal.unicode else "-") * self._total()

    @property
    def _indices(self) -> list[int]:
        return list(range(len(self.columns)))

    def _cells(self, index: int) -> Iterator[str | Cell | Bar]:
        return (row[index] for row in self.rows)

    def _texts(self, index: int) -> Iterator[str]:
        """Yield the distinct texts of a column."""
        return (cell.text for cell in self._distinct[index].values())

    def _total(self) -> int:
        return sum(self._widths[i] for i in self._kept) + _GAP * (len(self._kept) - 1)

    def _fit(self) -> None:
        self._drop(below=_OPTIONAL)
        self._wrap()
        self._shrink(_MIN_SHRUNK)
        self._drop(below=_ALWAYS)
        self._shrink(_MIN_CUT)

    def _drop(self, below: int) -> None:
        while self._total() > self.terminal.width:
            droppable = [i for i in self._kept if self.columns[i].keep < below]
            if not droppable:
                break
            gone = min(droppable, key=lambda i: (self.columns[i].keep, -i))
            self._kept = [i for i in self._kept if i != gone]

    def _wrap(self) -> None:
        for i in [i for i in self._kept if self.columns[i].wrap]:
            excess = self._total() - self.terminal.width
            if excess > 0 and self._widths[i] - excess >= _MIN_WRAPPED:
                self._widths[i] -= excess
            elif excess > 0:
                self._kept.remove(i)
                self._under.append(i)

    def _pieces(self, cell: Cell, index: int) -> Iterator[Cell]:
        """Yield the lines of one cell."""
        if self.columns[index].wrap and index in self._kept:
            yield from (Cell(words, cell.style) for words in wrap(cell.text, self._widths[index]))
        elif cell.text in self._ambiguous.get(index, ()):
            yield from (Cell(part, cell.style) for part in chop(cell.text, self._widths[index]))
        else:
            yield cell

    def _shrink(self, least: int) -> None:
        for i in sorted(self._kept, key=lambda i: -self._widths[i]):  # the widest can give up most
            excess = self._total() - self.terminal.width
            if excess > 0 and self.columns[i].shrink:
                whole = self._widths[i]
                widths = range(max(whole - excess, min(least, whole)), whole)
                enough = (width for width in widths[:_TRIED_WIDTHS] if not self._ambiguous_at(i, width))
                self._widths[i] = next(enough, widths.start)

    def _ambiguous_at(self, index: int, width: int) -> frozenset[str]:
        """Return the distinct texts of a column that a cut to ``width`` would make equal."""
        texts = set(self._texts(index))
        cuts = Counter(self._cut(text, width) for text in texts)
        return frozenset(text for text in texts if cuts[self._cut(text, width)] > 1)

    def _line(self, cells: Sequence[Cell]) -> list[Cell]:
        return _spaced([self._padded(cells[i], i) for i in self._kept])

    def _padded(self, cell: Cell, index: int) -> Cell:
        text = self._cut(cell.text, self._widths[index])
        padding = " " * (self._widths[index] - cell_len(text))
        return Cell(padding + text if self.columns[index].right else text + padding, cell.style)

    def _cut(self, text: str, width: int) -> str:
        if cell_len(text) <= width:
            return text
        mark = "…" if self.terminal.unicode else "..."
        # of a shortened list of layers, list one less, and cut only the text behind it
        text = re.sub(rf", [^,]+, {re.escape(mark)}, ", f", {mark}, ", text, count=1)
        if cell_len(text) <= width:
            return text
        listed = re.match(rf".*, {re.escape(mark)}, [^ }}]+[ }}]?", text)
        if listed and 0 < cell_len(listed[0]) <= width - _MIN_CUT:
            return listed[0] + self._cut(text[listed.end() :], width - cell_len(listed[0]))
        head = (width - len(mark)) // 3
        tail = width - len(mark) - head
        return set_cell_size(text, head) + mark + set_cell_size(text[::-1], tail)[::-1]

    def _shown(self, cell: str | Cell | Bar, index: int) -> Cell:
        if isinstance(cell, Bar):
            return Cell(self._bar(cell.share / self._largest[index] if self._largest[index] else 0.0), "name")
        if isinstance(cell, str):
            return Cell(for_terminal(cell, self.terminal))
        return Cell(for_terminal(cell.text, self.terminal), cell.style)

    def _bar(self, fraction: float) -> str:
        eighths = round(fraction * _BAR_WIDTH * 8)
        if eighths == 0 and fraction > 0:
            eighths = 1
        if not self.terminal.unicode:
            return "#" * max(round(fraction * _BAR_WIDTH), 1 if fraction > 0 else 0)
        whole, rest = divmod(eighths, 8)
        return "█" * whole + (_EIGHTHS[rest - 1] if rest else "")


def _spaced(cells: Sequence[Cell]) -> list[Cell]:
    """Return cells with a gap between each two."""
    spaced = [_BLANK] * max(2 * len(cells) - 1, 0)
    spaced[::2] = cells
    return spaced


def split_table(
    columns: Sequence[Column], rows: Sequence[Row], terminal: Terminal, *, of_differences: bool = False
) -> Iterator[TableLayout]:
    """Yield one layout, or for a table wider than the terminal, the fewest layouts that contain every column group.

    Each layout begins with the columns outside all groups. The optional columns of the groups are shown if they cost no
    further layout, and then in every layout.

    Args:
        columns: The columns.
        rows: Rows of one cell per column.
        terminal: The width, and what can be shown.
        of_differences: Whether one of several layouts omits the rows in which its groups equal the last column outside
            all groups.
    """
    if not any(column.group for column in columns):
        yield TableLayout(columns, rows, terminal)
        return
    whole = TableLayout(columns, rows, terminal._replace(width=sys.maxsize)).widths
    cut = {i: min(width, _MIN_SHRUNK) if columns[i].shrink else width for i, width in whole.items()}
    chosen = _parts(columns, whole, terminal.width, _ALWAYS)
    fuller = _parts(columns, whole, terminal.width, _KEPT)
    if len(fuller) <= len(chosen) + 1 and all(_total(part, cut) <= terminal.width for part in fuller):
        chosen = fuller
    for least in sorted({column.keep for column in columns if column.group}):
        parts = _parts(columns, whole, terminal.width, least)
        widths = whole if least < _OPTIONAL else cut
        if len(parts) == len(chosen) and all(_total(part, widths) <= terminal.width for part in parts):
            chosen = parts
            break
    for part in chosen:
        kept = [row for row in rows if not (of_differences and len(chosen) > 1) or _differs(row, part, columns)]
        yield TableLayout([columns[i] for i in part], [tuple(row[i] for i in part) for row in kept], terminal)


def _differs(row: Row, part: Sequence[int], columns: Sequence[Column]) -> bool:
    """Return whether a cell of a group, unless empty, differs from the last cell outside all groups."""
    base = max(i for i in part if not columns[i].group)
    texts = {_text(row[i]) for i in part if columns[i].group} - {""}
    return bool(texts - {_text(row[base])})


def _text(cell: str | Cell | Bar) -> str:
    return "" if isinstance(cell, Bar) else cell.text if isinstance(cell, Cell) else cell


def _parts(columns: Sequence[Column], widths: Mapping[int, int], room: int, least: int) -> list[list[int]]:
    """Return the columns of each layout; of the groups, only the columns whose ``keep`` is at least ``least``."""
    repeated = [i for i, column in enumerate(columns) if not column.group]
    parts = [list(repeated)]
    for group in sorted({column.group for column in columns} - {0}):
        members = [i for i, column in enumerate(columns) if column.group == group and column.keep >= least]
        if parts[-1] != repeated and _total((*parts[-1], *members), widths) > room:
            parts.append(list(repeated))
        parts[-1] += members
    return parts


def _total(part: Iterable[int], widths: Mapping[int, int]) -> int:
    """Return the width of columns side by side; an empty column takes no room."""
    shown = [widths[i] for i in part if i in widths]
    return sum(shown) + _GAP * (len(shown) - 1)


def tree_rows(branch: Branch, lead: str = "", here: str = "") -> Iterator[Row]:
    """Yield a tree's rows from the root down, each first cell behind its guide lines."""
    first, *others = branch.cells
    label = first if isinstance(first, Cell) else Cell(str(first))
    yield (Cell(here + label.text, label.style), *others)
    for index, child in enumerate(branch.children):
        last = index == len(branch.children) - 1
        yield from tree_rows(child, lead + ("   " if last else "│  "), lead + ("└─ " if last else "├─ "))

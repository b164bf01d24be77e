"""The geometry of a table in a terminal: which columns fit, how wide each is, what is cut."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import zip_longest

from tinylm_cli.render.blocks import Bar, Branch, Cell, Column, Row
from tinylm_cli.render.cell_width import cell_len, chop, set_cell_size
from tinylm_cli.render.sanitize import shown
from tinylm_cli.render.styled_lines import wrap
from tinylm_cli.render.terminal import Terminal

GAP = 2
"""Cells between two columns."""

_BAR_WIDTH = 20
_EIGHTHS = "▏▎▍▌▋▊▉"
MIN_SHRUNK = 16
"""Cells that are left of a column that is cut, while there are others to leave out."""

_LEAST_SHRUNK = 8
_MIN_WRAPPED = 24
_SPARED = 4
"""Widths that are tried, from the least, for one at which no two cells of a column are cut to the same."""

_LEAD = " " * 8
OPTIONAL = 5
"""Columns kept less long than this go before any is cut."""

_ALWAYS = 9


class Grid:
    """Rows laid out under columns, within the terminal's width; a column with nothing in it is left out.

    Too wide, it drops columns whose ``keep`` is below 5, smallest first; then wraps a ``wrap`` column, or puts it under
    the rows where it would be too narrow to read; then cuts ``shrink`` columns in the middle of their cells; then
    drops those below 9; then cuts shorter still. A cell that would be cut as another is takes lines instead.
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
        self._text = [[self._shown(cell, i) for i, cell in enumerate(row)] for row in self.rows]
        self._headers = [shown(column.header, terminal) for column in self.columns]
        self._kept = [i for i in self._indices if not self._text or any(row[i].text for row in self._text)]
        self._widths = [
            max([cell_len(self._headers[i]), *(cell_len(cell.text) for cell in (row[i] for row in self._text))])
            for i in self._indices
        ]
        self._under: list[int] = []
        self._fit()
        self._alike = {i: self._cut_alike(i, self._widths[i]) for i in self._kept if self.columns[i].shrink}

    @property
    def widths(self) -> dict[int, int]:
        """The width of each column that is shown, by its index."""
        return {i: self._widths[i] for i in self._kept}

    @property
    def has_headers(self) -> bool:
        """Whether any column is named."""
        return any(self._headers[i] for i in self._kept)

    def header(self) -> Iterator[Cell]:
        """Yield the pieces of the header line."""
        yield from self._line([Cell(header) for header in self._headers])

    def lines(self) -> Iterator[list[list[Cell]]]:
        """Yield the lines of each row, as their pieces: one, and more where a cell is wrapped."""
        for row in self._text:
            cells = [list(self._pieces(cell, i)) for i, cell in enumerate(row)]
            lines = [list(self._line(pieces)) for pieces in zip_longest(*cells, fillvalue=Cell(""))]
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

    def _total(self) -> int:
        return sum(self._widths[i] for i in self._kept) + GAP * (len(self._kept) - 1)

    def _fit(self) -> None:
        self._drop(below=OPTIONAL)
        self._wrap()
        self._shrink(MIN_SHRUNK)
        self._drop(below=_ALWAYS)
        self._shrink(_LEAST_SHRUNK)

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
        elif cell.text in self._alike.get(index, ()):
            yield from (Cell(part, cell.style) for part in chop(cell.text, self._widths[index]))
        else:
            yield cell

    def _shrink(self, least: int) -> None:
        for i in sorted(self._kept, key=lambda i: -self._widths[i]):  # the longest spares most
            excess = self._total() - self.terminal.width
            if excess > 0 and self.columns[i].shrink:
                whole = self._widths[i]
                widths = range(max(whole - excess, min(least, whole)), whole)
                enough = (width for width in widths[:_SPARED] if not self._cut_alike(i, width))
                self._widths[i] = next(enough, widths.start)

    def _cut_alike(self, index: int, width: int) -> frozenset[str]:
        """Return the texts of a column that differ and would no longer, cut to ``width``."""
        texts = {row[index].text for row in self._text}
        cuts = Counter(self._cut(text, width) for text in texts)
        return frozenset(text for text in texts if cuts[self._cut(text, width)] > 1)

    def _line(self, cells: Sequence[Cell]) -> Iterator[Cell]:
        for position, i in enumerate(self._kept):
            if position:
                yield Cell(" " * GAP)
            text = self._cut(cells[i].text, self._widths[i])
            padding = " " * (self._widths[i] - cell_len(text))
            yield Cell(padding + text if self.columns[i].right else text + padding, cells[i].style)

    def _cut(self, text: str, width: int) -> str:
        if cell_len(text) <= width:
            return text
        mark = "…" if self.terminal.unicode else "..."
        head = (width - len(mark)) // 3
        tail = width - len(mark) - head
        return set_cell_size(text, head) + mark + set_cell_size(text[::-1], tail)[::-1]

    def _shown(self, cell: str | Cell | Bar, index: int) -> Cell:
        if isinstance(cell, Bar):
            return Cell(self._bar(cell.share / self._largest[index] if self._largest[index] else 0.0), "name")
        if isinstance(cell, str):
            return Cell(shown(cell, self.terminal))
        return Cell(shown(cell.text, self.terminal), cell.style)

    def _bar(self, fraction: float) -> str:
        eighths = round(fraction * _BAR_WIDTH * 8)
        if eighths == 0 and fraction > 0:
            eighths = 1
        if not self.terminal.unicode:
            return "#" * max(round(fraction * _BAR_WIDTH), 1 if fraction > 0 else 0)
        whole, rest = divmod(eighths, 8)
        return "█" * whole + (_EIGHTHS[rest - 1] if rest else "")


def tree_rows(branch: Branch, lead: str = "", here: str = "") -> Iterator[Row]:
    """Yield a tree's rows from the root down, the first cell of each behind its guides."""
    first, *others = branch.cells
    label = first if isinstance(first, Cell) else Cell(str(first))
    yield (Cell(here + label.text, label.style), *others)
    for index, child in enumerate(branch.children):
        last = index == len(branch.children) - 1
        yield from tree_rows(child, lead + ("   " if last else "│  "), lead + ("└─ " if last else "├─ "))

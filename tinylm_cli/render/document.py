"""The common part of Markdown, LaTeX and HTML: every block as lines, and tables without their empty columns."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

from tinylm_cli.render.blocks import (
    Bar,
    Block,
    Cell,
    Column,
    DiagnosticBlock,
    ErrorBlock,
    Heading,
    Listing,
    Note,
    Row,
    Stack,
    Style,
    Table,
    Tree,
    has_content,
    indented_rows,
)
from tinylm_cli.render.stacked_bars import legend


class DocumentFormat(ABC):
    """Converts blocks to the lines of one format; a subclass escapes all text."""

    draws_bars = False
    """Whether a table has the columns of bars."""

    def lines(self, block: Block) -> Iterator[str]:
        """Yield the lines of a block."""
        match block:
            case Heading(text, detail):
                yield from self.heading(text, detail)
            case Note(text, style):
                yield from self.note(text, style)
            case Listing(text, language):
                yield from self.listing(text.splitlines(), language)
            case DiagnosticBlock(found):
                place = f":{found.span.line}:{found.span.column}" if found.span else ""
                kind = found.code if found.severity == "error" else f"{found.severity} {found.code}"
                yield from self.error(f"{found.source}{place}", f"{kind}: {found.message}", found.help)
            case ErrorBlock(message, remedy):
                yield from self.error("error", message, remedy)
            case Table(columns, rows, total):
                yield from self._filled(columns, rows, total)
            case Tree(columns, root):
                yield from self._filled(columns, tuple(indented_rows(root)), None)
            case Stack():
                yield from self.stack(block)

    def _filled(self, columns: Sequence[Column], rows: Sequence[Row], total: Row | None) -> Iterator[str]:
        """Yield a table without the columns that have no content."""
        kept = [i for i in range(len(columns)) if any(self._is_shown(row[i]) for row in rows)]
        cut = [tuple(row[i] for i in kept) for row in rows]
        yield from self.table([columns[i] for i in kept], cut, None if total is None else tuple(total[i] for i in kept))

    def _is_shown(self, cell: str | Cell | Bar) -> bool:
        return has_content(cell) and (self.draws_bars or not isinstance(cell, Bar))

    def stack(self, stack: Stack) -> Iterator[str]:
        """Yield stacked bars: the legend, with the amount of each part."""
        yield from self.lines(legend(stack))

    @abstractmethod
    def heading(self, text: str, detail: str) -> Iterator[str]:
        """Yield a title and its detail, which may be empty."""

    @abstractmethod
    def note(self, text: str, style: Style) -> Iterator[str]:
        """Yield a sentence."""

    @abstractmethod
    def listing(self, lines: Sequence[str], language: str) -> Iterator[str]:
        """Yield text to be copied unchanged."""

    @abstractmethod
    def error(self, place: str, message: str, remedy: str) -> Iterator[str]:
        """Yield an error; ``remedy`` may be empty."""

    @abstractmethod
    def table(self, columns: Sequence[Column], rows: Sequence[Row], total: Row | None) -> Iterator[str]:
        """Yield rows under columns, and a last row under a rule."""


def cell_text(cell: str | Cell | Bar) -> str:
    """Return the text of a cell; empty for a bar."""
    return "" if isinstance(cell, Bar) else cell.text if isinstance(cell, Cell) else cell

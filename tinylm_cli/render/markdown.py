"""Convert blocks to GitHub-flavored Markdown, for pull requests."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from tinylm_cli.render.blocks import Bar, Block, Cell, Column, Row, Style, drawable
from tinylm_cli.render.document import DocumentFormat, cell_text
from tinylm_cli.render.sanitize import escape_controls

_SPECIAL = re.compile(r"([\\`*_\[\]<>|~&])")
_LIVE = re.compile(r"(?<!\w)@(?=\w)|(?<=\w)@(?=\w+\.)|#(?=[0-9])|(?<=GH)-(?=[0-9])|:(?=//)|(?<=www)\.", re.IGNORECASE)
"""What GitHub turns into a mention, a link to an issue, or a link."""
_MARKS: dict[Style, str] = {"strong": "**", "bad": "**"}


def to_markdown(blocks: Iterable[Block]) -> str:
    """Return the blocks as Markdown with a final newline; all text is escaped."""
    convert = _Markdown().lines
    return "\n".join("".join(f"{line}\n" for line in convert(block)) for block in drawable(blocks))


class _Markdown(DocumentFormat):
    def heading(self, text: str, detail: str) -> Iterator[str]:
        yield f"### {_escape(text)}" + (f" ({_escape(detail)})" if detail else "")

    def note(self, text: str, style: Style) -> Iterator[str]:  # noqa: ARG002 - Markdown has no colors
        yield _escape(text)

    def listing(self, lines: Sequence[str], language: str) -> Iterator[str]:
        runs = re.findall("`+", "\n".join(lines))
        fence = "`" * max(3, max(map(len, runs), default=0) + 1)
        yield from (f"{fence}{language}", *map(escape_controls, lines), fence)

    def error(self, place: str, message: str, remedy: str) -> Iterator[str]:
        yield f"- **{_escape(place)}** {_escape(message)}" + (f" ({_escape(remedy)})" if remedy else "")

    def table(self, columns: Sequence[Column], rows: Sequence[Row], total: Row | None) -> Iterator[str]:
        yield _row(_escape(column.header) for column in columns)
        yield _row("---:" if column.right else "---" for column in columns)
        strong = [tuple(Cell(cell_text(cell), "strong") for cell in total)] if total else []
        for row in (*rows, *strong):
            yield _row(map(_cell, row))


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(cell: str | Cell | Bar) -> str:
    text = cell_text(cell)
    mark = _MARKS.get(cell.style, "") if isinstance(cell, Cell) and text.strip() else ""
    return f"{mark}{_escape(text)}{mark}"


def _escape(text: str) -> str:
    escaped = _SPECIAL.sub(r"\\\1", escape_controls(text))
    return _LIVE.sub(lambda found: f"&#{ord(found[0])};", escaped)

"""Convert blocks to GitHub-flavored Markdown, for pull requests."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from tinylm_cli.render.blocks import (
    Bar,
    Block,
    Cell,
    Column,
    Failure,
    Heading,
    Listing,
    Mistake,
    Note,
    Row,
    Stack,
    Style,
    Table,
    Tree,
    drawable,
    indented_rows,
)
from tinylm_cli.render.sanitize import escape_controls
from tinylm_cli.render.stacked_bars import legend

_SPECIAL = re.compile(r"([\\`*_\[\]<>|~&])")
_LIVE = re.compile(r"(?<!\w)@(?=\w)|(?<=\w)@(?=\w+\.)|#(?=[0-9])|(?<=GH)-(?=[0-9])|:(?=//)|(?<=www)\.", re.IGNORECASE)
"""What GitHub turns into a mention, a link to an issue, or a link."""
_MARKS: dict[Style, str] = {"strong": "**", "bad": "**"}


def to_markdown(blocks: Iterable[Block]) -> str:
    """Return the blocks as Markdown with a final newline; all text is escaped."""
    return "\n".join("".join(f"{line}\n" for line in _lower(block)) for block in drawable(blocks))


def _lower(block: Block) -> Iterator[str]:
    match block:
        case Heading(text, detail):
            yield f"### {_escape(text)}" + (f" ({_escape(detail)})" if detail else "")
        case Note(text):
            yield _escape(text)
        case Listing(text, language):
            fence = "`" * max(3, max((len(run) for run in re.findall("`+", text)), default=0) + 1)
            yield f"{fence}{language}"
            yield from (escape_controls(line) for line in text.splitlines())
            yield fence
        case Mistake(found):
            place = f":{found.span.line}:{found.span.column}" if found.span else ""
            remedy = f" ({_escape(found.help)})" if found.help else ""
            yield f"- **{_escape(found.source)}{place}** {found.code}: {_escape(found.message)}{remedy}"
        case Failure(message, remedy):
            yield f"- **error** {_escape(message)}" + (f" ({_escape(remedy)})" if remedy else "")
        case Table(columns, rows, total):
            yield from _table(columns, [*rows, *([_strong(total)] if total else [])])
        case Tree(columns, root):
            yield from _table(columns, list(indented_rows(root)))
        case Stack():
            yield from _lower(legend(block))


def _table(columns: tuple[Column, ...], rows: list[Row]) -> Iterator[str]:
    filled = [i for i in range(len(columns)) if any(_is_text(row[i]) for row in rows)]  # without bars
    yield _row(_escape(columns[i].header) for i in filled)
    yield _row("---:" if columns[i].right else "---" for i in filled)
    for row in rows:
        yield _row(_cell(row[i]) for i in filled)


def _strong(row: Row) -> Row:
    return tuple(Cell(cell.text if isinstance(cell, Cell) else str(cell), "strong") for cell in row)


def _is_text(cell: str | Cell | Bar) -> bool:
    return not isinstance(cell, Bar) and bool(cell.text if isinstance(cell, Cell) else cell)


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(cell: str | Cell | Bar) -> str:
    if isinstance(cell, Bar):
        return ""
    if isinstance(cell, str):
        return _escape(cell)
    mark = _MARKS.get(cell.style, "") if cell.text.strip() else ""
    return f"{mark}{_escape(cell.text)}{mark}"


def _escape(text: str) -> str:
    escaped = _SPECIAL.sub(r"\\\1", escape_controls(text))
    return _LIVE.sub(lambda found: f"&#{ord(found[0])};", escaped)

"""Blocks lowered to HTML for notebooks: real tables and drawn bars, without a style sheet or a script."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from html import escape

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
    StackBar,
    Style,
    Table,
    Tree,
    drawable,
    has_content,
    indented_rows,
)
from tinylm_cli.render.sanitize import escape_controls
from tinylm_cli.render.stacked_bars import legend

_HUES = ("#4c78a8", "#e6a23c", "#b279a2", "#54a8a8", "#59a14f", "#9d9d9d")
"""Colors of the parts of a bar, readable on a light and on a dark page."""

_PARTS: tuple[Style, ...] = ("hue-1", "hue-2", "hue-3", "hue-4", "hue-5", "hue-6")
_STYLES: dict[Style, str] = {
    "strong": "font-weight:600",
    "muted": "opacity:.65",
    "good": "color:#2e8b57",
    "bad": "color:#d9363e;font-weight:600",
    "warn": "color:#b8860b",
    "name": "font-family:monospace",
    **{style: f"color:{hue}" for style, hue in zip(_PARTS, _HUES, strict=True)},
}
_RULE = "border-top:1px solid currentColor"


def to_html(blocks: Iterable[Block]) -> str:
    """Return the blocks as one ``<div>``; text from outside is escaped, and its control characters are visible."""
    lines = [line for block in drawable(blocks) for line in _lower(block)]
    return "\n".join(["<div>", *lines, "</div>\n"])


def _lower(block: Block) -> Iterator[str]:
    match block:
        case Heading(text, detail):
            yield f"<p><b>{_plain(text)}</b>{'&ensp;' + _styled(detail, 'muted') if detail else ''}</p>"
        case Note(text, style):
            yield f"<p>{_styled(text, style)}</p>"
        case Listing(text):
            yield "<pre>" + "\n".join(map(_plain, text.splitlines())) + "</pre>"
        case Mistake(found):
            place = f":{found.span.line}:{found.span.column}" if found.span else ""
            remedy = f" ({_plain(found.help)})" if found.help else ""
            yield f"<p><b>{_plain(found.source)}{place}</b> {found.code}: {_plain(found.message)}{remedy}</p>"
        case Failure(message, remedy):
            yield f"<p><b>error</b> {_plain(message)}{f' ({_plain(remedy)})' if remedy else ''}</p>"
        case Table(columns, rows, total):
            yield from _table(columns, rows, total)
        case Tree(columns, root):
            yield from _table(columns, list(indented_rows(root)))
        case Stack():
            full = max(bar.whole.value for bar in [*block.bars, *_limit(block)])
            yield from (_bar(bar, full) for bar in block.bars)
            yield from _lower(legend(block, [_swatch(part) for part in range(len(block.parts))]))


def _limit(stack: Stack) -> list[StackBar]:
    return [] if stack.limit is None else [StackBar(stack.limit_name, (), stack.limit)]


def _table(columns: tuple[Column, ...], rows: Iterable[Row], total: Row | None = None) -> Iterator[str]:
    rows = tuple(rows)
    kept = [i for i in range(len(columns)) if any(has_content(row[i]) for row in rows)]
    yield "<table>"
    if any(columns[i].header for i in kept):
        heads = (f"<th{_aligned(columns[i])}>{_plain(columns[i].header)}</th>" for i in kept)
        yield f"<thead><tr>{''.join(heads)}</tr></thead>"
    yield "<tbody>"
    for row in rows:
        yield f"<tr>{''.join(f'<td{_aligned(columns[i])}>{_cell(row[i])}</td>' for i in kept)}</tr>"
    yield "</tbody>"
    if total is not None:
        cells = (f"<td{_aligned(columns[i], _RULE)}><b>{_cell(total[i])}</b></td>" for i in kept)
        yield f"<tfoot><tr>{''.join(cells)}</tr></tfoot>"
    yield "</table>"


def _bar(bar: StackBar, full: float) -> str:
    """Return a stacked bar; ``full`` is the amount that takes the full width."""
    widths = [100 * amount.value / full if full else 0 for amount in bar.amounts]
    parts = (_box(f"{width:.2f}%", _HUES[part % len(_HUES)]) for part, width in enumerate(widths))
    name = f"{_plain(bar.name)} " if bar.name else ""
    return f'<div style="max-width:40em">{name}{_plain(bar.whole)}<div>{"".join(parts)}</div></div>'


def _swatch(part: int) -> Cell:
    return Cell("■", _PARTS[part % len(_PARTS)])


def _aligned(column: Column, style: str = "") -> str:
    return f' style="text-align:{"right" if column.right else "left"}{";" + style if style else ""}"'


def _cell(cell: str | Cell | Bar) -> str:
    if isinstance(cell, Bar):
        return _box(f"{6 * cell.share:.2f}em", _HUES[0])
    return _styled(cell.text, cell.style) if isinstance(cell, Cell) else _plain(cell)


def _box(width: str, color: str) -> str:
    return f'<span style="display:inline-block;height:.8em;width:{width};background:{color}"></span>'


def _styled(text: str, style: Style) -> str:
    css = _STYLES.get(style, "")
    return f'<span style="{css}">{_plain(text)}</span>' if css else _plain(text)


def _plain(text: str) -> str:
    return escape(escape_controls(text))

"""Convert blocks to HTML for notebooks: real tables and drawn bars, without a style sheet or a script."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from html import escape

from tinylm_cli.render.blocks import Bar, Block, Cell, Column, Row, Stack, StackBar, Style, drawable
from tinylm_cli.render.document import DocumentFormat
from tinylm_cli.render.sanitize import escape_controls
from tinylm_cli.render.stacked_bars import legend

_HUES = ("#4c78a8", "#e6a23c", "#b279a2", "#54a8a8", "#59a14f", "#9d9d9d")
"""Colors of the parts of a bar, readable on a light and on a dark page."""

_PATTERNS = (("■", None), ("▨", 135), ("▧", 45), ("▥", 90), ("▤", 180))
"""Each color is filled first, then hatched: the sign in the legend, and the angle in degrees across the stripes."""

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
    lines = [line for block in drawable(blocks) for line in _Html().lines(block)]
    return "\n".join(["<div>", *lines, "</div>\n"])


class _Html(DocumentFormat):
    draws_bars = True

    def heading(self, text: str, detail: str) -> Iterator[str]:
        yield f"<p><b>{_plain(text)}</b>{'&ensp;' + _styled(detail, 'muted') if detail else ''}</p>"

    def note(self, text: str, style: Style) -> Iterator[str]:
        yield f"<p>{_styled(text, style)}</p>"

    def listing(self, lines: Sequence[str], language: str) -> Iterator[str]:  # noqa: ARG002 - no highlighting
        yield "<pre>" + "\n".join(map(_plain, lines)) + "</pre>"

    def error(self, place: str, message: str, remedy: str) -> Iterator[str]:
        yield f"<p><b>{_plain(place)}</b> {_plain(message)}{f' ({_plain(remedy)})' if remedy else ''}</p>"

    def stack(self, stack: Stack) -> Iterator[str]:
        limit = 0 if stack.limit is None else stack.limit.value
        full = max(limit, *(bar.total.value for bar in stack.bars))
        yield from (_bar(bar, full) for bar in stack.bars)
        yield from self.lines(legend(stack, [_swatch(part) for part in range(len(stack.parts))]))

    def table(self, columns: Sequence[Column], rows: Sequence[Row], total: Row | None) -> Iterator[str]:
        yield "<table>"
        if any(column.header for column in columns):
            heads = (f"<th{_aligned(column)}>{_plain(column.header)}</th>" for column in columns)
            yield f"<thead><tr>{''.join(heads)}</tr></thead>"
        yield "<tbody>"
        for row in rows:
            cells = (f"<td{_aligned(column)}>{_cell(cell)}</td>" for column, cell in zip(columns, row, strict=True))
            yield f"<tr>{''.join(cells)}</tr>"
        yield "</tbody>"
        if total is not None:
            pairs = zip(columns, total, strict=True)
            cells = (f"<td{_aligned(column, _RULE)}><b>{_cell(cell)}</b></td>" for column, cell in pairs)
            yield f"<tfoot><tr>{''.join(cells)}</tr></tfoot>"
        yield "</table>"


def _bar(bar: StackBar, full: float) -> str:
    """Return a stacked bar; ``full`` is the amount that takes the full width."""
    widths = [100 * amount.value / full if full else 0 for amount in bar.amounts]
    parts = (_box(f"{width:.2f}%", _fill(part)) for part, width in enumerate(widths))
    name = f"{_plain(bar.name)} " if bar.name else ""
    return f'<div style="max-width:40em">{name}{_plain(bar.total)}<div>{"".join(parts)}</div></div>'


def _swatch(part: int) -> Cell:
    return Cell(_PATTERNS[part // len(_PARTS) % len(_PATTERNS)][0], _PARTS[part % len(_PARTS)])


def _fill(part: int) -> str:
    """Return the CSS background of a part, as its swatch shows it."""
    color, angle = _HUES[part % len(_HUES)], _PATTERNS[part // len(_HUES) % len(_PATTERNS)][1]
    return color if angle is None else f"repeating-linear-gradient({angle}deg,{color} 0 2px,transparent 2px 4px)"


def _aligned(column: Column, style: str = "") -> str:
    return f' style="text-align:{"right" if column.right else "left"}{";" + style if style else ""}"'


def _cell(cell: str | Cell | Bar) -> str:
    if isinstance(cell, Bar):
        return _box(f"{6 * cell.share:.2f}em", _HUES[0])
    return _styled(cell.text, cell.style) if isinstance(cell, Cell) else _plain(cell)


def _box(width: str, background: str) -> str:
    return f'<span style="display:inline-block;height:.8em;width:{width};background:{background}"></span>'


def _styled(text: str, style: Style) -> str:
    css = _STYLES.get(style, "")
    return f'<span style="{css}">{_plain(text)}</span>' if css else _plain(text)


def _plain(text: str) -> str:
    return escape(escape_controls(text))

"""Draw stacked bars in terminal cells, and their legend as a table."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from itertools import accumulate, groupby

from tinylm_cli.render.blocks import Cell, Column, Row, Stack, StackBar, Style, Table
from tinylm_cli.render.sanitize import for_terminal
from tinylm_cli.render.styled_lines import Line, cell_len, line, set_cell_size
from tinylm_cli.render.terminal import Terminal
from tinylm_cli.render.units import percentages

_FILLS = "█▒▚░▓▄▖▞▀▗▙▐▘▛▂▜▝▟▆▁▇▔▃▕▅"
"""The signs of the parts, one for each: in a terminal without color, nothing else tells two parts apart."""
_HUES: tuple[Style, ...] = ("hue-1", "hue-2", "hue-3", "hue-4", "hue-5", "hue-6")
_MARK = "┃"
_NOTHING, _LIMIT = -1, -2
"""Cells of a bar that show no part: empty ones, and the mark of the limit."""
_GAP = "  "
_MAX_NAME = 20
_MIN_BAR = 10


def bar_lines(stack: Stack, terminal: Terminal) -> Generator[Line, None, list[Cell]]:
    """Yield a line for each bar; return the legend key of each part, empty if the part is too small to draw.

    Each boundary between parts is the rounded cumulative sum, so that rounding errors do not add up. All bars share the
    scale of the longest bar or of the limit.
    """
    limit = stack.limit.value if stack.limit is not None else 0
    full = max(limit, *(bar.total.value for bar in stack.bars))
    names = [for_terminal(bar.name, terminal) for bar in stack.bars]
    names = [set_cell_size(name, _MAX_NAME) if cell_len(name) > _MAX_NAME else name for name in names]
    totals = [for_terminal(bar.total, terminal) for bar in stack.bars]
    before, after = (max(map(cell_len, texts)) for texts in (names, totals))
    room = terminal.width - (before + len(_GAP) if before else 0) - len(_GAP) - after - (1 if limit else 0)
    room = max(room, _MIN_BAR)
    parts_drawn: set[int] = set()
    for bar, name, total in zip(stack.bars, names, totals, strict=True):
        cells = _cells(bar, room, full)
        parts_drawn |= set(cells)
        if stack.limit is not None:
            cells.insert(round(limit / full * room) if full else room, _LIMIT)
        pieces = [_piece(cell, len(list(run)), terminal) for cell, run in groupby(cells)]
        label = [Cell(name + " " * (before - cell_len(name)), "name"), Cell(_GAP)] if before else []
        over = stack.limit is not None and bar.total.value > limit
        shown = Cell(" " * (after - cell_len(total)) + total, "bad" if over else "strong")
        yield line(*label, *pieces, Cell(_GAP), shown)
    if stack.limit is not None:
        name = f", {stack.limit_name}" if stack.limit_name else ""
        yield line(_piece(_LIMIT, 1, terminal), Cell(for_terminal(f" {stack.limit}{name}", terminal), "muted"))
    yield []
    return [_key(part) if part in parts_drawn else Cell("") for part in range(len(stack.parts))]


def legend(stack: Stack, keys: Sequence[Cell] | None = None) -> Table:
    """Return a table with the amount of each part in every bar and, for a single bar, its share.

    Args:
        stack: The bars.
        keys: The key of each part as drawn; None, which omits the column, if the format draws no bars.
    """
    several = len(stack.bars) > 1
    amounts = [
        Column(
            bar.name if several else "", right=True, keep=6 if index else 9, key=f"{stack.key}.{bar.name}".rstrip(".")
        )
        for index, bar in enumerate(stack.bars)
    ]
    share = () if several else (Column("share", right=True, keep=6),)
    columns = (*(() if keys is None else (Column(""),)), Column(stack.title, shrink=True, key="name"), *amounts, *share)
    shares = [] if several else _shares(stack.bars[0])
    rows: list[Row] = []
    for part, name in enumerate(stack.parts):
        key = () if keys is None else (keys[part],)
        rows.append((*key, Cell(name, "name"), *(bar.amounts[part] for bar in stack.bars), *shares[part : part + 1]))
    blank = () if keys is None else ("",)
    all_shares = () if several else ("100.0%" if stack.bars[0].total.value else "",)
    total = (*blank, "total", *(bar.total for bar in stack.bars), *all_shares)
    return Table(columns, tuple(rows), total, name=stack.name, caption=stack.caption)


def _shares(bar: StackBar) -> Sequence[str]:
    total = bar.total.value
    return percentages([amount.value / total for amount in bar.amounts]) if total else [""] * len(bar.amounts)


def _cells(bar: StackBar, room: int, full: float) -> list[int]:
    """Return the part that each of ``room`` cells shows; a part of less than one cell takes one from the longest."""
    ends = [round(end / full * room) if full else 0 for end in accumulate(amount.value for amount in bar.amounts)]
    counts = [end - start for start, end in zip([0, *ends], ends, strict=False)]
    for part, amount in enumerate(bar.amounts):
        longest = max(counts)
        if amount.value and not counts[part] and longest > 1:
            counts[counts.index(longest)] -= 1
            counts[part] = 1
    cells = [part for part, count in enumerate(counts) for _ in range(count)]
    return cells + [_NOTHING] * (room - len(cells))


def _piece(cell: int, times: int, terminal: Terminal) -> Cell:
    piece = Cell(" ") if cell == _NOTHING else Cell(_MARK, "bad") if cell == _LIMIT else _key(cell)
    return Cell(for_terminal(piece.text * times, terminal), piece.style)


def _key(part: int) -> Cell:
    return Cell(_FILLS[part % len(_FILLS)], _HUES[part % len(_HUES)])

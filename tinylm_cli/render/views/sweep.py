"""The screen of ``tinylm sweep``."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from tinylm_cli.quantities import Quantity, binary_bytes, counted
from tinylm_cli.render.blocks import Bar, Block, Cell, Column, Heading, Note, Row, Table, View
from tinylm_cli.render.units import amount, compact, csv_only, flops, integer
from tinylm_cli.reports.figures import Unit
from tinylm_cli.reports.sweep import SweepPoint, SweepReport

_SHOWN = (
    *("total_params", "active_params", "forward_flops_per_token", "kv_cache_bytes", "weights_bytes"),
    "train_bytes_per_gpu",
)
"""Figures that have a column on the screen."""

_WIDEST_GRID = 8
"""Values of the second field up to which the chart of two fields is a grid."""

_MOST_NAMED = 3
"""Invalid points named for one error."""

_MOST_ERRORS = 5
"""Errors listed."""


def sweep_view(report: SweepReport) -> View:
    """Show the figures of each point, a chart of one figure, and the errors of the invalid points."""
    fields = " and ".join(each.name for each in report.fields)
    return (
        Heading(f"{report.name} by {fields}", f"{counted(len(report.points), 'config')}, bytes in {report.dtype}"),
        _table(report),
        *_chart(report),
        *_errors(report),
    )


def _table(report: SweepReport) -> Table:
    hidden = _hidden(report)
    columns = (
        *(Column(each.name, right=True) for each in report.fields),
        Column("parameters", right=True, key="total_params"),
        Column("active", right=True, keep=3, key="active_params"),
        Column("FLOPs/token", right=True, keep=6, key="forward_flops_per_token"),
        Column("KV cache", right=True, keep=4, key="kv_cache_bytes"),
        Column("weights", right=True, keep=2, key="weights_bytes"),
        Column("training", right=True, keep=3, key="train_bytes_per_gpu"),
        *(Column("", key=figure) for figure in hidden),
        Column("", key="error"),
    )
    rows = tuple(_row(each, hidden) for each in report.points)
    return Table(columns, rows, name="points", caption="Figures of each config")


def _hidden(report: SweepReport) -> list[str]:
    """Return the figures without a column on the screen; CSV has them all."""
    figures = next((each.figures for each in report.points if each.figures), {})
    return [figure for figure in figures if figure not in _SHOWN]


def _row(point: SweepPoint, hidden: Sequence[str]) -> Row:
    values = tuple(Cell(value, "name") for value in point.values)
    if point.figures is None:
        empty = [""] * (len(_SHOWN) - 1 + len(hidden))
        return (*values, Cell(Quantity("invalid", math.nan), "bad"), *empty, Cell("", key=point.error))
    figures = point.figures
    total, active = figures["total_params"], figures["active_params"]
    return (
        *values,
        Cell(integer(total), "strong"),
        compact(active) if active != total else csv_only(active),
        flops(figures["forward_flops_per_token"]),
        binary_bytes(figures["kv_cache_bytes"]),
        binary_bytes(figures["weights_bytes"]),
        binary_bytes(figures["train_bytes_per_gpu"]),
        *(csv_only(figures[figure]) for figure in hidden),
        "",
    )


def _chart(report: SweepReport) -> tuple[Block, ...]:
    """Chart one figure: a bar for each point, or a grid for two fields."""
    figure, unit = report.figure, report.unit
    if len(report.fields) == 2 and len(report.fields[1].values) <= _WIDEST_GRID:
        return (Note(f"{figure}:"), _grid(report))
    valid = [(each.values, each.figures[figure]) for each in report.points if each.figures is not None]
    longest = max((value for _, value in valid), default=0) or 1
    rows = tuple(
        (Cell(", ".join(values), "name"), amount(value, unit), Bar(value / longest)) for values, value in valid
    )
    columns = (
        Column(", ".join(each.name for each in report.fields), right=True),
        Column(figure, right=True),
        Column(""),
    )
    return (Table(columns, rows, caption=figure),) if rows else ()


def _grid(report: SweepReport) -> Table:
    """Return the values of the first field as rows and of the second as columns, each figure in few digits."""
    down, across = report.fields
    figures = {each.values: each.figures for each in report.points}
    columns = (
        Column(f"{down.name} \\ {across.name}"),
        *(Column(value, right=True, keep=8) for value in across.values),
    )
    rows = []
    for value in down.values:
        cells = [figures[value, other] for other in across.values]
        rows.append(
            (
                Cell(value, "name"),
                *(_short(cell[report.figure], report.unit) if cell else Cell("–", "muted") for cell in cells),
            )
        )
    return Table(columns, tuple(rows), caption=report.figure)


def _short(value: int, unit: Unit) -> str:
    return compact(value) if unit == "params" else amount(value, unit)


def _errors(report: SweepReport) -> Iterator[Note]:
    """Yield each error once, after the points that have it."""
    by_error: dict[str, list[tuple[str, ...]]] = {}
    for point in report.points:
        if point.error:
            by_error.setdefault(point.error, []).append(point.values)
    for error, points in list(by_error.items())[:_MOST_ERRORS]:
        yield Note(f"{_named([each.name for each in report.fields], points)}: {error}.", "warn")
    left = sum(map(len, list(by_error.values())[_MOST_ERRORS:]))
    if left:
        yield Note(f"{left} more are invalid; the JSON report has their errors.", "warn")


def _named(fields: Sequence[str], points: Sequence[tuple[str, ...]]) -> str:
    """Name the points, by one field alone where they share its value."""
    shared = [len(set(values)) == 1 for values in zip(*points, strict=True)]
    kept = [alike or not any(shared) for alike in shared]
    named = dict.fromkeys(
        ", ".join(f"{field} {value}" for field, value, keep in zip(fields, values, kept, strict=True) if keep)
        for values in points
    )
    more = f" and {len(named) - _MOST_NAMED} more" if len(named) > _MOST_NAMED else ""
    return "; ".join(list(named)[:_MOST_NAMED]) + more

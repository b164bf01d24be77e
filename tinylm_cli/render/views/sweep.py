"""The view of ``tinylm sweep``."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from tinylm_cli.quantities import Quantity, binary_bytes, counted
from tinylm_cli.render.blocks import Bar, Cell, Column, Heading, Note, Table, View
from tinylm_cli.render.units import amount, compact, csv_only, flops, integer
from tinylm_cli.render.views.record_table import RecordColumn, computed, only_csv, record_table
from tinylm_cli.reports.figures import Unit
from tinylm_cli.reports.sweep import SweepPoint, SweepReport

_LABELS = {
    "total_params": "parameters",
    "active_params": "active",
    "forward_flops_per_token": "FLOPs/token",
    "kv_cache_bytes": "KV cache",
    "state_bytes": "states",
    "weights_bytes": "weights",
    "train_bytes_per_gpu": "train memory",
}
"""Headings of the figures that are always shown; others have their JSON names."""

_WIDEST_GRID = 8
"""Maximum number of values of the second field for which the chart is a grid."""

_MAX_NAMED = 3
"""Maximum number of invalid points named per error."""

_NUMBER = re.compile(r"[0-9][0-9,.]*")

_MAX_ERRORS = 5
"""Maximum number of errors listed."""


def sweep_view(report: SweepReport) -> View:
    """Show the figures of each point with a chart of one of them, and the errors of the invalid points."""
    fields = " and ".join(each.name for each in report.fields)
    return (
        Heading(f"{report.name} by {fields}", f"{counted(len(report.points), 'config')}, {_conditions(report)}"),
        _table(report),
        *((Heading(_LABELS.get(report.figure, report.figure)), _grid(report)) if _has_grid(report) else ()),
        *_errors(report),
    )


def _conditions(report: SweepReport) -> str:
    length = "max_len tokens" if report.seq_len is None else counted(report.seq_len, "token")
    return f"{counted(report.batch_size, 'sequence')} of {length} in {report.dtype}"


def _table(report: SweepReport) -> Table:
    shown = {
        "total_params": computed(_LABELS["total_params"], "total_params", _total, right=True),
        "active_params": computed(_LABELS["active_params"], "active_params", _active, right=True, keep=3),
        "forward_flops_per_token": _figure("forward_flops_per_token", flops, keep=6),
        "kv_cache_bytes": _figure("kv_cache_bytes", binary_bytes, keep=4, header=_cache_label(report)),
        "weights_bytes": _figure("weights_bytes", binary_bytes, keep=2),
        "train_bytes_per_gpu": _figure("train_bytes_per_gpu", binary_bytes, keep=3),
    }
    if report.figure != "total_params":
        header = _cache_label(report) if report.figure == "kv_cache_bytes" else None
        shown[report.figure] = _figure(report.figure, partial(amount, unit=report.unit), header=header)
    figures = next((each.figures for each in report.points if each.figures), {})
    headers = _headers(report)
    columns = [_value(index, each.name, headers[index]) for index, each in enumerate(report.fields)]
    for name, column in shown.items():
        columns += [column, _bar(report)] if name == report.figure and not _has_grid(report) else [column]
    columns += [_figure(name, csv_only, header="") for name in figures if name not in shown]
    return record_table(report.points, (*columns, *only_csv("error")), name="points", caption="Figures of each config")


def _cache_label(report: SweepReport) -> str:
    """Return the heading of the cache, which is more than a KV cache if some layers keep states."""
    has_states = any(each.figures and each.figures["state_bytes"] for each in report.points)
    return "cache" if has_states else _LABELS["kv_cache_bytes"]


def _bar(report: SweepReport) -> RecordColumn:
    """Return the column of bars of the charted figure."""
    longest = max((each.figures[report.figure] for each in report.points if each.figures), default=0) or 1

    def cell(point: SweepPoint) -> str | Bar:
        return "" if point.figures is None else Bar(point.figures[report.figure] / longest)

    return computed("", None, cell, keep=2)


def _has_grid(report: SweepReport) -> bool:
    """Return whether the chart is a grid of two fields, not bars."""
    return len(report.fields) == 2 and len(report.fields[1].values) <= _WIDEST_GRID


def _headers(report: SweepReport) -> list[str]:
    """Return the name of each field; fields of layer kinds without their block, unless two would be equal."""
    names = [each.name for each in report.fields]
    short = [name.rpartition(".")[2] if name.startswith("layers.kinds.") else name for name in names]
    return short if len(set(short)) == len(names) else names


def _value(index: int, name: str, header: str) -> RecordColumn:
    return computed(header, name, lambda point: Cell(point.values[index], "name"), right=True)


def _figure(name: str, text: Callable[[int], str], keep: int = 9, header: str | None = None) -> RecordColumn:
    """Return the column of a figure; an invalid config has an empty cell."""

    def cell(point: SweepPoint) -> str:
        return "" if point.figures is None else text(point.figures[name])

    return computed(_LABELS.get(name, name) if header is None else header, name, cell, right=True, keep=keep)


def _total(point: SweepPoint) -> Cell:
    if point.figures is None:
        return Cell(Quantity("invalid", math.nan), "bad")
    return Cell(integer(point.figures["total_params"]), "strong")


def _active(point: SweepPoint) -> str:
    if point.figures is None:
        return ""
    active = point.figures["active_params"]
    return compact(active) if active != point.figures["total_params"] else csv_only(active)


def _grid(report: SweepReport) -> Table:
    """Return the values of the first field as rows and of the second as columns, each figure in few digits."""
    down, across = report.fields
    figures = {each.values: each.figures for each in report.points}
    columns = (
        Column(" \\ ".join(_headers(report)), right=True),
        *(Column(value, right=True, keep=8) for value in across.values),
    )
    rows = tuple(
        (
            Cell(value, "name"),
            *(
                _short(cell[report.figure], report.unit) if cell else Cell("–", "muted")
                for cell in (figures[value, other] for other in across.values)
            ),
        )
        for value in down.values
    )
    return Table(columns, rows, caption=_LABELS.get(report.figure, report.figure))


def _short(value: int, unit: Unit) -> str:
    return compact(value) if unit == "params" else amount(value, unit)


def _errors(report: SweepReport) -> Iterator[Note]:
    """Yield each error once, with its remedy, after the points that have it unless the error names them.

    Errors that differ only in their numbers count as one: the first is shown, and the other points are named.
    """
    by_text: dict[str, dict[tuple[str, str], list[tuple[str, ...]]]] = {}
    for point in report.points:
        if point.error:
            by_error = by_text.setdefault(_NUMBER.sub("#", point.error), {})
            by_error.setdefault((point.error, point.help), []).append(point.values)
    fields = [each.name for each in report.fields]
    for by_error in list(by_text.values())[:_MAX_ERRORS]:
        ((error, remedy), points), *others = by_error.items()
        named = _named(fields, points)
        place = "" if f" {named} " in f" {error} " else f"{named}: "
        alike = [values for _, each in others for values in each]
        more = f" Likewise {_listed(fields, alike)}." if alike else ""
        yield Note(f"{place}{error}{f'; {remedy}' if remedy else ''}.{more}", "warn")
    left = sum(len(points) for by_error in list(by_text.values())[_MAX_ERRORS:] for points in by_error.values())
    if left:
        yield Note(f"{left} more are invalid; the JSON report has their errors.", "warn")


def _named(fields: Sequence[str], points: Sequence[tuple[str, ...]]) -> str:
    """Name the points by their fields, or only by the fields whose value they share."""
    shared = [len(set(values)) == 1 for values in zip(*points, strict=True)]
    kept = [alike or not any(shared) for alike in shared]
    named = dict.fromkeys(
        ", ".join(f"{field} {value}" for field, value, keep in zip(fields, values, kept, strict=True) if keep)
        for values in points
    )
    more = f" and {len(named) - _MAX_NAMED} more" if len(named) > _MAX_NAMED else ""
    return "; ".join(list(named)[:_MAX_NAMED]) + more


def _listed(fields: Sequence[str], points: Sequence[tuple[str, ...]]) -> str:
    """List points by all their fields: ``n_layers 8, 12 and 4 more``."""
    named = [", ".join(f"{field} {value}" for field, value in zip(fields, values, strict=True)) for values in points]
    if len(fields) == 1:
        named[1:] = [value for (value,) in points[1:]]
    more = f" and {len(named) - _MAX_NAMED} more" if len(named) > _MAX_NAMED else ""
    return (", " if len(fields) == 1 else "; ").join(named[:_MAX_NAMED]) + more

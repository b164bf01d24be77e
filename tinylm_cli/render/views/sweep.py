"""The screen of ``tinylm design --vary``."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from tinylm_cli.quantities import Quantity, binary_bytes, counted
from tinylm_cli.render.blocks import Bar, Block, Cell, Column, Heading, Note, Table, View
from tinylm_cli.render.units import compact, flops, integer, unseen
from tinylm_cli.render.views.constraints import quantity
from tinylm_cli.reports.design import SweepReport, Variant
from tinylm_cli.reports.figures import Unit

_SHOWN = (
    *("total_params", "active_params", "forward_flops_per_token", "kv_cache_bytes", "weights_bytes"),
    "train_bytes_per_gpu",
)
_WIDEST_GRID = 8
_MOST_NAMED = 3
_MOST_REASONS = 5


def sweep_view(report: SweepReport) -> View:
    """Show each variant's figures, one of them drawn, and what is wrong with those that are no configs."""
    fields = " and ".join(each.field for each in report.varied)
    return (
        Heading(f"{report.name} by {fields}", f"{counted(len(report.variants), 'config')}, bytes in {report.dtype}"),
        _table(report),
        *_drawn(report),
        *_invalid(report),
    )


def _table(report: SweepReport) -> Table:
    columns = (
        *(Column(each.field, right=True) for each in report.varied),
        Column("parameters", right=True, key="total_params"),
        Column("active", right=True, keep=3, key="active_params"),
        Column("FLOPs a token", right=True, keep=6, key="forward_flops_per_token"),
        Column("KV cache", right=True, keep=4, key="kv_cache_bytes"),
        Column("weights", right=True, keep=2, key="weights_bytes"),
        Column("to train", right=True, keep=3, key="train_bytes_per_gpu"),
        *(Column("", key=figure) for figure in _unshown(report)),
        Column("", key="invalid"),
    )
    rows = tuple(_row(each, _unshown(report)) for each in report.variants)
    return Table(columns, rows, name="variants", caption="Figures of each config")


def _unshown(report: SweepReport) -> list[str]:
    """Return the figures that have no column on the screen."""
    figures = next((each.figures for each in report.variants if each.figures), {})
    return [figure for figure in figures if figure not in _SHOWN]


def _row(variant: Variant, unshown: Sequence[str]) -> tuple[str | Cell, ...]:
    values = tuple(Cell(value, "name") for value in variant.values)
    if variant.figures is None:
        nothing = [""] * (len(_SHOWN) - 1 + len(unshown))
        return (*values, Cell(Quantity("invalid", math.nan), "bad"), *nothing, Cell("", key=variant.invalid))
    figures = variant.figures
    total, active = figures["total_params"], figures["active_params"]
    return (
        *values,
        Cell(integer(total), "strong"),
        compact(active) if active != total else unseen(active),
        flops(figures["forward_flops_per_token"]),
        binary_bytes(figures["kv_cache_bytes"]),
        binary_bytes(figures["weights_bytes"]),
        binary_bytes(figures["train_bytes_per_gpu"]),
        *(unseen(figures[figure]) for figure in unshown),
        "",
    )


def _drawn(report: SweepReport) -> tuple[Block, ...]:
    """Draw a figure: a bar for each value, or a grid for two fields."""
    figure, unit = report.figure, report.unit
    if len(report.varied) == 2 and len(report.varied[1].values) <= _WIDEST_GRID:
        return (Note(f"{figure}:"), _crossed(report))
    most = max((each.figures[figure] for each in report.variants if each.figures), default=0) or 1
    rows = tuple(
        (Cell(", ".join(each.values), "name"), quantity(each.figures[figure], unit), Bar(each.figures[figure] / most))
        for each in report.variants
        if each.figures is not None
    )
    columns = (
        Column(", ".join(each.field for each in report.varied), right=True),
        Column(figure, right=True),
        Column(""),
    )
    return (Table(columns, rows, caption=figure),) if rows else ()


def _crossed(report: SweepReport) -> Table:
    """Return one field's values down, the other's across, in few digits."""
    down, across = report.varied
    found = {each.values: each.figures for each in report.variants}
    columns = (
        Column(f"{down.field} \\ {across.field}"),
        *(Column(value, right=True, keep=8) for value in across.values),
    )
    rows = []
    for value in down.values:
        cells = [found[value, other] for other in across.values]
        rows.append(
            (
                Cell(value, "name"),
                *(_short(cell[report.figure], report.unit) if cell else Cell("–", "muted") for cell in cells),
            )
        )
    return Table(columns, tuple(rows), caption=report.figure)


def _short(value: int, unit: Unit) -> str:
    return compact(value) if unit == "params" else quantity(value, unit)


def _invalid(report: SweepReport) -> Iterator[Note]:
    """Yield what is wrong with variants that are no configs, those of one reason together."""
    by_reason: dict[str, list[tuple[str, ...]]] = {}
    for variant in report.variants:
        if variant.invalid:
            by_reason.setdefault(variant.invalid, []).append(variant.values)
    for reason, found in list(by_reason.items())[:_MOST_REASONS]:
        yield Note(f"{_named([each.field for each in report.varied], found)}: {reason}.", "warn")
    left = sum(map(len, list(by_reason.values())[_MOST_REASONS:]))
    if left:
        yield Note(f"{left} more are invalid: --format json says why.", "warn")


def _named(fields: Sequence[str], found: Sequence[tuple[str, ...]]) -> str:
    """Return which variants these are: by the field whose value all share, if there is one."""
    shared = [len(set(column)) == 1 for column in zip(*found, strict=True)]
    kept = [alike or not any(shared) for alike in shared]
    named = dict.fromkeys(
        ", ".join(f"{field} {value}" for field, value, keep in zip(fields, values, kept, strict=True) if keep)
        for values in found
    )
    more = f" and {len(named) - _MOST_NAMED} more" if len(named) > _MOST_NAMED else ""
    return "; ".join(list(named)[:_MOST_NAMED]) + more

"""The screen of ``tinylm compare``."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from tinylm_cli.config.amounts import UNITS, stated
from tinylm_cli.config.fields import fields
from tinylm_cli.config.yaml_writer import scalar, short_scalar
from tinylm_cli.quantities import Quantity, binary_bytes, counted
from tinylm_cli.render.blocks import Block, Cell, Column, Heading, Note, Row, Table, View
from tinylm_cli.render.units import csv_only, flops, integer, ratio, signed_bytes, signed_flops, signed_integer
from tinylm_cli.reports.compare import CompareReport, FieldDifference, FigureDifference
from tinylm_cli.reports.figures import Unit

_WORDS: dict[Unit, tuple[Callable[[int], Quantity], Callable[[int], Quantity]]] = {
    "params": (integer, signed_integer),
    "bytes": (binary_bytes, signed_bytes),
    "flops": (flops, signed_flops),
}
"""How a figure and how a change of it is written, by what it counts."""


def compare_view(report: CompareReport) -> View:
    """Show the fields that differ, then the figures, each beside that of the first model."""
    base, *others = (model.name for model in report.models)
    title = f"{base} → {others[0]}" if len(others) == 1 else f"{base} beside {', '.join(others)}"
    if report.same:
        return Heading(title), _figures(report), Note("No differences.", "good")
    found = [
        counted(len(differences), noun)
        for differences, noun in ((report.fields, "field"), (report.figures, "figure"))
        if differences
    ]
    verb = "differs" if len(report.fields) + len(report.figures) == 1 else "differ"
    blocks: list[Block] = [Heading(title, f"{' and '.join(found)} {verb}"), _fields(report), _figures(report)]
    return (*blocks, _assumed(report))


def _fields(report: CompareReport) -> Table:
    columns = (Column("field", shrink=True), *_model_columns(report))
    rows = tuple(_field(difference) for difference in report.fields)
    return Table(columns, rows, name="fields", caption="Fields that differ")


def _field(difference: FieldDifference) -> Row:
    values = zip(difference.values, _short(difference.values), strict=True)
    base, *others = (_value(difference.field, value, short) for value, short in values)
    return (
        Cell(difference.field, "name"),
        base,
        *(each._replace(style="muted") if each.text == base.text else each for each in others),
    )


def _short(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return numbers to six digits, such as √d_model, unless that makes different ones alike."""
    short = tuple(float(f"{value:.6g}") if isinstance(value, float) else value for value in values)
    return short if [short.count(each) for each in short] == [values.count(each) for each in values] else values


def _value(field: str, value: Any, short: Any) -> Cell:
    if value is None:
        return Cell(Quantity("—", math.nan), "muted")
    kind = fields()[field].kind
    words = stated(value, kind) if kind in UNITS else short_scalar(short)
    return Cell(Quantity(words, value) if isinstance(value, int | float) else words, key=_whole(value))


def _whole(value: Any) -> str:
    """Return what CSV has of a value that the screen may shorten; nothing of a number, which keeps itself."""
    return scalar(value) if isinstance(value, list | tuple) else ""


def _figures(report: CompareReport) -> Table:
    base, *others = _model_columns(report)
    columns = [Column("figure", shrink=True, key="name"), Column("", key="unit"), base]
    for column in others:
        columns += [
            column,
            Column("change", right=True, keep=8, key=f"differences.{column.header}", group=column.group),
            Column("ratio", right=True, keep=9, key=f"ratios.{column.header}", group=column.group),
        ]
    rows = tuple(_figure(difference) for difference in report.figures)
    return Table(tuple(columns), rows, main=True, name="figures", caption="Figures that differ")


def _figure(difference: FigureDifference) -> Row:
    words, signed = _WORDS[difference.unit]
    base, *others = zip(difference.values, difference.differences, difference.ratios, strict=True)
    row: list[str | Cell] = [Cell(difference.name, "name"), Cell("", key=difference.unit), words(base[0])]
    for value, change, times in others:
        row += [
            Cell(words(value), "plain" if change else "muted"),
            signed(change) if change else csv_only(0),
            "" if times is None else ratio(times) if change else csv_only(times),
        ]
    return tuple(row)


def _model_columns(report: CompareReport) -> tuple[Column, ...]:
    """Return a column for each model; many go under one another, each time beside the first."""
    return tuple(
        Column(model.name, right=True, shrink=True, key=f"values.{model.name}", group=index)
        for index, model in enumerate(report.models)
    )


def _assumed(report: CompareReport) -> Note:
    """Say what figures assume, the same for all: comparing models at lengths of their own would compare lengths.

    Also of those that are not shown: that they are the same holds under it.
    """
    lengths = {model.max_len for model in report.models}
    smallest = ", the smallest max_len," if len(lengths) > 1 and report.seq_len == min(lengths) else ""
    sequences = f"{counted(report.batch_size, 'sequence')} of {counted(report.seq_len, 'token')}"
    said = "Figures are" if report.figures else "No figure differs"
    return Note(f"{said} for {sequences}{smallest} in {report.dtype}.", "muted")

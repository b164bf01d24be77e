"""View of ``tinylm compare``."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from typing import Any

from tinylm_cli.config.amounts import stated
from tinylm_cli.config.fields import fields
from tinylm_cli.config.yaml_writer import scalar, short_scalar
from tinylm_cli.quantities import Quantity, binary_bytes, counted
from tinylm_cli.render.blocks import Block, Cell, Column, Heading, Note, Row, Table, View
from tinylm_cli.render.units import (
    compact,
    csv_only,
    dollars,
    duration,
    flops,
    integer,
    percent,
    ratio,
    signed,
    signed_integer,
    three_digits,
)
from tinylm_cli.reports.compare import (
    ChangedConfig,
    ChangedReport,
    ClusterComparison,
    ClusterFigure,
    ClusterUnit,
    CompareReport,
    FieldDifference,
    FigureDifference,
)
from tinylm_cli.reports.figures import Unit

_FORMATS: dict[Unit | ClusterUnit, Callable[[Any], Quantity]] = {
    "params": integer,
    "bytes": binary_bytes,
    "flops": flops,
    "seconds": duration,
    "share": percent,
    "usd": dollars,
    "count": compact,
    "tokens_per_second": three_digits,
}
"""The number format of each unit."""


MIN_VISIBLE_SHARE = 0.0005
"""The smallest difference of two shares that is visible: half the last digit of a percentage."""


def compare_view(report: CompareReport) -> View:
    """Show training and serving on the GPUs, then fields and figures that differ from the first model."""
    base, *others = (model.name for model in report.models)
    title = f"{base} → {others[0]}" if len(others) == 1 else f"{base} vs {', '.join(others)}"
    return (Heading(title, difference_summary(report)), *difference_blocks(report))


def difference_summary(report: CompareReport) -> str:
    """Return the number of differences: ``1 field and 13 figures differ``; empty without differences."""
    kinds = ((report.fields, "field"), (report.figures, "figure"))
    parts = [counted(len(differences), noun) for differences, noun in kinds if differences]
    verb = "differs" if len(report.fields) + len(report.figures) == 1 else "differ"
    return f"{' and '.join(parts)} {verb}" if parts else ""


def difference_blocks(report: CompareReport) -> tuple[Block, ...]:
    """Return the tables of a comparison, and the conditions of its figures."""
    cluster = () if report.cluster is None else (_plans(report, report.cluster), _cluster(report, report.cluster))
    if report.same:
        return (*cluster, _figures(report), Note("No differences.", "good"))
    return (*cluster, _fields(report), _figures(report), _conditions(report))


def changed_view(report: ChangedReport) -> View:
    """Show every changed config in one table, then the differences of each."""
    title = f"Configs changed since {report.revision}"
    if not report.configs:
        return (Heading(title), Note("No config has changed.", "good"))
    statuses = Counter(config.status for config in report.configs)
    detail = ", ".join(f"{count} {status}" for status, count in statuses.items())
    blocks: list[Block] = [Heading(title, detail), _changed(report)]
    blocks += [Note(config.mistake, "bad") for config in report.configs if config.mistake]
    compared = [config for config in report.configs if config.comparison is not None and not config.comparison.same]
    for index, config in enumerate(compared, start=1):
        assert config.comparison is not None
        blocks.append(Heading(config.path, difference_summary(config.comparison)))
        for block in difference_blocks(config.comparison):
            if isinstance(block, Table):
                block = block._replace(name=_numbered(block.name, index), main=False)
            blocks.append(block)
    return tuple(blocks)


def _numbered(name: str, index: int) -> str:
    return name if index == 1 else f"{name}_{index}"


def _changed(report: ChangedReport) -> Table:
    columns = (
        Column("config", shrink=True, key="path"),
        Column("status", key="status"),
        Column("before", right=True, key="before_params"),
        Column("parameters", right=True, key="after_params"),
        Column("change", right=True, keep=8, key="difference_params"),
        Column("ratio", right=True, key="ratio"),
    )
    return Table(
        columns, tuple(map(_changed_row, report.configs)), main=True, name="configs", caption="Changed configs"
    )


def _changed_row(config: ChangedConfig) -> Row:
    before, after, change = config.before_params, config.after_params, config.difference_params
    is_new = config.status == "added"
    missing = Cell(Quantity("—" if is_new or after is None else "invalid", math.nan), "muted")
    return (
        Cell(f"{config.old_path} → {config.path}" if config.old_path else config.path, "name", config.path),
        Cell(config.status, "bad") if config.mistake else config.status,
        missing if before is None else integer(before),
        Cell(Quantity("—", math.nan), "muted") if after is None else Cell(integer(after), "strong"),
        "" if change is None else signed_integer(change) if change else csv_only(0),
        "" if config.ratio is None else ratio(config.ratio) if change else csv_only(1.0),
    )


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
    """Return numbers with six digits, such as √d_model, unless different numbers would look equal."""
    short = tuple(float(f"{value:.6g}") if isinstance(value, float) else value for value in values)
    return short if [short.count(each) for each in short] == [values.count(each) for each in values] else values


def _value(field: str, value: Any, short: Any) -> Cell:
    if value is None:
        return Cell(Quantity("—", math.nan), "muted")
    kind = fields()[field].kind
    text = stated(value, kind) if kind in ("count", "size", "flops") else short_scalar(short)
    return Cell(Quantity(text, value) if isinstance(value, int | float) else text, key=_full_list(value))


def _full_list(value: Any) -> str:
    """Return the full text of a list, for CSV; empty for a number, which its cell stores."""
    return scalar(value) if isinstance(value, list | tuple) else ""


def _plans(report: CompareReport, cluster: ClusterComparison) -> Table:
    where = f"on {cluster.n_gpus} × {cluster.accelerator}" if cluster.n_gpus > 1 else f"on {cluster.accelerator}"
    columns = (Column(where, key="name"), *_model_columns(report))
    plans = ((Cell("plan", "name", "plans"), *(plan or "" for plan in cluster.plans)),) if any(cluster.plans) else ()
    rows = (
        (Cell("training fits", "name", "training_fits"), *map(_fits, cluster.training_fits)),
        *plans,
        (Cell("serving fits one GPU", "name", "serving_fits"), *map(_fits, cluster.serving_fits)),
    )
    return Table(columns, rows, name="plans", caption=f"Memory and plans {where}")


def _fits(fits: bool) -> Cell:  # noqa: FBT001 - mapped over a column
    return Cell(Quantity("yes" if fits else "no", fits), "good" if fits else "bad")


def _cluster(report: CompareReport, cluster: ClusterComparison) -> Table:
    rows = tuple(map(_figure, cluster.figures))
    return Table(
        _figure_columns(report),
        rows,
        main=True,
        name="cluster",
        caption=f"Time, cost and memory on {cluster.accelerator}",
    )


def _figures(report: CompareReport) -> Table:
    rows = tuple(map(_figure, report.figures))
    is_main = report.cluster is None
    return Table(_figure_columns(report), rows, main=is_main, name="figures", caption="Figures that differ")


def _figure_columns(report: CompareReport) -> tuple[Column, ...]:
    """Return a column for the first model, then columns for value, change and ratio of each other model.

    On a narrow screen the change may be dropped, but never the ratio.
    """
    base, *others = _model_columns(report)
    columns = [Column("figure", shrink=True, key="name"), Column("", key="unit"), base]
    for column in others:
        columns += [
            column,
            Column("change", right=True, keep=8, key=f"differences.{column.header}", group=column.group),
            Column("ratio", right=True, keep=9, key=f"ratios.{column.header}", group=column.group),
        ]
    return tuple(columns)


def _figure(difference: FigureDifference | ClusterFigure) -> Row:
    formatted = _FORMATS[difference.unit]
    base, *others = zip(difference.values, difference.differences, difference.ratios, strict=True)
    row: list[str | Cell] = [Cell(difference.name, "name"), Cell("", key=difference.unit), formatted(base[0])]
    for value, change, times in others:
        differs = abs(change) >= MIN_VISIBLE_SHARE if difference.unit == "share" else bool(change)
        row += [
            Cell(formatted(value), "plain" if differs else "muted"),
            _change(difference.unit, change) if differs else csv_only(change),
            "" if times is None else ratio(times) if differs else csv_only(times),
        ]
    return tuple(row)


def _change(unit: Unit | ClusterUnit, change: float) -> Quantity:
    """Return a signed difference; for shares in percentage points."""
    size = abs(change)
    return signed(f"{size * 100:.1f} points" if unit == "share" else _FORMATS[unit](size), change)


def _model_columns(report: CompareReport) -> tuple[Column, ...]:
    """Return a column for each model; a table that is too wide is split, with the first model in each part."""
    return tuple(
        Column(model.name, right=True, shrink=True, key=f"values.{model.name}", group=index)
        for index, model in enumerate(report.models)
    )


def _conditions(report: CompareReport) -> Note:
    """Return the conditions of all figures, which are the same for every model."""
    lengths = {model.max_len for model in report.models}
    smallest = ", the smallest max_len," if len(lengths) > 1 and report.seq_len == min(lengths) else ""
    sequences = f"{counted(report.batch_size, 'sequence')} of {counted(report.seq_len, 'token')}"
    subject = "Figures are" if report.figures else "No figure differs"
    return Note(f"{subject} for {sequences}{smallest} in {report.dtype}.", "muted")

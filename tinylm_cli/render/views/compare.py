"""The view of ``tinylm compare``."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from tinylm_cli.config.amounts import stated
from tinylm_cli.config.fields import field_of
from tinylm_cli.config.yaml_scalar import scalar, short_scalar
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
from tinylm_cli.render.views.record_table import computed, record_table
from tinylm_cli.reports.compare import (
    ChangedConfig,
    ChangedReport,
    ClusterComparison,
    CompareReport,
    FieldDifference,
    FigureDifference,
    FigureUnit,
)
from tinylm_cli.wording import Setting, Wording

_FORMATS: dict[FigureUnit, Callable[[Any], Quantity]] = {
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

_LABELS = {
    "non_embedding_params": "non-embedding params",
    "token_embedding_params": "token embedding",
    "feed_forward_params": "feed-forward params",
    "lm_head_params": "LM head params",
    "mtp_params": "MTP params",
    "weights_bytes": "weights",
    "kv_cache_bytes": "KV cache",
    "state_bytes": "states",
    "train_bytes_per_gpu": "training memory",
    "serve_bytes": "serving memory",
    "forward_flops_per_token": "forward FLOPs/token",
    "train_flops_per_token": "train FLOPs/token",
    "decode_flops_per_token": "decode FLOPs/token",
    "decode_read_bytes_per_token": "decode bytes/token",
    "plan_bytes_per_gpu": "memory per GPU",
    "step_seconds": "step time",
    "utilization": "MFU",
    "train_seconds": "training time",
    "train_usd": "training cost",
    "prefill_seconds": "prefill time",
    "decode_tokens_per_second": "decode tokens/s",
}
"""Labels of figures in tables; other figures have their JSON names with spaces. CSV has the JSON names."""

SIZES = ("total_params", "active_params")
"""Figures of the models that a comparison on GPUs always shows."""

MAX_FIELDS_FIRST = 10
"""With more fields that differ, the figures are shown first."""

MAX_COMPLETE = 2
"""Largest number of models for which every figure that differs is shown without ``full``."""

MAIN_FIGURES = (*SIZES, "weights_bytes", "kv_cache_bytes", "train_bytes_per_gpu", "serve_bytes")
"""Figures that a comparison of more models shows."""

FULL = Setting("full", True)

MIN_VISIBLE_SHARE = 0.0005
"""The smallest difference of two shares that is visible: half the last digit of a percentage."""


def compare_view(report: CompareReport, wording: Wording, *, full: bool = True) -> View:
    """Show training and serving on the GPUs, then fields and figures that differ from the first model.

    Args:
        report: The comparison.
        wording: Words settings.
        full: Whether to show every figure of more than two models, and fields and figures below a comparison on GPUs.
    """
    base, *others = (model.name for model in report.models)
    title = f"{base} → {others[0]}" if len(others) == 1 else f"{base} vs {', '.join(others)}"
    counts = difference_summary(report) if full or report.cluster is None else ""
    return (Heading(title, counts), *difference_blocks(report, wording, full=full))


def difference_summary(report: CompareReport) -> str:
    """Return the number of differences: ``1 field and 13 figures differ``; empty without differences."""
    kinds = ((report.fields, "field"), (report.figures, "figure"))
    parts = [counted(len(differences), noun) for differences, noun in kinds if differences]
    verb = "differs" if len(report.fields) + len(report.figures) == 1 else "differ"
    return f"{' and '.join(parts)} {verb}" if parts else ""


def difference_blocks(report: CompareReport, wording: Wording, *, full: bool) -> Iterator[Block]:
    """Yield the tables of a comparison, and the conditions of its figures."""
    if report.cluster is not None:
        yield _plans(report, report.cluster)
        sizes = () if full else tuple(each for each in report.figures if each.name in SIZES)
        caption = f"Time, cost and memory on {report.cluster.accelerator}"
        yield _figures(report, (*sizes, *report.cluster.figures), "cluster", caption)
        if not all((*report.cluster.training_fits, *report.cluster.serving_fits)):
            yield Note("Times of a model that does not fit assume enough memory.", "muted")
    if full or report.cluster is None:
        columns = (Column("field", shrink=True), *_model_columns(report))
        rows = tuple(map(_field, report.fields))
        fields = Table(columns, rows, name="fields", caption="Fields that differ", of_differences=True)
        if 0 < len(report.fields) <= MAX_FIELDS_FIRST:
            yield fields
        short = not full and len(report.models) > MAX_COMPLETE
        figures = tuple(each for each in report.figures if each.name in MAIN_FIGURES or not short)
        yield _figures(report, figures, "figures", "Figures that differ")
        if len(figures) < len(report.figures):
            others = counted(len(report.figures) - len(figures), "other figure")
            yield Note(f"{wording(FULL)} also shows {others}.", "muted")
        if len(report.fields) > MAX_FIELDS_FIRST:
            yield fields
    elif report.fields:
        names = _brief(each.field for each in report.fields)
        yield Note(f"Fields that differ: {names}. {wording(FULL)} shows their values and every other figure.")
    yield Note("No differences.", "good") if report.equal else _conditions(report)


def _brief(fields: Iterable[str]) -> str:
    """Return the names of fields; several fields of one block are its name and their number: ``attention (4)``."""
    blocks: dict[str, list[str]] = {}
    for field in fields:
        blocks.setdefault(field.split(".")[0], []).append(field)
    return ", ".join(f"{block} ({len(names)})" if len(names) > 1 else names[0] for block, names in blocks.items())


def changed_view(report: ChangedReport, wording: Wording, *, full: bool = True) -> View:
    """Show every changed config in one table, then the fields that differ; on GPUs or in ``full``, each comparison."""
    title = f"Configs changed since {report.revision}"
    if not report.configs:
        return (Heading(title), Note("No config has changed.", "good"))
    statuses = Counter(config.status for config in report.configs)
    detail = ", ".join(f"{count} {status}" for status, count in statuses.items())
    blocks: list[Block] = [Heading(title, detail), _changed(report)]
    blocks += [Note(config.error, "bad") for config in report.configs if config.error]
    compared = [(config.path, config.comparison) for config in report.configs if config.comparison is not None]
    differing = [(path, comparison) for path, comparison in compared if not comparison.equal]
    on_gpus = any(comparison.cluster is not None for _, comparison in differing)
    if not full and not on_gpus:
        blocks += [Note(f"{path}: {_field_text(comparison)}") for path, comparison in differing]
        blocks += [Note(f"{wording(FULL)} also shows the figures of each config.", "muted")] if differing else []
        return tuple(blocks)
    for index, (path, comparison) in enumerate(differing, start=1):
        blocks.append(Heading(path, difference_summary(comparison)))
        for block in difference_blocks(comparison, wording, full=full):
            if isinstance(block, Table):
                block = block._replace(name=block.name if index == 1 else f"{block.name}_{index}", main=False)
            blocks.append(block)
    return tuple(blocks)


def _field_text(comparison: CompareReport) -> str:
    """Return the changed fields of one config: ``n_layers 3 → 6, dropout 0.0 → 0.1``."""
    rows = (tuple(cell.text for cell in _field(each) if isinstance(cell, Cell)) for each in comparison.fields)
    changes = ", ".join(f"{field} {before} → {after}" for field, before, after in rows)
    return f"{changes}." if changes else f"{difference_summary(comparison)}."


def _changed(report: ChangedReport) -> Table:
    columns = (
        computed("config", "path", lambda config: Cell(config.path, "name"), shrink=True),
        computed("status", "status", _status),
        computed("before", "before_params", _before, right=True),
        computed("parameters", "after_params", _after, right=True),
        computed("change", "difference_params", _params_change, right=True, keep=8),
        computed("ratio", "ratio", _params_ratio, right=True),
        computed("", "old_path", _old_path, wrap=True),
    )
    return record_table(report.configs, columns, main=True, name="configs", caption="Changed configs")


def _status(config: ChangedConfig) -> Cell:
    return Cell(config.status, "bad" if config.error else "plain")


def _before(config: ChangedConfig) -> str | Cell:
    if config.before_params is not None:
        return integer(config.before_params)
    is_new = config.status == "added" or config.after_params is None
    return Cell(Quantity("—" if is_new else "invalid", math.nan), "muted")


def _after(config: ChangedConfig) -> Cell:
    after = config.after_params
    return Cell(Quantity("—", math.nan), "muted") if after is None else Cell(integer(after), "strong")


def _params_change(config: ChangedConfig) -> str:
    change = config.difference_params
    return "" if change is None else signed_integer(change) if change else csv_only(0)


def _params_ratio(config: ChangedConfig) -> str:
    if config.ratio is None:
        return ""
    return ratio(config.ratio) if config.difference_params else csv_only(1.0)


def _old_path(config: ChangedConfig) -> Cell:
    renamed = f"renamed from {config.old_path}" if config.old_path else ""
    same = "same model" if config.comparison is not None and config.comparison.equal else ""
    return Cell(", ".join(filter(None, (renamed, same))), "muted", config.old_path or "")


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
    kind = field_of(field).kind
    text = stated(value, kind) if kind in ("count", "size", "flops") else short_scalar(short)
    full_list = scalar(value) if isinstance(value, list | tuple) else ""  # a number is in its cell, for CSV
    return Cell(Quantity(text, value) if isinstance(value, int | float) else text, key=full_list)


def _plans(report: CompareReport, cluster: ClusterComparison) -> Table:
    where = f"on {cluster.n_gpus} × {cluster.accelerator}" if cluster.n_gpus > 1 else f"on {cluster.accelerator}"
    columns = (Column(where, key="name"), *_model_columns(report))
    plans = ((Cell("plan", "name", "plans"), *(plan or "" for plan in cluster.plans)),) if any(cluster.plans) else ()
    rows = (
        (Cell("training fits", "name", "training_fits"), *map(_fits, cluster.training_fits)),
        *plans,
        (Cell("serving fits on one GPU", "name", "serving_fits"), *map(_fits, cluster.serving_fits)),
    )
    return Table(columns, rows, name="plans", caption=f"Memory and plans {where}")


def _fits(fits: bool) -> Cell:  # noqa: FBT001 - mapped over a column
    return Cell(Quantity("yes" if fits else "no", fits), "good" if fits else "bad")


def _figures(report: CompareReport, figures: tuple[FigureDifference, ...], name: str, caption: str) -> Table:
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
    is_main = name == "cluster" or report.cluster is None
    has_states = any(each.name == "state_bytes" for each in report.figures)
    labels = _LABELS | {"kv_cache_bytes": "cache"} if has_states else _LABELS
    rows = tuple(_figure(each, labels.get(each.name, each.name.replace("_", " "))) for each in figures)
    return Table(tuple(columns), rows, main=is_main, name=name, caption=caption, of_differences=name == "figures")


def _figure(difference: FigureDifference, label: str) -> Row:
    formatted = _FORMATS[difference.unit]
    base, *others = zip(difference.values, difference.differences, difference.ratios, strict=True)
    row: list[str | Cell] = [Cell(label, "name", difference.name), Cell("", key=difference.unit), formatted(base[0])]
    for value, change, times in others:
        differs = abs(change) >= MIN_VISIBLE_SHARE if difference.unit == "share" else bool(change)
        row += [
            Cell(formatted(value), "plain" if differs else "muted"),
            _change(difference.unit, change) if differs else csv_only(change),
            "" if times is None else ratio(times) if differs else csv_only(times),
        ]
    return tuple(row)


def _change(unit: FigureUnit, change: float) -> Quantity:
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
    stored = any(each.field.startswith("storage.") for each in report.fields)
    served = " Serving uses the types that each checkpoint stores." if stored else ""
    return Note(f"{subject} for {sequences}{smallest} in {report.dtype}.{served}", "muted")

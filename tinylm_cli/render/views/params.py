"""The screens of ``tinylm params``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tinylm_cli.quantities import Quantity, binary_bytes
from tinylm_cli.render.blocks import Bar, Block, Cell, Column, Heading, Note, Row, Table, View
from tinylm_cli.render.units import (
    compact,
    csv_only,
    integer,
    percentages,
    shape,
    signed_integer,
    signed_percent,
    small_percent,
    stated_count,
)
from tinylm_cli.reports.params import ComponentFormula, ModelParams, ParamsExplanation, ParamsReport, PartParams

NOMINAL_TOLERANCE = 0.05
"""Maximum error of a nominal size that is not flagged; names are rounded."""

_TIED = Cell(Quantity("tied", 0), "muted")


def params_view(report: ParamsReport, convention: str | None = None) -> View:
    """Show the breakdown of one model, with its count by ``convention`` if given, or several models in one table."""
    if len(report.models) == 1:
        return tuple(_breakdown(report.models[0], convention))
    return (
        Heading("Parameters of the presets", "a tied tensor counted once"),
        _comparison(report.models),
        *_flagged(report.models),
    )


def nominal_cell(model: ModelParams) -> Cell:
    """Return the error of the nominal size, flagged if it is large."""
    if model.nominal_error is None:
        return Cell("")
    if model.nominal_error == 0:
        return Cell(Quantity("exact", 0), "good")
    far = abs(model.nominal_error) > NOMINAL_TOLERANCE
    return Cell(signed_percent(model.nominal_error), "bad" if far else "good")


def nominal_sentence(model: ModelParams) -> str:
    """Return a sentence with the nominal size and the exact count."""
    assert model.nominal_params is not None
    assert model.nominal_error is not None
    stated, error = stated_count(model.nominal_params), model.nominal_error
    if error == 0:
        return f"stated as {stated}: exactly right"
    if abs(error) <= NOMINAL_TOLERANCE:
        return f"stated as {stated}: right within {small_percent(abs(error))}"
    if error >= 1:
        return f"stated as {stated}: the true count is {error + 1:,.1f} times that"
    return f"stated as {stated}: the true count is {abs(error) * 100:.1f}% {'more' if error > 0 else 'less'}"


def tying_blocks(model: ModelParams) -> tuple[Block, ...]:
    """Return the savings from tying, and the nominal size compared with the exact count."""
    untied = Note("The LM head is not tied; tie_weights: true would share the token embedding.", "muted")
    return (_tying(model) if model.tying.saved_params else untied, *_nominal(model))


def _nominal(model: ModelParams) -> Iterator[Note]:
    if model.nominal_params is not None:
        yield Note(f"{model.name} is {nominal_sentence(model)}.", nominal_cell(model).style)


def _tying(model: ModelParams) -> Table:
    tying = model.tying
    share = f"{tying.saved_params / tying.untied_params * 100:.1f}%"
    rows = (
        _tying_row(
            Cell("untied", "muted", "untied"),
            (tying.untied_params, tying.untied_params_bytes, tying.untied_adam_bytes),
        ),
        _tying_row(
            Cell("tied, stored once", "muted", "tied"),
            (tying.tied_params, tying.tied_params_bytes, tying.tied_adam_bytes),
        ),
        _tying_row(
            Cell("saved by tying", "good", "saved"),
            (tying.saved_params, tying.saved_params_bytes, tying.saved_adam_bytes),
            Cell(share, "good"),
        ),
    )
    columns = (
        Column("tied weights", shrink=True, key="tying"),
        Column("parameters", right=True, key="params"),
        Column(model.dtype, right=True, keep=3, key="params_bytes"),
        Column("float32 Adam moments", right=True, keep=1, key="adam_bytes"),
        Column("", right=True, keep=2),
    )
    return Table(columns, rows, name="tying", caption="Savings from tying")


def _tying_row(label: Cell, sizes: tuple[int, int, int], share: Cell | str = "") -> Row:
    """Return a row of parameters, their bytes, and the bytes of Adam's moments."""
    params, *nbytes = sizes
    return (label, integer(params), *map(binary_bytes, nbytes), share)


def _comparison(models: Sequence[ModelParams]) -> Table:
    columns = (
        Column("config", shrink=True, key="name"),
        Column("nominal", right=True, key="nominal_params"),
        Column("parameters", right=True, key="total_params"),
        Column("differs", right=True, key="nominal_error"),
        Column("untied", right=True, keep=2, key="tying.untied_params"),
        Column("tying saves", right=True, keep=3, key="tying.saved_params"),
        Column("weights", right=True, keep=1, key="params_bytes"),
    )
    rows = tuple(
        (
            Cell(model.name, "name"),
            stated_count(model.nominal_params) if model.nominal_params else "",
            Cell(integer(model.total_params), "strong"),
            nominal_cell(model),
            integer(model.tying.untied_params),
            integer(model.tying.saved_params) if model.tying.saved_params else Cell(Quantity("untied", 0), "muted"),
            binary_bytes(model.params_bytes),
        )
        for model in models
    )
    return Table(columns, rows, name="models")


def _flagged(models: Sequence[ModelParams]) -> list[Note]:
    return [
        Note(f"{model.name} is {nominal_sentence(model)}.", "warn")
        for model in models
        if model.nominal_error is not None and abs(model.nominal_error) > NOMINAL_TOLERANCE
    ]


def _breakdown(model: ModelParams, convention: str | None) -> list[Block]:
    active = f" ({compact(model.active_params)} active)" if model.active_params != model.total_params else ""
    detail = f"{compact(model.total_params)} parameters{active}, {binary_bytes(model.params_bytes)} in {model.dtype}"
    if model.explanation is not None:
        blocks = list(_explanation(model, model.explanation))
    else:
        parts = _parts(model.parts, model.total_params) if model.parts else _components(model)
        blocks = [parts, *tying_blocks(model)]
    if convention is not None:
        blocks.append(_counts(model, convention))
    elif model.explanation is None:
        blocks.append(Note("Each stored tensor counts once; --convention shows other counts.", "muted"))
    return [Heading(model.name, detail), *blocks]


def _explanation(model: ModelParams, explanation: ParamsExplanation) -> Iterator[Block]:
    yield _formulas(model, explanation)
    routed = [formula for formula in explanation.formulas if formula.active_params != formula.params]
    if routed:
        yield _active(model, routed)
    yield from _nominal(model)
    if explanation.nominal_changes:
        yield _nominal_changes(model, explanation)


def _formulas(model: ModelParams, explanation: ParamsExplanation) -> Table:
    columns = (
        Column("component", key="component"),
        Column("formula", wrap=True, key="formula"),
        Column("parameters", right=True, key="params"),
        Column("modules", keep=1, key="modules"),
        Column("", key="tied_to"),
    )
    rows = tuple(
        (
            Cell(formula.component, "name"),
            Cell(f"tied to {formula.tied_to}", "muted", formula.formula) if formula.tied_to else formula.formula,
            integer(formula.params),
            Cell(", ".join(formula.modules), "muted"),
            Cell("", key=formula.tied_to or ""),
        )
        for formula in explanation.formulas
    )
    total = (Cell("total", "strong"), "", Cell(integer(model.total_params), "strong"), "", "")
    return Table(columns, rows, total, main=True, name="formulas", caption="Parameters by formula")


def _active(model: ModelParams, routed: Sequence[ComponentFormula]) -> Table:
    """Show the parameters that one token uses: components with routed experts by formula, all others in one row."""
    columns = (
        Column("used per token", key="component"),
        Column("formula", wrap=True, key="active_formula"),
        Column("parameters", right=True, key="active_params"),
    )
    others = model.total_params - sum(formula.params for formula in routed)
    rows = (
        *(
            (Cell(formula.component, "name"), formula.active_formula, integer(formula.active_params))
            for formula in routed
        ),
        (Cell("all others", "muted"), "", integer(others)),
    )
    total = (Cell("active", "strong"), "", Cell(integer(model.active_params), "strong"))
    return Table(columns, rows, total, name="active", caption="Active parameters by formula")


def _nominal_changes(model: ModelParams, explanation: ParamsExplanation) -> Table:
    assert model.nominal_params is not None
    columns = (
        Column(f"to reach {stated_count(model.nominal_params)}", shrink=True, key="change"),
        Column("parameters", right=True, key="total_params"),
        Column("differs", right=True, keep=6, key="nominal_error"),
    )
    rows = tuple(
        (
            Cell(", ".join(f"{field}={value}" for field, value in change.values.items()), "name"),
            integer(change.total_params),
            Cell(signed_percent(change.nominal_error), "good"),
        )
        for change in explanation.nominal_changes
    )
    return Table(columns, rows, name="nominal_changes", caption="Changes that reach the nominal size")


def _counts(model: ModelParams, convention: str) -> Table:
    """Show the unique count, and the counts of a convention with the cause of each difference."""
    columns = (
        Column("convention"),
        Column("parameters", right=True, key="params"),
        Column("difference", right=True, keep=6, key="difference_params"),
        Column("counts", wrap=True, key="explanation"),
    )
    rows = tuple(
        (
            Cell(count.convention, "name"),
            Cell(integer(count.params), "plain" if count.convention == "unique" else "strong"),
            signed_integer(count.difference_params) if count.difference_params else csv_only(0),
            count.explanation,
        )
        for count in model.counts
        if count.convention in ("unique", convention) or count.convention.startswith(f"{convention}-")
    )
    return Table(columns, rows, main=True, name="counts", caption="Parameters by convention")


def _components(model: ModelParams) -> Table:
    shares = percentages([part.share for part in model.components])
    rows = tuple(
        (
            Cell(part.name, "name"),
            integer(part.params) if not part.tied_to else _TIED,
            csv_only(part.share) if part.tied_to else share,
            Bar(part.share) if not part.tied_to else Cell(f"to {part.tied_to}", "muted", part.tied_to),
        )
        for part, share in zip(model.components, shares, strict=True)
    )
    columns = (
        Column("component", shrink=True, key="name"),
        Column("parameters", right=True, key="params"),
        Column("share", right=True, keep=6),
        Column("", keep=1, key="tied_to"),
    )
    total = ("total", integer(model.total_params), "100.0%", "")
    return Table(columns, rows, total, name="components", caption="Parameters by component")


def _parts(parts: Sequence[PartParams], total: int) -> Table:
    shares = percentages([part.share for part in parts], decimals=2)
    with_shapes = any(part.shape for part in parts)
    rows: list[Row] = []
    for part, share in zip(parts, shares, strict=True):
        dimensions = Cell(shape(part.shape), "muted", str(list(part.shape))) if part.shape else ""
        size: Row = (dimensions,) if with_shapes else ()
        count = Cell(Quantity(f"× {part.count}" if part.count > 1 else "", part.count), "muted")
        params = _TIED if part.tied_to else Cell(integer(part.params))
        fraction = csv_only(part.share) if part.tied_to else share
        tied_to = Cell("", key=part.tied_to or "")
        rows.append((Cell(part.name, "name"), *size, count, params, fraction, Bar(part.share), tied_to))
    shape_column = (Column("shape", right=True, keep=3),) if with_shapes else ()
    columns = (
        Column("tensor" if with_shapes else "layer", shrink=True, key="name"),
        *shape_column,
        Column("", right=True, keep=2, key="count"),
        Column("parameters", right=True, key="params"),
        Column("share", right=True, keep=6),
        Column("", keep=1),
        Column("", key="tied_to"),
    )
    total_row = ("total", *(("",) if with_shapes else ()), "", integer(total), "100.00%", "", "")
    noun = "tensor" if with_shapes else "layer"
    return Table(columns, tuple(rows), total_row, name=f"{noun}s", caption=f"Parameters by {noun}")

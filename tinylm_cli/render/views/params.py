"""The view of ``tinylm params``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tinylm_cli.quantities import Quantity, binary_bytes
from tinylm_cli.render.blocks import Bar, Block, Cell, Column, Heading, Note, Table, View
from tinylm_cli.render.units import (
    compact,
    csv_only,
    integer,
    percentages,
    signed_integer,
    signed_percent,
    small_percent,
    stated_count,
)
from tinylm_cli.render.views.gguf import gguf_blocks, gguf_detail
from tinylm_cli.render.views.record_table import (
    bar,
    computed,
    field,
    listed,
    only_csv,
    record_table,
    repeats,
    shape_cell,
)
from tinylm_cli.reports.params import (
    ComponentFormula,
    Count,
    ModelParams,
    ParamsExplanation,
    ParamsReport,
    PartParams,
    SizeChange,
    StoredWeights,
)
from tinylm_cli.wording import Setting, Wording

_KEEP_COUNT = 9
"""The number of layers in a row is needed to read its parameters: no terminal is too narrow for it."""

NOMINAL_TOLERANCE = 0.05
"""Maximum error of a nominal size that is not flagged; names are rounded."""


def params_view(report: ParamsReport, wording: Wording, convention: str | None = None) -> View:
    """Show the breakdown of one model, with its count by ``convention`` if given, or several models in one table."""
    if len(report.models) == 1:
        return tuple(_breakdown(report.models[0], wording, convention))
    return (
        Heading("Parameters of the presets", "tied tensors counted once"),
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
        return f"has a nominal size of {stated}; the exact count equals it"
    if abs(error) <= NOMINAL_TOLERANCE:
        return f"has a nominal size of {stated}; the exact count is within {small_percent(abs(error), round_up=True)}"
    if error >= 1:
        return f"has a nominal size of {stated}; the exact count is {error + 1:,.1f} times as large"
    more = f"{abs(error) * 100:.1f}% {'higher' if error > 0 else 'lower'}"
    return f"has a nominal size of {stated}; the exact count is {more}"


def tying_blocks(model: ModelParams) -> tuple[Block, ...]:
    """Return the savings from tying, and the nominal size compared with the exact count."""
    untied = Note("The LM head is not tied; tie_weights: true would tie it to the token embedding.", "muted")
    if not any(part.name == "lm_head" for part in model.components):
        return tuple(_nominal(model))
    return (_tying(model) if model.tying.saved.params else untied, *_nominal(model))


def _nominal(model: ModelParams) -> Iterator[Note]:
    if model.nominal_params is not None:
        yield Note(f"{model.name} {nominal_sentence(model)}.", nominal_cell(model).style)


def _tying(model: ModelParams) -> Table:
    tying = model.tying
    share = Cell(f"{tying.saved.params / tying.untied.params * 100:.1f}%", "good")
    rows = tuple(
        (label, integer(sizes.params), binary_bytes(sizes.params_bytes), binary_bytes(sizes.adam_bytes), saved)
        for label, sizes, saved in (
            (Cell("untied", "muted", "untied"), tying.untied, ""),
            (Cell("tied, stored once", "muted", "tied"), tying.tied, ""),
            (Cell("saved by tying", "good", "saved"), tying.saved, share),
        )
    )
    columns = (
        Column("tied weights", shrink=True, key="tying"),
        Column("parameters", right=True, key="params"),
        Column(model.dtype, right=True, keep=3, key="params_bytes"),
        Column("float32 Adam moments", right=True, keep=1, key="adam_bytes"),
        Column("share", right=True, keep=2, key=None),
    )
    return Table(columns, rows, name="tying", caption="Savings from tying")


def _comparison(models: Sequence[ModelParams]) -> Table:
    columns = (
        field("config", "name", style="name", shrink=True),
        field("nominal", "nominal_params", stated_count),
        field("parameters", "total_params", integer, style="strong"),
        computed("difference", "nominal_error", nominal_cell, right=True),
        field("untied", "tying.untied.params", integer, keep=2),
        computed("tying saves", "tying.saved.params", _saved, right=True, keep=3),
        field("weights", "params_bytes", binary_bytes, keep=1),
    )
    return record_table(models, columns, name="models")


def _saved(model: ModelParams) -> str | Cell:
    saved = model.tying.saved.params
    return integer(saved) if saved else Cell(Quantity("untied", 0), "muted")


def _flagged(models: Sequence[ModelParams]) -> list[Note]:
    return [
        Note(f"{model.name} {nominal_sentence(model)}.", "warn")
        for model in models
        if model.nominal_error is not None and abs(model.nominal_error) > NOMINAL_TOLERANCE
    ]


def _breakdown(model: ModelParams, wording: Wording, convention: str | None) -> list[Block]:
    if model.lora is not None:
        from tinylm_cli.render.views.lora import lora_blocks

        return [*lora_blocks(model.name, model.lora), *_other_parts(model)]
    active = f" ({compact(model.active_params)} active)" if model.active_params != model.total_params else ""
    counted = f"{compact(model.total_params)} parameters{active}"
    if model.gguf is not None:
        return [Heading(model.name, counted + gguf_detail(model.gguf)), *gguf_blocks(model.gguf, wording)]
    detail = f"{counted}, {binary_bytes(model.params_bytes)} in {model.dtype}"
    if model.explanation is not None:
        blocks = list(_explanation(model, model.explanation))
    else:
        parts = _parts(model.parts, model) if model.parts else _components(model)
        blocks = [parts, *tying_blocks(model)]
    if convention is not None:
        blocks.append(_counts(model, convention))
    elif model.explanation is None:
        others = wording(Setting("convention"))
        blocks.append(Note(f"Each stored tensor counts once; {others} shows other counts.", "muted"))
    return [
        Heading(model.name, detail),
        *blocks,
        *_other_parts(model),
        *storage_notes(model.storage, model.total_params),
    ]


def storage_notes(storage: StoredWeights, total_params: int) -> Iterator[Note]:
    """Yield a sentence about the weights in the checkpoint, unless the config states nothing of them."""
    if storage.is_stated:
        size, types = binary_bytes(storage.stored_bytes), f"in {storage.dtype}"
        if storage.quantization == "gguf":
            types = ", ".join(f"{compact(each.params)} parameters in {each.dtype}" for each in storage.types)
        elif storage.quantized_params:
            share = (
                f"{compact(storage.quantized_params)} of {compact(total_params)} parameters in {storage.quantization}"
            )
            types = f"{share}, the others {types}"
        yield Note(f"The checkpoint stores {size}: {types}.")
    yield from (Note(f"{sentence}.", "warn") for sentence in storage.unread)


def _other_parts(model: ModelParams) -> Iterator[Note]:
    """Yield a sentence about the parts of a multimodal model other than its language model."""
    if model.other_parts:
        parts = [f"{part.params:,} of the {part.name.replace('_', ' ')}" for part in model.other_parts]
        total = model.total_params + sum(part.params for part in model.other_parts)
        yield Note(f"Not counted above: {' and '.join(parts)}. With them, the model has {total:,} parameters.")


def _explanation(model: ModelParams, explanation: ParamsExplanation) -> Iterator[Block]:
    yield _formulas(model, explanation)
    routed = [formula for formula in explanation.formulas if formula.active_params != formula.params]
    if routed:
        yield _active(model, routed)
    for loop in explanation.loops:
        words = f"Layers {loop.layers} run" if "." in loop.layers else f"Layer {loop.layers} runs"
        yield Note(f"{words} {loop.n_passes} times for each token; their parameters count once.", "muted")
    yield from _nominal(model)
    if explanation.nominal_changes:
        yield _nominal_changes(model, explanation)


def _formulas(model: ModelParams, explanation: ParamsExplanation) -> Table:
    columns = (
        field("component", "component", style="name"),
        computed("formula", "formula", _formula, wrap=True),
        field("parameters", "params", integer),
        field("modules", "modules", ", ".join, style="muted", right=False, keep=1),
        *only_csv("tied_to"),
    )
    total = (Cell("total", "strong"), "", Cell(integer(model.total_params), "strong"), "", "")
    return record_table(
        explanation.formulas, columns, total=total, main=True, name="formulas", caption="Parameters by formula"
    )


def _formula(component: ComponentFormula) -> Cell:
    if component.tied_to:
        return Cell(f"tied to {component.tied_to}", "muted", component.formula)
    return Cell(component.formula)


def _active(model: ModelParams, routed: Sequence[ComponentFormula]) -> Table:
    """Show the parameters that one token uses: components with routed experts by formula, all others in one row."""
    columns = (
        field("used per token", "component", style="name"),
        field("formula", "active_formula", wrap=True),
        field("parameters", "active_params", integer),
    )
    others = model.total_params - sum(formula.params for formula in routed)
    total = (Cell("active", "strong"), "", Cell(integer(model.active_params), "strong"))
    table = record_table(routed, columns, total=total, name="active", caption="Active parameters by formula")
    return table._replace(rows=(*table.rows, (Cell("all others", "muted"), "", integer(others))))


def _nominal_changes(model: ModelParams, explanation: ParamsExplanation) -> Table:
    assert model.nominal_params is not None
    columns = (
        computed(f"to reach {stated_count(model.nominal_params)}", "change", _assigned, shrink=True),
        field("parameters", "total_params", integer),
        field("difference", "nominal_error", signed_percent, style="good", keep=6),
    )
    caption = "Changes that reach the nominal size"
    return record_table(explanation.nominal_changes, columns, name="nominal_changes", caption=caption)


def _assigned(change: SizeChange) -> Cell:
    return Cell(", ".join(f"{field}={value}" for field, value in change.values.items()), "name")


def _counts(model: ModelParams, convention: str) -> Table:
    """Show the unique count, and the counts of a convention with the cause of each difference."""
    columns = (
        field("convention", "convention", style="name"),
        computed("parameters", "params", _count, right=True),
        field("difference", "difference_params", _difference, keep=6),
        field("counts", "explanation", wrap=True),
    )
    shown = (
        count
        for count in model.counts
        if count.convention in ("unique", convention) or count.convention.startswith(f"{convention}-")
    )
    return record_table(shown, columns, main=True, name="counts", caption="Parameters by convention")


def _count(count: Count) -> Cell:
    return Cell(integer(count.params), "plain" if count.convention == "unique" else "strong")


def _difference(params: int) -> str:
    return signed_integer(params) if params else csv_only(0)


def _components(model: ModelParams) -> Table:
    columns = (
        field("component", "name", style="name", shrink=True),
        computed("parameters", "params", _params, right=True),
        listed("share", "share", _shares(model.components), keep=6),
        computed("", "tied_to", _bar_or_owner, keep=1),
    )
    total = ("total", integer(model.total_params), "100.0%", "")
    return record_table(model.components, columns, total=total, name="components", caption="Parameters by component")


def _params(part: PartParams) -> Cell:
    return Cell(Quantity("tied", 0), "muted") if part.tied_to else Cell(integer(part.params))


def _shares(parts: Sequence[PartParams], decimals: int = 1) -> Iterator[Quantity]:
    rounded = percentages([part.share for part in parts], decimals)
    yield from (csv_only(part.share) if part.tied_to else share for part, share in zip(parts, rounded, strict=True))


def _bar_or_owner(part: PartParams) -> Bar | Cell:
    return Cell(f"to {part.tied_to}", "muted", part.tied_to) if part.tied_to else Bar(part.share)


def _parts(parts: Sequence[PartParams], model: ModelParams) -> Table:
    noun = "tensor" if any(part.shape for part in parts) else "layer"
    keep_kind = 3 if noun == "tensor" else 7  # the names of tensors need the room
    is_stored = noun == "tensor" and model.storage.is_stated
    stored = (field("stored", "stored_bytes", binary_bytes, keep=5), field("type", "stored_dtype", keep=4))
    columns = (
        field(noun, "name", style="name", shrink=True),
        *(
            (computed("shape", "shape", lambda part: shape_cell(part.shape), right=True, keep=3),)
            if noun == "tensor"
            else ()
        ),
        repeats(keep=_KEEP_COUNT),
        field("kind" if any(part.layer_kind for part in parts) else "", "layer_kind", style="name", keep=keep_kind),
        computed("parameters", "params", _params, right=True),
        listed("share", "share", _shares(parts, decimals=2), keep=6),
        *(stored if is_stored else (bar("share"),)),
        *only_csv("tied_to"),
    )
    end = (binary_bytes(model.storage.stored_bytes), "") if is_stored else ("",)
    before = ("total", *(("",) if noun == "tensor" else ()), "", "")
    total_row = (*before, integer(model.total_params), "100.00%", *end, "")
    return record_table(parts, columns, total=total_row, name=f"{noun}s", caption=f"Parameters by {noun}")

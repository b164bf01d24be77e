"""The view of the adapters of a model: trained parameters by module or by tensor."""

from __future__ import annotations

from collections.abc import Iterator

from tinylm_cli.quantities import binary_bytes
from tinylm_cli.render.blocks import Block, Heading, Note, Table
from tinylm_cli.render.units import compact, integer, percentages
from tinylm_cli.render.views.record_table import computed, field, listed, only_csv, record_table, repeats, shape_cell
from tinylm_cli.reports.params import LoraParams

_SMALL = 0.0001


def lora_blocks(name: str, lora: LoraParams) -> Iterator[Block]:
    """Yield the heading, the table of modules or of tensors, and sentences about what else is trained."""
    share = f"{lora.trainable_share * 100:.{2 if lora.trainable_share >= _SMALL else 4}f}%"
    trained = f"{compact(lora.trainable_params)} of {compact(lora.total_params)} parameters are trained ({share})"
    yield Heading(name, f"LoRA rank {lora.rank}: {trained}")
    yield _tensors(lora) if lora.tensors else _modules(lora)
    yield Note(
        f"{lora.trainable_params:,} parameters are trained; with the frozen ones there are {lora.total_params:,}."
    )
    others = [(lora.saved_params, "copies of modules and token rows"), (lora.bias_params, "biases of the model")]
    also = [f"{params:,} in {what}" for params, what in others if params]
    if also:
        yield Note(f"{lora.adapter_params:,} of them are in adapters, {' and '.join(also)}.")
    yield Note(f"The adapter's file has {binary_bytes(lora.adapter_bytes)} in float32, as peft stores it.", "muted")
    yield from (Note(f"{note[:1].upper()}{note[1:]}.", "warn") for note in lora.notes)


def _modules(lora: LoraParams) -> Table:
    shares = percentages([each.share for each in lora.modules], 2)
    has_experts = any(each.n_experts > 1 for each in lora.modules)
    columns = (
        field("module", "name", style="name", shrink=True),
        repeats(keep=9),
        *((field("experts", "n_experts", integer, keep=5),) if has_experts else only_csv("n_experts")),
        field("in", "d_in", integer, style="muted", keep=3),
        field("out", "d_out", integer, style="muted", keep=3),
        field("rank", "rank", integer, keep=4),
        field("trained", "params", integer),
        listed("share", "share", shares, keep=2),
    )
    total = ("adapters", "", "", "", "", "", integer(lora.adapter_params), "")
    return record_table(lora.modules, columns, total=total, main=True, name="modules", caption="Adapters by module")


def _tensors(lora: LoraParams) -> Table:
    columns = (
        field("tensor", "name", style="name", shrink=True),
        computed("shape", "shape", lambda each: shape_cell(each.shape), right=True, keep=3),
        repeats(keep=9),
        field("trained", "params", integer),
    )
    total = ("total", "", "", integer(sum(each.params for each in lora.tensors)))
    return record_table(lora.tensors, columns, total=total, main=True, name="tensors", caption="Tensors of the adapter")

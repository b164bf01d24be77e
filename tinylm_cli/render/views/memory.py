"""Memory of training and inference by part, and the phase of the peak."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tinylm_cli.quantities import binary_bytes, counted
from tinylm_cli.render.blocks import Bar, Block, Heading, Note, Stack, StackBar, Table
from tinylm_cli.render.units import compact, integer, percentages
from tinylm_cli.render.views.record_table import computed, field, listed, record_table, repeats
from tinylm_cli.reports.memory import (
    Activations,
    InferenceMemory,
    LayerActivations,
    LoraMemory,
    MemoryPart,
    SdpaOverhead,
    TrainingMemory,
)
from tinylm_cli.wording import Setting, Wording

PHASES = {
    "loss": "at the loss gradient, when all activations are in memory",
    "head gradient": "at the gradient of the head",
    "backward": "in the backward pass of a layer",
    "embedding gradient": "at the embedding gradient, which is added last",
    "optimizer step": "at the optimizer step, when all gradients are in memory",
}


ATTENTION = {
    "flash": "A flash kernel computes attention; it saves neither scores nor masks.",
    "sdpa": "torch's scaled_dot_product_attention computes attention, as in tinylm's own model.",
    "math": "Attention scores are written to memory.",
}


def training_memory_blocks(
    report: TrainingMemory,
    wording: Wording,
    capacity_bytes: int | None = None,
    accelerator: str | None = None,
    sdpa_overhead: SdpaOverhead | None = None,
    *,
    has_plan: bool = False,
) -> tuple[Block, ...]:
    """Show the training memory of one GPU at its peak, by part; the heading says if a plan is not applied to it."""
    detail = (
        f"{binary_bytes(report.peak_bytes)} at the peak, {_pass(report.batch_size, report.seq_len)} in {report.dtype}"
    )
    kept = report.activations
    notes = [Note(f"The peak is {PHASES[report.peak_phase]}.")]
    if report.lora is not None:
        notes += _lora_notes(report.lora)
    if not report.logits_bytes:
        notes.append(Note("A model without a head has no loss: none is counted.", "muted"))
    attention = ATTENTION[kept.attention_kernel]
    if sdpa_overhead is not None and kept.attention_kernel == "flash":
        reasons = " and ".join(sdpa_overhead.reasons)
        saves = f" tinylm's own model saves the {sdpa_overhead.saves} (because of {reasons})"
        attention += f"{saves}; {wording(Setting('attention_kernel', 'sdpa'))} counts them."
    if _attends(kept):
        notes.append(Note(attention, "muted"))
    if report.foreach_peak_bytes > report.peak_bytes:
        foreach = binary_bytes(report.foreach_peak_bytes)
        notes.append(
            Note(f"AdamW is assumed fused; with foreach, torch's default on CUDA, the peak is {foreach}.", "muted")
        )
    if report.total_bytes > report.peak_bytes:
        held = binary_bytes(report.total_bytes)
        notes.append(Note(f"With gradient accumulation the peak is {held}.", "muted"))
    if kept.recomputed_bytes:
        again = binary_bytes(kept.recomputed_bytes)
        notes.append(Note(f"The backward pass recomputes up to {again} per layer.", "muted"))
    stack = memory_stack("at the peak", report.parts, report.peak_bytes, capacity_bytes, accelerator)
    stack = stack._replace(name="training_memory", caption="Training memory")
    title = "Training memory of one GPU without the plan" if has_plan else "Training memory"
    return (Heading(title, detail), stack, *notes)


def lora_text(lora: LoraMemory) -> str:
    """Return what is trained, and how the other weights are stored."""
    trained = f"rank {lora.rank} on {', '.join(lora.modules)}: {compact(lora.trainable_params)} parameters"
    return f"{trained}; {binary_bytes(lora.base_bytes)} frozen in {lora.base_dtype}"


def _lora_notes(lora: LoraMemory) -> Iterator[Note]:
    yield Note(f"LoRA {lora_text(lora)}.")
    yield Note("Frozen weights have neither gradients nor optimizer state.", "muted")
    if lora.dequantized_bytes:
        largest = binary_bytes(lora.dequantized_bytes)
        yield Note(f"Quantized weights are dequantized one at a time; the largest takes {largest}.", "muted")


def activations_blocks(report: Activations) -> tuple[Block, ...]:
    """Show the tensors saved for the backward pass, by layer and part."""
    total, sections = report.saved_bytes, tuple(_sections(report))
    columns = (
        field("saved by", "name", style="name", shrink=True),
        repeats(),
        field("bytes", "saved_bytes", binary_bytes),
        listed("share", "share", percentages([each.saved_bytes / total for each in sections]), keep=6),
        computed("", None, lambda each: Bar(each.saved_bytes / total), keep=1),
    )
    total_row = ("total", "", binary_bytes(total), "100.0%", "")
    caption = "Tensors saved for the backward pass"
    by_section = record_table(sections, columns, total=total_row, name="activations", caption=caption)
    one_of_each = (
        _one_layer(layer)._replace(name="layer_activations" + (f"_{kind}" if kind > 1 else ""))
        for kind, layer in enumerate(report.layers, 1)
    )
    detail = (
        f"{binary_bytes(total)}, attention by {report.attention_kernel}"
        if _attends(report)
        else str(binary_bytes(total))
    )
    return (Heading("Activations", detail), by_section, *one_of_each)


def _attends(report: Activations) -> bool:
    """Return whether some layer saves tensors of attention; with full recomputation, each saves only its input."""
    parts = {part.name for layer in report.layers for part in layer.parts}
    return "attention" in parts or parts == {"residual"}


def inference_memory_blocks(
    report: InferenceMemory, capacity_bytes: int | None = None, accelerator: str | None = None
) -> tuple[Block, ...]:
    """Show inference memory, by part."""
    detail = f"{binary_bytes(report.total_bytes)}, {_pass(report.batch_size, report.seq_len)} in {report.dtype}"
    piece = (
        "prefill" if report.seq_len <= report.prefill_tokens else f"{integer(report.prefill_tokens)} tokens of prefill"
    )
    prefill, decode = binary_bytes(report.prefill_bytes), binary_bytes(report.decode_bytes)
    notes = [Note(f"Working memory: {prefill} for {piece}, {decode} for a decoding step.", "muted")]
    if not report.decode_bytes:
        notes = [Note("Nothing is decoded: one pass reads all sequences and keeps no KV cache.", "muted")]
    if report.quantization != "none":
        groups = f" in groups of {report.group_size}" if report.strategy == "group" else ""
        types = "the types of the GGUF file" if report.quantization == "gguf" else report.quantization
        rounded = f"{integer(report.quantized_params)} weights are quantized to {types}{groups}"
        rounded += f"; matmuls are in {report.dtype}."
        notes.append(Note(rounded, "muted"))
    stack = memory_stack("part", report.parts, report.total_bytes, capacity_bytes, accelerator)
    stack = stack._replace(name="inference_memory", caption="Inference memory")
    return (Heading("Inference memory", detail), stack, *notes)


def _pass(batch_size: int, seq_len: int) -> str:
    return f"{counted(batch_size, 'sequence')} of {counted(seq_len, 'token')}"


def memory_stack(
    title: str, parts: Sequence[MemoryPart], total_bytes: int, capacity_bytes: int | None, accelerator: str | None
) -> Stack:
    """Return parts of memory as a bar, with the capacity of the GPU."""
    return Stack(
        title,
        tuple(part.name for part in parts),
        (StackBar("", tuple(binary_bytes(part.part_bytes) for part in parts), binary_bytes(total_bytes)),),
        limit=binary_bytes(capacity_bytes) if capacity_bytes is not None else None,
        limit_name=accelerator or "",
    )


@dataclass(frozen=True)
class _Section:
    """The tensors saved by all layers of one kind, or by one part outside the layers."""

    name: str
    count: int
    saved_bytes: int


def _sections(report: Activations) -> Iterator[_Section]:
    """Yield the parts before the layers, each kind of layer, and the parts after the layers."""
    first = [part for part in report.outside if part.name in ("embedding", "position")]
    yield from (_Section(part.name, 1, part.saved_bytes) for part in first)
    yield from (_Section(layer.name, layer.count, layer.count * layer.layer_bytes) for layer in report.layers)
    yield from (_Section(part.name, 1, part.saved_bytes) for part in report.outside if part not in first)


def _one_layer(layer: LayerActivations) -> Table:
    one = f"one layer{layer.name.removeprefix('layers')}"
    columns = (
        field(one, "name", style="name", shrink=True),
        field("bytes", "saved_bytes", binary_bytes),
        field("tensor-parallel", "tensor_parallel_bytes", binary_bytes, keep=3),
        field("sequence-parallel", "sequence_parallel_bytes", binary_bytes, keep=2),
    )
    total = ("total", binary_bytes(layer.layer_bytes), "", "")
    caption = f"Tensors saved for the backward pass by {one}"
    return record_table(layer.parts, columns, total=total, caption=caption)

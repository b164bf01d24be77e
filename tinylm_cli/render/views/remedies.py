"""Remedies for insufficient memory."""

from __future__ import annotations

from tinylm_cli.quantities import binary_bytes
from tinylm_cli.render.blocks import Block, Cell, Column, Note, Row, Table
from tinylm_cli.render.units import csv_only, integer
from tinylm_cli.reports.estimate import Purpose
from tinylm_cli.reports.memory_fit import Change, Fit, Remedy, Value
from tinylm_cli.reports.plan import Layout

_SHARED = {1: "optimizer state", 2: "optimizer state and gradients", 3: "optimizer state, gradients and weights"}
"""State that replicas shard, by ZeRO stage."""


def fit_blocks(
    fit: Fit | None, accelerator: str | None, layouts_tried: int | None = None, *, purpose: Purpose = "training"
) -> tuple[Block, ...]:
    """Return the missing memory and the changes that make it fit; empty if it fits.

    Args:
        fit: Memory needed and available.
        accelerator: The GPU.
        layouts_tried: Number of layouts of which this is the smallest; None for a named layout.
        purpose: Training or serving.
    """
    if fit is None or fit.fits:
        return ()
    over = binary_bytes(fit.needed_bytes - fit.capacity_bytes)
    sentence = f"It does not fit in {accelerator}: {over} short."
    if layouts_tried is not None:
        none = (
            "The only layout does not fit" if layouts_tried == 1 else f"None of {integer(layouts_tried)} layouts fits"
        )
        sentence = f"{none} in {accelerator}. The smallest is {over} short."
    if not fit.remedies:
        return (Note(f"{sentence} No change that was tried makes it fit.", "bad"),)
    columns = (
        Column("makes it fit", key="changes"),
        Column("memory", right=True, key="needed_bytes"),
        Column("", key="capacity_bytes"),
        Column("to spare", right=True, keep=3, key=None),
        Column("", wrap=True, key=None),
    )
    rows = tuple(_row(remedy, purpose) for remedy in fit.remedies)
    caption = f"Changes that make it fit in {accelerator}"
    return (Note(sentence, "bad"), Table(columns, rows, name=f"{purpose}_fit", caption=caption))


def _row(remedy: Remedy, purpose: Purpose) -> Row:
    options, words = zip(*(change_words(change, purpose) for change in remedy.changes), strict=True)
    return (
        Cell(" ".join(options), "name", " ".join(map(_assigned, remedy.changes))),
        binary_bytes(remedy.needed_bytes),
        csv_only(remedy.capacity_bytes),
        binary_bytes(remedy.capacity_bytes - remedy.needed_bytes),
        Cell("; ".join(words), "muted"),
    )


def _assigned(change: Change) -> str:
    """Return a change as a program reads it: ``recompute=full``."""
    after = change.after.spec if isinstance(change.after, Layout) else change.after
    return f"{change.field}={after}"


def change_words(change: Change, purpose: Purpose) -> tuple[str, str]:
    """Return the option that makes a change, and its effect."""
    before, after = change.before, change.after
    prefix = "--serving-" if purpose == "serving" else "--"
    match change.field:
        case "recompute":
            what = "every layer" if after == "full" else "attention scores"
            return f"--recompute {after}", f"recomputes {what}"
        case "optimizer":
            return f"--optimizer {after}", "8-bit moments"
        case "quantization":
            return f"--quantize {after}", "quantized weights"
        case "batch_size":
            return f"{prefix}batch-size {after}", f"the largest that fits, down from {before:,}"
        case "seq_len":
            steps = f" in steps of {change.multiple_of:,}" if change.multiple_of > 1 else ""
            return f"{prefix}seq-len {after}", f"the longest that fits{steps}"
        case "n_gpus":
            assert isinstance(before, int)
            return f"--gpus {after}", f"the fewest of {2 * before:,}, {4 * before:,}, …"
        case "accelerator":
            return f"--gpu {after}", "the smallest GPU that fits"
        case "layout":
            return _layout_told(before, after)
    raise AssertionError(change.field)


def _layout_told(before: Value, after: Value) -> tuple[str, str]:
    if not isinstance(after, Layout):
        return "--plan auto", "another layout"
    shared = isinstance(before, Layout) and before.zero != after.zero
    return f"--plan {after.spec}", f"replicas share {_SHARED[after.zero]}" if shared else "more replicas"

"""Remedies for insufficient memory."""

from __future__ import annotations

from tinylm_cli.quantities import Quantity, binary_bytes
from tinylm_cli.render.blocks import Block, Cell, Note
from tinylm_cli.render.units import integer
from tinylm_cli.render.views.record_table import computed, field, only_csv, record_table
from tinylm_cli.reports.choices import Purpose
from tinylm_cli.reports.memory_fit import Change, Fit, Remedy, Value
from tinylm_cli.reports.plan import Layout
from tinylm_cli.wording import Wording

_SHARED = {1: "optimizer state", 2: "optimizer state and gradients", 3: "optimizer state, gradients and weights"}
"""State that replicas shard, by ZeRO stage."""


def fit_blocks(
    fit: Fit | None,
    accelerator: str | None,
    wording: Wording,
    layouts_tried: int | None = None,
    *,
    purpose: Purpose = "training",
) -> tuple[Block, ...]:
    """Return the missing memory and the changes that make it fit; empty if it fits.

    Args:
        fit: Memory needed and available.
        accelerator: The GPU.
        wording: Words the changes.
        layouts_tried: Number of layouts searched; None for a named layout.
        purpose: Training or serving.
    """
    if fit is None or fit.fits:
        return ()
    missing = binary_bytes(fit.needed_bytes - fit.capacity_bytes)
    sentence = f"It does not fit on {accelerator}: {missing} short."
    if layouts_tried is not None:
        none = (
            "The only layout does not fit"
            if layouts_tried == 1
            else f"None of the {integer(layouts_tried)} layouts fits"
        )
        sentence = f"{none} on {accelerator}; the smallest is {missing} short."
    if not fit.remedies:
        return (Note(f"{sentence} No tested change makes it fit.", "bad"),)
    columns = (
        computed("makes it fit", "changes", lambda remedy: _changes(remedy, purpose, wording)),
        field("memory", "needed_bytes", binary_bytes),
        *only_csv("capacity_bytes"),
        computed("to spare", None, _spare, right=True, keep=3),
        computed("", None, lambda remedy: Cell("; ".join(map(_effect, remedy.changes)), "muted"), wrap=True),
    )
    caption = f"Changes that make it fit on {accelerator}"
    return (Note(sentence, "bad"), record_table(fit.remedies, columns, name=f"{purpose}_fit", caption=caption))


def changes_text(remedy: Remedy, purpose: Purpose, wording: Wording) -> str:
    """Return the changes of a remedy."""
    return wording(*(change.setting(purpose) for change in remedy.changes))


def _changes(remedy: Remedy, purpose: Purpose, wording: Wording) -> Cell:
    return Cell(changes_text(remedy, purpose, wording), "name", " ".join(map(_assigned, remedy.changes)))


def _spare(remedy: Remedy) -> Quantity:
    return binary_bytes(remedy.capacity_bytes - remedy.needed_bytes)


def _assigned(change: Change) -> str:
    """Return a change as a program reads it: ``recompute=full``."""
    after = change.after.spec if isinstance(change.after, Layout) else change.after
    return f"{change.field}={after}"


def _effect(change: Change) -> str:
    """Describe a change."""
    before, after = change.before, change.after
    match change.field:
        case "recompute":
            return f"recomputes {'every layer' if after == 'full' else 'attention scores'}"
        case "optimizer":
            return "8-bit moments"
        case "quantization":
            return "quantized weights"
        case "batch_size":
            return f"the largest that fits, down from {before:,}"
        case "seq_len":
            steps = f" in steps of {change.multiple_of:,}" if change.multiple_of > 1 else ""
            return f"the longest that fits{steps}"
        case "n_gpus":
            assert isinstance(before, int)
            return f"the smallest sufficient number among {2 * before:,}, {4 * before:,}, …"
        case "accelerator":
            return "the smallest GPU that fits"
        case "layout":
            return _layout_effect(before, after)
    raise AssertionError(change.field)


def _layout_effect(before: Value, after: Value) -> str:
    if not isinstance(after, Layout):
        return "another layout"
    shared = isinstance(before, Layout) and before.zero != after.zero
    return f"replicas share {_SHARED[after.zero]}" if shared else "more replicas"

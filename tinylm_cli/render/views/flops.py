"""The view of the FLOPs in ``tinylm estimate``."""

from __future__ import annotations

from tinylm_cli.quantities import counted
from tinylm_cli.render.blocks import Block, Cell, Column, Note, Row, Stack, StackBar, Style, Table
from tinylm_cli.render.units import flops, percentages, ratio
from tinylm_cli.render.views.record_table import bar, field, listed, record_table, repeats
from tinylm_cli.reports.flops import ModelFlops

_PAIRS = {
    "causal": "Attention counts the pairs that the causal mask allows.",
    "full": "Attention counts all pairs, masked or not, as torch's FlopCounterMode does.",
}


def flops_blocks(report: ModelFlops, by: str) -> tuple[Block, ...]:
    """Return the breakdown of a forward pass, FLOPs per token and per step, and the counting convention."""
    forward = _components(report) if by == "component" else _layers(report)
    attends = any(part.name == "attention_scores" for part in report.components)
    notes = (Note(_PAIRS[report.attention], "muted"),) if attends else ()
    return (forward, _per_token(report), *notes)


def _components(report: ModelFlops) -> Stack:
    amounts = tuple(flops(part.forward_flops) for part in report.components)
    forward = StackBar("", amounts, flops(report.forward_flops))
    parts = tuple(part.name for part in report.components)
    caption = "FLOPs of a forward pass by component"
    return Stack("forward pass", parts, (forward,), key="forward_flops", name="flops", caption=caption)


def _layers(report: ModelFlops) -> Table:
    columns = (
        field("layer", "name", style="name", shrink=True),
        repeats(),
        field("forward pass", "forward_flops", flops),
        listed("share", "share", percentages([part.share for part in report.layers]), keep=6),
        bar("share"),
    )
    total = ("total", "", flops(report.forward_flops), "100.0%", "")
    return record_table(report.layers, columns, total=total, name="flops", caption="FLOPs of a forward pass by layer")


def _per_token(report: ModelFlops) -> Table:
    tokens = report.batch_size * report.seq_len
    again, without = report.recompute_flops, report.train_flops - report.recompute_flops
    rows = [
        _row("forward", "forward", report.forward_flops_per_token, report.forward_flops, "mean over the sequence"),
    ]
    if report.mtp_flops:
        rows.append(_row("MTP modules", "mtp", report.mtp_flops / tokens, report.mtp_flops, "forward, training only"))
    both = "2 × forward, MTP modules included" if report.mtp_flops else "2 × forward"
    if report.adapter_flops:
        each = report.adapter_flops
        rows.append(_row("adapters", "adapter", each / tokens, each, "forward, training only"))
        both = "gradients of inputs and of adapters, not of frozen weights"
    rows.append(_row("backward", "backward", report.backward_flops / tokens, report.backward_flops, both))
    if again:
        recomputed = "every layer's forward pass" if report.recompute == "full" else "attention scores and output"
        rows.append(_row("recomputation", "recompute", again / tokens, again, recomputed))
    note = f"{ratio(report.train_flops / without)} of training without recomputation" if again else ""
    six_n, usual = (
        report.six_n_flops_per_token,
        f"6 per active parameter; training: {ratio(report.six_n_ratio)} of it",
    )
    cached = f"with {counted(report.seq_len - 1, 'token')} in the cache"
    rows += [
        _row("training", "train", report.train_flops_per_token, report.train_flops, note),
        _row("6N", "six_n", six_n, six_n * tokens, usual),
    ]
    if report.decode_flops_per_token:
        rows.append(_row("decoding", "decode", report.decode_flops_per_token, None, cached))
    columns = (
        Column("FLOPs", key="name"),
        Column("per token", right=True, key="flops_per_token"),
        Column(counted(report.batch_size, "sequence"), right=True, key="flops"),
        Column("", keep=3),
    )
    return Table(columns, tuple(rows), name="flops_per_token", caption="FLOPs per token and per step of the batch")


def _row(name: str, key: str, token: float, step: int | None, note: str) -> Row:
    """Return a row; ``key`` is the prefix before ``_flops`` in JSON names."""
    style: Style = "strong" if name == "training" else "plain"
    per_step = flops(step) if step is not None else ""
    return (Cell(name, style, key), Cell(flops(token), style), Cell(per_step, style), Cell(note, "muted"))

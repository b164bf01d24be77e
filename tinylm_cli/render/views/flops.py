"""View of the FLOPs in ``tinylm estimate``."""

from __future__ import annotations

from tinylm_cli.quantities import Quantity, counted
from tinylm_cli.render.blocks import Bar, Block, Cell, Column, Note, Row, Stack, StackBar, Style, Table
from tinylm_cli.render.units import flops, percentages
from tinylm_cli.reports.flops import ModelFlops

_PAIRS = {
    "causal": "Attention counts the pairs that the causal mask allows.",
    "full": "Attention counts all pairs, masked or not, as torch's FlopCounterMode does.",
}


def flops_blocks(report: ModelFlops, by: str) -> tuple[Block, ...]:
    """Return the breakdown of a forward pass, FLOPs per token and per step, and the counting convention."""
    forward = _components(report) if by == "component" else _layers(report)
    return (forward, _per_token(report), Note(_PAIRS[report.attention], "muted"))


def _components(report: ModelFlops) -> Stack:
    total = flops(report.forward_flops)
    bar = StackBar("", tuple(flops(part.forward_flops) for part in report.components), total)
    parts = tuple(part.name for part in report.components)
    caption = "FLOPs of a forward pass by component"
    return Stack("forward pass", parts, (bar,), key="forward_flops", name="flops", caption=caption)


def _layers(report: ModelFlops) -> Table:
    shares = percentages([part.share for part in report.layers])
    rows: list[Row] = [
        (
            Cell(part.name, "name"),
            Cell(Quantity(f"× {part.count}" if part.count > 1 else "", part.count), "muted"),
            flops(part.forward_flops),
            share,
            Bar(part.share),
        )
        for part, share in zip(report.layers, shares, strict=True)
    ]
    columns = (
        Column("layer", shrink=True, key="name"),
        Column("", right=True, keep=2, key="count"),
        Column("forward pass", right=True, key="forward_flops"),
        Column("share", right=True, keep=6),
        Column("", keep=1),
    )
    total = ("total", "", flops(report.forward_flops), "100.0%", "")
    return Table(columns, tuple(rows), total, name="flops", caption="FLOPs of a forward pass by layer")


def _per_token(report: ModelFlops) -> Table:
    tokens = report.batch_size * report.seq_len
    rows: list[Row] = [
        _row("forward", "forward", report.forward_flops_per_token, report.forward_flops, "mean over the sequence"),
        _row("backward", "backward", report.backward_flops / tokens, report.backward_flops, "2 × forward"),
    ]
    if report.recompute_flops:
        again = "every layer's forward pass" if report.recompute == "full" else "attention scores and output"
        rows.append(_row("recomputation", "recompute", report.recompute_flops / tokens, report.recompute_flops, again))
    note = (
        f"×{report.train_flops / (report.train_flops - report.recompute_flops):.2f} of training without recomputation"
    )
    rows += [
        _row(
            "training",
            "train",
            report.train_flops_per_token,
            report.train_flops,
            note if report.recompute_flops else "",
        ),
        _row(
            "6N",
            "six_n",
            report.six_n_flops_per_token,
            report.six_n_flops_per_token * tokens,
            f"usual estimate; both passes are ×{report.six_n_ratio:.2f}",
        ),
        _row(
            "decoding",
            "decode",
            report.decode_flops_per_token,
            None,
            f"with {report.seq_len - 1:,} tokens in the cache",
        ),
    ]
    columns = (
        Column("FLOPs", key="of"),
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

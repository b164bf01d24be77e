"""Operations as ``tinylm estimate`` shows them."""

from __future__ import annotations

from collections.abc import Sequence

from tinylm_cli.quantities import counted
from tinylm_cli.render.blocks import Bar, Block, Cell, Column, Note, Row, Table
from tinylm_cli.render.units import flops, percentages
from tinylm_cli.reports.flops import ModelFlops, PartFlops

_PAIRS = {
    "causal": "Attention counts the pairs that a query may see.",
    "full": "Attention counts all pairs of the square, masked ones too, as torch's counter does.",
}


def flops_blocks(report: ModelFlops, by: str) -> tuple[Block, ...]:
    """Return where the operations of a forward pass are, what a token takes, and how they were counted."""
    parts = report.components if by == "component" else report.layers
    return (_forward(parts, by, report.forward_flops), _per_token(report), Note(_PAIRS[report.attention], "muted"))


def _forward(parts: Sequence[PartFlops], by: str, total: int) -> Table:
    rows: list[Row] = [
        (
            Cell(part.name, "name"),
            Cell(f"× {part.count}" if part.count > 1 else "", "muted"),
            flops(part.forward_flops),
            share,
            Bar(part.share),
        )
        for part, share in zip(parts, percentages([part.share for part in parts]), strict=True)
    ]
    columns = (
        Column(by, shrink=True),
        Column("", keep=2),
        Column("forward pass", right=True, key="forward_flops"),
        Column("share", right=True, keep=6),
        Column("", keep=1),
    )
    return Table(columns, tuple(rows), ("total", "", flops(total), "100.0%", ""))


def _per_token(report: ModelFlops) -> Table:
    again = report.recompute_flops / (report.batch_size * report.seq_len)
    trained = f"forward, {flops(again)} of it again, and backward" if again else "forward and backward"
    rows: list[Row] = [
        ("forward", flops(report.forward_flops_per_token), Cell("mean over the sequence", "muted")),
        (
            Cell("training", "strong"),
            Cell(flops(report.train_flops_per_token), "strong"),
            Cell(f"{trained}, which is twice forward", "muted"),
        ),
        (
            "6N",
            flops(report.six_n_flops_per_token),
            Cell(f"the usual estimate of training; the truth is {report.six_n_ratio:.2f} times that", "muted"),
        ),
        (
            "decoding",
            flops(report.decode_flops_per_token),
            Cell(f"one more token after {counted(report.seq_len - 1, 'other')}", "muted"),
        ),
    ]
    return Table((Column("each token"), Column("operations", right=True), Column("", wrap=True)), tuple(rows))

"""Operations as ``tinylm estimate`` shows them."""

from __future__ import annotations

from collections.abc import Sequence

from tinylm_cli.quantities import Quantity, counted
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
            Cell(Quantity(f"× {part.count}" if part.count > 1 else "", part.count), "muted"),
            flops(part.forward_flops),
            share,
            Bar(part.share),
        )
        for part, share in zip(parts, percentages([part.share for part in parts]), strict=True)
    ]
    columns = (
        Column(by, shrink=True, key="name"),
        Column("", right=True, keep=2, key="count"),
        Column("forward pass", right=True, key="forward_flops"),
        Column("share", right=True, keep=6),
        Column("", keep=1),
    )
    total_row = ("total", "", flops(total), "100.0%", "")
    return Table(columns, tuple(rows), total_row, name="flops", caption=f"Operations of a forward pass by {by}")


def _per_token(report: ModelFlops) -> Table:
    again = report.recompute_flops / (report.batch_size * report.seq_len)
    trained = f"forward, {flops(again)} of it again, and backward" if again else "forward and backward"
    rows: list[Row] = [
        (
            Cell("forward", key="forward_flops_per_token"),
            flops(report.forward_flops_per_token),
            Cell("mean over the sequence", "muted"),
        ),
        (
            Cell("training", "strong", "train_flops_per_token"),
            Cell(flops(report.train_flops_per_token), "strong"),
            Cell(f"{trained}, which is twice forward", "muted"),
        ),
        (
            Cell("6N", key="six_n_flops_per_token"),
            flops(report.six_n_flops_per_token),
            Cell(f"the usual estimate of training; the truth is {report.six_n_ratio:.2f} times that", "muted"),
        ),
        (
            Cell("decoding", key="decode_flops_per_token"),
            flops(report.decode_flops_per_token),
            Cell(f"one more token after {counted(report.seq_len - 1, 'other')}", "muted"),
        ),
    ]
    columns = (
        Column("each token", key="figure"),
        Column("operations", right=True, key="value"),
        Column("", wrap=True),
    )
    return Table(columns, tuple(rows), name="flops_per_token", caption="Operations for each token")

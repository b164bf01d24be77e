"""The screen of ``tinylm estimate``."""

from __future__ import annotations

from tinylm_cli.quantities import binary_bytes
from tinylm_cli.render.blocks import Column, Heading, Table, View
from tinylm_cli.render.units import compact, counted, integer
from tinylm_cli.render.views.flops import flops_blocks
from tinylm_cli.reports.estimate import EstimateReport


def estimate_view(report: EstimateReport, by: str) -> View:
    """Show what a model costs, its operations by ``component`` or by ``layer``."""
    active = f" ({compact(report.active_params)} active)" if report.active_params != report.total_params else ""
    step = f"{counted(report.flops.batch_size, 'sequence')} of {integer(report.flops.seq_len)} tokens"
    heading = Heading(report.name, f"{compact(report.total_params)} parameters{active}, {step}")
    return (heading, *flops_blocks(report.flops, by), _memory(report))


def _memory(report: EstimateReport) -> Table:
    rows = (
        ("weights", binary_bytes(report.weights_bytes)),
        ("keys and values kept while decoding", binary_bytes(report.kv_cache_bytes)),
    )
    return Table((Column("memory"), Column(report.dtype, right=True)), rows)

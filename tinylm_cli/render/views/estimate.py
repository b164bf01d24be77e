"""The screen of ``tinylm estimate``."""

from __future__ import annotations

from tinylm_cli.quantities import counted
from tinylm_cli.render.blocks import Heading, View
from tinylm_cli.render.units import compact
from tinylm_cli.render.views.flops import flops_blocks
from tinylm_cli.render.views.memory import (
    activations_blocks,
    inference_memory_blocks,
    training_memory_blocks,
)
from tinylm_cli.render.views.plan import plan_blocks, ranking_blocks
from tinylm_cli.render.views.remedies import fit_blocks
from tinylm_cli.render.views.serving import serving_grid_blocks
from tinylm_cli.render.views.time import compute_optimum_blocks, serving_time_blocks, training_time_blocks
from tinylm_cli.reports.estimate import EstimateReport


def estimate_view(report: EstimateReport, by: str, *, every: bool = False) -> View:
    """Show what a model costs, its operations by ``component`` or by ``layer``; of layouts the first, or ``every``."""
    active = f" ({compact(report.active_params)} active)" if report.active_params != report.total_params else ""
    step = f"{counted(report.flops.batch_size, 'sequence')} of {counted(report.flops.seq_len, 'token')}"
    blocks = [
        Heading(report.name, f"{compact(report.total_params)} parameters{active}, {step}"),
        *flops_blocks(report.flops, by),
        *training_memory_blocks(report.training, report.capacity_bytes, report.accelerator, report.own_attention),
    ]
    if report.plan is None:
        blocks += fit_blocks(report.training_fit, report.accelerator)
    if by == "layer":
        blocks += activations_blocks(report.training.activations)
    if report.plan is not None:
        blocks += [*ranking_blocks(report.alternatives, every=every)] if report.alternatives else []
        blocks += plan_blocks(report.plan, report.accelerator)
        searched = None if report.alternatives else report.layouts_tried
        blocks += fit_blocks(report.training_fit, report.accelerator, searched)
    if report.training_time is not None:
        efficiency = report.plan.kernel_efficiency if report.plan is not None else None
        blocks += training_time_blocks(report.training_time, efficiency, recomputes=report.flops.recompute != "none")
    if report.training_time is not None or report.budget_is_given:
        blocks += compute_optimum_blocks(report.optimum, budget_is_given=report.budget_is_given)
    blocks += inference_memory_blocks(report.inference, report.capacity_bytes, report.accelerator)
    blocks += fit_blocks(report.inference_fit, report.accelerator, name="inference_fit")
    blocks += serving_grid_blocks(report.serving, report.cache, report.capacity_bytes, report.accelerator)
    if report.serving_time is not None:
        blocks += serving_time_blocks(report.serving_time)
    return tuple(blocks)

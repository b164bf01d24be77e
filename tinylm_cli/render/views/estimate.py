"""The views of ``tinylm estimate``: the summary, one section, or all sections."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, get_args

from tinylm_cli.quantities import counted
from tinylm_cli.render.blocks import Block, Heading, Note, View
from tinylm_cli.render.units import compact
from tinylm_cli.render.views.estimate_summary import summary_blocks
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
from tinylm_cli.reports.estimate import EstimateReport, ServingEstimate, TrainingEstimate
from tinylm_cli.wording import Setting, Wording

Section = Literal[
    "summary", "flops", "training_memory", "plan", "training_time", "inference_memory", "serving", "serving_time"
]
"""The sections of the full report, in their order."""

SECTIONS: tuple[Section, ...] = get_args(Section)


def estimate_view(report: EstimateReport, wording: Wording) -> View:
    """Show the summary: whether training and serving fit, and the main figures of each."""
    return (
        Heading(report.name, _model_text(report)),
        *summary_blocks(report, wording),
        *(Note(f"{sentence}.", "warn") for sentence in report.unread_storage),
        Note(_more(report, wording), "muted"),
    )


def _more(report: EstimateReport, wording: Wording) -> str:
    """Return the settings that show more: the cost of a run whose GPUs have no price, the breakdown, one section."""
    full, section = wording(Setting("full", True)), wording(Setting("section", metavar="NAME"))
    run = report.summary.training
    adapts = report.training is not None and report.training.memory.lora is not None
    is_timed = report.training is not None and (report.training.tokens_are_given or not adapts)
    if run is not None and run.gpu_hours is not None and run.usd is None and run.fits and is_timed:
        price = wording(Setting("price", metavar="USD"))
        return f"{price} adds the cost, {full} the breakdown{f', {section} one section' if section else ''}."
    return f"{full} shows the breakdown{f'; {section} shows one section of it' if section else ''}."


def estimate_sections(report: EstimateReport, by: str, wording: Wording, *, every: bool = False) -> dict[Section, View]:
    """Return every section that is not empty.

    Args:
        report: The report to show.
        by: Whether FLOPs are broken down by ``component`` or by ``layer``.
        wording: Words settings.
        every: Whether every layout is listed, not only the fastest.
    """
    flops = report.flops
    step = f"{counted(flops.batch_size, 'sequence')} of {counted(flops.seq_len, 'token')}"
    found: dict[Section, list[Block]] = {section: [] for section in SECTIONS}
    found["summary"] += summary_blocks(report, wording)
    found["flops"] += [Heading("FLOPs", step), *flops_blocks(flops, by)]
    if report.training is not None:
        for section, blocks in _training_sections(report, report.training, by, wording, every=every):
            found[section] += blocks
    if report.serving is not None:
        for section, blocks in _serving_sections(report, report.serving, wording):
            found[section] += blocks
    return {section: tuple(blocks) for section, blocks in found.items() if blocks}


def estimate_full_view(report: EstimateReport, by: str, wording: Wording, *, every: bool = False) -> View:
    """Show every section of an estimate; for the arguments see :func:`estimate_sections`."""
    sections = estimate_sections(report, by, wording, every=every)
    heading = Heading(report.name, _model_text(report))
    return (heading, *(block for blocks in sections.values() for block in blocks))


def _model_text(report: EstimateReport) -> str:
    active = f" ({compact(report.active_params)} active)" if report.active_params != report.total_params else ""
    return f"{compact(report.total_params)} parameters{active}"


def _training_sections(
    report: EstimateReport, training: TrainingEstimate, by: str, wording: Wording, *, every: bool
) -> Iterator[tuple[Section, tuple[Block, ...]]]:
    memory, plan = training.memory, training.plan
    yield (
        "training_memory",
        training_memory_blocks(
            memory,
            wording,
            report.capacity_bytes,
            report.accelerator,
            training.sdpa_overhead,
            has_plan=plan is not None,
        ),
    )
    if plan is None:
        yield "training_memory", fit_blocks(training.fit, report.accelerator, wording)
    if by == "layer":
        yield "training_memory", activations_blocks(memory.activations)
    if plan is not None:
        if training.layouts_fitting and training.layouts_tried is not None:
            fitting, tried = training.layouts_fitting, training.layouts_tried
            yield "plan", ranking_blocks(training.alternatives, fitting, tried, every=every)
        yield "plan", plan_blocks(plan, report.accelerator, wording, has_mtp=report.flops.mtp_flops > 0)
        searched = None if training.layouts_fitting else training.layouts_tried
        yield "plan", fit_blocks(training.fit, report.accelerator, wording, searched)
    if training.time is not None and (training.tokens_are_given or memory.lora is None):
        planned, recomputes = plan is not None, report.flops.recompute != "none"
        yield "training_time", training_time_blocks(training.time, planned=planned, recomputes=recomputes)
    if memory.lora is None and (training.time is not None or training.tokens_are_given):
        optimum = compute_optimum_blocks(training.optimum, wording, tokens_are_given=training.tokens_are_given)
        yield "training_time", optimum


def _serving_sections(
    report: EstimateReport, serving: ServingEstimate, wording: Wording
) -> Iterator[tuple[Section, tuple[Block, ...]]]:
    yield "inference_memory", inference_memory_blocks(serving.memory, report.capacity_bytes, report.accelerator)
    yield "inference_memory", fit_blocks(serving.fit, report.accelerator, wording, purpose="serving")
    yield "serving", serving_grid_blocks(serving.grid, serving.cache, report.capacity_bytes, report.accelerator)
    if serving.time is not None:
        yield "serving_time", serving_time_blocks(serving.time)

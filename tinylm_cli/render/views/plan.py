"""Plans of training on several GPUs: memory, traffic and time, and the ranking of layouts."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count

from tinylm_cli.quantities import Quantity, binary_bytes, counted
from tinylm_cli.render.blocks import Block, Cell, Heading, Note, Table
from tinylm_cli.render.units import compact, csv_only, duration, integer, percent, three_digits
from tinylm_cli.render.views.memory import memory_stack
from tinylm_cli.render.views.record_table import RecordColumn, computed, field, listed, only_csv, record_table
from tinylm_cli.reports.plan import ABBREVIATIONS, Layout, Plan
from tinylm_cli.wording import Setting, Wording

MAX_RANKED = 10

UNEVEN = 1.1
"""Imbalance of the pipeline stages from which a warning is shown."""

_DEGREES = ("data", "tensor", "pipeline", "context", "expert")


def plan_blocks(plan: Plan, accelerator: str | None, wording: Wording, *, has_mtp: bool = False) -> tuple[Block, ...]:
    """Return the layout, the memory of the stage that needs the most, traffic, and the time if it fits.

    ``has_mtp`` is whether the last stage has multi-token prediction modules.
    """
    stage = plan.peak_stage
    gpus = f"{integer(plan.n_gpus)} × {accelerator}" if accelerator else counted(plan.n_gpus, "GPU")
    memory = memory_stack("memory of each GPU", stage.parts, stage.total_bytes, plan.capacity_bytes, accelerator)
    blocks: list[Block] = [
        Heading(f"Plan for {gpus}", f"{layout_text(plan.layout)}; {_step_text(plan)}"),
        Note(wording(Setting("plan", plan.layout.spec)), "name"),
        memory._replace(name="plan", caption="Memory of each GPU"),
    ]
    if plan.layout.pipeline > 1:
        blocks += _stages(plan, "the head and the MTP modules" if has_mtp else "the head")
    if plan.traffic:
        blocks.append(_traffic(plan))
    blocks += _verdict(plan)
    return tuple(blocks)


def ranking_blocks(plans: Sequence[Plan], fitting: int, tried: int, *, every: bool = False) -> tuple[Block, ...]:
    """Return the fastest of the layouts that fit.

    Args:
        plans: The layouts, fastest first.
        fitting: Number of layouts that fit; ``plans`` may hold only the fastest of them.
        tried: Number of layouts searched.
        every: Whether to show all of ``plans``.
    """
    shown = plans if every else plans[:MAX_RANKED]
    experts = any(each.layout.expert > 1 for each in plans)
    columns = (
        listed("", "rank", (Cell(integer(rank), "muted") for rank in count(1))),
        *(_degree(field, shown=experts or field != "expert") for field in _DEGREES),
        field("zero", "zero", integer, parent="layout"),
        *only_csv("micro_batches", "schedule", "virtual", parent="layout"),
        field("memory", "total_bytes", binary_bytes, parent="peak_stage"),
        *only_csv("step_seconds"),
        computed("tokens/s", "tokens_per_second", _speed, right=True),
        field("MFU", "utilization", percent, keep=4),
        field("bubble", "bubble", lambda share: percent(share) if share else csv_only(share), keep=3),
        computed("sent/step", "sent_bytes", _sent, right=True, keep=2),
    )
    table = record_table(shown, columns, name="layouts", caption="Layouts that fit")
    found = f"{rank_text(fitting)} ({integer(tried)} tried); {_step_text(plans[0])}"
    more = fitting - len(shown)
    notes = [Note(f"{integer(more)} more fit.", "muted")] if more else []
    return (Heading("Layouts", found), table, *notes)


def _degree(degree: str, *, shown: bool) -> RecordColumn:
    text = integer if shown else csv_only
    return field(ABBREVIATIONS[degree] if shown else "", degree, text, parent="layout")


def _speed(plan: Plan) -> Quantity:
    assert plan.step_seconds is not None
    speed = plan.tokens_per_step / plan.step_seconds
    return Quantity(compact(round(speed)), speed)


def _sent(plan: Plan) -> Quantity:
    return binary_bytes(sum(each.sent_bytes for each in plan.traffic))


def _step_text(plan: Plan) -> str:
    sequences = plan.tokens_per_step // plan.seq_len
    return f"{counted(sequences, 'sequence')} per step, {integer(plan.tokens_per_step)} tokens"


def _stages(plan: Plan, after_layers: str) -> list[Block]:
    """Return the stage with the most memory, the slowest stage, and the share of a step that stages wait.

    ``after_layers`` names the parts that only the last stage has.
    """
    stage, last = plan.peak_stage, plan.layout.pipeline - 1
    in_flight = f"{stage.in_flight:.3g} micro-batch{'' if stage.in_flight == 1 else 'es'} in flight"
    words = f"Of stages 0 to {last}, stage {stage.stage} needs the most memory, with {in_flight}"
    notes: list[Block] = [Note(f"{words}; the pipeline bubble is {percent(plan.bubble)} of a step.", "muted")]
    if plan.imbalance >= UNEVEN:
        slowest = f"Stage {plan.slowest_stage} has {plan.imbalance:.2f} times the mean FLOPs per stage"
        why = f" because of {after_layers}" if plan.slowest_stage == last else ""
        notes.append(Note(f"{slowest}{why}; the other stages wait for it. Fewer stages reduce the imbalance.", "warn"))
    return notes


def rank_text(fitting: int) -> str:
    """Return the rank of the plan: ``fastest of 89 that fit``."""
    return "the only layout that fits" if fitting == 1 else f"fastest of {integer(fitting)} that fit"


def layout_text(layout: Layout) -> str:
    """Return ``dp 2 × tp 8, ZeRO 1``."""
    degrees = {ABBREVIATIONS[field]: getattr(layout, field) for field in _DEGREES if field != "expert"}
    used = [f"{short} {degree}" for short, degree in degrees.items() if degree > 1] or ["dp 1"]
    more = [f"ep {layout.expert}"] if layout.expert > 1 else []
    more += [f"ZeRO {layout.zero}"] if layout.zero else []
    if layout.micro_batches > 1:
        order = f"{layout.schedule}, {layout.virtual} chunks" if layout.virtual > 1 else layout.schedule
        more.append(f"{integer(layout.micro_batches)} micro-batches" + (f" ({order})" if layout.pipeline > 1 else ""))
    return ", ".join([" × ".join(used), *more])


def _traffic(plan: Plan) -> Table:
    columns = (
        field("each GPU sends", "name", style="name"),
        field("per step", "sent_bytes", binary_bytes),
        field("time", "seconds", duration),
        field("GPUs", "members", integer, keep=3),
        field("", "description", style="muted", wrap=True),
    )
    return record_table(plan.traffic, columns, name="traffic", caption="Traffic of each GPU per step")


def _verdict(plan: Plan) -> list[Block]:
    if not plan.fits or plan.capacity_bytes is None or plan.step_seconds is None:
        return []
    assert plan.utilization is not None
    assert plan.kernel_efficiency is not None
    spare = binary_bytes(plan.capacity_bytes - plan.peak_stage.total_bytes)
    speed = three_digits(plan.tokens_per_step / plan.step_seconds)
    pace = f"{duration(plan.step_seconds)} per step, {speed} tokens/s, {percent(plan.utilization)} MFU"
    assumed = f"Kernels are assumed to reach {percent(plan.kernel_efficiency, 0)} of the peak; compute, communication"
    return [
        Note(f"It fits with {spare} to spare: {pace}.", "good"),
        Note(f"{assumed} and bubbles do not overlap.", "muted"),
    ]

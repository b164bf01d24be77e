"""Training spread over GPUs: what each holds and sends, and the ways there are."""

from __future__ import annotations

from collections.abc import Sequence

from tinylm_cli.quantities import Quantity, binary_bytes
from tinylm_cli.render.blocks import Block, Cell, Column, Heading, Note, Row, Stack, StackBar, Table
from tinylm_cli.render.units import compact, counted, duration, integer, percent, prefixed
from tinylm_cli.reports.memory import MemoryPart
from tinylm_cli.reports.plan import Layout, Plan

MOST_RANKED = 10

_WORDS = {"data": "dp", "tensor": "tp", "pipeline": "pp", "context": "cp", "expert": "ep"}


def plan_blocks(plan: Plan, accelerator: str | None) -> tuple[Block, ...]:
    """Return how work is divided, what the fullest GPU holds, what it sends, and whether it fits."""
    gpus = f"{integer(plan.gpus)} × {accelerator}" if accelerator else counted(plan.gpus, "GPU")
    blocks: list[Block] = [
        Heading(f"Training on {gpus}", f"{layout_words(plan.layout)}; {integer(plan.tokens_per_step)} tokens a step"),
        memory_stack("memory of each GPU", plan.fullest.parts, plan.fullest.total_bytes, plan.capacity_bytes, accelerator),
    ]
    if plan.layout.pipeline > 1:
        blocks.append(
            Note(
                f"Stage {plan.fullest.stage} of {plan.layout.pipeline} holds most, with"
                f" {counted(plan.fullest.in_flight, 'micro-batch')[: None if plan.fullest.in_flight == 1 else -1]}"
                f"{'es' if plan.fullest.in_flight != 1 else ''} under way; stages wait {percent(plan.bubble)} of a step.",
                "muted",
            )
        )
    if plan.traffic:
        blocks.append(_traffic(plan))
    blocks += _verdict(plan, accelerator)
    return tuple(blocks)


def ranking_blocks(plans: Sequence[Plan]) -> tuple[Block, ...]:
    """Return the quickest of the layouts that fit."""
    shown = plans[:MOST_RANKED]
    columns = (
        Column("", right=True, key="rank"),
        *(Column(short, right=True) for short in _WORDS.values()),
        Column("zero", right=True),
        Column("memory", right=True, key="memory_bytes"),
        Column("tokens/s", right=True, key="tokens_per_second"),
        Column("waiting", right=True, keep=3, key="bubble"),
        Column("sent a step", right=True, keep=2, key="sent_bytes"),
    )
    rows = tuple(_ranked(rank, each) for rank, each in enumerate(shown, 1))
    more = len(plans) - len(shown)
    found = f"{counted(len(plans), 'layout')} fit{'s' if len(plans) == 1 else ''}, the quickest first"
    notes = [Note(f"{integer(more)} more fit.", "muted")] if more else []
    return (Heading("Layouts", found), Table(columns, rows), *notes)


def memory_stack(
    title: str, parts: Sequence[MemoryPart], total_bytes: int, capacity_bytes: int | None, accelerator: str | None
) -> Stack:
    """Return parts of memory as a bar, beside what a GPU has room for."""
    return Stack(
        title,
        tuple(part.name for part in parts),
        (StackBar("", tuple(binary_bytes(part.part_bytes) for part in parts), binary_bytes(total_bytes)),),
        limit=binary_bytes(capacity_bytes) if capacity_bytes is not None else None,
        limit_name=accelerator or "",
    )


def layout_words(layout: Layout) -> str:
    """Return ``dp 2 × tp 8, ZeRO 1``."""
    ways = [f"{short} {getattr(layout, field)}" for field, short in _WORDS.items() if field != "expert"]
    used = [word for word in ways if not word.endswith(" 1")] or ["dp 1"]
    more = [f"ep {layout.expert}"] if layout.expert > 1 else []
    more += [f"ZeRO {layout.zero}"] if layout.zero else []
    if layout.micro_batches > 1:
        more.append(f"{layout.micro_batches} micro-batches" + (f" ({layout.schedule})" if layout.pipeline > 1 else ""))
    return ", ".join([" × ".join(used), *more])


def _traffic(plan: Plan) -> Table:
    rows: tuple[Row, ...] = tuple(
        (Cell(each.name, "name"), binary_bytes(each.sent_bytes), integer(each.reach), Cell(each.what, "muted"))
        for each in plan.traffic
    )
    columns = (
        Column("each GPU sends", key="parallelism"),
        Column("in a step", right=True, key="sent_bytes"),
        Column("among", right=True, keep=3, key="reach"),
        Column("", wrap=True, key="what"),
    )
    return Table(columns, rows)


def _verdict(plan: Plan, accelerator: str | None) -> list[Block]:
    if plan.fits is None or plan.capacity_bytes is None or plan.step_seconds is None:
        return []
    if plan.fits:
        spare = binary_bytes(plan.capacity_bytes - plan.fullest.total_bytes)
        speed = prefixed(plan.tokens_per_step / plan.step_seconds, "tokens/s")
        return [Note(f"It fits, with {spare} to spare: {duration(plan.step_seconds)} a step, {speed}.", "good")]
    over = binary_bytes(plan.fullest.total_bytes - plan.capacity_bytes)
    what = f"It does not fit in {accelerator}: {over} too much."
    would = f" What would: {'; or '.join(plan.remedies)}." if plan.remedies else " No single change makes it fit."
    return [Note(what + would, "bad")]


def _ranked(rank: int, plan: Plan) -> Row:
    assert plan.step_seconds is not None
    speed = plan.tokens_per_step / plan.step_seconds
    return (
        Cell(str(rank), "muted"),
        *(integer(getattr(plan.layout, field)) for field in _WORDS),
        integer(plan.layout.zero),
        binary_bytes(plan.fullest.total_bytes),
        Quantity(compact(round(speed)), speed),
        percent(plan.bubble) if plan.bubble else Quantity("", 0.0),
        binary_bytes(sum(each.sent_bytes for each in plan.traffic)),
    )

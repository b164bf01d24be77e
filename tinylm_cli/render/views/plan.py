"""Training spread over GPUs: what each holds and sends, and the ways there are."""

from __future__ import annotations

from collections.abc import Sequence

from tinylm_cli.quantities import Quantity, binary_bytes, counted
from tinylm_cli.render.blocks import Block, Cell, Column, Heading, Note, Row, Table
from tinylm_cli.render.units import compact, duration, integer, percent, three_digits, unseen
from tinylm_cli.render.views.memory import memory_stack
from tinylm_cli.reports.plan import WORDS, Layout, Plan

MOST_RANKED = 10

_PESSIMISTIC = "Times take arithmetic at the stated share of the peak, then traffic, then waiting: nothing overlaps."

_WORDS = {field: WORDS[field] for field in ("data", "tensor", "pipeline", "context", "expert")}


def plan_blocks(plan: Plan, accelerator: str | None) -> tuple[Block, ...]:
    """Return how work is divided, what the fullest GPU holds, what it sends, and how it does where it fits."""
    fullest = plan.fullest
    gpus = f"{integer(plan.gpus)} × {accelerator}" if accelerator else counted(plan.gpus, "GPU")
    blocks: list[Block] = [
        Heading(f"Plan for {gpus}", f"{layout_words(plan.layout)}; {counted(plan.tokens_per_step, 'token')} a step"),
        memory_stack(
            "memory of each GPU", fullest.parts, fullest.total_bytes, plan.capacity_bytes, accelerator
        )._replace(name="plan", caption="Memory of each GPU"),
    ]
    if plan.layout.pipeline > 1:
        under_way = f"{fullest.in_flight} micro-batch{'' if fullest.in_flight == 1 else 'es'}"
        stage = f"Stage {fullest.stage} of 0..{plan.layout.pipeline - 1} holds most, {under_way} at once"
        blocks.append(Note(f"{stage}; stages wait {percent(plan.bubble)} of a step.", "muted"))
    if plan.traffic:
        blocks.append(_traffic(plan))
    blocks += _verdict(plan)
    return tuple(blocks)


def ranking_blocks(plans: Sequence[Plan], *, every: bool = False) -> tuple[Block, ...]:
    """Return the quickest of the layouts that fit, or ``every`` one."""
    shown = plans if every else plans[:MOST_RANKED]
    columns = (
        Column("", right=True, key="rank"),
        *(Column(short, right=True, key=field) for field, short in _WORDS.items()),
        Column("zero", right=True),
        Column("", key="micro_batches"),
        Column("", key="schedule"),
        Column("memory", right=True, key="total_bytes"),
        Column("", key="step_seconds"),
        Column("tokens/s", right=True, key="tokens_per_second"),
        Column("waiting", right=True, keep=3, key="bubble"),
        Column("sent a step", right=True, keep=2, key="sent_bytes"),
    )
    rows = tuple(_ranked(rank, each) for rank, each in enumerate(shown, 1))
    more = len(plans) - len(shown)
    found = f"{counted(len(plans), 'layout')} fit{'s' if len(plans) == 1 else ''}, the quickest first"
    notes = [Note(f"{integer(more)} more fit.", "muted")] if more else []
    return (Heading("Layouts", found), Table(columns, rows, name="layouts", caption="Layouts that fit"), *notes)


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
        Column("each GPU sends", key="name"),
        Column("in a step", right=True, key="sent_bytes"),
        Column("among", right=True, keep=3, key="reach"),
        Column("", wrap=True, key="what"),
    )
    return Table(columns, rows, name="traffic", caption="What each GPU sends in a step")


def _verdict(plan: Plan) -> list[Block]:
    if not plan.fits or plan.capacity_bytes is None or plan.step_seconds is None:
        return []
    spare = binary_bytes(plan.capacity_bytes - plan.fullest.total_bytes)
    speed = three_digits(plan.tokens_per_step / plan.step_seconds)
    fits = f"It fits, with {spare} to spare: {duration(plan.step_seconds)} a step, {speed} tokens/s."
    return [Note(fits, "good"), Note(_PESSIMISTIC, "muted")]


def _ranked(rank: int, plan: Plan) -> Row:
    assert plan.step_seconds is not None
    speed = plan.tokens_per_step / plan.step_seconds
    return (
        Cell(integer(rank), "muted"),
        *(integer(getattr(plan.layout, field)) for field in _WORDS),
        integer(plan.layout.zero),
        unseen(plan.layout.micro_batches),
        Cell("", key=plan.layout.schedule),
        binary_bytes(plan.fullest.total_bytes),
        unseen(plan.step_seconds),
        Quantity(compact(round(speed)), speed),
        percent(plan.bubble) if plan.bubble else Quantity("", 0.0),
        binary_bytes(sum(each.sent_bytes for each in plan.traffic)),
    )

"""Training spread over GPUs: what each holds and sends, and which ways of spreading it fit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from tinylm_cli.analysis.activations import check_sizes
from tinylm_cli.analysis.dtypes import DTYPE_BYTES
from tinylm_cli.analysis.flops import train_flops
from tinylm_cli.analysis.parallel.job import Job, Machine
from tinylm_cli.analysis.parallel.layouts import layouts, uneven
from tinylm_cli.analysis.parallel.sharding import stage_table
from tinylm_cli.analysis.parallel.stage import Likeness, stage_memory
from tinylm_cli.analysis.parallel.traffic import Sent, traffic
from tinylm_cli.errors import AnalysisError
from tinylm_cli.reports.plan import Layout, Plan, Traffic, ZeroStage


def plan(job: Job, layout: Layout, machine: Machine | None = None) -> Plan:
    """Return what follows from spreading ``job`` as ``layout`` says.

    Sequence parallelism comes with tensor parallelism: norms, dropout and the residual stream are divided as well.
    Everything is held at once, as when gradients are accumulated; what a library buffers besides is not counted.

    Args:
        job: What is trained.
        layout: How it is divided.
        machine: The GPUs; without them nothing is said of fitting and time.

    Raises:
        AnalysisError: If a size is out of range, or the layout does not come out even; names the first such.

    References:
        Rajbhandari et al. 2020 (ZeRO), https://arxiv.org/abs/1910.02054;
        Korthikanti et al. 2022 (sequence parallelism), https://arxiv.org/abs/2205.05198;
        Narayanan et al. 2021 (pipelines, their waiting), https://arxiv.org/abs/2104.04473
    """
    check_sizes(job.config, batch_size=job.batch_size, seq_len=job.seq_len)
    for wrong in uneven(job, layout):
        raise AnalysisError(wrong.message, help=wrong.help)
    found = _evaluated(job, layout, machine)
    if found.fits is not False or machine is None:
        return found
    return replace(found, remedies=tuple(_remedies(job, layout, machine)))


def plans(job: Job, gpus: int, machine: Machine) -> tuple[Plan, ...]:
    """Return every layout of ``gpus`` GPUs that comes out even and fits, the quickest for each token first.

    All ways to write the number as a product of data, tensor, pipeline and context parallelism are tried, with every
    ZeRO stage, and with experts divided every way that their number allows; tensor parallelism within a node. All read
    as many tokens between updates: what ``PASSES_PER_STEP`` passes of every GPU would read.

    Args:
        job: What is trained; a pass of each replica reads ``batch_size`` sequences.
        gpus: How many there are.
        machine: What they are.
    """
    fitting = [
        found
        for layout in layouts(job, gpus, machine)
        if not uneven(job, layout) and (found := _evaluated(job, layout, machine)).fits
    ]
    return tuple(sorted(fitting, key=_cost))


def _cost(found: Plan) -> tuple[float, int]:
    assert found.step_seconds is not None
    return found.step_seconds / found.tokens_per_step, found.fullest.total_bytes


def _evaluated(job: Job, layout: Layout, machine: Machine | None) -> Plan:
    stages = {Likeness.of(job, layout, stage): stage for stage in reversed(range(layout.pipeline))}
    held = [stage_memory(job, layout, stage) for stage in stages.values()]
    fullest = max(held, key=lambda each: each.total_bytes)
    sent = _traffic(job, layout, list(stages.values()))
    bubble = (layout.pipeline - 1) / (layout.pipeline - 1 + layout.micro_batches)
    tokens = layout.data * layout.micro_batches * job.batch_size * job.seq_len
    return Plan(
        layout=layout,
        gpus=layout.gpus,
        batch_size=job.batch_size,
        seq_len=job.seq_len,
        tokens_per_step=tokens,
        fullest=fullest,
        bubble=bubble,
        traffic=sent,
        capacity_bytes=None if machine is None else machine.capacity_bytes,
        fits=None if machine is None else fullest.total_bytes <= machine.capacity_bytes,
        step_seconds=None if machine is None else _step_seconds(job, layout, machine, sent, bubble),
        remedies=(),
    )


def _traffic(job: Job, layout: Layout, stages: list[int]) -> tuple[Traffic, ...]:
    """Return what the stage that sends most sends."""
    width, grad_width = DTYPE_BYTES[job.dtype], DTYPE_BYTES[job.grad_dtype or job.dtype]
    given = Sent(job.config, job.batch_size, job.seq_len, width, grad_width, job.recompute)
    sent = [traffic(given, layout, stage, stage_table(job.config, layout, stage)) for stage in stages]
    return max(sent, key=lambda each: sum(one.sent_bytes for one in each))


def _step_seconds(job: Job, layout: Layout, machine: Machine, sent: tuple[Traffic, ...], bubble: float) -> float:
    flops = train_flops(job.config, batch_size=job.batch_size, seq_len=job.seq_len, recompute=job.recompute)
    each = flops * layout.micro_batches / (layout.tensor * layout.pipeline * layout.context)
    computing = each / (machine.peak_flops_per_second * machine.utilisation) / (1 - bubble)
    return computing + sum(
        one.sent_bytes
        / (machine.link_bytes_per_second if one.reach <= machine.gpus_per_node else machine.network_bytes_per_second)
        for one in sent
    )


def _remedies(job: Job, layout: Layout, machine: Machine) -> Iterator[str]:
    """Yield changes, of one thing each, that make a layout fit."""
    zero: ZeroStage
    for zero in (1, 2, 3):
        allowed = zero > layout.zero and layout.data * layout.context > 1 and (layout.pipeline == 1 or zero < 2)
        if allowed and _fits(job, replace(layout, zero=zero), machine):
            yield f"zero={zero}"
            break
    for recompute in ("selective", "full"):
        if job.recompute == "none" and _fits(job._replace(recompute=recompute), layout, machine):
            yield f"--recompute {recompute}"
            break
    smaller = (size for size in (job.batch_size // 2, 1) if 0 < size < job.batch_size)
    yield from (f"--batch-size {size}" for size in smaller if _fits(job._replace(batch_size=size), layout, machine))
    for tensor in (2, 4, 8):
        wider = replace(layout, tensor=tensor * layout.tensor, data=layout.data // tensor)
        if layout.data % tensor == 0 and not uneven(job, wider) and _fits(job, wider, machine):
            yield f"tp={wider.tensor}"
            break


def _fits(job: Job, layout: Layout, machine: Machine) -> bool:
    return _evaluated(job, layout, machine).fits is True

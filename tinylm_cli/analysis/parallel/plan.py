"""Training spread over GPUs: what each holds and sends, and which ways of spreading it fit."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from tinylm_cli.analysis.dtypes import DTYPE_BYTES
from tinylm_cli.analysis.flops import train_flops
from tinylm_cli.analysis.parallel.job import Job, Machine
from tinylm_cli.analysis.parallel.layouts import layouts, uneven
from tinylm_cli.analysis.parallel.sharding import stage_table
from tinylm_cli.analysis.parallel.stage import different_stages, fullest_stage
from tinylm_cli.analysis.parallel.traffic import Sent, traffic
from tinylm_cli.analysis.sizes import check_sizes
from tinylm_cli.errors import AnalysisError
from tinylm_cli.reports.plan import Layout, Plan, Traffic


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
    return _evaluated(job, layout, machine)


class Plans(NamedTuple):
    """What follows from every layout of a number of GPUs that comes out even.

    Attributes:
        fitting: Those that fit, the quickest for each token first.
        nearest: The one that holds least.
        tried: How many there are.
    """

    fitting: tuple[Plan, ...]
    nearest: Plan
    tried: int


def plans(job: Job, gpus: int, machine: Machine) -> Plans:
    """Return what follows from every layout of ``gpus`` GPUs that comes out even.

    All ways to write the number as a product of data, tensor, pipeline and context parallelism are tried, with every
    ZeRO stage, and with experts divided every way that their number allows; tensor parallelism within a node. All read
    as many tokens between updates: what ``PASSES_PER_STEP`` passes of every GPU would read.

    Args:
        job: What is trained; a pass of each replica reads ``batch_size`` sequences.
        gpus: How many there are.
        machine: What they are.
    """
    found = [_evaluated(job, layout, machine) for layout in layouts(job, gpus, machine.gpus_per_node)]
    found.sort(key=_cost)
    nearest = min(found, key=lambda each: each.fullest.total_bytes)
    return Plans(tuple(each for each in found if each.fits), nearest, len(found))


def planned_bytes(job: Job, layout: Layout) -> int:
    """Return what the fullest GPU of a layout that comes out even holds."""
    return fullest_stage(job, layout).total_bytes


@lru_cache(maxsize=1024)
def least_planned_bytes(job: Job, gpus: int, gpus_per_node: int) -> int:
    """Return what the fullest GPU holds in the layout of :func:`plans` that holds least.

    Args:
        job: What is trained.
        gpus: How many there are.
        gpus_per_node: How many a link joins.
    """
    return min(
        planned_bytes(job, layout)
        for layout in layouts(job, gpus, gpus_per_node)
        if layout.zero >= (2 if layout.pipeline == 1 else 1) or layout.data * layout.context == 1  # less holds more
    )


def _cost(found: Plan) -> tuple[float, int]:
    assert found.step_seconds is not None
    return found.step_seconds / found.tokens_per_step, found.fullest.total_bytes


def _evaluated(job: Job, layout: Layout, machine: Machine | None) -> Plan:
    fullest = fullest_stage(job, layout)
    sent = _traffic(job, layout)
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
    )


def _traffic(job: Job, layout: Layout) -> tuple[Traffic, ...]:
    """Return what the stage that sends most sends."""
    width, grad_width = DTYPE_BYTES[job.dtype], DTYPE_BYTES[job.grad_dtype or job.dtype]
    given = Sent(job.config, job.batch_size, job.seq_len, width, grad_width, job.recompute)
    sent = [
        traffic(given, layout, stage, stage_table(job.config, layout, stage)) for stage in different_stages(job, layout)
    ]
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

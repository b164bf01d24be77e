"""Training spread over GPUs: what each holds and sends, and which ways of spreading it fit."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

from tinylm_cli.analysis.flops import train_flops
from tinylm_cli.analysis.parallel.communication import traffic
from tinylm_cli.analysis.parallel.job import Job, Machine
from tinylm_cli.analysis.parallel.layouts import layouts, sequences_per_step, uneven
from tinylm_cli.analysis.parallel.stage_memory import different_stages, fullest_stage
from tinylm_cli.analysis.parallel.step_time import Stage, balance, step_seconds
from tinylm_cli.analysis.size_checks import check_sizes
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


def plans(job: Job, gpus: int, machine: Machine, sequences: int | None = None) -> Plans:
    """Return what follows from every layout of ``gpus`` GPUs that is tried, as :func:`layouts` says.

    Of layouts that fit and differ in ZeRO alone, one that is no quicker than another and holds more is left out.

    Args:
        job: What is trained; a pass of each replica reads ``batch_size`` sequences.
        gpus: How many there are.
        machine: What they are.
        sequences: Read before each update; :func:`sequences_per_step` when None.

    Raises:
        AnalysisError: If no layout comes out even with so many sequences.
    """
    found = [_evaluated(job, layout, machine) for layout in _tried(job, gpus, machine.gpus_per_node, sequences)]
    found.sort(key=_cost)
    nearest = min(found, key=lambda each: each.fullest.total_bytes)
    alike: dict[Layout, list[Plan]] = {}
    for each in found:
        if each.fits:
            alike.setdefault(replace(each.layout, zero=0), []).append(each)
    fitting = (each for each in found if each.fits)
    best = (each for each in fitting if not any(_beats(one, each) for one in alike[replace(each.layout, zero=0)]))
    return Plans(tuple(best), nearest, len(found))


def _tried(job: Job, gpus: int, gpus_per_node: int, sequences: int | None) -> tuple[Layout, ...]:
    found = tuple(layouts(job, gpus, gpus_per_node, sequences or sequences_per_step(job, gpus)))
    if not found:
        message = f"no way to divide the work among {gpus:,} GPUs comes out even with {sequences:,} sequences a step"
        fair = job.batch_size * gpus
        raise AnalysisError(message, help=f"for example --global-batch {fair * max(round((sequences or 0) / fair), 1)}")
    return found


def _beats(one: Plan, other: Plan) -> bool:
    """Return whether a plan is at least as quick as another and holds less, or as much by less of ZeRO."""
    if _cost(one)[0] > _cost(other)[0]:
        return False
    return (one.fullest.total_bytes, one.layout.zero) < (other.fullest.total_bytes, other.layout.zero)


def planned_bytes(job: Job, layout: Layout) -> int:
    """Return what the fullest GPU of a layout that comes out even holds."""
    return fullest_stage(job, layout).total_bytes


@lru_cache(maxsize=1024)
def least_planned_bytes(job: Job, gpus: int, gpus_per_node: int, sequences: int | None = None) -> int:
    """Return what the fullest GPU holds in the layout of :func:`plans` that holds least.

    Args:
        job: What is trained.
        gpus: How many there are.
        gpus_per_node: How many a link joins.
        sequences: As for :func:`plans`.

    Raises:
        AnalysisError: Likewise.
    """
    return min(
        planned_bytes(job, layout)
        for layout in _tried(job, gpus, gpus_per_node, sequences)
        if layout.zero >= 2 or layout.data * layout.context == 1  # less holds more
    )


def _cost(found: Plan) -> tuple[float, int]:
    assert found.step_seconds is not None
    return found.step_seconds / found.tokens_per_step, found.fullest.total_bytes


def _evaluated(job: Job, layout: Layout, machine: Machine | None) -> Plan:
    fullest = fullest_stage(job, layout)
    stages = tuple(
        Stage(first, alike, traffic(job, layout, first, machine)) for first, alike in different_stages(job, layout)
    )
    most: dict[str, Traffic] = {}
    for sent in (one for stage in stages for one in stage.sent):
        most[sent.name] = max(most.get(sent.name, sent), sent, key=lambda each: each.sent_bytes)
    tokens = layout.data * layout.micro_batches * job.batch_size * job.seq_len
    even = balance(job, layout, stages)
    seconds = None if machine is None else step_seconds(job, layout, machine, stages)
    return Plan(
        layout=layout,
        gpus=layout.gpus,
        batch_size=job.batch_size,
        seq_len=job.seq_len,
        tokens_per_step=tokens,
        fullest=fullest,
        bubble=even.bubble,
        slowest_stage=even.slowest_stage,
        imbalance=even.imbalance,
        traffic=tuple(most.values()),
        capacity_bytes=None if machine is None else machine.capacity_bytes,
        fits=None if machine is None else fullest.total_bytes <= machine.capacity_bytes,
        step_seconds=seconds,
        kernel_efficiency=None if machine is None else machine.kernel_efficiency,
        utilization=None if machine is None or seconds is None else _utilization(job, tokens, layout, machine, seconds),
    )


def _utilization(job: Job, tokens: int, layout: Layout, machine: Machine, seconds: float) -> float:
    """Return the share of the peak that goes into the model's own FLOPs."""
    flops = train_flops(job.config, batch_size=1, seq_len=job.seq_len) * tokens // job.seq_len
    return flops / (layout.gpus * machine.peak_flops_per_second * seconds)

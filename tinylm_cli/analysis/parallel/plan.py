"""Training spread over GPUs: what each holds and sends, and which ways of spreading it fit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from tinylm_cli.analysis.activations import check_sizes
from tinylm_cli.analysis.flops import train_flops
from tinylm_cli.analysis.parallel.job import Job, Machine
from tinylm_cli.analysis.parallel.layouts import layouts, sequences_per_step, uneven
from tinylm_cli.analysis.parallel.stage import Likeness, stage_memory
from tinylm_cli.analysis.parallel.step import Stage, balance, step_seconds
from tinylm_cli.analysis.parallel.traffic import traffic
from tinylm_cli.errors import AnalysisError
from tinylm_cli.reports.plan import Layout, Plan, ZeroStage


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


def plans(job: Job, gpus: int, machine: Machine, sequences: int | None = None) -> tuple[Plan, ...]:
    """Return the layouts of ``gpus`` GPUs that come out even and fit, the quickest for each token first.

    Those of :func:`layouts` are tried. Of layouts that differ in ZeRO alone, one that is no quicker than another and
    holds as much or more is left out.

    Args:
        job: What is trained; a pass of each replica reads ``batch_size`` sequences.
        gpus: How many there are.
        machine: What they are.
        sequences: Read before each update; :func:`sequences_per_step` when None.
    """
    found: dict[Layout, list[Plan]] = {}
    for layout in layouts(job, gpus, machine, sequences or sequences_per_step(job, gpus)):
        each = _evaluated(job, layout, machine)
        if each.fits:
            found.setdefault(replace(layout, zero=0), []).append(each)
    fitting = [each for alike in found.values() for each in alike if not any(_beats(one, each) for one in alike)]
    return tuple(sorted(fitting, key=_cost))


def _beats(one: Plan, other: Plan) -> bool:
    """Return whether a plan is at least as quick as another and holds less, or as much by less of ZeRO."""
    if _cost(one)[0] > _cost(other)[0]:
        return False
    return (one.fullest.total_bytes, one.layout.zero) < (other.fullest.total_bytes, other.layout.zero)


def _cost(found: Plan) -> tuple[float, int]:
    assert found.step_seconds is not None
    return found.step_seconds / found.tokens_per_step, found.fullest.total_bytes


def _evaluated(job: Job, layout: Layout, machine: Machine | None) -> Plan:
    alike: dict[Likeness, list[int]] = {}
    for stage in range(layout.pipeline):
        alike.setdefault(Likeness.of(job, layout, stage), []).append(stage)
    stages = tuple(Stage(found[0], len(found), traffic(job, layout, found[0], machine)) for found in alike.values())
    fullest = max((stage_memory(job, layout, stage.first) for stage in stages), key=lambda each: each.total_bytes)
    sent = max((stage.sent for stage in stages), key=lambda each: sum(one.sent_bytes for one in each))
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
        traffic=sent,
        capacity_bytes=None if machine is None else machine.capacity_bytes,
        fits=None if machine is None else fullest.total_bytes <= machine.capacity_bytes,
        step_seconds=seconds,
        kernel_efficiency=None if machine is None else machine.kernel_efficiency,
        utilisation=None if machine is None or seconds is None else _utilisation(job, tokens, layout, machine, seconds),
        remedies=(),
    )


def _utilisation(job: Job, tokens: int, layout: Layout, machine: Machine, seconds: float) -> float:
    """Return the share of the peak that goes into the model's own FLOPs."""
    flops = train_flops(job.config, batch_size=1, seq_len=job.seq_len) * tokens // job.seq_len
    return flops / (layout.gpus * machine.peak_flops_per_second * seconds)


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

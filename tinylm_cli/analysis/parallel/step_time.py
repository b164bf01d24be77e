"""Time of one training step of a layout: compute, communication and pipeline bubbles, without overlap."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from tinylm_cli.analysis.flops import train_flops
from tinylm_cli.analysis.parallel.communication import ONCE_PER_STEP
from tinylm_cli.analysis.parallel.sharding import IGNORE_WINDOWS, stage_groups, stage_kind, stage_table
from tinylm_cli.analysis.setups import TrainingSetup
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.reports.plan import Layout, Traffic


class StageFlops(NamedTuple):
    """FLOPs of one micro-batch, forward and backward, in stages with equal tensors, whose windows may differ."""

    first: int  # the first of these stages
    n_stages: int  # number of these stages
    slowest: int  # the first of them with the most FLOPs
    max_flops: int  # FLOPs of the slowest stage, over all its GPUs
    total_flops: int  # FLOPs of all these stages


def flops_by_stage(config: ModelConfig, setup: TrainingSetup, layout: Layout) -> tuple[StageFlops, ...]:
    """Return the FLOPs of all stages, in groups with equal tensors, ordered by their first stage."""
    return _flops_by_stage(config, setup.one_pass, Layout(pipeline=layout.pipeline, virtual=layout.virtual))


@lru_cache(maxsize=4096)
def _flops_by_stage(config: ModelConfig, setup: TrainingSetup, layout: Layout) -> tuple[StageFlops, ...]:
    found: dict[object, StageFlops] = {}
    for first, n_stages in stage_groups(config, layout, setup.length(config)):
        flops = stage_flops(config, setup, layout, first)
        group = StageFlops(first, n_stages, first, flops, n_stages * flops)
        kind = stage_kind(config, layout, IGNORE_WINDOWS, first)
        found[kind] = _merged(found[kind], group) if kind in found else group
    return tuple(found.values())


def _merged(one: StageFlops, other: StageFlops) -> StageFlops:
    """Return two groups as one; ``one`` has the earlier first stage."""
    slower = max(one, other, key=lambda each: each.max_flops)
    n_stages, total_flops = one.n_stages + other.n_stages, one.total_flops + other.total_flops
    return StageFlops(one.first, n_stages, slower.slowest, slower.max_flops, total_flops)


def stage_flops(config: ModelConfig, setup: TrainingSetup, layout: Layout, stage: int) -> int:
    """Return the FLOPs of one micro-batch in a stage, forward and backward, over all its GPUs."""
    return train_flops(
        config,
        batch_size=setup.batch_size,
        seq_len=setup.length(config),
        recompute=setup.recompute,
        table=stage_table(config, Layout(pipeline=layout.pipeline, virtual=layout.virtual), stage),
    )


def balance(layout: Layout, stages: Sequence[StageFlops]) -> tuple[int, float, float]:
    """Return the first stage with the most FLOPs, its FLOPs divided by the mean, and the mean idle share of a stage."""
    slowest = max(stages, key=lambda each: (each.max_flops, -each.slowest))
    all_stages = sum(each.total_flops for each in stages)
    mean = all_stages / layout.pipeline
    total = _pipeline_time(layout, slowest.max_flops, all_stages)
    return slowest.slowest, slowest.max_flops / mean, 1 - layout.micro_batches * mean / total


def step_seconds(
    setup: TrainingSetup,
    layout: Layout,
    peak: int,
    stages: Sequence[StageFlops],
    traffic: Mapping[int, Iterable[Traffic]],
) -> float:
    """Return the time of a step.

    A micro-batch takes ``FLOPs / (tensor · context · peak · kernel efficiency)`` in a stage, plus its communication.
    Gradients are reduced after the last micro-batch. Compute and communication do not overlap.

    Args:
        setup: How the model is trained.
        layout: The parallel layout.
        peak: FLOPs per second of one GPU, as :func:`peak_flops` returns them.
        stages: The FLOPs of all stages.
        traffic: The traffic of a GPU of each stage that is ``first`` in ``stages``.

    References:
        Narayanan et al. 2021, sections 2.2.1 and 2.2.2, https://arxiv.org/abs/2104.04473
    """
    rate = peak * setup.kernel_efficiency * layout.tensor * layout.context
    slowest = all_stages = after_last = 0.0
    for group in stages:
        per_step = once = 0.0
        for sent in traffic[group.first]:
            assert sent.seconds is not None, "the accelerator is known"
            if sent.name in ONCE_PER_STEP:
                once += sent.seconds
            else:
                per_step += sent.seconds
        communication = per_step / layout.micro_batches
        slowest = max(slowest, group.max_flops / rate + communication)
        all_stages += group.total_flops / rate + group.n_stages * communication
        after_last = max(after_last, once)
    return _pipeline_time(layout, slowest, all_stages) + after_last


def _pipeline_time(layout: Layout, slowest: float, all_stages: float) -> float:
    """Return the time until all micro-batches have passed all stages.

    ``m · slowest + (sum over stages - slowest) / v``: m micro-batches take the time of the slowest stage. Filling and
    draining the pipeline takes one pass through every other stage, divided by the v chunks per stage.

    Args:
        layout: The parallel layout.
        slowest: The time of one micro-batch in the slowest stage, or FLOPs in place of it.
        all_stages: Its sum over all stages.
    """
    return layout.micro_batches * slowest + (all_stages - slowest) / layout.virtual

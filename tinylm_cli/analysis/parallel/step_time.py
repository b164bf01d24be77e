"""Time of one training step of a layout: compute, communication and pipeline bubbles, without overlap."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from tinylm_cli.analysis.flops import train_flops
from tinylm_cli.analysis.parallel.communication import ONCE_PER_STEP
from tinylm_cli.analysis.parallel.sharding import stage_table
from tinylm_cli.analysis.parallel.stage_memory import StageGroup
from tinylm_cli.analysis.roofline import peak_flops
from tinylm_cli.analysis.setups import TrainingSetup
from tinylm_cli.config.hardware import Accelerator
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.reports.plan import Layout, Traffic


class StageTraffic(NamedTuple):
    """A group of equal stages, and the traffic of one GPU of each stage in a step."""

    group: StageGroup
    traffic: tuple[Traffic, ...]


class Balance(NamedTuple):
    """How evenly a pipeline divides the FLOPs of a step.

    Attributes:
        slowest_stage: The first stage with the most FLOPs.
        imbalance: FLOPs of the slowest stage over the mean FLOPs per stage, >= 1.
        bubble: Idle share of the average stage in a step's compute time.
    """

    slowest_stage: int
    imbalance: float
    bubble: float


class _StageTime(NamedTuple):
    """The time of one micro-batch in a stage (seconds, or FLOPs as a proxy), and the number of such stages."""

    per_micro_batch: float
    n_stages: int


def balance(config: ModelConfig, setup: TrainingSetup, layout: Layout, groups: Iterable[StageGroup]) -> Balance:
    """Return how evenly the stages divide the FLOPs, and their idle share."""
    flops = {group: stage_flops(config, setup, layout, group.first) for group in groups}
    slowest = max(flops, key=lambda group: (flops[group], -group.first))
    mean = sum(group.n_stages * stage for group, stage in flops.items()) / layout.pipeline
    total = _pipeline_time(layout, [_StageTime(stage, group.n_stages) for group, stage in flops.items()])
    return Balance(slowest.first, flops[slowest] / mean, 1 - layout.micro_batches * mean / total)


def step_seconds(
    config: ModelConfig, setup: TrainingSetup, layout: Layout, accelerator: Accelerator, stages: Iterable[StageTraffic]
) -> float:
    """Return the time of a step.

    A micro-batch takes ``FLOPs / (tensor · context · peak · kernel efficiency)`` in a stage, plus its communication.
    Gradients are reduced after the last micro-batch. Compute and communication do not overlap.

    References:
        Narayanan et al. 2021, sections 2.2.1 and 2.2.2, https://arxiv.org/abs/2104.04473
    """
    rate = peak_flops(accelerator, setup.dtype) * setup.kernel_efficiency * layout.tensor * layout.context
    times, after_last = [], 0.0
    for group, sent in stages:
        compute = stage_flops(config, setup, layout, group.first) / rate
        all_micro_batches = sum(_seconds(each) for each in sent if each.name not in ONCE_PER_STEP)
        times.append(_StageTime(compute + all_micro_batches / layout.micro_batches, group.n_stages))
        after_last = max(after_last, sum(_seconds(each) for each in sent if each.name in ONCE_PER_STEP))
    return _pipeline_time(layout, times) + after_last


def stage_flops(config: ModelConfig, setup: TrainingSetup, layout: Layout, stage: int) -> int:
    """Return the FLOPs of one micro-batch in a stage, forward and backward, over all its GPUs."""
    return _stage_flops(config, setup.one_pass, Layout(pipeline=layout.pipeline, virtual=layout.virtual), stage)


@lru_cache(maxsize=4096)
def _stage_flops(config: ModelConfig, setup: TrainingSetup, layout: Layout, stage: int) -> int:
    return train_flops(
        config,
        batch_size=setup.batch_size,
        seq_len=setup.length(config),
        recompute=setup.recompute,
        table=stage_table(config, layout, stage),
    )


def _pipeline_time(layout: Layout, stages: Iterable[_StageTime]) -> float:
    """Return the time until all micro-batches have passed all stages.

    ``m · slowest + (sum over stages - slowest) / v``: m micro-batches take the time of the slowest stage. Filling and
    draining the pipeline takes one pass through every other stage, divided by the v chunks per stage.
    """
    times = list(stages)
    slowest = max(stage.per_micro_batch for stage in times)
    all_stages = sum(stage.per_micro_batch * stage.n_stages for stage in times)
    return layout.micro_batches * slowest + (all_stages - slowest) / layout.virtual


def _seconds(sent: Traffic) -> float:
    assert sent.seconds is not None, "the accelerator is known"
    return sent.seconds

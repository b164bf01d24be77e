"""Time of one training step of a layout: compute, communication and pipeline bubbles, one after the other."""

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
    """A group of equal stages, and what a GPU of each sends in a step."""

    group: StageGroup
    traffic: tuple[Traffic, ...]


class Balance(NamedTuple):
    """How evenly a pipeline divides the FLOPs of a step.

    Attributes:
        slowest_stage: The stage with the most FLOPs, the first such.
        imbalance: Its FLOPs over those of the mean stage, >= 1.
        bubble: Share of a step's compute time that the mean stage waits.
    """

    slowest_stage: int
    imbalance: float
    bubble: float


class _StageTime(NamedTuple):
    """The time of one micro-batch in a stage, in any unit, and the number of such stages."""

    per_micro_batch: float
    n_stages: int


def balance(config: ModelConfig, setup: TrainingSetup, layout: Layout, groups: Iterable[StageGroup]) -> Balance:
    """Return how evenly the stages divide the FLOPs, and how long they wait."""
    flops = {group: stage_flops(config, setup, layout, group.first) for group in groups}
    slowest = max(flops, key=lambda group: (flops[group], -group.first))
    mean = sum(group.n_stages * each for group, each in flops.items()) / layout.pipeline
    total = _pipeline_time(layout, [_StageTime(each, group.n_stages) for group, each in flops.items()])
    return Balance(slowest.first, flops[slowest] / mean, 1 - layout.micro_batches * mean / total)


def step_seconds(
    config: ModelConfig, setup: TrainingSetup, layout: Layout, accelerator: Accelerator, stages: Iterable[StageTraffic]
) -> float:
    """Return the time of a step.

    A micro-batch takes ``FLOPs / (tensor · context · peak · kernel efficiency)`` in a stage, plus its communication.
    Gradients are reduced after the last micro-batch. Nothing overlaps.

    References:
        Narayanan et al. 2021, sections 2.2.1 and 2.2.2, https://arxiv.org/abs/2104.04473
    """
    rate = peak_flops(accelerator, setup.dtype) * setup.kernel_efficiency * layout.tensor * layout.context
    times, after = [], 0.0
    for group, sent in stages:
        compute = stage_flops(config, setup, layout, group.first) / rate
        every_micro_batch = sum(_seconds(each) for each in sent if each.name not in ONCE_PER_STEP)
        times.append(_StageTime(compute + every_micro_batch / layout.micro_batches, group.n_stages))
        after = max(after, sum(_seconds(each) for each in sent if each.name in ONCE_PER_STEP))
    return _pipeline_time(layout, times) + after


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
    """Return the time in which all micro-batches pass all stages.

    ``m · slowest + (all stages - slowest) / v``: the slowest stage sets the pace of m micro-batches; filling and
    draining the pipeline takes one pass of every other stage, divided by the v chunks of each.
    """
    times = list(stages)
    slowest = max(stage.per_micro_batch for stage in times)
    all_stages = sum(stage.per_micro_batch * stage.n_stages for stage in times)
    return layout.micro_batches * slowest + (all_stages - slowest) / layout.virtual


def _seconds(sent: Traffic) -> float:
    assert sent.seconds is not None, "the accelerator is known"
    return sent.seconds

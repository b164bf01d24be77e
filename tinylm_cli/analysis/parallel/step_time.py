"""How long a step of a layout takes: arithmetic, traffic and waiting, one after the other."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

from tinylm_cli.analysis.flops import train_flops
from tinylm_cli.analysis.parallel.communication import ONCE_A_STEP
from tinylm_cli.analysis.parallel.sharding import stage_table
from tinylm_cli.analysis.roofline import peak_flops
from tinylm_cli.analysis.setups import TrainingSetup
from tinylm_cli.config.hardware import Accelerator
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.reports.plan import Layout, Traffic


class Stage(NamedTuple):
    """Stages that do the same.

    Attributes:
        first: The first of them.
        alike: How many there are.
        sent: What a GPU of each sends in a step.
    """

    first: int
    alike: int
    sent: tuple[Traffic, ...]


class Balance(NamedTuple):
    """How a pipeline spreads the arithmetic of a step.

    Attributes:
        slowest_stage: The stage that computes most, the first such.
        imbalance: What it computes over what the mean stage does, >= 1.
        bubble: Share of a step's arithmetic time that the mean stage waits.
    """

    slowest_stage: int
    imbalance: float
    bubble: float


def balance(config: ModelConfig, setup: TrainingSetup, layout: Layout, stages: tuple[Stage, ...]) -> Balance:
    """Return how even the stages are, and how long they wait for each other and for the first and last micro-batch."""
    work = {stage.first: stage_flops(config, setup, layout, stage.first) for stage in stages}
    slowest = max(work, key=lambda first: (work[first], -first))
    whole = sum(stage.alike * work[stage.first] for stage in stages)
    mean = whole / layout.pipeline
    length = _pipelined(layout, {stage.first: (work[stage.first], stage.alike) for stage in stages})
    return Balance(slowest, work[slowest] / mean, 1 - layout.micro_batches * mean / length)


def step_seconds(
    config: ModelConfig, setup: TrainingSetup, layout: Layout, accelerator: Accelerator, stages: tuple[Stage, ...]
) -> float:
    """Return how long a step takes.

    A micro-batch passes a stage in ``FLOPs / (tensor · context · peak · kernel efficiency)`` and what its traffic
    takes. The slowest stage sets the pace; filling and draining the pipeline takes one pass of all others, over the
    chunks that each stage is cut in. What is sent once a step comes last, and nothing overlaps.

    References:
        Narayanan et al. 2021, sections 2.2.1 and 2.2.2, https://arxiv.org/abs/2104.04473
    """
    rate = peak_flops(accelerator, setup.dtype) * setup.kernel_efficiency * layout.tensor * layout.context
    passing = {
        stage.first: (
            stage_flops(config, setup, layout, stage.first) / rate
            + sum(_seconds(one) for one in stage.sent if one.name not in ONCE_A_STEP) / layout.micro_batches,
            stage.alike,
        )
        for stage in stages
    }
    after = max(sum(_seconds(one) for one in stage.sent if one.name in ONCE_A_STEP) for stage in stages)
    return _pipelined(layout, passing) + after


def stage_flops(config: ModelConfig, setup: TrainingSetup, layout: Layout, stage: int) -> int:
    """Return the operations of one micro-batch in a stage, by all its GPUs."""
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


def _pipelined(layout: Layout, passing: Mapping[int, tuple[float, int]]) -> float:
    """Return how long all micro-batches take to pass stages that each take so long, and are so many."""
    slowest = max(one for one, _ in passing.values())
    once = sum(one * count for one, count in passing.values())
    return layout.micro_batches * slowest + (once - slowest) / layout.virtual


def _seconds(sent: Traffic) -> float:
    assert sent.seconds is not None, "the accelerator is known"
    return sent.seconds

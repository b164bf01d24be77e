"""Time of one training step of a layout: compute, communication and pipeline bubbles, without overlap."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

from tinylm_cli.analysis.flops import train_flops
from tinylm_cli.analysis.parallel.communication import ONCE_PER_STEP
from tinylm_cli.analysis.parallel.sharding import stage_table
from tinylm_cli.analysis.parallel.stage_memory import StageGroup
from tinylm_cli.analysis.roofline import peak_flops
from tinylm_cli.analysis.setups import TrainingSetup
from tinylm_cli.config.hardware import Accelerator
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.reports.plan import Layout, Traffic


def balance(layout: Layout, flops: Mapping[StageGroup, int]) -> tuple[int, float, float]:
    """Return the first stage with the most FLOPs, its FLOPs over the mean, and the idle share of the average stage."""
    slowest = max(flops, key=lambda group: (flops[group], -group.first))
    mean = sum(group.n_stages * stage for group, stage in flops.items()) / layout.pipeline
    total = _pipeline_time(layout, [(stage, group.n_stages) for group, stage in flops.items()])
    return slowest.first, flops[slowest] / mean, 1 - layout.micro_batches * mean / total


def step_seconds(
    setup: TrainingSetup,
    layout: Layout,
    accelerator: Accelerator,
    flops: Mapping[StageGroup, int],
    traffic: Mapping[StageGroup, Iterable[Traffic]],
) -> float:
    """Return the time of a step, given the FLOPs of each stage and the traffic of one of its GPUs.

    A micro-batch takes ``FLOPs / (tensor · context · peak · kernel efficiency)`` in a stage, plus its communication.
    Gradients are reduced after the last micro-batch. Compute and communication do not overlap.

    References:
        Narayanan et al. 2021, sections 2.2.1 and 2.2.2, https://arxiv.org/abs/2104.04473
    """
    rate = peak_flops(accelerator, setup.dtype) * setup.kernel_efficiency * layout.tensor * layout.context
    times, after_last = [], 0.0
    for group, sent in traffic.items():
        compute = flops[group] / rate
        all_micro_batches = sum(_seconds(each) for each in sent if each.name not in ONCE_PER_STEP)
        times.append((compute + all_micro_batches / layout.micro_batches, group.n_stages))
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


def _pipeline_time(layout: Layout, stages: Sequence[tuple[float, int]]) -> float:
    """Return the time until all micro-batches have passed all stages.

    ``m · slowest + (sum over stages - slowest) / v``: m micro-batches take the time of the slowest stage. Filling and
    draining the pipeline takes one pass through every other stage, divided by the v chunks per stage.

    Args:
        layout: The parallel layout.
        stages: For each group of stages, the time or the FLOPs of one micro-batch, and the number of stages.
    """
    slowest = max(time for time, _ in stages)
    all_stages = sum(time * n_stages for time, n_stages in stages)
    return layout.micro_batches * slowest + (all_stages - slowest) / layout.virtual


def _seconds(sent: Traffic) -> float:
    assert sent.seconds is not None, "the accelerator is known"
    return sent.seconds

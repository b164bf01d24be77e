"""Training spread over GPUs: what each holds and sends, and which ways of spreading it fit."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

from tinylm_cli.analysis.flops import train_flops
from tinylm_cli.analysis.parallel.communication import traffic
from tinylm_cli.analysis.parallel.layouts import global_batch_size, layouts, uneven
from tinylm_cli.analysis.parallel.stage_memory import different_stages, fullest_stage
from tinylm_cli.analysis.parallel.step_time import Stage, balance, step_seconds
from tinylm_cli.analysis.roofline import peak_flops
from tinylm_cli.analysis.setups import TrainingSetup
from tinylm_cli.analysis.size_checks import check_sizes
from tinylm_cli.config.hardware import Accelerator
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.errors import AnalysisError
from tinylm_cli.reports.plan import Layout, Plan, Traffic


def plan(config: ModelConfig, setup: TrainingSetup, layout: Layout, accelerator: Accelerator | None = None) -> Plan:
    """Return what follows from training as ``layout`` divides the work.

    Sequence parallelism comes with tensor parallelism: norms, dropout and the residual stream are divided as well.
    Everything is held at once, as when gradients are accumulated; what a library buffers besides is not counted.

    Args:
        config: A validated config.
        setup: How it is trained; its own layout and n_gpus do not matter here.
        layout: How the work is divided.
        accelerator: The GPUs; without them nothing is said of fitting and time.

    Raises:
        AnalysisError: If a size is out of range, or the layout does not come out even; names the first such.

    References:
        Rajbhandari et al. 2020 (ZeRO), https://arxiv.org/abs/1910.02054;
        Korthikanti et al. 2022 (sequence parallelism), https://arxiv.org/abs/2205.05198;
        Narayanan et al. 2021 (pipelines, their waiting), https://arxiv.org/abs/2104.04473
    """
    check_sizes(config, batch_size=setup.batch_size, seq_len=setup.length(config))
    for wrong in uneven(config, setup, layout):
        raise AnalysisError(wrong.message, help=wrong.help)
    return _evaluated(config, setup, layout, accelerator)


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


def plans(config: ModelConfig, setup: TrainingSetup, accelerator: Accelerator) -> Plans:
    """Return what follows from every layout of the setup's GPUs that is tried, as :func:`layouts` says.

    Of layouts that fit and differ in ZeRO alone, one that is no quicker than another and holds more is left out.

    Args:
        config: A validated config.
        setup: How it is trained, on how many GPUs.
        accelerator: The GPU.

    Raises:
        AnalysisError: If no layout comes out even with so many sequences.
    """
    found = [
        _evaluated(config, setup, layout, accelerator) for layout in _tried(config, setup, accelerator.gpus_per_node)
    ]
    found.sort(key=_cost)
    nearest = min(found, key=lambda each: each.fullest.total_bytes)
    alike: dict[Layout, list[Plan]] = {}
    for each in found:
        if each.fits:
            alike.setdefault(replace(each.layout, zero=0), []).append(each)
    fitting = (each for each in found if each.fits)
    best = (each for each in fitting if not any(_beats(one, each) for one in alike[replace(each.layout, zero=0)]))
    return Plans(tuple(best), nearest, len(found))


def _tried(config: ModelConfig, setup: TrainingSetup, gpus_per_node: int) -> tuple[Layout, ...]:
    found = tuple(layouts(config, setup, gpus_per_node))
    if not found:
        sequences, fair = global_batch_size(config, setup), setup.batch_size * setup.n_gpus
        message = f"no layout of {setup.n_gpus:,} GPUs divides a global batch of {sequences:,} sequences evenly"
        nearest = fair * max(round(sequences / fair), 1)
        raise AnalysisError(message, help=f"for example a global batch of {nearest:,} sequences")
    return found


def _beats(one: Plan, other: Plan) -> bool:
    """Return whether a plan is at least as quick as another and holds less, or as much by less of ZeRO."""
    if _cost(one)[0] > _cost(other)[0]:
        return False
    return (one.fullest.total_bytes, one.layout.zero) < (other.fullest.total_bytes, other.layout.zero)


def planned_bytes(config: ModelConfig, setup: TrainingSetup, layout: Layout) -> int:
    """Return what the fullest GPU of a layout that comes out even holds."""
    return fullest_stage(config, setup, layout).total_bytes


@lru_cache(maxsize=1024)
def least_planned_bytes(config: ModelConfig, setup: TrainingSetup, gpus_per_node: int) -> int:
    """Return what the fullest GPU holds in the layout of :func:`plans` that holds least.

    Args:
        config: A validated config.
        setup: How it is trained, on how many GPUs.
        gpus_per_node: How many of them a link joins.

    Raises:
        AnalysisError: If no layout divides the global batch evenly.
    """
    return min(
        planned_bytes(config, setup, layout)
        for layout in _tried(config, setup, gpus_per_node)
        if layout.zero >= 2 or layout.data * layout.context == 1  # less holds more
    )


def _cost(found: Plan) -> tuple[float, int]:
    assert found.step_seconds is not None
    return found.step_seconds / found.tokens_per_step, found.fullest.total_bytes


def _evaluated(config: ModelConfig, setup: TrainingSetup, layout: Layout, accelerator: Accelerator | None) -> Plan:
    fullest = fullest_stage(config, setup, layout)
    stages = tuple(
        Stage(first, alike, traffic(config, setup, layout, first, accelerator))
        for first, alike in different_stages(config, setup, layout)
    )
    most: dict[str, Traffic] = {}
    for sent in (one for stage in stages for one in stage.sent):
        most[sent.name] = max(most.get(sent.name, sent), sent, key=lambda each: each.sent_bytes)
    tokens = layout.data * layout.micro_batches * setup.batch_size * setup.length(config)
    even = balance(config, setup, layout, stages)
    seconds = None if accelerator is None else step_seconds(config, setup, layout, accelerator, stages)
    return Plan(
        layout=layout,
        gpus=layout.gpus,
        batch_size=setup.batch_size,
        seq_len=setup.length(config),
        tokens_per_step=tokens,
        fullest=fullest,
        bubble=even.bubble,
        slowest_stage=even.slowest_stage,
        imbalance=even.imbalance,
        traffic=tuple(most.values()),
        capacity_bytes=None if accelerator is None else accelerator.capacity_bytes,
        fits=None if accelerator is None else fullest.total_bytes <= accelerator.capacity_bytes,
        step_seconds=seconds,
        kernel_efficiency=None if accelerator is None else setup.kernel_efficiency,
        utilization=None
        if accelerator is None or seconds is None
        else _utilization(config, setup, tokens, layout, accelerator, seconds),
    )


def _utilization(
    config: ModelConfig, setup: TrainingSetup, tokens: int, layout: Layout, accelerator: Accelerator, seconds: float
) -> float:
    """Return the share of the peak that goes into the model's own FLOPs."""
    flops = train_flops(config, batch_size=1, seq_len=setup.length(config)) * tokens // setup.length(config)
    return flops / (layout.gpus * peak_flops(accelerator, setup.dtype) * seconds)

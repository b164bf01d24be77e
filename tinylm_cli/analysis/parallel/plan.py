"""Plans: the memory, traffic and time of a layout, and the search for the fastest layout that fits."""

from __future__ import annotations

from functools import lru_cache
from itertools import chain, islice
from math import inf
from typing import NamedTuple

from tinylm_cli.analysis.flops import train_flops
from tinylm_cli.analysis.parallel.communication import traffic
from tinylm_cli.analysis.parallel.layouts import global_batch_size, layout_mismatches, layouts
from tinylm_cli.analysis.parallel.stage_memory import peak_bytes_within, peak_stage_memory, stage_groups
from tinylm_cli.analysis.parallel.step_time import balance, stage_flops, step_seconds
from tinylm_cli.analysis.roofline import peak_flops
from tinylm_cli.analysis.setups import TrainingSetup, check_sizes
from tinylm_cli.config.hardware import Accelerator
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.errors import AnalysisError
from tinylm_cli.reports.plan import Layout, Plan, StageMemory, Traffic

MAX_LAYOUTS = 10_000
"""Maximum number of layouts that a search tries."""


def plan(config: ModelConfig, setup: TrainingSetup, layout: Layout, accelerator: Accelerator | None = None) -> Plan:
    """Return the memory, traffic and time of training with a layout.

    Tensor parallelism includes sequence parallelism: norms, dropout and the residual stream are sharded along the
    sequence. Weights, gradients, optimizer state and activations are held at once, as with gradient accumulation.
    Buffers of communication libraries are not counted.

    Args:
        config: A validated config.
        setup: How it is trained; its layout and n_gpus are ignored.
        layout: The parallel layout.
        accelerator: The GPU; without one, ``fits`` and all times are None.

    Raises:
        AnalysisError: If a size is out of range, or the layout does not divide the model evenly.

    References:
        Rajbhandari et al. 2020 (ZeRO), https://arxiv.org/abs/1910.02054;
        Korthikanti et al. 2022 (sequence parallelism), https://arxiv.org/abs/2205.05198;
        Narayanan et al. 2021 (pipelines, bubbles), https://arxiv.org/abs/2104.04473
    """
    check_sizes(config, setup)
    for mismatch in layout_mismatches(config, setup, layout):
        raise AnalysisError(mismatch.message, help=mismatch.help)
    return _plan(config, setup, layout, accelerator, peak_stage_memory(config, setup, layout))


class Plans(NamedTuple):
    """The plans of every layout of a number of GPUs."""

    fitting: tuple[Plan, ...]  # plans that fit, in order of time per token
    smallest: Plan  # the plan that needs the least memory
    tried: int  # number of layouts

    @property
    def best(self) -> Plan:
        """The fastest plan that fits; the smallest if none fits."""
        return self.fitting[0] if self.fitting else self.smallest


def plans(config: ModelConfig, setup: TrainingSetup, accelerator: Accelerator) -> Plans:
    """Return the plans of every layout that :func:`layouts` yields.

    Among plans that fit and differ only in the ZeRO stage, a plan is dropped if another is as fast and needs less
    memory.

    Args:
        config: A validated config.
        setup: How it is trained, including n_gpus.
        accelerator: The GPU.

    Raises:
        AnalysisError: If no layout divides the global batch evenly, or more than ``MAX_LAYOUTS`` do.
    """
    tried = _valid_layouts(config, setup, accelerator.gpus_per_node)
    held = [peak_stage_memory(config, setup, layout) for layout in tried]
    least = min(memory.total_bytes for memory in held)
    limit = max(least, accelerator.capacity_bytes)  # a plan that does not fit matters only if it needs the least
    planned = [
        _plan(config, setup, layout, accelerator, memory)
        for layout, memory in zip(tried, held, strict=True)
        if memory.total_bytes <= limit
    ]
    planned.sort(key=_cost)
    smallest = min(planned, key=lambda each: each.peak_stage.total_bytes)
    fitting = [each for each in planned if each.fits]
    by_zero: dict[tuple[int, ...], list[Plan]] = {}
    for each in fitting:
        by_zero.setdefault(_degrees(each.layout), []).append(each)
    best = (each for each in fitting if not any(_dominates(one, each) for one in by_zero[_degrees(each.layout)]))
    return Plans(tuple(best), smallest, len(tried))


def _degrees(layout: Layout) -> tuple[int, ...]:
    """Return the degrees that a search varies; they determine the micro-batches."""
    return layout.data, layout.tensor, layout.pipeline, layout.context, layout.expert


def _valid_layouts(config: ModelConfig, setup: TrainingSetup, gpus_per_node: int) -> tuple[Layout, ...]:
    candidates = tuple(islice(layouts(config, setup, gpus_per_node), MAX_LAYOUTS + 1))
    if len(candidates) > MAX_LAYOUTS:
        message = f"{setup.n_gpus:,} GPUs have more than {MAX_LAYOUTS:,} layouts of this model, too many to search"
        raise AnalysisError(message, help="give a plan, for example tp=8,pp=4,zero=1, or another number of GPUs")
    if not candidates:
        sequences, per_pass = global_batch_size(config, setup), setup.batch_size * setup.n_gpus
        message = f"no layout of {setup.n_gpus:,} GPUs divides a global batch of {sequences:,} sequences evenly"
        nearest = per_pass * max(round(sequences / per_pass), 1)
        raise AnalysisError(message, help=f"for example a global batch of {nearest:,} sequences")
    return candidates


def _dominates(one: Plan, other: Plan) -> bool:
    """Return whether a plan is as fast as another with less memory, or with equal memory and a lower ZeRO stage."""
    if _cost(one)[0] > _cost(other)[0]:
        return False
    return (one.peak_stage.total_bytes, one.layout.zero) < (other.peak_stage.total_bytes, other.layout.zero)


def plan_bytes(config: ModelConfig, setup: TrainingSetup, layout: Layout) -> int:
    """Return the memory of the stage that needs the most, for a layout that divides the model evenly."""
    return peak_stage_memory(config, setup, layout).total_bytes


@lru_cache(maxsize=1024)
def smallest_plan_bytes(config: ModelConfig, setup: TrainingSetup, gpus_per_node: int) -> int:
    """Return the memory of the smallest of :func:`plans`, without computing traffic and time.

    Args:
        config: A validated config.
        setup: How it is trained, including n_gpus.
        gpus_per_node: GPUs connected by fast links.

    Raises:
        AnalysisError: If no layout divides the global batch evenly, or more than ``MAX_LAYOUTS`` do.
    """
    smallest: int | None = None
    for layout in reversed(_valid_layouts(config, setup, gpus_per_node)):  # the most sharded layouts first
        if layout.zero >= 2 or layout.data * layout.context == 1:  # lower ZeRO stages need more
            needed = peak_bytes_within(config, setup, layout, inf if smallest is None else smallest)
            smallest = smallest if needed is None else needed
    assert smallest is not None, "there is a layout"
    return smallest


def _cost(plan: Plan) -> tuple[float, int]:
    assert plan.step_seconds is not None
    return plan.step_seconds / plan.tokens_per_step, plan.peak_stage.total_bytes


def _plan(
    config: ModelConfig, setup: TrainingSetup, layout: Layout, accelerator: Accelerator | None, memory: StageMemory
) -> Plan:
    groups = stage_groups(config, setup, layout)
    sent_by = {group: traffic(config, setup, layout, group.first, accelerator) for group in groups}
    busiest: dict[str, Traffic] = {}
    for sent in chain.from_iterable(sent_by.values()):
        busiest[sent.name] = max(busiest.get(sent.name, sent), sent, key=lambda each: each.sent_bytes)
    seq_len = setup.length(config)
    tokens = layout.data * layout.micro_batches * setup.batch_size * seq_len
    flops = {group: stage_flops(config, setup, layout, group.first) for group in groups}
    slowest_stage, imbalance, bubble = balance(layout, flops)
    seconds = utilization = None
    if accelerator is not None:
        seconds = step_seconds(setup, layout, accelerator, flops, sent_by)
        model_flops = _sequence_flops(config, seq_len) * tokens // seq_len
        utilization = model_flops / (layout.n_gpus * peak_flops(accelerator, setup.dtype) * seconds)
    return Plan(
        layout=layout,
        n_gpus=layout.n_gpus,
        batch_size=setup.batch_size,
        seq_len=seq_len,
        tokens_per_step=tokens,
        peak_stage=memory,
        bubble=bubble,
        slowest_stage=slowest_stage,
        imbalance=imbalance,
        traffic=tuple(busiest.values()),
        capacity_bytes=None if accelerator is None else accelerator.capacity_bytes,
        fits=None if accelerator is None else memory.total_bytes <= accelerator.capacity_bytes,
        step_seconds=seconds,
        kernel_efficiency=None if accelerator is None else setup.kernel_efficiency,
        utilization=utilization,
    )


@lru_cache(maxsize=64)
def _sequence_flops(config: ModelConfig, seq_len: int) -> int:
    """Return the FLOPs of training on one sequence, without recomputation."""
    return train_flops(config, batch_size=1, seq_len=seq_len)

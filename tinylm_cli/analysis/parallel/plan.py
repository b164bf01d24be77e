"""Plans: the memory, traffic and time of a layout, and the search for the fastest layout that fits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from functools import cached_property, lru_cache
from heapq import heapify, heappop, heappush
from itertools import chain, groupby, islice
from math import inf
from typing import NamedTuple

from tinylm_cli.analysis.flops import train_flops
from tinylm_cli.analysis.layer_kinds import group_layers
from tinylm_cli.analysis.parallel.communication import model_traffic, replica_traffic
from tinylm_cli.analysis.parallel.layouts import global_batch_size, layout_mismatches, layouts, with_micro_batches
from tinylm_cli.analysis.parallel.sharding import StageParams, stage_params
from tinylm_cli.analysis.parallel.stage_memory import Stages, memory_groups, peak_bytes_within, peak_stage_memory
from tinylm_cli.analysis.parallel.step_time import StageFlops, balance, flops_by_stage, step_seconds
from tinylm_cli.analysis.roofline import peak_flops
from tinylm_cli.analysis.setups import TrainingSetup, check_sizes
from tinylm_cli.config.hardware import Accelerator
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.errors import AnalysisError
from tinylm_cli.reports.plan import Layout, Plan, Traffic

MAX_LAYOUTS = 10_000
"""Maximum number of layouts that a search tries."""

MAX_STAGES = 5000
"""Maximum number of different pipeline stages that a search costs, over all layouts with ZeRO 0."""

FEW_RUN_ENDS = 140
"""Ends of runs, times kinds of layers, up to which a stage takes as long as one of few kinds."""

MAX_RANKED = 1000
"""Maximum number of plans that a search returns."""


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
    return _Costs(config, setup, layout, accelerator).plan(layout)


class Plans(NamedTuple):
    """The result of a search over every layout of a number of GPUs."""

    fitting: tuple[Plan, ...]  # the fastest plans that fit, in order of time, at most ``MAX_RANKED``
    smallest: Plan  # the plan that needs the least memory
    n_fitting: int  # number of plans that fit
    tried: int  # number of layouts

    @property
    def best(self) -> Plan:
        """The fastest plan that fits; the smallest if none fits."""
        return self.fitting[0] if self.fitting else self.smallest


def plans(config: ModelConfig, setup: TrainingSetup, accelerator: Accelerator, *, most: int = MAX_RANKED) -> Plans:
    """Return the plans of the layouts that :func:`layouts` yields.

    Among plans that fit and differ only in the ZeRO stage, a plan is dropped if another is as fast and needs less
    memory.

    Args:
        config: A validated config.
        setup: How it is trained, including n_gpus.
        accelerator: The GPU.
        most: Maximum number of plans in ``fitting``.

    Raises:
        AnalysisError: If no layout divides the global batch evenly, or there are too many to search.
    """
    tried = _valid_layouts(config, setup, accelerator.gpus_per_node)
    fitting: list[_Candidate] = []
    smallest: _Candidate | None = None
    for _, same_degrees in groupby(tried, key=_degrees):
        variants = tuple(same_degrees)  # which differ in the ZeRO stage
        costs = _Costs(config, setup, variants[0], accelerator)
        fit = []
        for layout in variants:
            needed = costs.memory.peak_bytes(layout.zero)
            if needed > accelerator.capacity_bytes and smallest is not None and needed > smallest.total_bytes:
                continue  # a plan that does not fit matters only if it needs the least
            candidate = _Candidate(costs.seconds(layout), needed, layout, costs)
            if needed <= accelerator.capacity_bytes:
                fit.append(candidate)
            smallest = candidate if smallest is None else min(smallest, candidate, key=_Candidate.size)
        fitting += (each for each in fit if not any(_dominates(one, each) for one in fit))
    assert smallest is not None, "there is a layout"
    fitting.sort(key=_Candidate.cost)
    ranked = tuple(each.costs.plan(each.layout) for each in fitting[:most])
    return Plans(ranked, smallest.costs.plan(smallest.layout), len(fitting), len(tried))


def fastest_plan(config: ModelConfig, setup: TrainingSetup, accelerator: Accelerator) -> Plan:
    """Return ``plans(config, setup, accelerator).best``; costs only the layouts that may be the fastest.

    Lower bounds of the time of a step are the time without communication, and the time without the communication that
    depends on the ZeRO stage. The search takes the layouts in the order of their bounds, and stops at the first bound
    that exceeds the time of a plan that fits.

    Raises:
        AnalysisError: As :func:`plans`.
    """
    tried = _valid_layouts(config, setup, accelerator.gpus_per_node)
    by_degrees = [
        (_Costs(config, setup, variants[0], accelerator), variants)
        for variants in (tuple(same) for _, same in groupby(tried, key=_degrees))
    ]
    bounds = [(costs.compute_seconds, n) for n, (costs, _) in enumerate(by_degrees)]
    heapify(bounds)
    fastest: _Candidate | None = None
    while bounds and (fastest is None or bounds[0][0] <= fastest.seconds):
        bound, n = heappop(bounds)
        costs, variants = by_degrees[n]
        if bound < costs.least_seconds:
            heappush(bounds, (costs.least_seconds, n))
            continue
        for layout in variants:
            needed = costs.memory.peak_bytes(layout.zero)
            if needed <= accelerator.capacity_bytes:
                candidate = _Candidate(costs.seconds(layout), needed, layout, costs)
                fastest = candidate if fastest is None else min(fastest, candidate, key=_Candidate.cost)
    if fastest is None:
        return plans(config, setup, accelerator, most=1).smallest
    return fastest.costs.plan(fastest.layout)


def _degrees(layout: Layout) -> tuple[int, ...]:
    """Return the degrees that a search varies; they determine the micro-batches."""
    return layout.data, layout.tensor, layout.pipeline, layout.context, layout.expert


def _valid_layouts(config: ModelConfig, setup: TrainingSetup, gpus_per_node: int) -> tuple[Layout, ...]:
    candidates = tuple(islice(layouts(config, setup, gpus_per_node), MAX_LAYOUTS + 1))
    help_ = "give a plan, for example tp=8,pp=4,zero=1, or another number of GPUs"
    if len(candidates) > MAX_LAYOUTS:
        message = f"{setup.n_gpus:,} GPUs have more than {MAX_LAYOUTS:,} layouts of this model, too many to search"
        raise AnalysisError(message, help=help_)
    n_stages, effort = _n_stages(config, setup, candidates), _stage_effort(config, setup)
    if n_stages * effort > MAX_STAGES:
        message = f"the layouts of {setup.n_gpus:,} GPUs have {n_stages:,} different stages of this model"
        if effort > 1:
            message += f", whose kinds of layers take as long as {round(n_stages * effort):,} of one kind"
        raise AnalysisError(f"{message}; at most {MAX_STAGES:,} are searched", help=help_)
    if not candidates:
        sequences, per_pass = global_batch_size(config, setup), setup.batch_size * setup.n_gpus
        message = f"no layout of {setup.n_gpus:,} GPUs divides a global batch of {sequences:,} sequences evenly"
        nearest = per_pass * max(round(sequences / per_pass), 1)
        raise AnalysisError(message, help=f"for example a global batch of {nearest:,} sequences")
    return candidates


def n_searched_stages(config: ModelConfig, setup: TrainingSetup, gpus_per_node: int) -> int:
    """Return the number of different stages whose memory a search computes: at least 1, at most ``MAX_STAGES`` + 1.

    A stage with many kinds of layers counts as several of one kind that take as long.
    """
    candidates = tuple(islice(layouts(config, setup, gpus_per_node), MAX_LAYOUTS))
    n_stages = round(_n_stages(config, setup, candidates) * _stage_effort(config, setup))
    return min(max(n_stages, 1), MAX_STAGES + 1)


def _stage_effort(config: ModelConfig, setup: TrainingSetup) -> float:
    """Return how many times longer the memory of a stage takes than with few kinds of layers.

    Each phase of the backward pass that may be the peak is at an end of a run of one kind of layers, and sums over the
    kinds.
    """
    groups = group_layers(config, setup.length(config))
    run_ends = sum(len(part.run_ends()) for group in groups for part in group.layers.parts)
    return max(run_ends * len(groups) / FEW_RUN_ENDS, 1)


def _n_stages(config: ModelConfig, setup: TrainingSetup, candidates: Iterable[Layout]) -> int:
    """Return the number of different stages of all layouts with ZeRO 0."""
    pipelines = Counter(layout.pipeline for layout in candidates if layout.zero == 0)
    return sum(n * len(memory_groups(config, setup, Layout(pipeline=stages))) for stages, n in pipelines.items())


class _Candidate(NamedTuple):
    """A layout of a search, with its time and memory."""

    seconds: float  # time of a step
    total_bytes: int  # memory of the stage that needs the most
    layout: Layout
    costs: _Costs

    def cost(self) -> tuple[float, int]:
        """Return the key that orders by time; all layouts of a search train on equally many tokens per step."""
        return self.seconds, self.total_bytes

    def size(self) -> tuple[int, float]:
        """Return the key that orders by memory."""
        return self.total_bytes, self.seconds


def _dominates(one: _Candidate, other: _Candidate) -> bool:
    """Return whether a layout is as fast as another with less memory, or with equal memory and a lower ZeRO stage."""
    if one.seconds > other.seconds:
        return False
    return (one.total_bytes, one.layout.zero) < (other.total_bytes, other.layout.zero)


def plan_bytes(config: ModelConfig, setup: TrainingSetup, layout: Layout) -> int:
    """Return the memory of the stage that needs the most, for a layout that divides the model evenly.

    The global batch determines the layout's micro-batches, as in :func:`with_micro_batches`.
    """
    return peak_stage_memory(config, setup, with_micro_batches(config, setup, layout)).total_bytes


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


class _Costs:
    """The memory, traffic and FLOPs of the stages of layouts that differ only in the ZeRO stage."""

    def __init__(
        self, config: ModelConfig, setup: TrainingSetup, layout: Layout, accelerator: Accelerator | None
    ) -> None:
        """Prepare the costs of ``layout`` and of the same layout with other ZeRO stages."""
        self.memory = Stages(config, setup, layout)
        self._config, self._setup, self._layout, self._accelerator = config, setup, layout, accelerator

    @cached_property
    def _peak(self) -> int | None:
        """FLOPs per second of one GPU; None without a GPU."""
        return None if self._accelerator is None else peak_flops(self._accelerator, self._setup.dtype)

    @cached_property
    def _flops(self) -> tuple[StageFlops, ...]:
        return flops_by_stage(self._config, self._setup, self._layout)

    @cached_property
    def _traffic(self) -> dict[int, tuple[StageParams, tuple[Traffic, ...]]]:
        """By stage, its parameters and the traffic that does not depend on the ZeRO stage."""
        config, layout = self._config, self._layout
        return {
            stage: (
                stage_params(config, layout, stage),
                model_traffic(config, self._setup, layout, stage, self._accelerator),
            )
            for stage in (each.first for each in self._flops)
        }

    def _sent_by_stage(self, layout: Layout) -> dict[int, tuple[Traffic, ...]]:
        return {
            stage: (*replica_traffic(self._setup, layout, params, self._accelerator), *sent)
            for stage, (params, sent) in self._traffic.items()
        }

    @cached_property
    def compute_seconds(self) -> float:
        """The time of a step without communication; the GPU is known."""
        return self._seconds(self._layout, {each.first: () for each in self._flops})

    @cached_property
    def least_seconds(self) -> float:
        """The time of a step without the traffic that depends on the ZeRO stage; the GPU is known."""
        return self._seconds(self._layout, {stage: sent for stage, (_, sent) in self._traffic.items()})

    def seconds(self, layout: Layout) -> float:
        """Return the time of a step with one of the layouts; the GPU is known."""
        return self._seconds(layout, self._sent_by_stage(layout))

    def _seconds(self, layout: Layout, sent_by_stage: Mapping[int, Iterable[Traffic]]) -> float:
        assert self._peak is not None
        return step_seconds(self._setup, layout, self._peak, self._flops, sent_by_stage)

    def plan(self, layout: Layout) -> Plan:
        """Return the plan of one of the layouts."""
        config, setup, accelerator = self._config, self._setup, self._accelerator
        memory, sent_by = self.memory.peak_memory(layout.zero), self._sent_by_stage(layout)
        busiest: dict[str, Traffic] = {}
        for sent in chain.from_iterable(sent_by.values()):
            if sent.name not in busiest or sent.sent_bytes > busiest[sent.name].sent_bytes:
                busiest[sent.name] = sent
        seq_len = setup.length(config)
        tokens = layout.data * layout.micro_batches * setup.batch_size * seq_len
        slowest_stage, imbalance, bubble = balance(layout, self._flops)
        seconds = utilization = None
        if self._peak is not None:
            seconds = self._seconds(layout, sent_by)
            model_flops = _sequence_flops(config, seq_len) * tokens // seq_len
            utilization = model_flops / (layout.n_gpus * self._peak * seconds)
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

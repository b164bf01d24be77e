"""Memory of a GPU of one pipeline stage: its shard of weights, optimizer state, gradients and activations."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from math import ceil
from typing import NamedTuple

from tinylm_cli.analysis.activations import activation_bytes
from tinylm_cli.analysis.dtypes import FLOAT32_BYTES
from tinylm_cli.analysis.optimizer_state import optimizer_bytes
from tinylm_cli.analysis.parallel.sharding import (
    IGNORE_WINDOWS,
    StageGroup,
    is_routed,
    layers_by_cost,
    stage_groups,
    stage_layers,
    stage_table,
)
from tinylm_cli.analysis.params import total_params, weights_bytes
from tinylm_cli.analysis.saved_tensors.mtp import apart_from_first_layer
from tinylm_cli.analysis.saved_tensors.saved_tensor import ForwardPass, total_bytes
from tinylm_cli.analysis.setups import TrainingSetup
from tinylm_cli.analysis.tensor_table import TensorTable, tensor_table
from tinylm_cli.analysis.training_peak import training_timeline
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.reports.memory import MemoryPart, SavedPart
from tinylm_cli.reports.plan import Layout, StageMemory

_CACHE_SIZE = 2**14
"""Cached results per function; many layouts and setups share them."""

_AFTER_LAYERS = ("ln_f", "lm_head", "score", "loss", "mtp")
"""Parts that the last stage saves after its layers."""


def peak_stage_memory(config: ModelConfig, setup: TrainingSetup, layout: Layout) -> StageMemory:
    """Return the memory of the stage that needs the most."""
    return Stages(config, setup, layout).peak_memory(layout.zero)


def peak_bytes_within(config: ModelConfig, setup: TrainingSetup, layout: Layout, limit: float) -> int | None:
    """Return the memory of the stage that needs the most, or None as soon as a stage needs ``limit`` or more."""
    stages, peak = Stages(config, setup, layout), 0
    for group in stages.groups:
        needed = sum(stages.state(group.first, layout.zero).values())
        for part_bytes in (stages.activations_bytes, stages.working_bytes):  # in order of the time to compute them
            if needed >= limit:
                return None
            needed += part_bytes(group.first)
        if needed >= limit:
            return None
        peak = max(peak, needed)
    return peak


def stage_memory(config: ModelConfig, setup: TrainingSetup, layout: Layout, stage: int) -> StageMemory:
    """Return the memory of a GPU of ``stage``.

    The model state is sharded by tensor, pipeline and expert parallelism and by ZeRO. Activations are held for every
    micro-batch in flight.
    """
    stages = Stages(config, setup, layout)
    return stages.memory(stage, stages.parts(stage, layout.zero))


def memory_groups(config: ModelConfig, setup: TrainingSetup, layout: Layout) -> tuple[StageGroup, ...]:
    """Return the groups of stages that need equally much memory, but for their micro-batches in flight."""
    # a flash kernel saves the same bytes with and without a window
    return stage_groups(config, layout, IGNORE_WINDOWS if setup.attention_kernel == "flash" else setup.length(config))


@dataclass(frozen=True, eq=False)
class _Run:
    """A model and how it is trained; one object for each pair, which caches hash faster than the pair."""

    config: ModelConfig
    setup: TrainingSetup


_run = lru_cache(1024)(_Run)


class Stages:
    """The stages of layouts that differ only in the ZeRO stage; other layouts with equal degrees share cached sums."""

    def __init__(self, config: ModelConfig, setup: TrainingSetup, layout: Layout) -> None:
        """Select the degrees of ``layout`` on which each sum depends."""
        setup, tensor, pipeline, virtual = setup.one_pass, layout.tensor, layout.pipeline, layout.virtual
        self.layout, self.run = layout, _run(config, setup)
        # these fields have no effect on the state
        state_setup = setup._replace(batch_size=1, seq_len=1, recompute="none", attention_kernel="flash")
        self.state_run = _run(config, state_setup)
        self.groups = memory_groups(config, setup, layout)
        self._state_layout = Layout(tensor=tensor, pipeline=pipeline, expert=layout.expert, virtual=virtual)
        self._saved_layout = Layout(tensor=tensor, pipeline=pipeline, context=layout.context, virtual=virtual)
        self._working_layout = Layout(pipeline=pipeline, context=layout.context, expert=layout.expert, virtual=virtual)
        self._peaks: dict[int, tuple[int, dict[str, int]]] = {}  # by ZeRO stage
        self._of_batch: dict[int, dict[str, int]] = {}  # parts that do not depend on ZeRO, by pipeline stage

    def peak_bytes(self, zero: int) -> int:
        """Return the bytes of the stage that needs the most."""
        return sum(self._peak(zero)[1].values())

    def peak_memory(self, zero: int) -> StageMemory:
        """Return the memory of the stage that needs the most."""
        return self.memory(*self._peak(zero))

    def _peak(self, zero: int) -> tuple[int, dict[str, int]]:
        """Return the stage that needs the most, and the bytes of each part of its memory."""
        if zero not in self._peaks:
            parts = [(group.first, self.parts(group.first, zero)) for group in self.groups]
            self._peaks[zero] = max(parts, key=lambda each: sum(each[1].values()))
        return self._peaks[zero]

    def parts(self, stage: int, zero: int) -> dict[str, int]:
        """Return the bytes of each part of the memory of a GPU of ``stage``."""
        if stage not in self._of_batch:
            self._of_batch[stage] = {
                "activations": self.activations_bytes(stage),
                "working memory": self.working_bytes(stage),
            }
        return {**self.state(stage, zero), **self._of_batch[stage]}

    def memory(self, stage: int, parts: dict[str, int]) -> StageMemory:
        """Return the memory of a GPU of ``stage``, which consists of ``parts``."""
        params = sum(each.params for each in _replicated(self.state_run, self._state_layout, stage))
        in_flight, _ = _in_flight(self.layout, stage)
        return StageMemory(stage, params, in_flight, sum(parts.values()), MemoryPart.breakdown(parts))

    def state(self, stage: int, zero: int) -> dict[str, int]:
        """Return the bytes that do not depend on the batch.

        Of the setup, only the dtypes and the optimizer matter. ``gathered layers`` counts the layers that ZeRO 3
        gathers, and the gradients of one layer before reduce-scatter.
        """
        setup, layout = self.run.setup, self.layout
        element_bytes, grad_element_bytes = setup.element_bytes, setup.grad_element_bytes
        master_element_bytes = FLOAT32_BYTES if setup.has_master_weights else 0
        weights, state = _unsharded_state(self.state_run)
        master_weights = gradients = gathered = 0
        replicas = layout.data * layout.context
        shared, routed = _replicated(self.state_run, self._state_layout, stage)
        for part, shards in ((shared, replicas), (routed, replicas // layout.expert)):
            if part.params == 0:
                continue
            weights += -(-part.params * element_bytes // (shards if zero >= 3 else 1))
            gradients += -(-part.params * grad_element_bytes // (shards if zero >= 2 else 1))
            master_weights += -(-part.params * master_element_bytes // (shards if zero >= 1 else 1))
            state += -(-part.state_bytes // (shards if zero >= 1 else 1))
            if zero == 3 and shards > 1:
                gathered += part.largest_layer * (PREFETCHED_LAYERS * element_bytes + grad_element_bytes)
        return {
            "weights": weights,
            "master weights": master_weights,
            "optimizer state": state,
            "gradients": gradients,
            "gathered layers": gathered,
        }

    def activations_bytes(self, stage: int) -> int:
        """Return the bytes that all micro-batches in flight save."""
        embedding_bytes, layer_bytes, head_bytes = _activations(self.run, self._saved_layout, stage)
        in_flight, at_loss = _in_flight(self.layout, stage)
        return (
            ceil(in_flight) * embedding_bytes  # embedding and rotary tables of each micro-batch
            + round(in_flight * layer_bytes)
            + at_loss * head_bytes
        )

    def working_bytes(self, stage: int) -> int:
        """Return the working memory of a backward pass at its peak."""
        return _working_bytes(self.run, self._working_layout, stage) // self.layout.tensor


def _in_flight(layout: Layout, stage: int) -> tuple[float, int]:
    """Return the micro-batches whose activations a stage holds at once, in its layers and at the loss.

    With m micro-batches, p stages and c chunks per stage: ``gpipe`` holds m. ``1f1b`` holds p - s in stage s.
    Interleaved, stage s holds ``2 · (p - s - 1) + (c - 1) · p + 1`` chunks, which may be a fraction of a micro-batch,
    and only the last chunk ends at the loss.

    References:
        Narayanan et al. 2021, section 2.2, https://arxiv.org/abs/2104.04473;
        Korthikanti et al. 2022, section 4.2.3, https://arxiv.org/abs/2205.05198
    """
    if layout.schedule == "gpipe":
        return layout.micro_batches, layout.micro_batches
    remaining, chunks = layout.pipeline - stage, layout.virtual
    if chunks == 1:
        return min(remaining, layout.micro_batches), 1
    held_chunks = 2 * (remaining - 1) + (chunks - 1) * layout.pipeline + 1
    return min(held_chunks / chunks, layout.micro_batches), 1


PREFETCHED_LAYERS = 2
"""ZeRO 3 holds the current layer and prefetches the next one."""


class _Replicated(NamedTuple):
    """The tensors of a stage with the same number of replicas."""

    params: int  # parameters that a GPU computes with, before ZeRO shards them
    state_bytes: int  # optimizer state, without the state that a model has once
    largest_layer: int  # parameters of the largest unit that ZeRO 3 gathers


@lru_cache(_CACHE_SIZE)
def _replicated(run: _Run, layout: Layout, stage: int) -> tuple[_Replicated, _Replicated]:
    """Return the tensors outside routed experts, and those of routed experts."""
    table, setup = stage_table(run.config, layout, stage), run.setup
    _, per_model = _unsharded_state(run)

    def totals(part: TensorTable) -> _Replicated:
        state_bytes = optimizer_bytes(part, setup.optimizer, _moment_element_bytes(setup)) - per_model
        return _Replicated(total_params(part), state_bytes, _largest_layer(part))

    return totals(_select_experts(table, routed=False)), totals(_select_experts(table, routed=True))


@lru_cache(_CACHE_SIZE)
def _unsharded_state(run: _Run) -> tuple[int, int]:
    """Return the bytes of the buffers, and of the optimizer state that a model has once."""
    config, setup = run.config, run.setup
    buffers = weights_bytes(config, setup.dtype) - total_params(tensor_table(config)) * setup.element_bytes
    return buffers, optimizer_bytes((), setup.optimizer, _moment_element_bytes(setup))


def _moment_element_bytes(setup: TrainingSetup) -> int:
    return FLOAT32_BYTES if setup.has_master_weights else setup.element_bytes


_saved_by_model = lru_cache(_CACHE_SIZE)(activation_bytes)
"""The tensors that the full model saves for one micro-batch."""


@lru_cache(_CACHE_SIZE)
def _activations(run: _Run, layout: Layout, stage: int) -> tuple[int, int, int]:
    """Return the bytes that a micro-batch saves on a GPU, for the backward pass.

    Every stage saves the activations of its layers and the rotary tables. The first stage adds the embedding; the
    last stage adds the final norm, the head and the loss, and multi-token prediction modules with the embedding that
    they read.
    """
    config, setup = run.config, run.setup
    is_last = stage == layout.pipeline - 1
    saved, seq_len = _saved_by_model(config, setup, context=layout.context), setup.length(config)
    counts = layers_by_cost(config, seq_len, stage_layers(config, layout, stage))
    layer_bytes = sum(
        counts.get(number, 0) * sum(_per_gpu(part, layout) for part in layer.parts)
        for number, layer in enumerate(saved.layers)
    )
    embedding_bytes = head_bytes = 0
    for part in saved.outside:
        if part.name in _AFTER_LAYERS:
            head_bytes += _per_gpu(part, layout) if is_last else 0
        elif stage == 0 or part.name == "position":
            embedding_bytes += _per_gpu(part, layout)
        elif is_last and config.head.n_mtp_layers:
            head_bytes += _per_gpu(part, layout)
    if is_last and stage != 0 and config.head.n_mtp_layers:
        read = total_bytes(apart_from_first_layer(ForwardPass(config, setup, layout.context)))
        head_bytes += read // layout.tensor  # sequence parallelism shards it
    return embedding_bytes, layer_bytes, head_bytes


@lru_cache(_CACHE_SIZE)
def _working_bytes(run: _Run, layout: Layout, stage: int) -> int:
    """Return the working memory of a backward pass at its peak, without tensor-parallel sharding.

    Args:
        run: The model and how it is trained.
        layout: Pipeline, context- and expert-parallel degrees.
        stage: Index of the stage.
    """
    config = run.config
    timeline = training_timeline(
        ForwardPass(config, run.setup, layout.context),
        stage_table(config, replace(layout, expert=1), stage),
        step_bytes=0,
        layers=stage_layers(config, layout, stage),
        expert_parallel=layout.expert,
    )
    peak = max(phase.activations_bytes + phase.working_bytes for phase in timeline)
    return max(peak - sum(_activations(run, replace(layout, expert=1), stage)), 0)


def _per_gpu(part: SavedPart, layout: Layout) -> int:
    """Return a GPU's shard of saved tensors: tensor and sequence parallelism divide most of them."""
    divided = part.tensor_parallel_bytes + part.sequence_parallel_bytes
    return divided // layout.tensor + part.saved_bytes - divided


def _select_experts(table: TensorTable, *, routed: bool) -> TensorTable:
    """Return the tensors of routed experts, or all others."""
    return tuple(
        section._replace(tensors=tuple(t for t in section.tensors if is_routed(t) is routed)) for section in table
    )


def _largest_layer(table: TensorTable) -> int:
    """Return the parameters of the largest unit that ZeRO 3 gathers: a layer, or a section outside the layers."""
    return max(sum(tensor.params for tensor in section.tensors) for section in table)

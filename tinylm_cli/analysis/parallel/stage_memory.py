"""Memory of a GPU of one pipeline stage: its shard of weights, optimizer state, gradients and activations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from itertools import islice
from math import ceil
from typing import NamedTuple

from tinylm_cli.analysis.activations import activation_bytes, saved_parts
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
from tinylm_cli.analysis.saved_tensors.recompute import KEPT_PARTS, kept_of_layers
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
    """Return the groups of stages whose memory differs only by their micro-batches in flight."""
    return stage_groups(config, layout, group_length(config, setup))


def group_length(config: ModelConfig, setup: TrainingSetup) -> int:
    """Return the sequence length of :func:`memory_groups`: a flash kernel saves the same bytes with any window."""
    return IGNORE_WINDOWS if setup.attention_kernel == "flash" else setup.length(config)


@dataclass(frozen=True, eq=False)
class _Run:
    """A model and how it is trained, one object for each pair, so that caches hash it by identity."""

    config: ModelConfig
    setup: TrainingSetup


_run = lru_cache(1024)(_Run)
_layout = lru_cache(_CACHE_SIZE)(Layout)  # equal keys of the caches below are one object


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
        self._state_layout = _layout(tensor=tensor, pipeline=pipeline, expert=layout.expert, virtual=virtual)
        self._saved_layout = _layout(tensor=tensor, pipeline=pipeline, context=layout.context, virtual=virtual)
        self._working_layout = _layout(pipeline=pipeline, context=layout.context, expert=layout.expert, virtual=virtual)
        self._peaks: dict[int, tuple[int, dict[str, int]]] = {}  # by ZeRO stage
        self._batch_parts: dict[int, dict[str, int]] = {}  # parts that do not depend on ZeRO, by pipeline stage

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
        if stage not in self._batch_parts:
            self._batch_parts[stage] = {
                "activations": self.activations_bytes(stage),
                "working memory": self.working_bytes(stage),
            }
        return {**self.state(stage, zero), **self._batch_parts[stage]}

    def memory(self, stage: int, parts: dict[str, int]) -> StageMemory:
        """Return the memory of a GPU of ``stage``, which consists of ``parts``."""
        params = sum(each.params for each in _replica_groups(self.state_run, self._state_layout, stage))
        in_flight, _ = _in_flight(self.layout, stage)
        return StageMemory(stage, params, in_flight, sum(parts.values()), MemoryPart.breakdown(parts))

    def state(self, stage: int, zero: int) -> dict[str, int]:
        """Return the bytes that do not depend on the batch.

        Of the setup, only the dtypes and the optimizer matter. ``gathered layers`` counts the layers that ZeRO 3
        gathers, and the gradients of one layer before reduce-scatter.
        """
        unsharded = _unsharded_state(self.state_run)
        shared, routed = _replica_groups(self.state_run, self._state_layout, stage)
        return _state_parts(unsharded, shared, routed, self.run.setup, self.layout, zero)

    def activations_bytes(self, stage: int) -> int:
        """Return the bytes that all micro-batches in flight save."""
        return _in_flight_bytes(_activations(self.run, self._saved_layout, stage), self.layout, stage)

    def working_bytes(self, stage: int) -> int:
        """Return the working memory of a backward pass at its peak."""
        return _backward_pass(self.run, self._working_layout, stage).working_bytes // self.layout.tensor

    def counts(self, stage: int) -> StageCounts:
        """Return the counts from which the memory of ``stage`` follows."""
        return StageCounts(
            _unsharded_state(self.state_run),
            *_replica_groups(self.state_run, self._state_layout, stage),
            _activations(self.run, self._saved_layout, stage),
            _backward_pass(self.run, self._working_layout, stage),
        )


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


class _ReplicaGroup(NamedTuple):
    """The tensors of a stage with the same number of data-parallel replicas."""

    params: int  # parameters that a GPU computes with, before ZeRO shards them
    state_bytes: int  # optimizer state, without the state that a model has once
    units: tuple[int, ...]  # parameters of each unit that ZeRO 3 gathers: a layer, or a section outside the layers


@lru_cache(_CACHE_SIZE)
def _replica_groups(run: _Run, layout: Layout, stage: int) -> tuple[_ReplicaGroup, _ReplicaGroup]:
    """Return the tensors outside routed experts, and the tensors of routed experts."""
    table, setup = stage_table(run.config, layout, stage), run.setup
    per_model = _unsharded_state(run).state_bytes

    def totals(part: TensorTable) -> _ReplicaGroup:
        state_bytes = optimizer_bytes(part, setup.optimizer, _moment_element_bytes(setup)) - per_model
        units = tuple(sum(tensor.params for tensor in section.tensors) for section in part)
        return _ReplicaGroup(total_params(part), state_bytes, units)

    return totals(_select_experts(table, routed=False)), totals(_select_experts(table, routed=True))


class _UnshardedState(NamedTuple):
    """State that every GPU holds as a whole."""

    buffers_bytes: int
    state_bytes: int  # optimizer state that a model has once


@lru_cache(_CACHE_SIZE)
def _unsharded_state(run: _Run) -> _UnshardedState:
    config, setup = run.config, run.setup
    buffers = weights_bytes(config, setup.dtype) - total_params(tensor_table(config)) * setup.element_bytes
    return _UnshardedState(buffers, optimizer_bytes((), setup.optimizer, _moment_element_bytes(setup)))


def _state_parts(
    unsharded: _UnshardedState,
    shared: _ReplicaGroup,
    routed: _ReplicaGroup,
    setup: TrainingSetup,
    layout: Layout,
    zero: int,
) -> dict[str, int]:
    """Return the bytes of each part of the model state, as ZeRO shards it; see :meth:`Stages.state`."""
    element_bytes, grad_element_bytes = setup.element_bytes, setup.grad_element_bytes
    master_element_bytes = FLOAT32_BYTES if setup.has_master_weights else 0
    weights, state = unsharded
    master_weights = gradients = gathered = 0
    replicas = layout.data * layout.context
    for part, shards in ((shared, replicas), (routed, replicas // layout.expert)):
        if part.params == 0:
            continue
        weights += -(-part.params * element_bytes // (shards if zero >= 3 else 1))
        gradients += -(-part.params * grad_element_bytes // (shards if zero >= 2 else 1))
        master_weights += -(-part.params * master_element_bytes // (shards if zero >= 1 else 1))
        state += -(-part.state_bytes // (shards if zero >= 1 else 1))
        if zero == 3 and shards > 1:
            gathered += max(part.units) * (PREFETCHED_LAYERS * element_bytes + grad_element_bytes)
    return {
        "weights": weights,
        "master weights": master_weights,
        "optimizer state": state,
        "gradients": gradients,
        "gathered layers": gathered,
    }


def _moment_element_bytes(setup: TrainingSetup) -> int:
    return FLOAT32_BYTES if setup.has_master_weights else setup.element_bytes


_saved_by_model = lru_cache(_CACHE_SIZE)(activation_bytes)
"""The tensors that the full model saves for one micro-batch."""


class _MicroBatchBytes(NamedTuple):
    """Bytes that a micro-batch saves for the backward pass."""

    embedding_bytes: int  # embedding and rotary tables
    layer_bytes: int
    head_bytes: int


def _in_flight_bytes(saved: _MicroBatchBytes, layout: Layout, stage: int) -> int:
    """Return the bytes that all micro-batches in flight save."""
    in_flight, at_loss = _in_flight(layout, stage)
    embedding_bytes = ceil(in_flight) * saved.embedding_bytes  # of each micro-batch that has begun
    layer_bytes = round(in_flight * saved.layer_bytes)  # of the chunks in flight
    head_bytes = at_loss * saved.head_bytes  # of the micro-batches at the loss
    return embedding_bytes + layer_bytes + head_bytes


@lru_cache(_CACHE_SIZE)
def _activations(run: _Run, layout: Layout, stage: int) -> _MicroBatchBytes:
    """Return the bytes that a micro-batch saves on a GPU, for the backward pass.

    Every stage saves the activations of its layers and the rotary tables. The first stage adds the embedding; the
    last stage adds the final norm, the head and the loss, and multi-token prediction modules with the embedding that
    they read.
    """
    config, setup = run.config, run.setup
    is_last = stage == layout.pipeline - 1
    saved, seq_len = _saved_by_model(config, setup, context=layout.context), setup.length(config)
    layers, run_of_gpu = stage_layers(config, layout, stage), ForwardPass(config, setup, layout.context)
    counts = layers_by_cost(config, seq_len, layers)
    kept = tuple(tensor for source, tensor in kept_of_layers(run_of_gpu) if source in layers)
    layer_bytes = sum(_per_gpu(part, layout) for part in saved_parts(kept)) + sum(
        counts.get(number, 0) * sum(_per_gpu(part, layout) for part in layer.parts)
        for number, layer in enumerate(saved.layers)
    )
    embedding_bytes = head_bytes = 0
    for part in saved.outside:
        if part.name in KEPT_PARTS:
            continue
        if part.name in _AFTER_LAYERS:
            head_bytes += _per_gpu(part, layout) if is_last else 0
        elif stage == 0 or part.name == "position":
            embedding_bytes += _per_gpu(part, layout)
        elif is_last and config.head.n_mtp_layers:
            head_bytes += _per_gpu(part, layout)
    if is_last and stage != 0 and config.head.n_mtp_layers:
        read = total_bytes(apart_from_first_layer(run_of_gpu))
        head_bytes += read // layout.tensor  # sequence parallelism shards it
    return _MicroBatchBytes(embedding_bytes, layer_bytes, head_bytes)


class _BackwardPass(NamedTuple):
    """Bytes of the backward pass of one micro-batch, before tensor parallelism divides them."""

    saved: _MicroBatchBytes
    held_bytes: tuple[int, ...]  # saved tensors and working memory in each phase

    @property
    def working_bytes(self) -> int:
        """The working memory at its peak."""
        return max(max(self.held_bytes) - sum(self.saved), 0)


@lru_cache(_CACHE_SIZE)
def _backward_pass(run: _Run, layout: Layout, stage: int) -> _BackwardPass:
    """Return the bytes of the backward pass of one micro-batch, before tensor parallelism divides them.

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
    held = tuple(phase.activations_bytes + phase.working_bytes for phase in timeline)
    return _BackwardPass(_activations(run, replace(layout, expert=1), stage), held)


def _per_gpu(part: SavedPart, layout: Layout) -> int:
    """Return a GPU's shard of saved tensors: tensor and sequence parallelism divide most of them."""
    divided = part.tensor_parallel_bytes + part.sequence_parallel_bytes
    return divided // layout.tensor + part.saved_bytes - divided


def _select_experts(table: TensorTable, *, routed: bool) -> TensorTable:
    """Return the tensors of routed experts, or all others."""
    return tuple(
        section._replace(tensors=tuple(t for t in section.tensors if is_routed(t) is routed)) for section in table
    )


class StageCounts(NamedTuple):
    """Counts from which the memory of a stage follows; each is linear in every size of a model."""

    unsharded_state: _UnshardedState
    shared: _ReplicaGroup  # tensors outside routed experts
    routed: _ReplicaGroup  # tensors of routed experts
    activations: _MicroBatchBytes  # on a GPU
    backward_pass: _BackwardPass  # before tensor parallelism divides it

    def flat(self) -> Iterator[int]:
        """Yield the counts."""
        yield from self.unsharded_state
        for part in (self.shared, self.routed):
            yield from (part.params, part.state_bytes, *part.units)
        yield from (*self.activations, *self.backward_pass.saved, *self.backward_pass.held_bytes)

    def with_counts(self, counts: Iterator[int]) -> StageCounts:
        """Return the same stage of another model, from its counts in the order of :meth:`flat`."""
        take = partial(next, counts)

        def several(like: Sequence[int]) -> tuple[int, ...]:
            return tuple(islice(counts, len(like)))

        return StageCounts(
            _UnshardedState(take(), take()),
            _ReplicaGroup(take(), take(), several(self.shared.units)),
            _ReplicaGroup(take(), take(), several(self.routed.units)),
            _MicroBatchBytes(take(), take(), take()),
            _BackwardPass(_MicroBatchBytes(take(), take(), take()), several(self.backward_pass.held_bytes)),
        )

    def total_bytes(self, setup: TrainingSetup, layout: Layout, stage: int) -> int:
        """Return the bytes of a GPU of ``stage``, the parts of :meth:`Stages.parts`.

        They never decrease as a size grows: the saved tensors that are subtracted from the peak of the backward pass
        are counted before tensor parallelism divides them, and their shards are part of the sum.
        """
        state = _state_parts(self.unsharded_state, self.shared, self.routed, setup, layout, layout.zero)
        working_bytes = self.backward_pass.working_bytes // layout.tensor
        return sum(state.values()) + _in_flight_bytes(self.activations, layout, stage) + working_bytes


def stage_counts(config: ModelConfig, setup: TrainingSetup, layout: Layout) -> dict[int, StageCounts]:
    """Return the counts of the first stage of each group of stages, by stage."""
    stages = Stages(config, setup, layout)
    return {group.first: stages.counts(group.first) for group in stages.groups}

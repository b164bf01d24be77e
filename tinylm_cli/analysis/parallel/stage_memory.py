"""Memory of a GPU of one pipeline stage: its shard of weights, optimizer state, gradients and activations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from math import ceil
from typing import NamedTuple

from tinylm_cli.analysis.activations import activation_bytes
from tinylm_cli.analysis.dtypes import FLOAT32_BYTES
from tinylm_cli.analysis.layer_kinds import LayerKind, group_layers
from tinylm_cli.analysis.optimizer_state import optimizer_bytes
from tinylm_cli.analysis.parallel.sharding import is_routed, stage_layers, stage_table
from tinylm_cli.analysis.params import total_params, weights_bytes
from tinylm_cli.analysis.saved_tensors.saved_tensor import ForwardPass
from tinylm_cli.analysis.setups import TrainingSetup
from tinylm_cli.analysis.tensor_table import Section, TensorTable, tensor_table
from tinylm_cli.analysis.training_peak import training_timeline
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.reports.memory import MemoryPart, SavedPart
from tinylm_cli.reports.plan import Layout, StageMemory

_CACHE_SIZE = 2**14
"""Cached results per function; many layouts and setups share them."""

_AFTER_LAYERS = ("ln_f", "lm_head", "loss")
"""Parts that the last stage saves after its layers."""


class StageGroup(NamedTuple):
    """Stages with equal tensors and equal FLOPs."""

    first: int  # the first of them, which has the most micro-batches in flight
    n_stages: int  # number of such stages


def peak_stage_memory(config: ModelConfig, setup: TrainingSetup, layout: Layout) -> StageMemory:
    """Return the memory of the stage that needs the most."""
    stages = (stage_memory(config, setup, layout, group.first) for group in stage_groups(config, setup, layout))
    return max(stages, key=lambda stage: stage.total_bytes)


def stage_groups(config: ModelConfig, setup: TrainingSetup, layout: Layout) -> tuple[StageGroup, ...]:
    """Return the groups of equal stages, ordered by their first stage."""
    return _stage_groups(config, setup.length(config), Layout(pipeline=layout.pipeline, virtual=layout.virtual))


@lru_cache(_CACHE_SIZE)
def _stage_groups(config: ModelConfig, seq_len: int, layout: Layout) -> tuple[StageGroup, ...]:
    groups: dict[object, list[int]] = {}
    for stage in range(layout.pipeline):
        counts = _layers_by_kind(config, seq_len, stage_layers(config, layout, stage))
        groups.setdefault((stage == 0, stage == layout.pipeline - 1, *counts.items()), []).append(stage)
    return tuple(StageGroup(stages[0], len(stages)) for stages in groups.values())


def _layers_by_kind(config: ModelConfig, seq_len: int, layers: range) -> dict[LayerKind, int]:
    """Return the number of ``layers`` of each kind."""
    return {kind: group.n_layers for kind, group in group_layers(config, seq_len, layers).items()}


def stage_memory(config: ModelConfig, setup: TrainingSetup, layout: Layout, stage: int) -> StageMemory:
    """Return the memory of a GPU of ``stage``.

    The model state is sharded by tensor, pipeline and expert parallelism and by ZeRO. Activations are held for every
    micro-batch in flight.
    """
    setup = setup.one_pass
    # these fields have no effect on the state
    state_setup = setup._replace(batch_size=1, seq_len=1, recompute="none", attention_kernel="flash")
    params, state = _model_state(config, state_setup, replace(layout, micro_batches=1, schedule="1f1b"), stage)
    in_stage = replace(layout, data=1, zero=0, micro_batches=1, schedule="1f1b")
    embedding_bytes, layer_bytes, head_bytes = _activations(config, setup, in_stage, stage)
    in_flight, at_loss = _in_flight(layout, stage)
    activations = (
        ceil(in_flight) * embedding_bytes  # embedding and rotary tables of each micro-batch
        + round(in_flight * layer_bytes)
        + at_loss * head_bytes
    )
    parts = {
        **state,
        "activations": activations,
        "working memory": _working_bytes(config, setup, replace(in_stage, tensor=1), stage) // layout.tensor,
    }
    return StageMemory(stage, params, in_flight, sum(parts.values()), MemoryPart.breakdown(parts))


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


@lru_cache(_CACHE_SIZE)
def _model_state(
    config: ModelConfig, setup: TrainingSetup, layout: Layout, stage: int
) -> tuple[int, Mapping[str, int]]:
    """Return the parameters that a GPU of ``stage`` computes with, and the bytes that do not depend on the batch.

    They depend only on the dtypes and the optimizer of ``setup``. The gathered layers are those that ZeRO 3 gathers,
    and the gradients of one layer before reduce-scatter.
    """
    table = stage_table(config, layout, stage)
    element_bytes, grad_element_bytes = setup.element_bytes, setup.grad_element_bytes
    has_master = setup.has_master_weights
    moment_element_bytes = FLOAT32_BYTES if has_master else element_bytes
    weights = master_weights = gradients = gathered = 0
    # state independent of the tensors (counted once)
    state = shared_state = optimizer_bytes((), setup.optimizer, moment_element_bytes)
    replicas = layout.data * layout.context
    shared, routed = _select_experts(table, routed=False), _select_experts(table, routed=True)
    for part, shards in ((shared, replicas), (routed, replicas // layout.expert)):
        params = total_params(part)
        zero_3, zero_2, zero_1 = (shards if layout.zero >= level else 1 for level in (3, 2, 1))
        weights += -(-params * element_bytes // zero_3)
        gradients += -(-params * grad_element_bytes // zero_2)
        master_weights += -(-params * FLOAT32_BYTES // zero_1) if has_master else 0
        state += -(-(optimizer_bytes(part, setup.optimizer, moment_element_bytes) - shared_state) // zero_1)
        if layout.zero == 3 and shards > 1:
            gathered += _largest_layer(part) * (PREFETCHED_LAYERS * element_bytes + grad_element_bytes)
    weights += weights_bytes(config, setup.dtype) - total_params(tensor_table(config)) * element_bytes  # buffers
    return total_params(table), {
        "weights": weights,
        "master weights": master_weights,
        "optimizer state": state,
        "gradients": gradients,
        "gathered layers": gathered,
    }


_saved_by_model = lru_cache(_CACHE_SIZE)(activation_bytes)
"""The tensors that the full model saves for one micro-batch."""


@lru_cache(_CACHE_SIZE)
def _activations(config: ModelConfig, setup: TrainingSetup, layout: Layout, stage: int) -> tuple[int, int, int]:
    """Return the bytes that a micro-batch saves on a GPU, for the backward pass.

    They are those of the embedding, in the first stage, and of the rotary tables, in every stage; of the stage's
    layers; and of the final norm, the LM head and the loss, in the last stage.
    """
    saved, seq_len = _saved_by_model(config, setup, context=layout.context), setup.length(config)
    counts = _layers_by_kind(config, seq_len, stage_layers(config, layout, stage))
    layer_bytes = sum(
        counts.get(kind, 0) * sum(_per_gpu(part, layout) for part in layer.parts)
        for kind, layer in zip(group_layers(config, seq_len), saved.layers, strict=True)
    )
    embedding_bytes = head_bytes = 0
    for part in saved.outside:
        if part.name in _AFTER_LAYERS:
            head_bytes += _per_gpu(part, layout) if stage == layout.pipeline - 1 else 0
        elif stage == 0 or part.name == "position":
            embedding_bytes += _per_gpu(part, layout)
    return embedding_bytes, layer_bytes, head_bytes


@lru_cache(_CACHE_SIZE)
def _working_bytes(config: ModelConfig, setup: TrainingSetup, layout: Layout, stage: int) -> int:
    """Return the working memory of a backward pass at its peak, without tensor-parallel sharding.

    Args:
        config: A validated config.
        setup: How it is trained.
        layout: Pipeline, context- and expert-parallel degrees.
        stage: Index of the stage.
    """
    timeline = training_timeline(
        ForwardPass(config, setup, layout.context),
        stage_table(config, replace(layout, expert=1), stage),
        step_bytes=0,
        layers=stage_layers(config, layout, stage),
        expert_parallel=layout.expert,
    )
    peak = max(phase.activations_bytes + phase.working_bytes for phase in timeline)
    return max(peak - sum(_activations(config, setup, layout, stage)), 0)


def _per_gpu(part: SavedPart, layout: Layout) -> int:
    """Return a GPU's shard of saved tensors: tensor and sequence parallelism divide most of them."""
    divided = part.tensor_parallel_bytes + part.sequence_parallel_bytes
    return divided // layout.tensor + part.saved_bytes - divided


def _select_experts(table: TensorTable, *, routed: bool) -> TensorTable:
    """Return the tensors of routed experts, or all others."""
    return tuple(
        Section(tuple(t for t in section.tensors if is_routed(t) is routed), section.layers) for section in table
    )


def _largest_layer(table: TensorTable) -> int:
    """Return the parameters of the largest unit that ZeRO 3 gathers: a layer, or a section outside the layers."""
    return max(sum(tensor.params for tensor in section.tensors) for section in table)

"""What a GPU of one pipeline stage holds."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from math import ceil
from typing import NamedTuple

from tinylm_cli.analysis.activations import activation_bytes
from tinylm_cli.analysis.layer_groups import LayerKind, group_layers
from tinylm_cli.analysis.module_memory import build_bytes
from tinylm_cli.analysis.optimizer_state import optimizer_bytes
from tinylm_cli.analysis.parallel.sharding import is_routed, stage_layers, stage_table
from tinylm_cli.analysis.params import total_params
from tinylm_cli.analysis.saved_tensors.saved_tensor import ForwardPass
from tinylm_cli.analysis.setups import TrainingSetup
from tinylm_cli.analysis.tensor_table import Section, TensorTable, tensor_table
from tinylm_cli.analysis.training_peak import training_timeline
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.reports.memory import Activations, MemoryPart, SavedPart
from tinylm_cli.reports.plan import Layout, StageMemory

_REMEMBERED = 2**14
"""Results kept of each function that many layouts, or many jobs, ask the same of."""


_AT_THE_END = ("ln_f", "lm_head", "loss")


class _State(NamedTuple):
    """What a GPU holds whatever it reads."""

    params: int
    weights: int
    master: int
    optimizer: int
    gradients: int
    gathered: int


def fullest_stage(config: ModelConfig, setup: TrainingSetup, layout: Layout) -> StageMemory:
    """Return what a GPU of the stage that holds most holds."""
    held = (stage_memory(config, setup, layout, stage.first) for stage in different_stages(config, setup, layout))
    return max(held, key=lambda each: each.total_bytes)


class Stages(NamedTuple):
    """Stages that are alike in what they hold and compute.

    Attributes:
        first: The first of them, which holds most.
        alike: How many there are.
    """

    first: int
    alike: int


def different_stages(config: ModelConfig, setup: TrainingSetup, layout: Layout) -> tuple[Stages, ...]:
    """Return every sort of stage that there is."""
    return _different_stages(config, setup.length(config), Layout(pipeline=layout.pipeline, virtual=layout.virtual))


@lru_cache(_REMEMBERED)
def _different_stages(config: ModelConfig, seq_len: int, layout: Layout) -> tuple[Stages, ...]:
    found: dict[object, list[int]] = {}
    for stage in range(layout.pipeline):
        counts = _layers_by_kind(config, seq_len, stage_layers(config, layout, stage))
        found.setdefault((stage == 0, stage == layout.pipeline - 1, *counts.items()), []).append(stage)
    return tuple(Stages(alike[0], len(alike)) for alike in found.values())


def _layers_by_kind(config: ModelConfig, seq_len: int, layers: range) -> dict[LayerKind, int]:
    """Return how many of ``layers`` are of each kind."""
    return {kind: group.n_layers for kind, group in group_layers(config, seq_len, layers).items()}


def stage_memory(config: ModelConfig, setup: TrainingSetup, layout: Layout, stage: int) -> StageMemory:
    """Return what a GPU of ``stage`` holds."""
    setup = setup.one_pass
    stateless = setup._replace(batch_size=1, seq_len=1, recompute="none", attention_kernel="flash")
    state = _state(config, stateless, replace(layout, micro_batches=1, schedule="1f1b"), stage)
    divided = Layout(
        tensor=layout.tensor,
        pipeline=layout.pipeline,
        context=layout.context,
        expert=layout.expert,
        virtual=layout.virtual,
    )
    passing, (in_layers, at_the_end) = _passing(config, setup, divided, stage), _under_way(layout, stage)
    kept = (ceil(in_layers) * passing.at_the_start, round(in_layers * passing.layers), at_the_end * passing.at_the_end)
    named = {
        "weights": state.weights,
        "master weights": state.master,
        "optimizer state": state.optimizer,
        "gradients": state.gradients,
        "gathered layers": state.gathered,
        "activations": sum(kept),
        "working memory": passing.working,
    }
    return StageMemory(stage, state.params, in_layers, sum(named.values()), MemoryPart.breakdown(named))


def _under_way(layout: Layout, stage: int) -> tuple[float, int]:
    """Return how many micro-batches a stage holds at once in its layers, and how many at the loss.

    With ``1f1b`` as many as there are stages to come; where c chunks of each stage take turns, stage s of p has
    ``2 · (p - s - 1) + (c - 1) · p + 1`` micro-batches in one of them each, and only the last chunk ends at the loss.

    References:
        Narayanan et al. 2021, section 2.2, https://arxiv.org/abs/2104.04473;
        Korthikanti et al. 2022, section 4.2.3, https://arxiv.org/abs/2205.05198
    """
    if layout.schedule == "gpipe":
        return layout.micro_batches, layout.micro_batches
    to_come, chunks = layout.pipeline - stage, layout.virtual
    if chunks == 1:
        return min(to_come, layout.micro_batches), 1
    chunks_held = 2 * (to_come - 1) + (chunks - 1) * layout.pipeline + 1
    return min(chunks_held / chunks, layout.micro_batches), 1


@lru_cache(_REMEMBERED)
def _state(config: ModelConfig, setup: TrainingSetup, layout: Layout, stage: int) -> _State:
    """Return what a GPU of ``stage`` holds whatever passes through: of the setup its types and optimizer count."""
    table = stage_table(config, layout, stage)
    width, grad_width = setup.element_bytes, setup.grad_element_bytes
    moments = 4 if setup.has_master_weights else width
    weights = master = gradients = gathered = 0
    state = once = optimizer_bytes((), setup.optimizer, moments)  # what is kept once for all tensors
    replicas = layout.data * layout.context
    for part, ways in ((_only(table, routed=False), replicas), (_only(table, routed=True), replicas // layout.expert)):
        params = total_params(part)
        by_three, by_two, by_one = (ways if layout.zero >= level else 1 for level in (3, 2, 1))
        weights += -(-params * width // by_three)
        gradients += -(-params * grad_width // by_two)
        master += -(-params * 4 // by_one) if setup.has_master_weights else 0
        state += -(-(optimizer_bytes(part, setup.optimizer, moments) - once) // by_one)
        if layout.zero == 3 and ways > 1:
            gathered += _largest_layer(part) * (2 * width + grad_width)
    weights += build_bytes(config, setup.dtype) - total_params(tensor_table(config)) * width  # tables of positions
    return _State(total_params(table), weights, master, state, gradients, gathered)


class _Passing(NamedTuple):
    """What one micro-batch leaves on a GPU for its backward pass, and what that pass works in besides.

    Attributes:
        at_the_start: Kept by the embedding, in the first stage, and as tables of positions, in every one.
        layers: Kept by the stage's layers.
        at_the_end: Kept by the final norm, the head and the loss, in the last stage.
        working: Held beside these at the widest moment.
    """

    at_the_start: int
    layers: int
    at_the_end: int
    working: int


@lru_cache(_REMEMBERED)
def _passing(config: ModelConfig, setup: TrainingSetup, layout: Layout, stage: int) -> _Passing:
    """Return what passes through a GPU. Of the layout, stages and ways to divide a sequence or a layer count."""
    kept = _kept(config, setup, layout.context)
    start, layers, end = _activations(config, setup, layout, stage, kept)
    return _Passing(start, layers, end, _working(config, setup, replace(layout, tensor=1), stage) // layout.tensor)


@lru_cache(_REMEMBERED)
def _kept(config: ModelConfig, setup: TrainingSetup, context: int) -> Activations:
    """Return what the whole model keeps of one micro-batch."""
    return activation_bytes(config, setup, context=context)


def _activations(
    config: ModelConfig, setup: TrainingSetup, layout: Layout, stage: int, kept: Activations
) -> tuple[int, int, int]:
    """Return what a stage keeps before its layers, in them, and after them."""
    counts = _layers_by_kind(config, setup.length(config), stage_layers(config, layout, stage))
    layers = sum(
        counts.get(kind, 0) * sum(_on_one_gpu(part, layout) for part in layer.parts)
        for kind, layer in zip(group_layers(config, setup.length(config)), kept.layers, strict=True)
    )
    start = end = 0
    for part in kept.outside:
        if part.name in _AT_THE_END:
            end += _on_one_gpu(part, layout) if stage == layout.pipeline - 1 else 0
        elif stage == 0 or part.name == "position":
            start += _on_one_gpu(part, layout)
    return start, layers, end


@lru_cache(_REMEMBERED)
def _working(config: ModelConfig, setup: TrainingSetup, layout: Layout, stage: int) -> int:
    """Return what a backward pass through a stage holds at its widest beside what the stage kept, in whole tensors.

    Args:
        config: A validated config.
        setup: How it is trained.
        layout: Stages, and ways that sequences and experts are divided.
        stage: Which stage.
    """
    found = training_timeline(
        ForwardPass(config, setup, layout.context),
        stage_table(config, replace(layout, expert=1), stage),
        step_bytes=0,
        layers=stage_layers(config, layout, stage),
        expert_ways=layout.expert,
    )
    widest = max(moment.activations_bytes + moment.working_bytes for moment in found)
    return max(widest - sum(_activations(config, setup, layout, stage, _kept(config, setup, layout.context))), 0)


def _on_one_gpu(part: SavedPart, layout: Layout) -> int:
    divided = part.tensor_parallel_bytes + part.sequence_parallel_bytes
    return divided // layout.tensor + part.saved_bytes - divided


def _only(table: TensorTable, *, routed: bool) -> TensorTable:
    return tuple(
        Section(tuple(t for t in section.tensors if is_routed(t) is routed), section.layers) for section in table
    )


def _largest_layer(table: TensorTable) -> int:
    """Return the parameters of the largest piece that ZeRO 3 gathers: a layer, or what stands outside."""
    return max(sum(tensor.params for tensor in section.tensors) for section in table)

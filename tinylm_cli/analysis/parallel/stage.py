"""What a GPU of one pipeline stage holds."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from tinylm_cli.analysis.dtypes import DTYPE_BYTES
from tinylm_cli.analysis.layers import Sort, sorts
from tinylm_cli.analysis.memory import build_bytes
from tinylm_cli.analysis.optimizers import optimizer_bytes
from tinylm_cli.analysis.parallel.job import Job
from tinylm_cli.analysis.parallel.sharding import is_routed, stage_layers, stage_table
from tinylm_cli.analysis.params import total_params
from tinylm_cli.analysis.parts import parts_of
from tinylm_cli.analysis.table import Section, TensorTable, tensor_table
from tinylm_cli.analysis.training import training_memory
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.reports.memory import Activations, KeptPart, TrainingMemory
from tinylm_cli.reports.plan import Layout, StageMemory

_REMEMBERED = 2**14
"""Results kept of each function that many layouts, or many jobs, ask the same of."""


class _State(NamedTuple):
    """What a GPU holds whatever it reads."""

    params: int
    weights: int
    master: int
    optimizer: int
    gradients: int
    gathered: int


def fullest_stage(job: Job, layout: Layout) -> StageMemory:
    """Return what a GPU of the stage that holds most holds."""
    held = (_stage_memory(job, layout, stage) for stage in different_stages(job, layout))
    return max(held, key=lambda each: each.total_bytes)


def different_stages(job: Job, layout: Layout) -> tuple[int, ...]:
    """Return the first of all stages that are alike in what they hold, for each sort of them: it holds most."""
    return _different_stages(job.config, job.seq_len // layout.context, layout.pipeline)


@lru_cache(_REMEMBERED)
def _different_stages(config: ModelConfig, seq_len: int, pipeline: int) -> tuple[int, ...]:
    found = {}
    for stage in reversed(range(pipeline)):
        counts = _layers_by_sort(config, seq_len, stage_layers(config, Layout(pipeline=pipeline), stage))
        found[stage == 0, stage == pipeline - 1, tuple(counts.items())] = stage
    return tuple(found.values())


def _layers_by_sort(config: ModelConfig, seq_len: int, layers: range) -> dict[Sort, int]:
    """Return how many of ``layers`` are of each sort."""
    through = sorts(config, seq_len, layers.stop)
    before = sorts(config, seq_len, layers.start)
    return {sort: count - before.get(sort, (0, 0))[1] for sort, (_, count) in through.items()}


def _stage_memory(job: Job, layout: Layout, stage: int) -> StageMemory:
    """Return what a GPU of ``stage`` holds."""
    under_way = (
        layout.micro_batches if layout.schedule == "gpipe" else min(layout.pipeline - stage, layout.micro_batches)
    )
    state = _state(job._replace(batch_size=1, seq_len=1, recompute="none", kernel="flash"), layout, stage)
    divided = Layout(tensor=layout.tensor, pipeline=layout.pipeline, context=layout.context)
    activations, working = _passing(job, divided, stage)
    named = {
        "weights": state.weights,
        "master weights": state.master,
        "optimizer state": state.optimizer,
        "gradients": state.gradients,
        "gathered layers": state.gathered,
        "activations": under_way * activations,
        "working memory": working,
    }
    return StageMemory(stage, state.params, under_way, sum(named.values()), parts_of(named))


@lru_cache(_REMEMBERED)
def _state(job: Job, layout: Layout, stage: int) -> _State:
    """Return what a GPU of ``stage`` holds whatever passes through: of the job its model, types and optimizer count."""
    table = stage_table(job.config, layout, stage)
    width, grad_width = DTYPE_BYTES[job.dtype], DTYPE_BYTES[job.grad_dtype or job.dtype]
    moments = 4 if job.has_copy else width
    weights = master = gradients = gathered = 0
    state = once = optimizer_bytes((), job.optimizer, moments)  # what is kept once for all tensors
    replicas = layout.data * layout.context
    for part, ways in ((_only(table, routed=False), replicas), (_only(table, routed=True), replicas // layout.expert)):
        params = total_params(part)
        by_three, by_two, by_one = (ways if layout.zero >= level else 1 for level in (3, 2, 1))
        weights += -(-params * width // by_three)
        gradients += -(-params * grad_width // by_two)
        master += -(-params * 4 // by_one) if job.has_copy else 0
        state += -(-(optimizer_bytes(part, job.optimizer, moments) - once) // by_one)
        if layout.zero == 3 and ways > 1:
            gathered += _largest_layer(part) * (2 * width + grad_width)
    weights += (
        build_bytes(job.config, job.dtype) - total_params(tensor_table(job.config)) * width
    )  # tables of positions
    return _State(total_params(table), weights, master, state, gradients, gathered)


@lru_cache(_REMEMBERED)
def _passing(job: Job, layout: Layout, stage: int) -> tuple[int, int]:
    """Return what one micro-batch keeps on a GPU for its backward pass, and what that pass works in besides.

    Of the layout, ways of tensor, pipeline and context parallelism count.
    """
    whole = _alone(job, layout.context)
    return _activations(job, layout, stage, whole.activations), _working(layout, stage, whole)


@lru_cache(_REMEMBERED)
def _alone(job: Job, context: int) -> TrainingMemory:
    """Return what one GPU without others would hold of its part of each sequence."""
    return training_memory(
        job.config,
        batch_size=job.batch_size,
        seq_len=job.seq_len // context,
        dtype=job.dtype,
        optimizer=job.optimizer,
        grad_dtype=job.grad_dtype,
        master_weights=job.master_weights,
        attention_kernel=job.kernel,
        recompute=job.recompute,
    )


def _activations(job: Job, layout: Layout, stage: int, kept: Activations) -> int:
    counts = _layers_by_sort(job.config, kept.seq_len, stage_layers(job.config, layout, stage))
    held = 0
    for sort, layer in zip(sorts(job.config, kept.seq_len, job.config.n_layers), kept.layers, strict=True):
        held += counts.get(sort, 0) * sum(_on_one_gpu(part, layout) for part in layer.parts)
    is_first, is_last = stage == 0, stage == layout.pipeline - 1
    for part in kept.outside:
        if is_last if part.name in ("ln_f", "lm_head", "loss") else is_first or part.name == "position":
            held += _on_one_gpu(part, layout)
    return held


def _working(layout: Layout, stage: int, whole: TrainingMemory) -> int:
    """Return what a backward pass holds beside what was kept: where it begins in the last stage, else in a layer."""
    is_last = stage == layout.pipeline - 1
    held = [m.activations_bytes + m.working_bytes for m in whole.moments if is_last or m.name == "backward"]
    return max(max(held) - whole.activations.kept_bytes, 0) // layout.tensor


def _on_one_gpu(part: KeptPart, layout: Layout) -> int:
    divided = part.tensor_parallel_bytes + part.sequence_parallel_bytes
    return divided // layout.tensor + part.kept_bytes - divided


def _only(table: TensorTable, *, routed: bool) -> TensorTable:
    return tuple(
        Section(tuple(t for t in section.tensors if is_routed(t) is routed), section.layers) for section in table
    )


def _largest_layer(table: TensorTable) -> int:
    """Return the parameters of the largest piece that ZeRO 3 gathers: a layer, or what stands outside."""
    return max(sum(tensor.params for tensor in section.tensors) for section in table)

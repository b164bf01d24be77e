"""What a GPU of one pipeline stage holds."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from math import ceil
from typing import NamedTuple

from tinylm_cli.analysis.activations import Sort, activation_bytes, sorts
from tinylm_cli.analysis.dtypes import DTYPE_BYTES
from tinylm_cli.analysis.memory import build_bytes
from tinylm_cli.analysis.moments import moments
from tinylm_cli.analysis.optimizers import optimizer_bytes
from tinylm_cli.analysis.parallel.job import Job
from tinylm_cli.analysis.parallel.sharding import is_routed, stage_layers, stage_table
from tinylm_cli.analysis.params import total_params
from tinylm_cli.analysis.saved import Pass
from tinylm_cli.analysis.table import Section, TensorTable, tensor_table
from tinylm_cli.analysis.training import parts_of
from tinylm_cli.reports.memory import Activations, KeptPart
from tinylm_cli.reports.plan import Layout, StageMemory

_AT_THE_END = ("ln_f", "lm_head", "loss")


class Likeness(NamedTuple):
    """What decides what a stage holds: of stages alike in this, the first holds most.

    Attributes:
        is_first: Whether it holds the embedding.
        is_last: Whether it holds the head.
        layers: How many layers of each sort it has.
    """

    is_first: bool
    is_last: bool
    layers: tuple[tuple[Sort, int], ...]

    @classmethod
    def of(cls, job: Job, layout: Layout, stage: int) -> Likeness:
        """Return that of ``stage``."""
        counts = _layers_by_sort(job, layout, stage)
        return cls(stage == 0, stage == layout.pipeline - 1, tuple(counts.items()))


def _layers_by_sort(job: Job, layout: Layout, stage: int) -> dict[Sort, int]:
    """Return how many layers of each sort a stage has."""
    layers, seq_len = stage_layers(job.config, layout, stage), job.seq_len // layout.context
    through = sorts(job.config, seq_len, layers.stop)
    before = sorts(job.config, seq_len, layers.start)
    return {sort: count - before.get(sort, (0, 0))[1] for sort, (_, count) in through.items()}


def stage_memory(job: Job, layout: Layout, stage: int) -> StageMemory:
    """Return what a GPU of ``stage`` holds."""
    table = stage_table(job.config, layout, stage)
    under_way, heads = _under_way(layout, stage)
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
    named = {
        "weights": weights,
        "master weights": master,
        "optimizer state": state,
        "gradients": gradients,
        "gathered layers": gathered,
        "activations": round(under_way * _in_layers(job, layout, stage))
        + heads * _at_the_end(job, layout, stage)
        + ceil(under_way) * _at_the_start(job, layout, stage),
        "working memory": _working(
            job, Layout(pipeline=layout.pipeline, context=layout.context, expert=layout.expert), stage
        )
        // layout.tensor,
    }
    return StageMemory(stage, total_params(table), under_way, sum(named.values()), parts_of(named))


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


def _activations(job: Job, layout: Layout, stage: int) -> int:
    """Return what one micro-batch keeps on a GPU for its backward pass."""
    return sum(found(job, layout, stage) for found in (_at_the_start, _in_layers, _at_the_end))


def _in_layers(job: Job, layout: Layout, stage: int) -> int:
    counts, kept = _layers_by_sort(job, layout, stage), _kept(job, layout.context)
    return sum(
        counts.get(sort, 0) * sum(_on_one_gpu(part, layout) for part in layer.parts)
        for sort, layer in zip(sorts(job.config, kept.seq_len, job.config.n_layers), kept.layers, strict=True)
    )


def _at_the_start(job: Job, layout: Layout, stage: int) -> int:
    """Return what the embedding keeps, in the first stage, and tables of positions, in every one."""
    outside = (part for part in _kept(job, layout.context).outside if part.name not in _AT_THE_END)
    return sum(_on_one_gpu(part, layout) for part in outside if stage == 0 or part.name == "position")


def _at_the_end(job: Job, layout: Layout, stage: int) -> int:
    """Return what the final norm, the head and the loss keep, in the last stage."""
    outside = (part for part in _kept(job, layout.context).outside if part.name in _AT_THE_END)
    return sum(_on_one_gpu(part, layout) for part in outside) if stage == layout.pipeline - 1 else 0


@lru_cache(maxsize=256)  # layouts by the thousand differ in what does not matter to this
def _kept(job: Job, context: int) -> Activations:
    """Return what the whole model keeps of one micro-batch."""
    return activation_bytes(
        job.config,
        batch_size=job.batch_size,
        seq_len=job.seq_len // context,
        dtype=job.dtype,
        attention_kernel=job.kernel,
        recompute=job.recompute,
    )


def _undivided(layout: Layout) -> Layout:
    """Return what of a layout decides how many and how large the tensors are that a stage works on."""
    return Layout(pipeline=layout.pipeline, context=layout.context, expert=layout.expert, virtual=layout.virtual)


@lru_cache(maxsize=4096)
def _working(job: Job, layout: Layout, stage: int) -> int:
    """Return what a backward pass through a stage holds at its widest beside what the stage kept, in whole tensors.

    Args:
        job: What is trained.
        layout: Stages, and ways that sequences and experts are divided; nothing else of it matters here.
        stage: Which stage.
    """
    width = DTYPE_BYTES[job.dtype]
    run = Pass(job.config, job.batch_size, job.seq_len // layout.context, width, job.kernel, "cuda")
    found = moments(
        run,
        stage_table(job.config, replace(layout, expert=1), stage),
        recompute=job.recompute,
        grad_width=DTYPE_BYTES[job.grad_dtype or job.dtype],
        step_bytes=0,
        layers=stage_layers(job.config, layout, stage),
        expert_ways=layout.expert,
    )
    widest = max(moment.activations_bytes + moment.working_bytes for moment in found)
    return max(widest - _activations(job, layout, stage), 0)


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

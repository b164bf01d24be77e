"""What a GPU of one pipeline stage holds."""

from __future__ import annotations

from functools import lru_cache
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
    under_way = (
        layout.micro_batches if layout.schedule == "gpipe" else min(layout.pipeline - stage, layout.micro_batches)
    )
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
        "activations": under_way * _activations(job, layout, stage),
        "working memory": _working(
            job, Layout(pipeline=layout.pipeline, context=layout.context, expert=layout.expert), stage
        )
        // layout.tensor,
    }
    return StageMemory(stage, total_params(table), under_way, sum(named.values()), parts_of(named))


def _activations(job: Job, layout: Layout, stage: int) -> int:
    """Return what one micro-batch keeps on a GPU for its backward pass."""
    counts, kept = _layers_by_sort(job, layout, stage), _kept(job, layout.context)
    held = 0
    for sort, layer in zip(sorts(job.config, kept.seq_len, job.config.n_layers), kept.layers, strict=True):
        held += counts.get(sort, 0) * sum(_on_one_gpu(part, layout) for part in layer.parts)
    is_first, is_last = stage == 0, stage == layout.pipeline - 1
    for part in kept.outside:
        if is_last if part.name in ("ln_f", "lm_head", "loss") else is_first or part.name == "position":
            held += _on_one_gpu(part, layout)
    return held


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
        stage_table(job.config, Layout(pipeline=layout.pipeline), stage),
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

"""Parallel layouts of a training run, and what each GPU then holds and sends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tinylm_cli.reports.memory import MemoryPart

Schedule = Literal["1f1b", "gpipe"]
ZeroStage = Literal[0, 1, 2, 3]
Collective = Literal["data", "expert data", "embedding", "tensor", "pipeline", "context", "expert"]

WORDS = {
    "data": "dp",
    "tensor": "tp",
    "pipeline": "pp",
    "context": "cp",
    "expert": "ep",
    "zero": "zero",
    "micro_batches": "mb",
    "schedule": "schedule",
    "virtual": "vp",
}
"""The word of a plan for each field of a layout."""


@dataclass(frozen=True)
class Layout:
    """A parallel layout; the product of all degrees except ``expert`` is the number of GPUs.

    Attributes:
        data: Data-parallel degree: replicas that read different sequences.
        tensor: Tensor-parallel degree, with sequence parallelism: GPUs that share heads, hidden units, the vocabulary
            and, between them, the sequence.
        pipeline: Pipeline-parallel degree: stages of consecutive layers.
        context: Context-parallel degree: GPUs that share each sequence.
        expert: Expert-parallel degree, among the GPUs of ``data`` and ``context``.
        zero: ZeRO stage: replicas share 1 the optimizer state, 2 gradients too, 3 weights too (FSDP).
        micro_batches: Passes of ``batch_size`` sequences per optimizer step (gradient accumulation).
        schedule: Pipeline schedule: ``1f1b`` or ``gpipe``.
        virtual: Chunks of layers per stage (interleaved ``1f1b``).
    """

    data: int = 1
    tensor: int = 1
    pipeline: int = 1
    context: int = 1
    expert: int = 1
    zero: ZeroStage = 0
    micro_batches: int = 1
    schedule: Schedule = "1f1b"
    virtual: int = 1

    @property
    def n_gpus(self) -> int:
        """Number of GPUs: the product of the degrees."""
        return self.data * self.tensor * self.pipeline * self.context

    @property
    def typed(self) -> str:
        """The layout as ``--plan`` takes it: fields that differ from their defaults; ``dp`` only if it is alone."""
        chosen = {field: getattr(self, field) for field in WORDS if getattr(self, field) != getattr(Layout(), field)}
        data = chosen.pop("data", 1)
        return ",".join(f"{WORDS[field]}={value}" for field, value in (chosen or {"data": data}).items())


@dataclass(frozen=True)
class Traffic:
    """What each GPU sends for one kind of parallelism.

    Attributes:
        name: The kind of parallelism.
        sent_bytes: Bytes that the busiest GPU sends in one step.
        members: GPUs of a group that send to each other.
        stride: Distance between them, GPUs being numbered node by node.
        seconds: Time to send them, with nothing overlapping; None without a GPU.
        what: The tensors, in a few words.
    """

    name: Collective
    sent_bytes: int
    members: int
    stride: int
    seconds: float | None
    what: str


@dataclass(frozen=True)
class StageMemory:
    """Memory of a GPU of one pipeline stage.

    Attributes:
        stage: Index of the stage, from 0.
        params: Parameters it computes with, before ZeRO shards them.
        in_flight: Micro-batches whose activations it holds at once; fractional for interleaved stages.
        total_bytes: All it holds.
        parts: The parts of ``total_bytes``.
    """

    stage: int
    params: int
    in_flight: float
    total_bytes: int
    parts: tuple[MemoryPart, ...]


@dataclass(frozen=True)
class Plan:
    """A layout, and the memory, traffic and time that follow from it.

    Attributes:
        layout: The parallel layout.
        n_gpus: GPUs that it takes.
        batch_size: Micro-batch: sequences per pass of one replica.
        seq_len: Tokens per sequence.
        tokens_per_step: Tokens per optimizer step, over all replicas.
        peak_stage: Memory of the stage that holds most.
        bubble: Share of a step's compute time that the mean stage waits, for the pipeline to fill and drain and for the
            slowest stage; of equal stages (pipeline - 1) / (pipeline - 1 + micro_batches).
        slowest_stage: The stage that computes most.
        imbalance: FLOPs of the slowest stage over those of the mean stage, >= 1.
        traffic: What a GPU sends in a step, for each kind of parallelism that sends anything.
        capacity_bytes: Memory that tensors may take on the named GPU; None without one.
        fits: Whether ``peak_stage`` is within that; None without a GPU.
        step_seconds: Time of a step on the named GPU: compute at the kernel efficiency, bubbles and traffic, one after
            the other; None without a GPU.
        kernel_efficiency: Share of the peak that a GPU reaches while it computes; None without a GPU.
        utilization: Share of the peak that goes into the model's own FLOPs, without recomputation (MFU); None without a
            GPU.
    """

    layout: Layout
    n_gpus: int
    batch_size: int
    seq_len: int
    tokens_per_step: int
    peak_stage: StageMemory
    bubble: float
    slowest_stage: int
    imbalance: float
    traffic: tuple[Traffic, ...]
    capacity_bytes: int | None
    fits: bool | None
    step_seconds: float | None
    kernel_efficiency: float | None
    utilization: float | None

"""Parallel layouts of a training run, with the memory and traffic of each GPU."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tinylm_cli.reports.memory import MemoryPart

Schedule = Literal["1f1b", "gpipe"]
ZeroStage = Literal[0, 1, 2, 3]
Collective = Literal["data", "expert data", "embedding", "tensor", "pipeline", "context", "expert"]

ABBREVIATIONS = {
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
"""The abbreviation of each field of a layout in ``--plan``."""


@dataclass(frozen=True)
class Layout:
    """A parallel layout; the product of all degrees except ``expert`` is the number of GPUs.

    Attributes:
        data: Data-parallel degree: replicas that read different sequences.
        tensor: Tensor-parallel degree, sharding heads, hidden units and vocabulary, and the sequence outside TP regions
            (sequence parallelism).
        pipeline: Pipeline-parallel degree: stages of consecutive layers.
        context: Context-parallel degree: GPUs that share each sequence.
        expert: Expert-parallel degree, among the GPUs of ``data`` and ``context``.
        zero: ZeRO stage: replicas shard the optimizer state (1), also gradients (2), also weights (3, FSDP).
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
    def spec(self) -> str:
        """The layout in the syntax of ``--plan``: non-default fields; ``dp`` only if nothing else is set."""
        non_default = {
            field: getattr(self, field) for field in ABBREVIATIONS if getattr(self, field) != getattr(Layout(), field)
        }
        data = non_default.pop("data", 1)
        return ",".join(f"{ABBREVIATIONS[field]}={value}" for field, value in (non_default or {"data": data}).items())


@dataclass(frozen=True)
class Traffic:
    """The traffic of each GPU for one kind of parallelism.

    Attributes:
        name: The kind of parallelism.
        sent_bytes: Bytes that the busiest GPU sends in one step.
        members: GPUs in the communication group.
        stride: Difference of rank between neighbors in the group; ranks are numbered node by node.
        seconds: Time of the traffic, without overlap; None without a GPU.
        what: Short description of the tensors.
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
        total_bytes: Total memory.
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
        n_gpus: Number of GPUs.
        batch_size: Micro-batch: sequences per pass of one replica.
        seq_len: Tokens per sequence.
        tokens_per_step: Tokens per optimizer step, over all replicas.
        peak_stage: Memory of the stage that needs the most.
        bubble: Idle share of the average stage: fill/drain and load imbalance. With equal stages
            (pipeline - 1) / (pipeline - 1 + micro_batches).
        slowest_stage: The stage with the most FLOPs.
        imbalance: FLOPs of the slowest stage over the mean FLOPs per stage, >= 1.
        traffic: Traffic of a GPU per step, for each kind of parallelism that sends anything.
        capacity_bytes: Memory available to tensors on the named GPU; None without one.
        fits: Whether ``peak_stage`` fits in ``capacity_bytes``; None without a GPU.
        step_seconds: Time of a step on the named GPU: compute at the kernel efficiency, bubbles and traffic, without
            overlap; None without a GPU.
        kernel_efficiency: Share of the peak that a GPU reaches while it computes; None without a GPU.
        utilization: Model FLOPs utilization (MFU), without recomputation; None without a GPU.
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

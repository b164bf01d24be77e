"""Parallel layouts of a training run, with the memory and traffic of each GPU."""

from __future__ import annotations

from typing import Literal

from tinylm_cli.reports.memory import MemoryPart
from tinylm_cli.reports.record import Record

Schedule = Literal["1f1b", "gpipe"]
ZeroStage = Literal[0, 1, 2, 3]
ParallelismKind = Literal["data", "expert data", "embedding", "tensor", "pipeline", "context", "expert"]

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


class Layout(Record):
    """A parallel layout; the product of all degrees except ``expert`` is the number of GPUs."""

    data: int = 1  # Data-parallel degree: replicas that read different sequences.
    # Tensor-parallel degree, sharding heads, hidden units and vocabulary, and the sequence outside TP regions (sequence
    # parallelism).
    tensor: int = 1
    pipeline: int = 1  # Pipeline-parallel degree: stages of consecutive layers.
    context: int = 1  # Context-parallel degree: GPUs that share each sequence.
    expert: int = 1  # Expert-parallel degree, among the GPUs of ``data`` and ``context``.
    # ZeRO stage: replicas shard the optimizer state (1), also gradients (2), also weights (3, FSDP).
    zero: ZeroStage = 0
    micro_batches: int = 1  # Micro-batches of ``batch_size`` sequences per optimizer step (gradient accumulation).
    schedule: Schedule = "1f1b"  # Pipeline schedule: ``1f1b`` or ``gpipe``.
    virtual: int = 1  # Chunks of layers per stage (interleaved ``1f1b``).

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


class Traffic(Record):
    """The traffic of each GPU for one kind of parallelism."""

    name: ParallelismKind  # The kind of parallelism.
    sent_bytes: int  # Bytes that the busiest GPU sends in one step.
    members: int  # GPUs in the communication group.
    stride: int  # Difference of rank between neighbors in the group; ranks are numbered node by node.
    seconds: float | None  # Time of the traffic, without overlap; None without a GPU.
    description: str  # Short description of the transfer.


class StageMemory(Record):
    """Memory of a GPU of one pipeline stage."""

    stage: int  # Index of the stage, from 0.
    params: int  # Parameters it computes with, before ZeRO shards them.
    in_flight: float  # Micro-batches whose activations it holds at once; fractional for interleaved stages.
    total_bytes: int  # Total memory.
    parts: tuple[MemoryPart, ...]  # The parts of ``total_bytes``.


class Plan(Record):
    """A layout, and the memory, traffic and time that follow from it."""

    layout: Layout  # The parallel layout.
    n_gpus: int  # Number of GPUs.
    batch_size: int  # Micro-batch size: sequences per pass of one replica.
    seq_len: int  # Tokens per sequence.
    tokens_per_step: int  # Tokens per optimizer step, over all replicas.
    peak_stage: StageMemory  # Memory of the stage that needs the most.
    # Idle share of the average stage: fill/drain and load imbalance. With equal stages (pipeline - 1) / (pipeline - 1 +
    # micro_batches).
    bubble: float
    slowest_stage: int  # The stage with the most FLOPs.
    imbalance: float  # FLOPs of the slowest stage divided by the mean FLOPs per stage, >= 1.
    traffic: tuple[Traffic, ...]  # Traffic of a GPU per step, for each kind of parallelism that sends anything.
    capacity_bytes: int | None  # Memory available to tensors on the named GPU; None without one.
    fits: bool | None  # Whether ``peak_stage`` fits in ``capacity_bytes``; None without a GPU.
    # Time of a step on the named GPU: compute at the kernel efficiency, bubbles and traffic, without overlap; None
    # without a GPU.
    step_seconds: float | None
    kernel_efficiency: float | None  # Share of the peak that a GPU reaches while it computes; None without a GPU.
    utilization: float | None  # Model FLOPs utilization (MFU), without recomputation; None without a GPU.

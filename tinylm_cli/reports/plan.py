"""How training is spread over GPUs, and what each then holds and sends."""

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
"""The word that a plan has for each field of a layout."""


@dataclass(frozen=True)
class Layout:
    """How many ways the work is divided; the product of all ways but ``expert`` is the number of GPUs.

    Attributes:
        data: Replicas that read different sequences.
        tensor: Ways that heads, hidden layers and the vocabulary are divided, and by sequence parallelism all else.
        pipeline: Stages of consecutive layers.
        context: Ways that each sequence is divided.
        expert: Ways that experts are divided, among the GPUs of ``data`` and ``context``.
        zero: What replicas divide among them: 1 optimizer state, 2 gradients too, 3 weights too (FSDP).
        micro_batches: Passes of ``batch_size`` sequences before each update.
        schedule: Order of these in a pipeline: ``1f1b``: as few under way as it takes; ``gpipe``: all at once.
        virtual: Chunks that the layers of each stage are cut in, stages taking turns (interleaved ``1f1b``).
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
    def gpus(self) -> int:
        """How many GPUs it takes."""
        return self.data * self.tensor * self.pipeline * self.context

    @property
    def typed(self) -> str:
        """What ``--plan`` takes: all that is not as by default; ``dp``, which is worked out, only where that is all."""
        chosen = {field: getattr(self, field) for field in WORDS if getattr(self, field) != getattr(Layout(), field)}
        data = chosen.pop("data", 1)
        return ",".join(f"{WORDS[field]}={value}" for field, value in (chosen or {"data": data}).items())


@dataclass(frozen=True)
class Traffic:
    """What each GPU sends for one kind of parallelism.

    Attributes:
        name: Which kind.
        sent_bytes: Bytes that the GPU which sends most sends in one step.
        members: GPUs of a group that send to each other.
        stride: From one of them to the next, GPUs being numbered node by node.
        seconds: How long it takes, with nothing beside it; None without a GPU.
        what: What is sent, in a few words.
    """

    name: Collective
    sent_bytes: int
    members: int
    stride: int
    seconds: float | None
    what: str


@dataclass(frozen=True)
class StageMemory:
    """What a GPU of one pipeline stage holds.

    Attributes:
        stage: Which stage, from 0.
        params: Parameters it computes with, before ZeRO divides them.
        in_flight: Micro-batches whose activations it holds at once; not whole where chunks of layers take turns.
        total_bytes: All it holds.
        parts: What makes that up.
    """

    stage: int
    params: int
    in_flight: float
    total_bytes: int
    parts: tuple[MemoryPart, ...]


@dataclass(frozen=True)
class Plan:
    """A layout and what follows from it.

    Attributes:
        layout: How the work is divided.
        gpus: How many GPUs it takes.
        batch_size: Sequences in one pass of one replica.
        seq_len: Tokens in each.
        tokens_per_step: Tokens read before each update, by all replicas.
        fullest: What a GPU of the stage that holds most holds.
        bubble: Share of a step's arithmetic time that the mean stage waits: for the first micro-batch to come and the
            last to return, and for the slowest stage; (pipeline - 1) / (pipeline - 1 + micro_batches) of even ones.
        slowest_stage: The stage that computes most.
        imbalance: What that one computes over what the mean stage does, 1 where they are even.
        traffic: For each kind that sends anything, what a GPU of the stage that sends most of it sends in a step.
        capacity_bytes: What the named GPU has room for; None without one.
        fits: Whether ``fullest`` is within that; None without a GPU.
        step_seconds: Time of a step on the named GPU: arithmetic at the kernel efficiency, waiting, and traffic, one
            after the other; None without a GPU.
        kernel_efficiency: Share of the peak that a GPU is taken to reach while it computes; None without a GPU.
        utilization: Share of the peak that goes into the model's own FLOPs, recomputation not counted (MFU): what comes
            out; None without a GPU.
    """

    layout: Layout
    gpus: int
    batch_size: int
    seq_len: int
    tokens_per_step: int
    fullest: StageMemory
    bubble: float
    slowest_stage: int
    imbalance: float
    traffic: tuple[Traffic, ...]
    capacity_bytes: int | None
    fits: bool | None
    step_seconds: float | None
    kernel_efficiency: float | None
    utilization: float | None

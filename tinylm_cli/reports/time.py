"""How long training and serving take, part of what ``tinylm estimate`` reports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Bound = Literal["compute", "memory"]


@dataclass(frozen=True)
class ComputeOptimum:
    """A budget of tokens beside the one that spends its compute best (Hoffmann et al. 2022, approaches 1 and 2).

    Attributes:
        params: Parameters of the model: of experts, those a token uses.
        train_tokens: Tokens it is to be trained on.
        tokens_per_param: ``train_tokens / params``.
        optimal_tokens: 20 tokens a parameter.
        optimal_ratio: ``train_tokens / optimal_tokens``.
        compute_flops: What the budget costs as the paper reckons it: ``6 · params · train_tokens``.
        compute_optimal_params: The size that this compute trains best.
        compute_optimal_tokens: The tokens that it is then trained on.
    """

    params: int
    train_tokens: int
    tokens_per_param: float
    optimal_tokens: int
    optimal_ratio: float
    compute_flops: int
    compute_optimal_params: int
    compute_optimal_tokens: int


@dataclass(frozen=True)
class TrainingTime:
    """How long a budget of tokens takes on some accelerators at some utilization, and what it costs.

    Attributes:
        accelerator: Its name.
        n_gpus: How many.
        dtype: What matrices are multiplied in.
        peak_flops_per_second: The dense peak of one, for ``dtype``.
        utilization: Share of the peak that goes into the model's own FLOPs, recomputation not counted (MFU): what the
            plan comes to where there is one, else the stated share.
        train_flops_per_token: Forward and backward, averaged over a sequence.
        train_tokens: Tokens to train on.
        train_flops: ``train_flops_per_token · train_tokens``.
        tokens_per_second: All GPUs together.
        seconds: From the first token to the last, with no restart.
        gpu_hours: Hours of one GPU, all together.
        usd_per_gpu_hour: The price given, or None.
        usd: What all of it costs, or None.
    """

    accelerator: str
    n_gpus: int
    dtype: str
    peak_flops_per_second: int
    utilization: float
    train_flops_per_token: int
    train_tokens: int
    train_flops: int
    tokens_per_second: float
    seconds: float
    gpu_hours: float
    usd_per_gpu_hour: float | None
    usd: float | None


@dataclass(frozen=True)
class PassTime:
    """The least time of one pass through the model: the arithmetic or the traffic, whichever takes longer.

    Attributes:
        flops: What is computed.
        moved_bytes: What goes between memory and cores.
        compute_seconds: ``flops`` at the dense peak.
        memory_seconds: ``moved_bytes`` at the full bandwidth.
        seconds: The longer of the two.
        bound: Which that is; compute where they are equal.
        intensity_flops_per_byte: ``flops / moved_bytes``.
    """

    flops: int
    moved_bytes: int
    compute_seconds: float
    memory_seconds: float
    seconds: float
    bound: Bound
    intensity_flops_per_byte: float


@dataclass(frozen=True)
class ServingTime:
    """The least time of reading prompts and of decoding after them.

    Attributes:
        accelerator: Its name.
        dtype: What matrices are multiplied in.
        peak_flops_per_second: Its dense peak for ``dtype``.
        memory_bytes_per_second: Its bandwidth.
        balance_flops_per_byte: The intensity from which the machine is bound by compute.
        batch_size: Sequences at once.
        prompt_tokens: Read of each in the first pass.
        context_tokens: Seen by the token that is decoded, itself included.
        prefill: The pass that reads the prompts.
        prefill_tokens_per_second: Of all sequences.
        decode: One step, a token for each sequence.
        decode_tokens_per_second: Of all sequences.
        sequence_tokens_per_second: Of one.
        compute_bound_batch_size: The least batch at which decoding is bound by compute; None where none is.
    """

    accelerator: str
    dtype: str
    peak_flops_per_second: int
    memory_bytes_per_second: int
    balance_flops_per_byte: float
    batch_size: int
    prompt_tokens: int
    context_tokens: int
    prefill: PassTime
    prefill_tokens_per_second: float
    decode: PassTime
    decode_tokens_per_second: float
    sequence_tokens_per_second: float
    compute_bound_batch_size: int | None

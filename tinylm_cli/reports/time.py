"""Time of training and serving, part of the report of ``tinylm estimate``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Bound = Literal["compute", "memory"]


@dataclass(frozen=True)
class ComputeOptimum:
    """Training tokens compared with the compute-optimal number (Hoffmann et al. 2022, approaches 1 and 2).

    Attributes:
        params: Active parameters of the model.
        train_tokens: Tokens to train on.
        tokens_per_param: ``train_tokens / params``.
        optimal_tokens: 20 tokens per parameter.
        optimal_ratio: ``train_tokens / optimal_tokens``.
        compute_flops: Training FLOPs as in the paper: ``6 · params · train_tokens``.
        compute_optimal_params: The compute-optimal size for these FLOPs.
        compute_optimal_tokens: The training tokens of that size.
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
    """Time and cost of training on a number of tokens.

    Attributes:
        accelerator: Name of the GPU.
        n_gpus: GPUs that train the model.
        dtype: Type of the matrix products.
        peak_flops_per_second: Dense peak of one GPU for ``dtype``.
        utilization: Share of the peak that goes into the model's own FLOPs, without recomputation (MFU): that of the
            plan, or the assumed share.
        train_flops_per_token: Forward and backward FLOPs, averaged over a sequence.
        train_tokens: Tokens to train on.
        train_flops: ``train_flops_per_token · train_tokens``.
        tokens_per_second: Tokens per second, over all GPUs.
        seconds: Time from the first token to the last, without restarts.
        gpu_hours: Hours of all GPUs together.
        usd_per_gpu_hour: The given price, or None.
        usd: Cost of the run, or None.
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
    """Lower bound on the time of one pass through the model: the larger of compute time and memory time.

    Attributes:
        flops: FLOPs of the pass.
        moved_bytes: Bytes moved between memory and cores.
        compute_seconds: ``flops`` at the dense peak.
        memory_seconds: ``moved_bytes`` at the full bandwidth.
        seconds: The longer of the two.
        bound: The longer of the two; compute if they are equal.
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
    """Lower bounds on the time of prefill and of decoding after it.

    Attributes:
        accelerator: Name of the GPU.
        dtype: Type of the matrix products.
        peak_flops_per_second: Dense peak of the GPU for ``dtype``.
        memory_bytes_per_second: Memory bandwidth of the GPU.
        balance_flops_per_byte: ``peak_flops_per_second / memory_bytes_per_second``: passes with more are compute-bound.
        batch_size: Sequences decoded together.
        prompt_tokens: Tokens per prompt.
        context_tokens: Tokens that the decoded token attends to, itself included.
        prefill: The passes that read the prompts.
        prefill_tokens_per_second: Prompt tokens read per second, summed over the batch.
        decode: One decoding step, a token per sequence.
        decode_tokens_per_second: Tokens decoded per second, summed over the batch.
        sequence_tokens_per_second: Tokens decoded per second and sequence.
        compute_bound_batch_size: The smallest batch at which decoding is compute-bound; None if there is none.
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

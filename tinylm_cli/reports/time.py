"""Time of training and serving, part of the report of ``tinylm estimate``."""

from __future__ import annotations

from typing import Literal

from tinylm_cli.reports.record import Record

Bound = Literal["compute", "memory"]


class ComputeOptimum(Record):
    """Training tokens compared with the compute-optimal number (Hoffmann et al. 2022, approaches 1 and 2)."""

    params: int  # Active parameters of the model.
    train_tokens: int  # Tokens to train on.
    tokens_per_param: float  # ``train_tokens / params``.
    optimal_tokens: int  # 20 tokens per parameter.
    optimal_ratio: float  # ``train_tokens / optimal_tokens``.
    compute_flops: int  # Training FLOPs as in the paper: ``6 · params · train_tokens``.
    compute_optimal_params: int  # The compute-optimal size for these FLOPs.
    compute_optimal_tokens: int  # The training tokens of that size.


class TrainingTime(Record):
    """Time and cost of training on a number of tokens."""

    accelerator: str  # Name of the GPU.
    n_gpus: int  # GPUs that train the model.
    dtype: str  # Dtype of the matmuls.
    peak_flops_per_second: int  # Dense peak of one GPU for ``dtype``.
    # Model FLOPs utilization (MFU): FLOPs of the model, without recomputation, over the peak; from the plan, or the
    # assumed share.
    utilization: float
    train_flops_per_token: int  # Forward and backward FLOPs, averaged over a sequence.
    train_tokens: int  # Tokens to train on.
    train_flops: int  # ``train_flops_per_token · train_tokens``.
    tokens_per_second: float  # Tokens per second, over all GPUs.
    seconds: float  # Time from the first token to the last, without restarts.
    gpu_hours: float  # Hours of all GPUs together.
    usd_per_gpu_hour: float | None  # The given price, or None.
    usd: float | None  # Cost of the run, or None.


class PassTime(Record):
    """Lower bound on the time of one pass through the model: the larger of compute time and memory time."""

    flops: int  # FLOPs of the pass.
    moved_bytes: int  # Bytes moved between memory and cores.
    compute_seconds: float  # ``flops`` at the dense peak.
    memory_seconds: float  # ``moved_bytes`` at the full bandwidth.
    seconds: float  # The longer of the two.
    bound: Bound  # ``compute`` or ``memory``: the larger of the two times.
    intensity_flops_per_byte: float  # ``flops / moved_bytes``.


class ServingTime(Record):
    """Lower bounds on the time of prefill and of decoding after it."""

    accelerator: str  # Name of the GPU.
    dtype: str  # Dtype of the matmuls.
    peak_flops_per_second: int  # Dense peak of the GPU for ``dtype``.
    memory_bytes_per_second: int  # Memory bandwidth of the GPU.
    # ``peak_flops_per_second / memory_bytes_per_second``: passes with more are compute-bound.
    balance_flops_per_byte: float
    batch_size: int  # Sequences decoded together, or read in one pass if nothing is decoded.
    prompt_tokens: int  # Tokens per prompt.
    context_tokens: int  # Tokens that the decoded token attends to, itself included.
    prefill: PassTime  # The passes that read the prompts.
    prefill_tokens_per_second: float  # Prompt tokens read per second, summed over the batch.
    decode: PassTime | None  # One decoding step, a token per sequence; None without an LM head: nothing is decoded.
    decode_tokens_per_second: float | None  # Tokens decoded per second, summed over the batch; None like ``decode``.
    sequence_tokens_per_second: float | None  # Tokens decoded per second and sequence; None like ``decode``.
    # The smallest batch at which decoding is compute-bound; None if there is none.
    compute_bound_batch_size: int | None

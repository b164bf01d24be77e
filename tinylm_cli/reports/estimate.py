"""The report of ``tinylm estimate``."""

from __future__ import annotations

from dataclasses import dataclass

from tinylm_cli.reports.flops import ModelFlops
from tinylm_cli.reports.memory import InferenceMemory, SdpaOverhead, TrainingMemory
from tinylm_cli.reports.memory_fit import Fit
from tinylm_cli.reports.plan import Plan
from tinylm_cli.reports.serving import CacheShape, ServingGrid
from tinylm_cli.reports.time import ComputeOptimum, ServingTime, TrainingTime


@dataclass(frozen=True)
class TrainingSummary:
    """The verdict on training, and the figures behind it.

    Attributes:
        fits: Whether the GPU with the highest peak memory has enough; None without a named GPU.
        needed_bytes: Peak memory of that GPU.
        capacity_bytes: Memory that tensors may take on one GPU; None without one.
        spare_bytes: ``capacity_bytes - needed_bytes``, negative where it does not fit; None without a GPU.
        n_gpus: GPUs that train the model together.
        plan: The parallel layout, as ``--plan`` takes it; None on one GPU.
        tokens_per_step: Tokens per optimizer step, over all GPUs.
        step_seconds: Time of one optimizer step; None without a GPU.
        utilization: Model FLOPs utilization (MFU), a share of the peak; None without a GPU.
        train_tokens: Tokens to train on.
        seconds: Time to train on all of them; None without a GPU.
        gpu_hours: GPU hours of the run; None without a GPU.
        usd: Cost of the run; None without a price.
    """

    fits: bool | None
    needed_bytes: int
    capacity_bytes: int | None
    spare_bytes: int | None
    n_gpus: int
    plan: str | None
    tokens_per_step: int
    step_seconds: float | None
    utilization: float | None
    train_tokens: int
    seconds: float | None
    gpu_hours: float | None
    usd: float | None


@dataclass(frozen=True)
class ServingSummary:
    """The verdict on serving from one GPU, and the figures behind it.

    Attributes:
        fits: Whether the GPU has enough memory; None without a named GPU.
        needed_bytes: Peak memory: weights, KV cache and working memory.
        capacity_bytes: Memory that tensors may take on one GPU; None without one.
        spare_bytes: ``capacity_bytes - needed_bytes``, negative where it does not fit; None without a GPU.
        batch_size: Sequences decoded together.
        seq_len: Tokens that the KV cache holds per sequence.
        weights_bytes: All weights, as they are stored.
        weights_dtype: Storage type of the weights, after quantization if there is any.
        kv_cache_bytes_per_token: KV cache of one token, summed over layers.
        kv_cache_bytes: The KV cache of all sequences.
        largest_batch_size: Largest number of sequences of ``seq_len`` tokens that fits; None without a GPU.
        decode_tokens_per_second: Upper bound on decode throughput, summed over the batch; None without a GPU.
    """

    fits: bool | None
    needed_bytes: int
    capacity_bytes: int | None
    spare_bytes: int | None
    batch_size: int
    seq_len: int
    weights_bytes: int
    weights_dtype: str
    kv_cache_bytes_per_token: int
    kv_cache_bytes: int
    largest_batch_size: int | None
    decode_tokens_per_second: float | None


@dataclass(frozen=True)
class EstimateSummary:
    """The answer in a few figures.

    Attributes:
        training: None where only serving is estimated.
        serving: None where only training is estimated.
    """

    training: TrainingSummary | None
    serving: ServingSummary | None


@dataclass(frozen=True)
class TrainingEstimate:
    """The estimate of training.

    Attributes:
        memory: Training memory of one GPU with the entire model.
        sdpa_overhead: Attention tensors that tinylm's own model saves in addition to those of a flash kernel, or None.
        fit: Whether training fits in the GPU under ``plan``; None without a named GPU.
        plan: The parallel plan; None for one GPU. If layouts were searched and none fits, the plan with the least
            memory.
        layouts_tried: Number of layouts searched; None for a named layout or one GPU.
        alternatives: The layouts that fit, fastest first, starting with ``plan``.
        time: Time to train on all tokens with the named GPUs; None without them.
        optimum: The training tokens, compared with the compute-optimal number for the same compute.
        tokens_are_given: Whether the number of tokens was requested; otherwise it is the compute-optimal one.
    """

    memory: TrainingMemory
    sdpa_overhead: SdpaOverhead | None
    fit: Fit | None
    plan: Plan | None
    layouts_tried: int | None
    alternatives: tuple[Plan, ...]
    time: TrainingTime | None
    optimum: ComputeOptimum
    tokens_are_given: bool


@dataclass(frozen=True)
class ServingEstimate:
    """The estimate of serving from one GPU.

    Attributes:
        memory: Inference memory of one GPU with the entire model.
        fit: Whether that fits in the GPU; None without a named GPU.
        cache: The kind of KV cache the model has.
        grid: Memory and decode speed by batch size and length.
        time: Lower bounds on the time of prefill and of decoding; None without a named GPU.
    """

    memory: InferenceMemory
    fit: Fit | None
    cache: CacheShape
    grid: ServingGrid
    time: ServingTime | None


@dataclass(frozen=True)
class EstimateReport:
    """The estimate of a model.

    Attributes:
        name: The preset's name or the file's stem.
        source: Preset name, path as given, or ``<stdin>``.
        total_params: Each stored tensor counted once.
        active_params: Parameters that one token uses; only the selected experts count.
        accelerator: The named GPU; None without one.
        capacity_bytes: Memory that tensors may take on it; None without one.
        summary: The answer in a few figures.
        flops: FLOPs of a forward pass and of a training step.
        training: The estimate of training; None where only serving is estimated.
        serving: The estimate of serving; None where only training is estimated.
    """

    name: str
    source: str
    total_params: int
    active_params: int
    accelerator: str | None
    capacity_bytes: int | None
    summary: EstimateSummary
    flops: ModelFlops
    training: TrainingEstimate | None
    serving: ServingEstimate | None

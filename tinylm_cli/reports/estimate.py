"""The report of ``tinylm estimate``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tinylm_cli.reports.flops import ModelFlops
from tinylm_cli.reports.memory import InferenceMemory, SdpaOverhead, TrainingMemory
from tinylm_cli.reports.memory_fit import Fit
from tinylm_cli.reports.plan import Plan
from tinylm_cli.reports.serving import CacheShape, ServingGrid
from tinylm_cli.reports.time import ComputeOptimum, ServingTime, TrainingTime

Purpose = Literal["training", "serving"]
"""The use that a model is estimated for."""


@dataclass(frozen=True)
class TrainingSummary:
    """The verdict on training, and the figures behind it.

    Attributes:
        fits: Whether the GPU that holds most has room for it; None without a named GPU.
        needed_bytes: Peak memory of that GPU.
        capacity_bytes: Memory that tensors may take on one GPU; None without one.
        spare_bytes: ``capacity_bytes - needed_bytes``, negative where it does not fit; None without a GPU.
        n_gpus: GPUs that train the model together.
        plan: The parallel layout, as ``--plan`` takes it; None on one GPU.
        tokens_per_step: Tokens per optimizer step, over all GPUs.
        step_seconds: Time of one optimizer step; None without a GPU.
        utilization: Share of the peak that goes into the model's own FLOPs (MFU); None without a GPU.
        train_tokens: Tokens to train on.
        seconds: Time to train on all of them; None without a GPU.
        gpu_hours: GPU hours of the whole run; None without a GPU.
        usd: Cost of the whole run; None without a price.
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
        fits: Whether the GPU has room for it; None without a named GPU.
        needed_bytes: Peak memory: weights, KV cache and working memory.
        capacity_bytes: Memory that tensors may take on one GPU; None without one.
        spare_bytes: ``capacity_bytes - needed_bytes``, negative where it does not fit; None without a GPU.
        batch_size: Sequences decoded together.
        seq_len: Tokens that the KV cache holds per sequence.
        weights_bytes: All weights, as they are stored.
        weights_dtype: Type of the weights: of a quantized model, what they are quantized to.
        kv_cache_bytes_per_token: What one token adds to the KV cache, in all layers.
        kv_cache_bytes: The KV cache of all sequences.
        largest_batch_size: The most sequences of ``seq_len`` tokens that fit; None without a GPU.
        decode_tokens_per_second: Most tokens decoded per second, summed over the batch; None without a GPU.
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
    """What training takes.

    Attributes:
        memory: What one GPU that holds the whole model holds while it trains.
        sdpa_overhead: What tinylm's own model keeps of attention beyond a flash kernel; None where nothing.
        fit: Whether training fits in the GPU, divided as ``plan`` says; None without a named GPU.
        plan: Training divided among several GPUs; None for one. Where layouts are searched and none fits, the one that
            holds least.
        layouts_tried: How many layouts were searched; None where one is named, and for one GPU.
        alternatives: Of those, every one that fits, the fastest first, ``plan`` being the first.
        time: How long the training tokens take on the named GPUs; None without them.
        optimum: The training tokens beside the number that spends their compute best.
        tokens_are_given: Whether the number of tokens was asked for; else it is the compute-optimal one.
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
    """What serving from one GPU takes.

    Attributes:
        memory: What a GPU that holds the whole model holds while it serves.
        fit: Whether that fits in the GPU; None without a named GPU.
        cache: The kind of KV cache the model has.
        grid: Memory and decode speed by batch size and length.
        time: The least time of reading prompts and of decoding; None without a named GPU.
    """

    memory: InferenceMemory
    fit: Fit | None
    cache: CacheShape
    grid: ServingGrid
    time: ServingTime | None


@dataclass(frozen=True)
class EstimateReport:
    """What a model costs.

    Attributes:
        name: The preset's name or the file's stem.
        source: Preset name, path as given, or ``<stdin>``.
        total_params: Each stored tensor counted once.
        active_params: What one token uses: of experts, those it is sent to.
        accelerator: The named GPU; None without one.
        capacity_bytes: Memory that tensors may take on it; None without one.
        summary: The answer in a few figures.
        flops: What a pass and a training step compute.
        training: What training takes; None where only serving is estimated.
        serving: What serving takes; None where only training is estimated.
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

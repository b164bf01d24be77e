"""The report of ``tinylm estimate``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from tinylm_cli.reports.flops import ModelFlops
from tinylm_cli.reports.memory import InferenceMemory, SdpaOverhead, TrainingMemory
from tinylm_cli.reports.memory_fit import Fit
from tinylm_cli.reports.plan import Plan
from tinylm_cli.reports.record import Record
from tinylm_cli.reports.serving import CacheShape, ServingGrid
from tinylm_cli.reports.time import ComputeOptimum, ServingTime, TrainingTime


class TrainingSummary(Record):
    """The verdict on training, and the figures behind it."""

    fits: bool | None  # Whether the GPU with the highest peak memory has enough; None without a GPU.
    needed_bytes: int  # Peak memory of that GPU.
    capacity_bytes: int | None  # Memory that tensors may take on one GPU; None without a GPU.
    spare_bytes: int | None  # ``capacity_bytes - needed_bytes``, negative if it does not fit; None without a GPU.
    n_gpus: int  # GPUs that train the model together.
    plan: str | None  # The parallel layout, as ``--plan`` takes it; None on one GPU.
    tokens_per_step: int  # Tokens per optimizer step, over all GPUs.
    step_seconds: float | None  # Time of one optimizer step; None without a GPU.
    utilization: float | None  # Model FLOPs utilization (MFU), a share of the peak; None without a GPU.
    train_tokens: int  # Tokens to train on.
    seconds: float | None  # Time to train on all of them; None without a GPU.
    gpu_hours: float | None  # GPU hours of the run; None without a GPU.
    usd: float | None  # Cost of the run; None without a price.


class ServingSummary(Record):
    """The verdict on serving from one GPU, and the figures behind it."""

    fits: bool | None  # Whether the GPU has enough memory; None without a GPU.
    needed_bytes: int  # Peak memory: weights, KV cache and working memory.
    capacity_bytes: int | None  # Memory that tensors may take on one GPU; None without a GPU.
    spare_bytes: int | None  # ``capacity_bytes - needed_bytes``, negative if it does not fit; None without a GPU.
    batch_size: int  # Sequences decoded together, or read in one pass if nothing is decoded.
    seq_len: int  # Tokens per sequence, which the KV cache holds.
    weights_bytes: int  # All weights, as they are stored.
    weights_dtype: str  # Data type of the weights, after quantization if there is any.
    weights_are_stored: bool  # Whether the config states these types in its block ``storage``.
    kv_cache_bytes_per_token: int  # KV cache of one token, summed over layers.
    state_bytes_per_sequence: int  # Bytes of the states of layers that do not cache tokens; 0 if all layers do.
    kv_cache_bytes: int  # The KV cache of all sequences, states included.
    largest_batch_size: int | None  # Largest number of sequences of ``seq_len`` tokens that fits; None without a GPU.
    # Upper bound on decode throughput, summed over the batch; None without a GPU or without an LM head.
    decode_tokens_per_second: float | None


class EstimateSummary(Record):
    """The answer in a few figures."""

    training: TrainingSummary | None  # None if only serving is estimated.
    serving: ServingSummary | None  # None if only training is estimated.


class TrainingEstimate(Record):
    """The estimate of training."""

    memory: TrainingMemory  # Training memory of one GPU with the entire model.
    # Attention tensors that tinylm's own model saves but a flash kernel does not, or None.
    sdpa_overhead: SdpaOverhead | None
    fit: Fit | None  # Whether training fits in the GPU under ``plan``; None without a GPU.
    # The parallel plan; None for one GPU. If layouts were searched and none fits, the plan with the least memory.
    plan: Plan | None
    layouts_tried: int | None  # Number of layouts searched; None for a named layout or one GPU.
    # Number of these layouts that fit, without those that another ZeRO stage beats in time and memory; None as above.
    layouts_fitting: int | None
    alternatives: tuple[Plan, ...]  # The fastest layouts that fit, at most 1,000, starting with ``plan``.
    time: TrainingTime | None  # Time to train on all tokens with the named GPUs; None without them.
    optimum: ComputeOptimum  # The training tokens, compared with the compute-optimal number for the same compute.
    tokens_are_given: bool  # Whether the number of tokens was given; otherwise it is the compute-optimal one.


class ServingEstimate(Record):
    """The estimate of serving from one GPU."""

    memory: InferenceMemory  # Inference memory of one GPU with the entire model.
    fit: Fit | None  # Whether that fits in the GPU; None without a GPU.
    cache: CacheShape | None  # The kind of KV cache the model has; None without an LM head: nothing is decoded.
    grid: ServingGrid  # Memory and decode speed by batch size and length.
    time: ServingTime | None  # Lower bounds on the time of prefill and of decoding; None without a GPU.


class EstimateReport(Record):
    """The estimate of a model."""

    name: str  # The preset's name or the file's stem.
    source: str  # Preset name, path as given, or ``<stdin>``.
    total_params: int  # Each stored tensor counted once.
    active_params: int  # Parameters that one token uses; only the selected experts count.
    accelerator: str | None  # The named GPU; None without a GPU.
    capacity_bytes: int | None  # Memory that tensors may take on it; None without a GPU.
    summary: EstimateSummary  # The answer in a few figures.
    flops: ModelFlops  # FLOPs of a forward pass and of a training step.
    training: TrainingEstimate | None  # The estimate of training; None if only serving is estimated.
    serving: ServingEstimate | None  # The estimate of serving; None if only training is estimated.
    # Parts of the ``quantization_config`` of a config.json that are not understood; their weights count as unquantized.
    unread_storage: tuple[str, ...] = ()
    # Keys of a Hugging Face config.json that were left out, each with the reason: ``requested``, or
    # ``no_effect_here`` for a key that is not understood and changes no figure of this report.
    ignored_keys: Mapping[str, str] = field(default_factory=dict)

"""Roofline model: time is the larger of FLOPs / peak and bytes / bandwidth.

The roofline is a lower bound on time: no kernel is faster, and most are slower. Training time therefore assumes a
utilization (MFU); serving time is the bound itself.

References:
    Williams, Waterman and Patterson 2009, https://doi.org/10.1145/1498765.1498785
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable
from typing import NamedTuple

from tinylm_cli.analysis.dtypes import DTYPE_BYTES
from tinylm_cli.analysis.flops import decode_flops
from tinylm_cli.analysis.kv_cache import read_cache_bytes, state_bytes
from tinylm_cli.analysis.layer_kinds import n_layer_runs
from tinylm_cli.analysis.quantization import effective_storage
from tinylm_cli.analysis.setups import QuantizationConfig, ServingSetup, TrainingSetup
from tinylm_cli.analysis.stored_tensors import quantizes_head, section_bytes
from tinylm_cli.analysis.tensor import Tensor
from tinylm_cli.analysis.tensor_table import TOKEN_EMBEDDING, tensor_table
from tinylm_cli.config.hardware import Accelerator
from tinylm_cli.config.layer_kinds import without_mtp
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.config.storage import Storage
from tinylm_cli.errors import UsageError
from tinylm_cli.reports.time import PassTime, ServingTime, TrainingTime

SECONDS_PER_HOUR = 3600


class ReadWeights(NamedTuple):
    """Weights that a decoding step may read."""

    dense_bytes: int  # weights that every token reads
    expert_bytes: int = 0  # weights of all routed experts
    n_experts: int = 1  # E, routed experts per layer
    top_k: int = 1  # k, experts per token
    attention_expert_bytes: int = 0  # weights of all experts of attention
    n_attention_experts: int = 1  # those per layer
    attention_top_k: int = 1  # those per token

    def read_bytes(self, tokens: int) -> int:
        """Return the expected bytes that a pass over ``tokens`` reads, with uniformly random routing."""
        experts = _read_of_experts(self.expert_bytes, self.n_experts, self.top_k, tokens)
        of_attention = self.attention_expert_bytes, self.n_attention_experts, self.attention_top_k
        return self.dense_bytes + experts + _read_of_experts(*of_attention, tokens)


def _read_of_experts(nbytes: int, n_experts: int, top_k: int, tokens: int) -> int:
    """Return the expected bytes of experts that are read; one is not with probability ``(1 - k / E) ** tokens``."""
    if tokens == 1:
        return nbytes * top_k // n_experts
    if top_k >= n_experts:
        return nbytes
    return round(nbytes * -math.expm1(tokens * math.log1p(-top_k / n_experts)))  # 1 - (1 - k / E) ** tokens


class DecodeStep(NamedTuple):
    """FLOPs and memory traffic of one decoding step."""

    weights: ReadWeights  # weights, read once for the batch
    flops_per_sequence: int  # FLOPs of one token of one sequence
    cache_bytes_per_sequence: int  # KV cache read and written per sequence

    def flops(self, batch_size: int) -> int:
        """Return the FLOPs of a step over ``batch_size`` sequences."""
        return batch_size * self.flops_per_sequence

    def moved_bytes(self, batch_size: int) -> int:
        """Return the bytes that a step over ``batch_size`` sequences moves."""
        return self.weights.read_bytes(batch_size) + batch_size * self.cache_bytes_per_sequence


def decode_step(config: ModelConfig, setup: ServingSetup) -> DecodeStep:
    """Return the FLOPs and memory traffic of decoding one token at the setup's context length."""
    setup = setup.resolved(config)
    return DecodeStep(
        decode_weights(config, setup.dtype, setup.quantization),
        decode_flops(config, context_len=setup.length(config)),
        # keys, values and states, read; states, written
        read_cache_bytes(config, seq_len=setup.length(config), dtype=setup.kv_cache_dtype)
        + state_bytes(config, setup.kv_cache_dtype),
    )


def decode_weights(
    config: ModelConfig, dtype: str | None, quantization: QuantizationConfig | None = None
) -> ReadWeights:
    """Return the stored bytes of the weights that decoding reads.

    Look-up tables are excluded: learned positions, per-layer embeddings, and the token embedding unless it is also the
    LM head. So are multi-token prediction modules.

    Args:
        config: A validated config.
        dtype: As for :func:`effective_storage`.
        quantization: As for :func:`effective_storage`.
    """
    storage = effective_storage(config, dtype, quantization)
    dense = experts = attention_experts = 0
    for section in tensor_table(without_mtp(config)):
        for tensor in section.tensors:
            if _is_looked_up(tensor, config, storage):
                continue
            # a shared block is read in each layer, a looped layer in each pass
            uses = section.repeats if section.layers is None else n_layer_runs(config, section.layers)
            size = section_bytes(section, tensor, storage) * uses // section.repeats
            if tensor.experts_per_token is None:
                dense += size
            elif tensor.component == "experts":
                experts += size
            else:
                attention_experts += size
    return ReadWeights(dense, experts, *routed(config)[0], attention_experts, *routed(config)[1])


def routed(config: ModelConfig) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return the experts and the experts per token, of the feed-forward networks and of attention; 1 without any."""
    feed_forward, n_attention_experts = config.feed_forward, config.attention.n_experts
    return (
        (1, 1) if feed_forward.n_experts is None else (feed_forward.n_experts, feed_forward.top_k),
        (1, 1) if n_attention_experts is None else (n_attention_experts, config.attention_top_k),
    )


def _is_looked_up(tensor: Tensor, config: ModelConfig, storage: Storage) -> bool:
    if tensor.name == TOKEN_EMBEDDING and config.tie_weights:
        return quantizes_head(storage)  # a quantized head has separate storage
    return tensor.component in ("token_embedding", "position", "per_layer_embedding")


def decode_clock(accelerator: Accelerator, setup: ServingSetup) -> Callable[[DecodeStep], PassTime]:
    """Return a function from a decoding step to its minimum time, for the setup's batch size.

    Raises:
        UsageError: If the GPU does not support matmuls in the setup's dtype.
    """
    peak, bandwidth = peak_flops(accelerator, setup.compute_dtype), accelerator.memory_bytes_per_second
    batch_size = setup.batch_size
    return lambda step: _pass_time(step.flops(batch_size), step.moved_bytes(batch_size), peak, bandwidth)


def peak_flops(accelerator: Accelerator, dtype: str) -> int:
    """Return the dense peak of one GPU for matmuls in ``dtype``, in FLOPs per second.

    Raises:
        UsageError: If the GPU does not support matmuls in ``dtype``.
    """
    peaks = accelerator.peaks
    if dtype not in peaks:
        known = [name for name in peaks if name in DTYPE_BYTES]
        raise UsageError(
            f"{accelerator.name} does not support {dtype} matmuls", help=f"use one of its dtypes: {' or '.join(known)}"
        )
    return peaks[dtype]


def training_time(accelerator: Accelerator, setup: TrainingSetup, *, train_flops_per_token: int) -> TrainingTime:
    """Return the time and the cost of training on the setup's ``train_tokens``.

    ``seconds = train_flops_per_token · train_tokens / (n_gpus · peak · utilization)``.

    Args:
        accelerator: The GPU.
        setup: How the model is trained; its train_tokens are not None.
        train_flops_per_token: Forward and backward FLOPs of the model without recomputation, the numerator of MFU.

    Raises:
        UsageError: If the GPU does not support matmuls in the setup's dtype.
    """
    assert setup.train_tokens is not None
    peak = peak_flops(accelerator, setup.dtype)
    flops = train_flops_per_token * setup.train_tokens
    rate = setup.n_gpus * peak * setup.utilization
    seconds = flops / rate
    gpu_hours = flops / (peak * setup.utilization) / SECONDS_PER_HOUR
    return TrainingTime(
        accelerator=accelerator.name,
        n_gpus=setup.n_gpus,
        dtype=setup.dtype,
        peak_flops_per_second=peak,
        utilization=setup.utilization,
        train_flops_per_token=train_flops_per_token,
        train_tokens=setup.train_tokens,
        train_flops=flops,
        tokens_per_second=rate / train_flops_per_token,
        seconds=seconds,
        gpu_hours=gpu_hours,
        usd_per_gpu_hour=setup.usd_per_gpu_hour,
        usd=None if setup.usd_per_gpu_hour is None else gpu_hours * setup.usd_per_gpu_hour,
    )


def serving_time(
    accelerator: Accelerator,
    setup: ServingSetup,
    step: DecodeStep,
    *,
    prompt_tokens: int,
    prefill_flops: int,
    prefill_cache_bytes: int,
    context_tokens: int,
    decodes: bool = True,
) -> ServingTime:
    """Return the minimum time of prefill and of one decoding step after it.

    A model that decodes nothing reads all sequences in one pass.

    A pass takes ``max(FLOPs / peak, bytes / bandwidth)``. Prompts are read one after the other, in chunks of at most
    ``prefill_tokens``. Each chunk reads the weights that it uses once and writes the KV cache; activations are assumed
    to stay in on-chip memory.

    Args:
        accelerator: The GPU.
        setup: How the model is served.
        step: FLOPs and memory traffic of a decoding step.
        prompt_tokens: Tokens per prompt, >= 1.
        prefill_flops: FLOPs of prefill over all prompts.
        prefill_cache_bytes: KV cache bytes that prefill writes.
        context_tokens: Tokens that the decoded token attends to, including itself, >= 1.
        decodes: Whether the model has an LM head.

    Raises:
        UsageError: If the GPU does not support matmuls in the setup's dtype.
    """
    peak, bandwidth = peak_flops(accelerator, setup.compute_dtype), accelerator.memory_bytes_per_second
    batch_size = setup.batch_size
    full_chunks, rest = divmod(prompt_tokens, setup.prefill_tokens)
    chunks = [(full_chunks, setup.prefill_tokens), (1 if rest else 0, rest)]
    weights = batch_size * sum(count * step.weights.read_bytes(tokens) for count, tokens in chunks if count)
    if not decodes:
        weights = step.weights.read_bytes(batch_size * prompt_tokens)
    prefill = _pass_time(prefill_flops, weights + prefill_cache_bytes, peak, bandwidth)
    decode = decode_clock(accelerator, setup)(step) if decodes else None
    return ServingTime(
        accelerator=accelerator.name,
        dtype=setup.compute_dtype,
        peak_flops_per_second=peak,
        memory_bytes_per_second=bandwidth,
        balance_flops_per_byte=peak / bandwidth,
        batch_size=batch_size,
        prompt_tokens=prompt_tokens,
        context_tokens=context_tokens,
        prefill=prefill,
        prefill_tokens_per_second=batch_size * prompt_tokens / prefill.seconds,
        decode=decode,
        decode_tokens_per_second=None if decode is None else batch_size / decode.seconds,
        sequence_tokens_per_second=None if decode is None else 1 / decode.seconds,
        compute_bound_batch_size=_compute_bound_batch(step, peak, bandwidth) if decodes else None,
    )


def _pass_time(flops: int, moved_bytes: int, peak: int, bandwidth: int) -> PassTime:
    compute, memory = flops / peak, moved_bytes / bandwidth
    return PassTime(
        flops=flops,
        moved_bytes=moved_bytes,
        compute_seconds=compute,
        memory_seconds=memory,
        seconds=max(compute, memory),
        bound="compute" if _is_compute_bound(flops, moved_bytes, peak, bandwidth) else "memory",
        intensity_flops_per_byte=flops / moved_bytes,
    )


def _is_compute_bound(flops: int, moved_bytes: int, peak: int, bandwidth: int) -> bool:
    """Return whether ``flops / peak >= moved_bytes / bandwidth``, in integers."""
    return flops * bandwidth >= moved_bytes * peak


def _compute_bound_batch(step: DecodeStep, peak: int, bandwidth: int) -> int | None:
    """Return the smallest compute-bound batch; None if every batch is memory-bound.

    A batch B is compute-bound if ``B · flops / peak >= (weights + B · cache) / bandwidth``. Weight bytes per sequence
    never increase with B, so bisection finds the batch.
    """
    # flops / peak - cache / bandwidth of one sequence, times peak · bandwidth
    margin = step.flops_per_sequence * bandwidth - step.cache_bytes_per_sequence * peak
    if margin <= 0:
        return None
    weights = step.weights.dense_bytes + step.weights.expert_bytes + step.weights.attention_expert_bytes
    batches = range(1, max(-(-weights * peak // margin), 1))
    return 1 + bisect_left(
        batches,
        True,
        key=lambda batch: _is_compute_bound(step.flops(batch), step.moved_bytes(batch), peak, bandwidth),
    )

"""Inference memory of one GPU that holds the full model: weights, KV cache, and the working memory of a pass."""

from __future__ import annotations

from bisect import bisect_left
from typing import Any

from tinylm_cli.analysis.attention_kernels import AttentionBackend, attention_backend
from tinylm_cli.analysis.cpu_memory import sampling_bytes
from tinylm_cli.analysis.dtypes import DTYPE_BYTES
from tinylm_cli.analysis.inference_working_memory import (
    SLACK,
    BackendOf,
    decode_working_bytes,
    forward_working_bytes,
    head_working_bytes,
)
from tinylm_cli.analysis.kv_cache import kv_cache_bytes
from tinylm_cli.analysis.quantization import effective_storage, quantized_weights
from tinylm_cli.analysis.setups import ServingSetup, check_sizes
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.reports.memory import InferenceMemory, MemoryPart


def inference_memory(config: ModelConfig, setup: ServingSetup) -> InferenceMemory:
    """Return the inference memory of one GPU that holds the full model.

    The KV cache holds ``seq_len`` tokens per sequence. Prompts are read one after the other, in chunks of at most
    ``prefill_tokens`` (chunked prefill); the LM head reads the last token only. A decoding step reads one token per
    sequence. The working memory is the peak of the larger pass. A model without an LM head decodes nothing: all
    sequences are read in one pass, and no cache is kept.

    Args:
        config: A validated config.
        setup: How it is served.

    Raises:
        AnalysisError: If batch_size, seq_len or group_size is out of range.

    References:
        Pope et al. 2022, https://arxiv.org/abs/2211.05102;
        Agrawal et al. 2023 (chunked prefill), https://arxiv.org/abs/2308.16369
    """
    setup, seq_len = setup.resolved(config), setup.length(config)
    check_sizes(config, setup)
    storage = effective_storage(config, setup.dtype, setup.quantization)
    weights, quantized_params = quantized_weights(config, setup.dtype, setup.quantization)
    cache = cache_bytes(config, setup)
    prefill, decode = max(_prefill_bytes(config, setup)), max(_decode_bytes(config, setup), default=0)
    parts = {"weights": weights, "cache": cache, "working memory": max(prefill, decode)}
    return InferenceMemory(
        batch_size=setup.batch_size,
        seq_len=seq_len,
        dtype=setup.compute_dtype,
        cache_dtype=setup.kv_cache_dtype,
        attention_kernel=setup.attention_kernel,
        prefill_tokens=setup.prefill_tokens,
        quantization=storage.quantization,
        strategy=storage.strategy,
        group_size=storage.group_size,
        weights_bytes=weights,
        quantized_params=quantized_params,
        cache_bytes=cache,
        prefill_bytes=prefill,
        decode_bytes=decode,
        working_bytes=max(prefill, decode),
        total_bytes=sum(parts.values()),
        parts=MemoryPart.breakdown(parts),
    )


def cache_bytes(config: ModelConfig, setup: ServingSetup) -> int:
    """Return the bytes of the KV cache of all sequences together; 0 for a model that decodes nothing."""
    if not config.has_lm_head:
        return 0
    dtype = setup.resolved(config).kv_cache_dtype
    return kv_cache_bytes(config, batch_size=setup.batch_size, seq_len=setup.length(config), dtype=dtype)


def serving_timeline(config: ModelConfig, setup: ServingSetup) -> tuple[int, ...]:
    """Return the memory at each point that may be the peak; the maximum is the total of :func:`inference_memory`."""
    setup = setup.resolved(config)
    weights, _ = quantized_weights(config, setup.dtype, setup.quantization)
    held = weights + cache_bytes(config, setup)
    return tuple(held + each for each in (*_prefill_bytes(config, setup), *_decode_bytes(config, setup)))


def largest_batch(config: ModelConfig, setup: ServingSetup, *, available_bytes: int) -> int:
    """Return the largest batch of sequences of the setup's length that fits in ``available_bytes``; 0 if none does.

    Raises:
        AnalysisError: As for :func:`inference_memory`.
    """
    return _largest(config, setup, "batch_size", available_bytes + 1, available_bytes)


def longest_context(config: ModelConfig, setup: ServingSetup, *, available_bytes: int) -> int:
    """Return the longest sequences, up to max_len, that fit with the setup's batch size; 0 if one token does not.

    Raises:
        AnalysisError: As for :func:`inference_memory`.
    """
    return _largest(config, setup, "seq_len", config.max_len, available_bytes)


def _largest(config: ModelConfig, setup: ServingSetup, field: str, limit: int, available_bytes: int) -> int:
    """Return the largest value of a field up to ``limit`` that fits, or 0; doubles until one does not, then bisects."""

    def exceeds(value: int) -> bool:
        changed: dict[str, Any] = {field: value}
        return inference_memory(config, setup._replace(**changed)).total_bytes > available_bytes

    high = 1
    while high <= limit and not exceeds(high):
        high *= 2
    return bisect_left(range(high // 2 + 1, min(high, limit + 1)), x=True, key=exceeds) + high // 2


def _prefill_bytes(config: ModelConfig, setup: ServingSetup) -> tuple[int, ...]:
    """Return the working memory of a pass over the last chunk of one prompt, at each point that may be its peak.

    Without an LM head, the pass is over all sequences, and the head reads every token.
    """
    seq_len = setup.length(config)
    element_bytes = DTYPE_BYTES[setup.compute_dtype]
    layers = forward_working_bytes(
        config,
        batch_size=1 if config.has_lm_head else setup.batch_size,
        seq_len=min(seq_len, setup.prefill_tokens) if config.has_lm_head else seq_len,
        element_bytes=element_bytes,
        backend_of=_backends(setup, kv_len=seq_len),
        kv_len=seq_len,
    )
    # B × T × D before and after the final norm; without an LM head, its output (B × T × D) and B × T × L scores
    final_norm = setup.batch_size * seq_len * (1 + config.norm.is_final) * config.d_model * element_bytes
    scores = setup.batch_size * seq_len * (config.d_model + config.n_outputs) * element_bytes
    rows = 1 if config.has_lm_head else setup.batch_size * seq_len
    transform = head_working_bytes(config, rows, element_bytes)
    outputs = (sampling_bytes(config, element_bytes),) if config.has_lm_head else (final_norm, scores)
    return tuple(SLACK + each for each in (*layers, transform, *outputs))


def _decode_bytes(config: ModelConfig, setup: ServingSetup) -> tuple[int, ...]:
    """Return the working memory of a pass over one token per sequence, at each point that may be its peak."""
    if not config.has_lm_head:
        return ()
    element_bytes = DTYPE_BYTES[setup.compute_dtype]
    backend_of = _backends(setup, kv_len=1)  # the cache keeps only positions inside the window, so no mask is needed
    layers = decode_working_bytes(
        config, seq_len=setup.length(config), element_bytes=element_bytes, backend_of=backend_of
    )
    head = max(head_working_bytes(config, 1, element_bytes), sampling_bytes(config, element_bytes))
    return tuple(SLACK + setup.batch_size * each for each in (*layers, head))


def _backends(setup: ServingSetup, kv_len: int) -> BackendOf | None:
    """Return the attention backend of each kind of layers over ``kv_len`` positions.

    None for tinylm's own model on the CPU, which selects its own backends.
    """
    if setup.device == "cpu" and setup.attention_kernel == "sdpa":
        return None

    def backend_of(kind: ModelConfig) -> AttentionBackend:
        banded = (kind.attention.window or kv_len) < kv_len
        return attention_backend(kind, setup.attention_kernel, device=setup.device, banded=banded)

    return backend_of

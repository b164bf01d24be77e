"""What running a model holds: weights, the cache, and the pass that is made."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable

from tinylm_cli.analysis.attention_kernels import AttentionBackend, attention_backend, has_sliding_window
from tinylm_cli.analysis.inference_peak import SLACK, decode_working_bytes, forward_working_bytes
from tinylm_cli.analysis.kv_cache import kv_cache_bytes
from tinylm_cli.analysis.module_memory import choice_bytes
from tinylm_cli.analysis.quantization import quantized_weights
from tinylm_cli.analysis.setups import ServingSetup
from tinylm_cli.analysis.size_checks import check_sizes
from tinylm_cli.analysis.tensor_table import DTYPE_BYTES
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.reports.memory import InferenceMemory, MemoryPart


def inference_memory(config: ModelConfig, setup: ServingSetup) -> InferenceMemory:
    """Return what one GPU that holds the whole model holds while it runs it.

    The cache has room for ``seq_len`` tokens of each sequence. Prompts are read one after the other, in pieces of at
    most ``prefill_tokens`` (chunked prefill, as servers do it), the head reading the last token alone; decoding reads
    one token of each sequence. Each pass is counted at its widest.

    Args:
        config: A validated config.
        setup: How it is served.

    Raises:
        AnalysisError: If batch_size, seq_len or the size of groups is out of range.

    References:
        Pope et al. 2022, https://arxiv.org/abs/2211.05102;
        Agrawal et al. 2023 (chunked prefill), https://arxiv.org/abs/2308.16369
    """
    seq_len = setup.length(config)
    check_sizes(config, batch_size=setup.batch_size, seq_len=seq_len)
    weights, rounded = quantized_weights(config, setup.dtype, setup.quantization)
    cache = cache_bytes(config, setup)
    prefill, decode = map(max, _passes(config, setup))
    named = {"weights": weights, "cache": cache, "working memory": max(prefill, decode)}
    return InferenceMemory(
        batch_size=setup.batch_size,
        seq_len=seq_len,
        dtype=setup.dtype,
        cache_dtype=setup.kv_cache_dtype,
        attention_kernel=setup.attention_kernel,
        prefill_tokens=setup.prefill_tokens,
        quantization=setup.quantization.method,
        group_size=setup.quantization.group_size,
        weights_bytes=weights,
        quantized_params=rounded,
        cache_bytes=cache,
        prefill_bytes=prefill,
        decode_bytes=decode,
        working_bytes=max(prefill, decode),
        total_bytes=sum(named.values()),
        parts=MemoryPart.breakdown(named),
    )


def cache_bytes(config: ModelConfig, setup: ServingSetup) -> int:
    """Return the bytes of the KV cache of all sequences together."""
    return kv_cache_bytes(config, batch_size=setup.batch_size, seq_len=setup.length(config), dtype=setup.kv_cache_dtype)


def serving_moments(config: ModelConfig, setup: ServingSetup) -> tuple[int, ...]:
    """Return what one GPU holds at each moment that may be the one when it is most.

    The largest is the ``total_bytes`` of :func:`inference_memory`, whose arguments these are.
    """
    weights, _ = quantized_weights(config, setup.dtype, setup.quantization)
    held = weights + cache_bytes(config, setup)
    prefill, decode = _passes(config, setup)
    return tuple(held + each for each in (*prefill, *decode))


def largest_batch(config: ModelConfig, setup: ServingSetup, *, available_bytes: int) -> int:
    """Return how many sequences of the setup's length fit in ``available_bytes`` at once; 0 when not even one does.

    Raises:
        AnalysisError: As for :func:`inference_memory`.
    """

    def fits(batch_size: int) -> bool:
        return inference_memory(config, setup._replace(batch_size=batch_size)).total_bytes <= available_bytes

    return _most(fits, available_bytes + 1)


def longest_context(config: ModelConfig, setup: ServingSetup, *, available_bytes: int) -> int:
    """Return the most tokens per sequence, up to max_len, that fit with the setup's batch size; 0 when not one does.

    Raises:
        AnalysisError: As for :func:`inference_memory`.
    """

    def fits(seq_len: int) -> bool:
        return inference_memory(config, setup._replace(seq_len=seq_len)).total_bytes <= available_bytes

    return _most(fits, config.max_len)


def _most(fits: Callable[[int], bool], limit: int) -> int:
    """Return the largest number up to ``limit`` that fits, 0 when 1 does not; what is above one that does not, neither.

    Doubles until one is too many, then halves what is between.
    """
    high = 1
    while high <= limit and fits(high):
        high *= 2
    return bisect_left(range(high // 2 + 1, min(high, limit + 1)), x=True, key=lambda n: not fits(n)) + high // 2


def _passes(config: ModelConfig, setup: ServingSetup) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return what each moment of a pass over the last piece of a prompt works in, and of one over a token of each."""
    kernel, device, width = setup.attention_kernel, setup.device, DTYPE_BYTES[setup.dtype]
    seq_len = setup.length(config)
    read: AttentionBackend | None = None
    one: AttentionBackend | None = None
    if device == "cuda" or kernel != "sdpa":  # else in the ways of tinylm's own model on the CPU
        read = attention_backend(config, kernel, device=device, banded=has_sliding_window(config, seq_len))
        one = attention_backend(config, kernel, device=device, banded=False)
    piece = min(seq_len, setup.prefill_tokens)
    layers = forward_working_bytes(config, batch_size=1, seq_len=piece, width=width, backend=read, keys=seq_len)
    step = decode_working_bytes(config, seq_len=seq_len, width=width, backend=one)
    choice = choice_bytes(config, width)
    return tuple(SLACK + each for each in (*layers, choice)), tuple(
        SLACK + setup.batch_size * each for each in (*step, choice)
    )

"""What running a model holds: weights, the cache, and the pass that is made."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator
from functools import partial

from tinylm_cli.analysis.dtypes import DTYPE_BYTES
from tinylm_cli.analysis.memory import build_bytes, kv_cache_bytes, reading_moments
from tinylm_cli.analysis.parts import parts_of
from tinylm_cli.analysis.quantized import quantized_weights
from tinylm_cli.analysis.sizes import check_sizes
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.errors import AnalysisError
from tinylm_cli.reports.memory import InferenceMemory, Quantization


def inference_memory(
    config: ModelConfig,
    *,
    batch_size: int,
    seq_len: int,
    dtype: str,
    quantization: Quantization = "none",
    group_size: int = 128,
    quantize_head: bool = False,
) -> InferenceMemory:
    """Return what one GPU that holds the whole model holds while it runs it.

    The cache is in ``dtype`` and has room for ``seq_len`` tokens of each sequence; a rounded weight is multiplied as it
    is. A pass is counted at its widest of :func:`reading_moments`: over all tokens at once when they are first read,
    the head reading the last of each sequence alone; and over one of each sequence while decoding.

    Args:
        config: A validated config.
        batch_size: B, sequences at once, >= 1.
        seq_len: Tokens kept of each, 1..max_len.
        dtype: A key of ``DTYPE_BYTES``.
        quantization: What linear weights are rounded to.
        group_size: int4: inputs that share a scale and a zero.
        quantize_head: Whether the head is rounded too.

    Raises:
        AnalysisError: If batch_size, seq_len or group_size is out of range.

    References:
        Pope et al. 2022, https://arxiv.org/abs/2211.05102
    """
    check_sizes(config, batch_size=batch_size, seq_len=seq_len)
    if group_size < 1:
        raise AnalysisError(f"group_size {group_size} is less than one weight", help="give a group_size such as 128")
    weights, rounded = quantized_weights(
        config, dtype=dtype, quantization=quantization, group_size=group_size, with_head=quantize_head
    )
    cache = kv_cache_bytes(config, batch_size=batch_size, seq_len=seq_len, dtype=dtype)
    prefill, decode = (max(moments) for moments in _passes(config, batch_size, seq_len, dtype))
    named = {"weights": weights, "cache": cache, "working memory": max(prefill, decode)}
    return InferenceMemory(
        batch_size=batch_size,
        seq_len=seq_len,
        dtype=dtype,
        quantization=quantization,
        group_size=group_size,
        weights_bytes=weights,
        quantized_params=rounded,
        cache_bytes=cache,
        prefill_bytes=prefill,
        decode_bytes=decode,
        total_bytes=sum(named.values()),
        parts=parts_of(named),
    )


def serving_moments(config: ModelConfig, *, batch_size: int, seq_len: int, dtype: str) -> tuple[int, ...]:
    """Return what one GPU holds of a model that is not rounded, at each moment that may be the one when it is most.

    The largest is the ``total_bytes`` of :func:`inference_memory`, whose arguments these are.
    """
    held = build_bytes(config, dtype) + kv_cache_bytes(config, batch_size=batch_size, seq_len=seq_len, dtype=dtype)
    return tuple(held + each for moments in _passes(config, batch_size, seq_len, dtype) for each in moments)


def largest_batch(
    config: ModelConfig,
    *,
    available_bytes: int,
    seq_len: int,
    dtype: str,
    quantization: Quantization = "none",
    group_size: int = 128,
) -> int:
    """Return how many sequences of ``seq_len`` fit in ``available_bytes`` at once; 0 when not even one does.

    Raises:
        AnalysisError: As for :func:`inference_memory`, whose other arguments these are.
    """
    ask = partial(
        inference_memory, config, seq_len=seq_len, dtype=dtype, quantization=quantization, group_size=group_size
    )
    return _most(lambda batch_size: ask(batch_size=batch_size).total_bytes <= available_bytes, available_bytes + 1)


def longest_context(
    config: ModelConfig,
    *,
    available_bytes: int,
    batch_size: int,
    dtype: str,
    quantization: Quantization = "none",
    group_size: int = 128,
) -> int:
    """Return the most tokens, up to max_len, that fit of each of ``batch_size`` sequences; 0 when not even one does.

    Raises:
        AnalysisError: As for :func:`inference_memory`, whose other arguments these are.
    """
    ask = partial(
        inference_memory, config, batch_size=batch_size, dtype=dtype, quantization=quantization, group_size=group_size
    )
    return _most(lambda seq_len: ask(seq_len=seq_len).total_bytes <= available_bytes, config.max_len)


def _most(fits: Callable[[int], bool], limit: int) -> int:
    """Return the largest number up to ``limit`` that fits, 0 when 1 does not; what is above one that does not, neither.

    Doubles until one is too many, then halves what is between.
    """
    high = 1
    while high <= limit and fits(high):
        high *= 2
    return bisect_left(range(high // 2 + 1, min(high, limit + 1)), x=True, key=lambda n: not fits(n)) + high // 2


def _passes(config: ModelConfig, batch_size: int, seq_len: int, dtype: str) -> Iterator[tuple[int, ...]]:
    """Yield what each moment of a pass over all tokens computes with, and of one over a token of each sequence."""
    yield tuple(batch_size * each for each in reading_moments(config, seq_len=seq_len, dtype=dtype))
    row = _row_bytes(config, seq_len, dtype)
    yield tuple(batch_size * (each + row) for each in reading_moments(config, seq_len=1, dtype=dtype))


def _row_bytes(config: ModelConfig, seq_len: int, dtype: str) -> int:
    """Return what one token's attention to ``seq_len`` cached ones computes with, where its scores are written out.

    Scores before and after the softmax, and keys and values repeated for each query's head; or how scores fade.
    """
    attention, width = config.attention, DTYPE_BYTES[dtype]
    row = config.n_heads * seq_len
    if attention.logit_softcap is not None or attention.sinks:
        repeats = config.n_kv_heads != config.n_heads and attention.kind == "multi_head"
        return row * (2 * max(width, DTYPE_BYTES["float32"]) + (2 * config.d_head * width if repeats else 0))
    return row * DTYPE_BYTES["float32"] if config.position.kind == "alibi" else 0

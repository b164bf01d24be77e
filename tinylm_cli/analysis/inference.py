"""What running a model holds: weights, the cache, and the pass that is made."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from typing import NamedTuple

from tinylm_cli.analysis.activations import check_sizes
from tinylm_cli.analysis.cache import kv_cache_bytes
from tinylm_cli.analysis.dtypes import DTYPE_BYTES
from tinylm_cli.analysis.memory import decode_bytes
from tinylm_cli.analysis.quantized import AS_THEY_ARE, Rounding, quantized_weights
from tinylm_cli.analysis.training import parts_of
from tinylm_cli.analysis.widest import FLOAT32, SLACK, layers_bytes
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.reports.memory import AttentionKernel, InferenceMemory

PREFILL_TOKENS = 8192
"""What TensorRT-LLM takes for ``max_num_tokens`` unless told otherwise.

References:
    https://nvidia.github.io/TensorRT-LLM/performance/performance-tuning-guide/tuning-max-batch-size-and-max-num-tokens.html
"""


class Serving(NamedTuple):
    """How a model is run.

    Attributes:
        dtype: A key of ``DTYPE_BYTES``, of activations and of weights that are not rounded.
        cache_dtype: Type of the cache, as for :func:`kv_cache_bytes`; ``dtype`` when None.
        rounding: How weights are rounded; a rounded one is multiplied as it is.
        kernel: ``flash`` writes out no scores; ``math`` does.
        prefill_tokens: The most tokens of a prompt that are read in one pass, >= 1.
    """

    dtype: str = "bfloat16"
    cache_dtype: str | None = None
    rounding: Rounding = AS_THEY_ARE
    kernel: AttentionKernel = "flash"
    prefill_tokens: int = PREFILL_TOKENS

    @property
    def kept_dtype(self) -> str:
        """The type of the cache."""
        return self.cache_dtype or self.dtype

    def kept_bytes(self, config: ModelConfig, *, batch_size: int, seq_len: int) -> int:
        """Return the bytes of the cache."""
        return kv_cache_bytes(config, batch_size=batch_size, seq_len=seq_len, dtype=self.kept_dtype)


def inference_memory(config: ModelConfig, serving: Serving, *, batch_size: int, seq_len: int) -> InferenceMemory:
    """Return what one GPU that holds the whole model holds while it runs it.

    The cache has room for ``seq_len`` tokens of each sequence. Prompts are read one after the other, in pieces of at
    most ``prefill_tokens`` (chunked prefill, as servers do it), the head reading the last token alone; decoding reads
    one token of each sequence. Each pass is counted at its widest, as for :func:`decode_bytes`.

    Args:
        config: A validated config.
        serving: How it is run.
        batch_size: B, sequences at once, >= 1.
        seq_len: Tokens kept of each, 1..max_len.

    Raises:
        AnalysisError: If batch_size, seq_len or the size of groups is out of range.

    References:
        Pope et al. 2022, https://arxiv.org/abs/2211.05102;
        Agrawal et al. 2023 (chunked prefill), https://arxiv.org/abs/2308.16369
    """
    check_sizes(config, batch_size=batch_size, seq_len=seq_len)
    weights, rounded = quantized_weights(config, serving.dtype, serving.rounding)
    cache = serving.kept_bytes(config, batch_size=batch_size, seq_len=seq_len)
    read, width = min(seq_len, serving.prefill_tokens), DTYPE_BYTES[serving.dtype]
    token = decode_bytes(config, prompt_len=1, max_new_tokens=1, dtype=serving.dtype)
    layers = layers_bytes(config, batch_size=1, seq_len=read, width=width, fused=True)
    prefill, decode = max(token, SLACK + layers), batch_size * token
    if serving.kernel == "math":
        prefill += _written_out(config, queries=read, seq_len=seq_len, width=width)
        decode += batch_size * _written_out(config, queries=1, seq_len=seq_len, width=width)
    named = {"weights": weights, "cache": cache, "working memory": max(prefill, decode)}
    return InferenceMemory(
        batch_size=batch_size,
        seq_len=seq_len,
        dtype=serving.dtype,
        cache_dtype=serving.kept_dtype,
        attention_kernel=serving.kernel,
        prefill_tokens=serving.prefill_tokens,
        quantization=serving.rounding.quantization,
        group_size=serving.rounding.group_size,
        weights_bytes=weights,
        quantized_params=rounded,
        cache_bytes=cache,
        prefill_bytes=prefill,
        decode_bytes=decode,
        working_bytes=max(prefill, decode),
        total_bytes=sum(named.values()),
        parts=parts_of(named),
    )


def largest_batch(config: ModelConfig, serving: Serving, *, available_bytes: int, seq_len: int) -> int:
    """Return how many sequences of ``seq_len`` fit in ``available_bytes`` at once; 0 when not even one does.

    Raises:
        AnalysisError: As for :func:`inference_memory`.
    """

    def fits(batch_size: int) -> bool:
        return inference_memory(config, serving, batch_size=batch_size, seq_len=seq_len).total_bytes <= available_bytes

    return _most(fits, available_bytes + 1)


def longest_context(config: ModelConfig, serving: Serving, *, available_bytes: int, batch_size: int) -> int:
    """Return the most tokens, up to max_len, that fit of each of ``batch_size`` sequences; 0 when not even one does.

    Raises:
        AnalysisError: As for :func:`inference_memory`.
    """

    def fits(seq_len: int) -> bool:
        return inference_memory(config, serving, batch_size=batch_size, seq_len=seq_len).total_bytes <= available_bytes

    return _most(fits, config.max_len)


def _most(fits: Callable[[int], bool], limit: int) -> int:
    """Return the largest number up to ``limit`` that fits, 0 when 1 does not; what is above one that does not, neither.

    Doubles until one is too many, then halves what is between.
    """
    high = 1
    while high <= limit and fits(high):
        high *= 2
    return bisect_left(range(high // 2 + 1, min(high, limit + 1)), x=True, key=lambda n: not fits(n)) + high // 2


def _written_out(config: ModelConfig, *, queries: int, seq_len: int, width: int) -> int:
    """Return what ``queries`` of one sequence take to look at ``seq_len`` tokens where that is written out.

    Scores of every head as they are, and in float32 or wider before and after the softmax; and keys and values that
    heads share, for each head.
    """
    scores = queries * config.n_heads * seq_len * (width + 2 * max(width, FLOAT32))
    repeats = config.attention.kind == "multi_head" and config.n_kv_heads != config.n_heads
    return scores + (2 * config.n_heads * config.d_head * seq_len * width if repeats else 0)

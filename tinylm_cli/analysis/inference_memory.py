"""What running a model holds: weights, the cache, and the pass that is made."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from typing import NamedTuple

from tinylm_cli.analysis.attention_kernels import AttentionBackend, attention_backend, has_sliding_window
from tinylm_cli.analysis.inference_peak import SLACK, decode_working_bytes, forward_working_bytes
from tinylm_cli.analysis.kv_cache import kv_cache_bytes
from tinylm_cli.analysis.module_memory import choice_bytes
from tinylm_cli.analysis.quantization import UNQUANTIZED, QuantizationConfig, quantized_weights
from tinylm_cli.analysis.size_checks import check_sizes
from tinylm_cli.analysis.tensor_table import DTYPE_BYTES
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.reports.memory import AttentionKernel, Device, InferenceMemory, MemoryPart

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
        kernel: How attention is computed; ``sdpa`` is how tinylm's own model does it.
        device: Whose kernels run.
        prefill_tokens: The most tokens of a prompt that are read in one pass, >= 1.
    """

    dtype: str = "bfloat16"
    cache_dtype: str | None = None
    rounding: QuantizationConfig = UNQUANTIZED
    kernel: AttentionKernel = "flash"
    device: Device = "cuda"
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
    one token of each sequence. Each pass is counted at its widest.

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
    prefill, decode = map(max, _passes(config, serving, batch_size, seq_len))
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
        parts=MemoryPart.breakdown(named),
    )


def serving_moments(config: ModelConfig, serving: Serving, *, batch_size: int, seq_len: int) -> tuple[int, ...]:
    """Return what one GPU holds at each moment that may be the one when it is most.

    The largest is the ``total_bytes`` of :func:`inference_memory`, whose arguments these are.
    """
    weights, _ = quantized_weights(config, serving.dtype, serving.rounding)
    held = weights + serving.kept_bytes(config, batch_size=batch_size, seq_len=seq_len)
    prefill, decode = _passes(config, serving, batch_size, seq_len)
    return tuple(held + each for each in (*prefill, *decode))


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


def _passes(
    config: ModelConfig, serving: Serving, batch_size: int, seq_len: int
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return what each moment of a pass over the last piece of a prompt works in, and of one over a token of each."""
    kernel, device, width = serving.kernel, serving.device, DTYPE_BYTES[serving.dtype]
    read: AttentionBackend | None = None
    one: AttentionBackend | None = None
    if device == "cuda" or kernel != "sdpa":  # else in the ways of tinylm's own model on the CPU
        read = attention_backend(config, kernel, device=device, banded=has_sliding_window(config, seq_len))
        one = attention_backend(config, kernel, device=device, banded=False)
    piece = min(seq_len, serving.prefill_tokens)
    layers = forward_working_bytes(config, batch_size=1, seq_len=piece, width=width, backend=read, keys=seq_len)
    step = decode_working_bytes(config, seq_len=seq_len, width=width, backend=one)
    choice = choice_bytes(config, width)
    return tuple(SLACK + each for each in (*layers, choice)), tuple(
        SLACK + batch_size * each for each in (*step, choice)
    )

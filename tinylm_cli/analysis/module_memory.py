"""Memory of tinylm's own model on the CPU, to refuse what does not fit before it is allocated.

Follows the steps of ``model/lm.py``, ``model/forward_trace.py`` and ``model/generation.py``. Shapes: B batch_size,
T seq_len, D d_model, V vocab_size.
"""

from __future__ import annotations

from tinylm_cli.analysis.inference_peak import SLACK, decode_working_bytes, forward_working_bytes
from tinylm_cli.analysis.kv_cache import kv_cache_bytes
from tinylm_cli.analysis.params import total_params
from tinylm_cli.analysis.tensor_table import (
    DTYPE_BYTES,
    FLOAT32_BYTES,
    INT64_BYTES,
    rotary_pairs,
    score_corrections,
    tensor_table,
)
from tinylm_cli.config.schema import ModelConfig

CHUNK = 1 << 18
"""Numbers of a stage's output whose statistics are computed together."""

STAGE_TENSORS = 5
"""Upper bound on the tensors of B × T × D that are held while a stage ends and its statistics are computed."""


def build_bytes(config: ModelConfig, dtype: str) -> int:
    """Return the bytes of an instantiated model: parameters and buffers.

    Rotary frequencies, one per rotated pair of dimensions, and score corrections of routers are always in float32.

    Args:
        config: A validated config.
        dtype: A key of ``DTYPE_BYTES``.
    """
    sinusoids = config.max_len * config.d_model if config.position.kind == "sinusoidal" else 0
    in_dtype = (total_params(tensor_table(config)) + sinusoids) * DTYPE_BYTES[dtype]
    in_float32 = (rotary_pairs(config) + score_corrections(config)) * FLOAT32_BYTES
    return in_dtype + in_float32


def forward_bytes(config: ModelConfig, *, batch_size: int, seq_len: int, dtype: str) -> int:
    """Return the peak working memory of a traced forward pass without gradients (``model/forward_trace.py``).

    The peak is in a layer, at the LM head, or at the loss, which is computed one sequence at a time. The trace also
    computes statistics of each stage's output in float64, in chunks.

    Args:
        config: A validated config.
        batch_size: B, sequences.
        seq_len: T, tokens per sequence.
        dtype: A key of ``DTYPE_BYTES``.
    """
    width, rows = DTYPE_BYTES[dtype], batch_size * seq_len
    upcast_width = max(width, FLOAT32_BYTES)
    hidden, logits = rows * config.d_model, rows * config.vocab_size  # B × T × D, B × T × V
    copies = 3 if config.head.logit_softcap is not None else 1  # before the soft-cap, its tanh, after it
    head = width * (hidden + copies * logits)
    traced_head = width * (hidden + logits) + _statistics_bytes(logits)
    cast = upcast_width if width < upcast_width else 0
    loss = width * logits + seq_len * config.vocab_size * (
        cast + upcast_width
    )  # logits; T × V as cast, log-probabilities
    layers = forward_working_bytes(config, batch_size=batch_size, seq_len=seq_len, width=width)
    traced_stage = STAGE_TENSORS * width * hidden + _statistics_bytes(hidden)
    return SLACK + max(*layers, traced_stage, head, traced_head, loss)


def _statistics_bytes(numbers: int) -> int:
    """Return the bytes of the statistics of so many numbers: a chunk in float64, its magnitudes, and a mask."""
    temporaries = 3
    return min(numbers, CHUNK) * temporaries * DTYPE_BYTES["float64"]


def decode_bytes(config: ModelConfig, *, prompt_len: int, max_new_tokens: int, dtype: str) -> int:
    """Return the peak memory of decoding one sequence, beside the model.

    It holds the KV cache, of at most max_len positions, and the largest of three: a pass over the prompt (or over the
    last max_len tokens if all tokens exceed max_len), a decoding step, and the choice of a token.

    Args:
        config: A validated config.
        prompt_len: Tokens of the prompt, >= 1.
        max_new_tokens: Tokens to decode, >= 1.
        dtype: A key of ``DTYPE_BYTES``.
    """
    longest = prompt_len + max_new_tokens - 1
    capacity = min(longest, config.max_len)
    cached = max_new_tokens > 1 and prompt_len < config.max_len
    read = prompt_len if cached and longest <= config.max_len else capacity
    cache = kv_cache_bytes(config, batch_size=1, seq_len=capacity, dtype=dtype) if cached else 0
    width = DTYPE_BYTES[dtype]
    layers = forward_working_bytes(config, batch_size=1, seq_len=read, width=width)
    step = decode_working_bytes(config, seq_len=capacity, width=width) if cached else ()
    return SLACK + cache + max(*layers, *step, choice_bytes(config, width))


def choice_bytes(config: ModelConfig, width: int) -> int:
    """Return the bytes of choosing one token from its logits (``model/sampling.py``), for one sequence."""
    logits = 2 * width  # as the model returns them, and the last position's copy
    cast = 0 if width == FLOAT32_BYTES else FLOAT32_BYTES
    sampling = 5 * FLOAT32_BYTES + INT64_BYTES  # scaled, sorted (values, ids), cumulative, probabilities, drawn
    return config.vocab_size * (logits + cast + sampling)

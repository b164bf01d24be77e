"""Bytes that a model takes, before any of them is allocated."""

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

MEASURED_AT_ONCE = 1 << 18
"""Numbers of a stage's output that are measured together."""


def build_bytes(config: ModelConfig, dtype: str) -> int:
    """Return the bytes that an instantiated model holds: parameters, tables of positions, and corrections of routers.

    Rotary frequencies, one for each pair of dimensions that rotates, and corrections are in float32, whatever the
    weights are in.

    Args:
        config: A validated config.
        dtype: A key of ``DTYPE_BYTES``.
    """
    sinusoids = config.max_len * config.d_model if config.position.kind == "sinusoidal" else 0
    held = (total_params(tensor_table(config)) + sinusoids) * DTYPE_BYTES[dtype]
    return held + (rotary_pairs(config) + score_corrections(config)) * DTYPE_BYTES["float32"]


def forward_bytes(config: ModelConfig, *, batch_size: int, seq_len: int, dtype: str) -> int:
    """Return the bytes a forward pass without gradients holds at its widest, beside the model.

    The widest moment is in a layer, or at the head: the vectors into it, the logits, those before a soft-cap and its
    tanh; or the logits and one sequence of them as log-probabilities, in float32 or wider, for the loss. What comes out
    of each stage is also measured in float64, a chunk at a time.

    Args:
        config: A validated config.
        batch_size: B, sequences at once.
        seq_len: T, tokens in each.
        dtype: A key of ``DTYPE_BYTES``.
    """
    width, rows = DTYPE_BYTES[dtype], batch_size * seq_len
    wide = max(width, FLOAT32_BYTES)
    logits = rows * config.vocab_size
    capped = 3 if config.head.logit_softcap is not None else 1
    head = width * (rows * config.d_model + capped * logits)
    measured = width * (rows * config.d_model + logits) + _measuring_bytes(logits)
    cast = wide if width < wide else 0
    loss = width * logits + seq_len * config.vocab_size * (cast + wide)
    layers = forward_working_bytes(config, batch_size=batch_size, seq_len=seq_len, width=width)
    between = 5 * width * rows * config.d_model + _measuring_bytes(rows * config.d_model)
    return SLACK + max(*layers, between, head, measured, loss)


def _measuring_bytes(numbers: int) -> int:
    """Return what it takes to measure so many: a chunk in float64, its magnitudes, and whether they are finite."""
    return min(numbers, MEASURED_AT_ONCE) * 3 * DTYPE_BYTES["float64"]


def decode_bytes(config: ModelConfig, *, prompt_len: int, max_new_tokens: int, dtype: str) -> int:
    """Return the bytes that decoding one sequence holds at its widest, beside the model.

    What is kept of the positions that fit in max_len; and the widest of a pass over what is read at once (the prompt
    or, where it and the new tokens do not fit, a window of max_len), a step with all that is kept, and the choice of a
    token.

    Args:
        config: A validated config.
        prompt_len: Tokens given, >= 1.
        max_new_tokens: Tokens to add, >= 1.
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
    """Return the bytes that choosing one token takes, from its logits on.

    Logits as the model has them, twice, and in float32 scaled, sorted beside their ids, as odds and as drawn.
    """
    cast = 0 if width == FLOAT32_BYTES else FLOAT32_BYTES
    return config.vocab_size * (2 * width + cast + 5 * FLOAT32_BYTES + INT64_BYTES)

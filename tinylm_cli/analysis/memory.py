"""Bytes that a model takes, before any of them is allocated."""

from __future__ import annotations

from tinylm_cli.analysis.dtypes import DTYPE_BYTES
from tinylm_cli.analysis.params import total_params
from tinylm_cli.analysis.table import score_corrections, tensor_table
from tinylm_cli.config.schema import ModelConfig


def build_bytes(config: ModelConfig, dtype: str) -> int:
    """Return the bytes that an instantiated model holds: its parameters, sinusoids, and corrections of routers.

    Args:
        config: A validated config.
        dtype: A key of ``DTYPE_BYTES``.
    """
    sinusoids = config.max_len * config.d_model if config.position.kind == "sinusoidal" else 0
    held = (total_params(tensor_table(config)) + sinusoids) * DTYPE_BYTES[dtype]
    return held + score_corrections(config) * DTYPE_BYTES["float32"]  # which they stay in


def forward_bytes(config: ModelConfig, *, batch_size: int, seq_len: int, dtype: str) -> int:
    """Return the bytes a forward pass without gradients holds at its widest, beside the model.

    The widest moment is the head (the vector into it, the logits, and their log-softmax for the loss) or a layer: the
    residual stream, its norm, and a feed-forward network's hidden layer before and after the activation, or scores
    before and after the softmax where they are written out.

    Args:
        config: A validated config.
        batch_size: B, sequences at once.
        seq_len: T, tokens in each.
        dtype: A key of ``DTYPE_BYTES``.
    """
    head = config.d_model + 2 * config.vocab_size
    return batch_size * seq_len * max(head, _layer_width(config, seq_len)) * DTYPE_BYTES[dtype]


def _layer_width(config: ModelConfig, seq_len: int) -> int:
    """Return the numbers that a layer holds for each of ``seq_len`` positions at its widest."""
    feed_forward, attention = config.feed_forward, config.attention
    hidden = (4 if feed_forward.gated else 2) * config.d_ff
    experts = 0
    if feed_forward.n_experts is not None:
        sent = feed_forward.top_k * (3 * config.d_model + 3 * config.d_expert)
        experts = sent + 4 * feed_forward.n_shared_experts * config.d_expert
    fading = 3 * config.n_heads * seq_len if config.position.kind == "alibi" else 0
    written_out = attention.logit_softcap is not None or attention.sinks
    scores = (4 * config.n_heads * seq_len if written_out else 0) + fading
    banded = seq_len if attention.window is not None and attention.window < seq_len else 0
    return 2 * config.d_model + banded + max(hidden, experts, scores)


def kv_cache_bytes(config: ModelConfig, *, batch_size: int, seq_len: int, dtype: str) -> int:
    """Return the bytes kept of the positions read, so that decoding does not read them again.

    A layer keeps keys and values, ``2 · n_kv_heads · d_head`` numbers for each of ``min(seq_len, window)`` positions;
    or in latent attention ``kv_rank + d_rope`` numbers for each.

    Args:
        config: A validated config.
        batch_size: Sequences decoded together, >= 1.
        seq_len: Positions read of each, >= 1.
        dtype: A key of ``DTYPE_BYTES``.

    References:
        Ainslie et al. 2023 (groups), https://arxiv.org/abs/2305.13245;
        DeepSeek-AI 2024 (latent attention), https://arxiv.org/abs/2405.04434;
        Jiang et al. 2023 (a window's rolling buffer), https://arxiv.org/abs/2310.06825
    """
    attention, pattern = config.attention, config.attention.window_pattern
    if attention.kind == "latent":
        numbers, held = attention.kv_rank + attention.d_rope, config.n_layers * seq_len
    else:
        rounds, rest = divmod(config.n_layers, len(pattern))
        local = rounds * pattern.count("L") + pattern[:rest].count("L") if attention.window is not None else 0
        numbers = 2 * config.n_kv_heads * config.d_head
        held = local * min(seq_len, attention.window or seq_len) + (config.n_layers - local) * seq_len
    return batch_size * held * numbers * DTYPE_BYTES[dtype]


def decode_bytes(config: ModelConfig, *, prompt_len: int, max_new_tokens: int, dtype: str) -> int:
    """Return the bytes that decoding one sequence holds at its widest, beside the model.

    What is kept of the positions that fit in max_len; and a pass over what is read at once, the prompt or, where it and
    the new tokens do not fit, a window of max_len: at its widest as in :func:`forward_bytes`, or twice the logits of
    the last position, in float32.

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
    return cache + max(
        read * _layer_width(config, read) * DTYPE_BYTES[dtype], 2 * config.vocab_size * DTYPE_BYTES["float32"]
    )

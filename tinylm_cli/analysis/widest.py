"""What the layers hold while they compute, in bytes: an upper bound that follows the module's own steps.

Each function adds up the tensors that are alive at one moment, or at each of several; the widest moment of a pass is
what it needs. Counted for the kernels that torch has on the CPU: attention by blocks, which never writes the scores
out, wherever it can.
"""

from __future__ import annotations

from tinylm_cli.analysis.kernels import writes_scores
from tinylm_cli.analysis.table import rotary_pairs
from tinylm_cli.config.schema import ModelConfig

SLACK = 1 << 16
"""Bytes for what is too small to follow: indices, tables of one position, the pieces of a short GELU."""

FLOAT32, INT64 = 4, 8


def layers_moments(config: ModelConfig, *, batch_size: int, seq_len: int, width: int) -> tuple[int, ...]:
    """Return the bytes that a pass without gradients holds before the head, at each moment that may be its widest.

    Args:
        config: A validated config.
        batch_size: B, sequences at once.
        seq_len: T, tokens in each.
        width: Bytes of a number.
    """
    rows = batch_size * seq_len
    seen, looking = _sight(config, seq_len, width)
    mask = _added_mask(config, seq_len, width)
    return (
        rows * 2 * config.d_model * width + looking,
        *(seen + mask + rows * each for each in _attention(config, seq_len, width)),
        *(seen + rows * each for each in _feed_forward(config, width)),
    )


def step_bytes(config: ModelConfig, *, seq_len: int, width: int) -> int:
    """Return the bytes that reading one token holds at its widest, beside the ``seq_len`` positions that are kept.

    Where scores are written out, what is kept is too, for each head of queries that shares it. In latent attention the
    small vectors are joined to the keys that rotate, and widened.
    """
    attention, heads, wide = config.attention, config.n_heads, max(width, FLOAT32)
    if attention.window is not None and "G" not in attention.window_pattern:
        seq_len = min(seq_len, attention.window)
    fading = heads * (2 * FLOAT32 + width) if config.position.kind == "alibi" else 0
    if attention.kind == "latent":
        key = attention.kv_rank + attention.d_rope
        widened = (key + attention.kv_rank) * wide if width < wide else 0
        each = key * (width + wide) + widened + heads * (_written_out(width) if writes_scores(config) else 2 * wide)
        absorbed = heads * key * (2 * width + 2 * wide)
    else:
        each = _repeated(config) * width + (heads * _written_out(width) if writes_scores(config) else 0)
        absorbed = 0
    one = max(max(_attention(config, 1, width)) + absorbed, *_feed_forward(config, width))
    return one + seq_len * (each + fading)


def _sight(config: ModelConfig, seq_len: int, width: int) -> tuple[int, int]:
    """Return the bytes of what all layers of a pass look through, and of the moment when the last of it is made.

    Tables of the rotation; a band of booleans for each window; and the fading of every head with distance, which is
    made in float32.
    """
    square = seq_len * seq_len
    windowed = config.attention.window is not None and config.attention.window < seq_len
    kinds = 1 + (config.attention.window is not None and "G" in config.attention.window_pattern)
    tables, table = 0, 0
    if config.position.kind == "rope":
        angles = seq_len * 2 * rotary_pairs(config)
        tables, table = kinds * angles * width, 3 * angles * FLOAT32
    if config.position.kind == "alibi":
        fading = config.n_heads * square
        making = 2 * fading * FLOAT32 + 3 * square * FLOAT32 + (fading * width if width != FLOAT32 else 0)
        return kinds * fading * width, (kinds - 1) * fading * width + making
    return tables + (square if windowed else 0), tables + table + (3 * square if windowed else 0)


def _added_mask(config: ModelConfig, seq_len: int, width: int) -> int:
    """Return the bytes of what each attention turns its band, or the causal rule, into before it applies it."""
    window = config.attention.window
    banded = config.position.kind != "alibi" and window is not None and window < seq_len
    if writes_scores(config):
        return 2 * seq_len * seq_len
    if config.attention.kind == "latent":
        return seq_len * seq_len * (1 + 2 * max(width, FLOAT32))
    return seq_len * seq_len * width if banded else 0


def _attention(config: ModelConfig, seq_len: int, width: int) -> tuple[int, ...]:
    """Return the bytes that attention holds for each of ``seq_len`` positions at moments of which one is its widest.

    The stream and its norm; queries, keys and values; and then their norms or rotation, or scores, or what is mixed.
    """
    if config.attention.kind == "latent":
        return (_latent_attention(config, seq_len, width),)
    d_query, d_kv = config.n_heads * config.d_head, config.n_kv_heads * config.d_head
    held = width * (2 * config.d_model + d_query + 2 * d_kv)
    repeated = held + width * _repeated(config)
    moments = [repeated + width * (d_query + mixed) for mixed in (d_query, config.d_model)]
    if config.position.kind == "rope":
        moments.append(held + width * (2 * d_query + d_kv))
    elif config.attention.qk_norm != "none":
        moments.append(held + width * (d_query + d_kv))
    if writes_scores(config):
        moments.append(repeated + config.n_heads * seq_len * _written_out(width))
    return tuple(moments)


def _latent_attention(config: ModelConfig, seq_len: int, width: int) -> int:
    """Return the same for latent attention, which writes its scores out, in float32 or wider.

    Queries and keys have other widths than values, which attention by blocks does not take: all three are widened, and
    queries and keys scaled, each in tensors of their own.
    """
    attention, heads, wide = config.attention, config.n_heads, max(width, FLOAT32)
    d_query, d_values = heads * config.d_head, heads * attention.d_value
    small = 2 * (attention.kv_rank + attention.d_rope) + (attention.q_rank or 0)
    expanded = heads * attention.d_nope + d_values
    held = 2 * config.d_model + 3 * d_query + heads * attention.d_rope + small + expanded
    widened = (2 * d_query + d_values) * wide if width < wide else 0
    scores = heads * seq_len * (_written_out(width) if writes_scores(config) else 2 * wide)
    return width * held + widened + 2 * d_query * wide + scores


def _feed_forward(config: ModelConfig, width: int) -> tuple[int, ...]:
    """Return the bytes that a feed-forward network holds for each position, at moments of which one is its widest.

    The stream before and after attention, what that added, its norm; and the hidden layer, or what experts take and
    put out: at worst, one of them is sent every token.
    """
    feed_forward, d = config.feed_forward, config.d_model
    stream, hidden = 4 * d * width, _hidden(config) * width
    dense = hidden * config.d_ff + d * width
    if feed_forward.n_experts is None:
        return (stream + dense,)
    top_k, wide = feed_forward.top_k, max(width, FLOAT32)
    routing = feed_forward.n_experts * (width + 4 * wide)
    indices = top_k * (4 * INT64 + wide + width)
    one = (2 * top_k + 1) * d * width + hidden * config.d_expert
    summed = (3 * top_k + 2) * d * width
    shared = 2 * d * width + hidden * feed_forward.n_shared_experts * config.d_expert
    moments = [routing, indices + one, indices + summed, shared]
    if feed_forward.n_dense_layers:
        moments.append(dense)
    return tuple(stream + each for each in moments)


def _hidden(config: ModelConfig) -> int:
    """Return how many tensors of a hidden layer's size are alive at once, from the projections to their product."""
    feed_forward = config.feed_forward
    if feed_forward.gated:
        return 4 if feed_forward.clamp is None else 6
    return 3 if feed_forward.activation == "quick_gelu" else 2


def _repeated(config: ModelConfig) -> int:
    """Return the numbers of each position's keys and values written out for every head of queries that shares them."""
    shared = config.n_kv_heads < config.n_heads
    return 2 * config.n_heads * config.d_head if shared and writes_scores(config) else 0


def _written_out(width: int) -> int:
    """Return the bytes of each score where they are written out.

    Before, under and after the cap; or as they are, and in float32 or wider before and after the softmax.
    """
    return max(3 * width, width + 2 * max(width, FLOAT32))

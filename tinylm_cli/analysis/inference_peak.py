"""What the layers hold while they compute, in bytes: an upper bound that follows the module's own steps.

Each function adds up the tensors that are alive at one moment, or at each of several; the widest moment of a pass is
what it needs. Unless told how attention is computed, counted for the kernels that torch has on the CPU: attention by
blocks, which never writes the scores out, wherever it can.
"""

from __future__ import annotations

from tinylm_cli.analysis.attention_kernels import AttentionBackend, needs_eager_attention
from tinylm_cli.analysis.tensor_table import rotary_pairs
from tinylm_cli.config.schema import ModelConfig

SLACK = 1 << 16
"""Bytes for what is too small to follow: indices, tables of one position, the pieces of a short GELU."""

FLOAT32, INT64 = 4, 8

MOST_SPLITS, SPLIT = 128, 128
"""A flash kernel divides what one token reads into at most so many pieces, of so many positions at least."""


def forward_working_bytes(
    config: ModelConfig,
    *,
    batch_size: int,
    seq_len: int,
    width: int,
    backend: AttentionBackend | None = None,
    keys: int | None = None,
) -> tuple[int, ...]:
    """Return the bytes that a pass without gradients holds before the head, at each moment that may be its widest.

    Args:
        config: A validated config.
        batch_size: B, sequences at once.
        seq_len: T, tokens in each.
        width: Bytes of a number.
        backend: How attention is computed; as by tinylm's own model on the CPU when None.
        keys: Positions that those are compared with, themselves the last of them; ``seq_len`` when None.
    """
    rows, backend, keys = batch_size * seq_len, backend or _own_way(config), keys or seq_len
    seen, looking = _sight(config, seq_len, keys, width, backend)
    mask = _added_mask(config, seq_len, keys, width, backend)
    copied = batch_size * keys * _copied(config, width, backend)
    return (
        rows * 2 * config.d_model * width + looking,
        *(seen + mask + rows * each for each in _entering(config, width)),
        *(seen + mask + copied + rows * each for each in _attention(config, keys, width, backend)),
        *(seen + rows * each for each in _feed_forward(config, width)),
    )


def decode_working_bytes(
    config: ModelConfig, *, seq_len: int, width: int, backend: AttentionBackend | None = None
) -> tuple[int, ...]:
    """Return the bytes that reading one token holds at each moment that may be its widest.

    They stand beside the ``seq_len`` positions that are kept. Where scores are written out, what is kept is too, for
    each head of queries that shares it. In latent attention the small vectors are joined to the keys that rotate, and
    widened. A flash kernel reads what is kept where it lies, in pieces at a time, and adds up the mixture of each in
    float32 (Dao et al. 2023, https://crfm.stanford.edu/2023/10/12/flashdecoding.html).
    """
    attention, heads, wide, backend = config.attention, config.n_heads, max(width, FLOAT32), backend or _own_way(config)
    if attention.window is not None and "G" not in attention.window_pattern:
        seq_len = min(seq_len, attention.window)
    fading = heads * (2 * FLOAT32 + width) if config.position.kind == "alibi" and backend != "flash" else 0
    each, absorbed = _copied(config, width, backend) + heads * _scores(width, backend), 0
    if attention.kind == "latent":
        key = attention.kv_rank + attention.d_rope
        widened = (key + attention.kv_rank) * wide if width < wide else 0
        joined = {"flash": 0, "fused": key * width}.get(backend, key * (width + wide) + widened)
        each = joined + heads * _scores(width, backend)
        absorbed = heads * key * (2 * width + 2 * wide)
    mixed = attention.kv_rank if attention.kind == "latent" else config.d_value
    pieces = min(MOST_SPLITS, -(-seq_len // SPLIT)) if backend == "flash" else 0
    looking = seq_len * (each + fading) + pieces * heads * (mixed + 1) * FLOAT32
    copied = _copied(config, width, backend)
    attending = (copied + one + absorbed for one in _attention(config, 1, width, backend))
    return tuple(looking + one for one in (*_entering(config, width), *attending, *_feed_forward(config, width)))


def _own_way(config: ModelConfig) -> AttentionBackend:
    """Return how tinylm's own model computes attention on the CPU, at worst."""
    if needs_eager_attention(config):
        return "eager"
    return "math" if config.attention.kind == "latent" else "fused"


def _sight(config: ModelConfig, seq_len: int, keys: int, width: int, backend: AttentionBackend) -> tuple[int, int]:
    """Return the bytes of what all layers of a pass look through, and of the moment when the last of it is made.

    Tables of the rotation; a band of booleans for each window; and the fading of every head with distance, which is
    made in float32. A flash kernel works out both as it goes.
    """
    square = seq_len * keys
    windowed = backend != "flash" and config.attention.window is not None and config.attention.window < keys
    kinds = 1 + (config.attention.window is not None and "G" in config.attention.window_pattern)
    tables, table = 0, 0
    if config.position.kind == "rope":
        angles = seq_len * 2 * rotary_pairs(config)
        tables, table = kinds * angles * width, 3 * angles * FLOAT32
    if config.position.kind == "alibi" and backend != "flash":
        fading = config.n_heads * square
        making = 2 * fading * FLOAT32 + 3 * square * FLOAT32 + (fading * width if width != FLOAT32 else 0)
        return kinds * fading * width, (kinds - 1) * fading * width + making
    return tables + (square if windowed else 0), tables + table + (3 * square if windowed else 0)


def _added_mask(config: ModelConfig, seq_len: int, keys: int, width: int, backend: AttentionBackend) -> int:
    """Return the bytes of what each attention turns its band, or the causal rule, into before it applies it."""
    window = config.attention.window
    banded = config.position.kind != "alibi" and window is not None and window < keys
    each = {"flash": 0, "eager": 2, "math": 1 + 2 * max(width, FLOAT32), "fused": width if banded else 0}
    return seq_len * keys * each[backend]


def _projected(config: ModelConfig) -> tuple[int, int, int]:
    """Return the numbers of a position's query, of its key, and of these beside its value, the stream and its norm."""
    d_query, d_kv = config.n_heads * config.d_head, config.n_kv_heads * config.d_head
    return d_query, d_kv, 2 * config.d_model + d_query + 2 * d_kv


def _entering(config: ModelConfig, width: int) -> tuple[int, ...]:
    """Return the bytes that attention holds for each position while queries and keys are normed or rotated."""
    if config.attention.kind == "latent":
        return ()
    d_query, d_kv, held = _projected(config)
    if config.position.kind == "rope":
        return (width * (held + 2 * d_query + d_kv),)
    return (width * (held + d_query + d_kv),) if config.attention.qk_norm != "none" else ()


def _attention(config: ModelConfig, keys: int, width: int, backend: AttentionBackend) -> tuple[int, ...]:
    """Return the bytes that attention holds for each position at moments of which one is its widest.

    The stream and its norm; queries, keys and values; and then scores, of ``keys`` positions, or what is mixed.
    """
    if config.attention.kind == "latent":
        return _latent_attention(config, keys, width, backend)
    d_query, _, held = _projected(config)
    moments = [width * (held + d_query + mixed) for mixed in (d_query, config.d_model)]
    if backend in ("math", "eager"):
        widened = _widened(width) * d_query if backend == "math" else 0
        moments.append(width * held + config.n_heads * keys * _scores(width, backend) + widened)
    return tuple(moments)


def _latent_attention(config: ModelConfig, keys: int, width: int, backend: AttentionBackend) -> tuple[int, ...]:
    """Return the same for latent attention, which on the CPU writes its scores out, in float32 or wider.

    Queries and keys have other widths than values, which attention by blocks does not take there: all three are
    widened, and queries and keys scaled, each in tensors of their own.
    """
    attention, heads, wide = config.attention, config.n_heads, max(width, FLOAT32)
    d_query, d_values = heads * config.d_head, heads * attention.d_value
    small = 2 * (attention.kv_rank + attention.d_rope) + (attention.q_rank or 0)
    expanded = heads * attention.d_nope + d_values
    held = 2 * config.d_model + 3 * d_query + heads * attention.d_rope + small + expanded
    if backend in ("flash", "fused"):
        return tuple(width * (held + d_values + mixed) for mixed in (d_values, config.d_model))
    widened = (2 * d_query + d_values) * wide if width < wide else 0
    return (width * held + widened + 2 * d_query * wide + heads * keys * _scores(width, backend),)


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


def _copied(config: ModelConfig, width: int, backend: AttentionBackend) -> int:
    """Return the bytes of each position's key and value that are written out beside those of the projections.

    Where scores are, for every head of queries that shares them; and by torch widened and scaled.
    """
    if backend in ("flash", "fused") or config.attention.kind == "latent":
        return 0
    numbers = config.n_heads * config.d_head
    repeated = 2 * numbers * width if config.n_kv_heads < config.n_heads else 0
    return repeated + (numbers * (2 * _widened(width) - max(width, FLOAT32)) if backend == "math" else 0)


def _widened(width: int) -> int:
    """Return the bytes of a number that torch widens, where it is narrow, and scales."""
    return max(width, FLOAT32) * (2 if width < FLOAT32 else 1)


def _scores(width: int, backend: AttentionBackend) -> int:
    """Return the bytes of each score where they are written out.

    By torch in float32 or wider before and after the softmax. By tinylm before, under and after the cap; or as they
    are, and as torch does.
    """
    wide = max(width, FLOAT32)
    return {"math": 2 * wide, "eager": max(3 * width, width + 2 * wide)}.get(backend, 0)

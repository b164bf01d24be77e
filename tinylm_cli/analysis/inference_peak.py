"""Working memory of prefill and decoding: the bytes that layers hold while they compute, at the peak of a pass.

An upper bound that follows the module's own steps by hand. Each function adds up the tensors alive at one point of
``model/block.py:TransformerBlock.forward``, or at each of several points that may be the peak. A caller takes the
maximum. Without a backend, the count follows torch's CPU kernels, which never materialize scores where they are fused.

Letters: B batch_size, T tokens read, S positions attended to, D d_model, H n_heads, G n_kv_heads, K d_head, F d_ff or
d_expert, E n_experts, k top_k; latent attention has C kv_rank, Q q_rank, N d_nope, R d_rope and K_v d_value. ``width``
is the bytes of an element, and ``upcast_width`` those of an element upcast to float32: ``max(width, 4)``.
"""

from __future__ import annotations

from typing import NamedTuple

from tinylm_cli.analysis.attention_kernels import AttentionBackend, needs_eager_attention
from tinylm_cli.analysis.tensor_table import FLOAT32_BYTES, INT64_BYTES, rotary_pairs
from tinylm_cli.config.schema import ModelConfig

SLACK = 1 << 16
"""Bytes of what is too small to follow: indices, tables of one position, the temporaries of a short GELU."""

MAX_SPLITS, MIN_SPLIT_POSITIONS = 128, 128
"""Flash decoding splits the positions that one token attends to into at most so many parts, of so many positions at
least: Dao et al. 2023, https://crfm.stanford.edu/2023/10/12/flashdecoding.html."""

COS_AND_SIN = 2
"""A rotary table holds a cosine and a sine for each rotary frequency."""

BOOL_BYTES = 1


def forward_working_bytes(
    config: ModelConfig,
    *,
    batch_size: int,
    seq_len: int,
    width: int,
    backend: AttentionBackend | None = None,
    keys: int | None = None,
) -> tuple[int, ...]:
    """Return the bytes that a forward pass without gradients holds before the LM head, at each point that may peak.

    Args:
        config: A validated config.
        batch_size: B, sequences at once.
        seq_len: T, tokens in each.
        width: Bytes of an element of weights and activations.
        backend: The implementation of attention; that of tinylm's own model on the CPU when None.
        keys: S, the positions that queries attend to, of which their own are the last; ``seq_len`` when None.
    """
    rows, keys = batch_size * seq_len, keys or seq_len
    backend = backend or _cpu_backend(config)
    shared = _shared_inputs(config, seq_len, keys, width, backend)
    mask = _layer_mask(config, seq_len, keys, width, backend)
    copies = batch_size * keys * _copied_keys_and_values(config, width, backend)
    embedding = rows * 2 * config.d_model * width  # the token embedding before and after it is scaled
    return (
        embedding + shared.peak,
        *(shared.held + mask + rows * row for row in _qk_norm_and_rope(config, width)),
        *(shared.held + mask + copies + rows * row for row in _attention(config, keys, width, backend)),
        *(shared.held + rows * row for row in _feed_forward(config, width)),
    )


def decode_working_bytes(
    config: ModelConfig, *, seq_len: int, width: int, backend: AttentionBackend | None = None
) -> tuple[int, ...]:
    """Return the bytes that decoding one token of one sequence holds, at each point that may peak.

    They come on top of the KV cache of ``seq_len`` positions. A backend that materializes scores also copies the cache
    for every query head that shares a key. Latent attention concatenates the compressed vectors and the rotary keys:
    ``model/latent_attention.py:LatentAttention._attend_to_latents``. A flash kernel reads the cache in place, and
    accumulates the output of each split in float32.

    Args:
        config: A validated config.
        seq_len: S, the positions in the cache.
        width: Bytes of an element of weights and activations.
        backend: As for :func:`forward_working_bytes`.
    """
    attention, heads, backend = config.attention, config.n_heads, backend or _cpu_backend(config)
    if attention.window is not None and "G" not in attention.window_pattern:
        seq_len = min(seq_len, attention.window)
    new_copies = _copied_keys_and_values(config, width, backend)  # of the new token
    per_position = new_copies + heads * _score_bytes(width, backend)  # the cached key and value, the scores
    absorbed = 0
    if attention.kind == "latent":
        per_position = _joined_latent(config, width, backend) + heads * _score_bytes(width, backend)
        absorbed = _absorbed_query(config, width)
    if config.position.kind == "alibi" and backend != "flash":
        # distance · slope and the bias in float32, the bias in the model's dtype
        per_position += heads * (2 * FLOAT32_BYTES + width)
    d_out = attention.kv_rank if attention.kind == "latent" else config.d_value
    n_splits = min(MAX_SPLITS, -(-seq_len // MIN_SPLIT_POSITIONS)) if backend == "flash" else 0
    splits = n_splits * heads * (d_out + 1) * FLOAT32_BYTES  # each split's output and log-sum-exp
    held = seq_len * per_position + splits
    attending = (new_copies + row + absorbed for row in _attention(config, 1, width, backend))
    return tuple(held + row for row in (*_qk_norm_and_rope(config, width), *attending, *_feed_forward(config, width)))


def _cpu_backend(config: ModelConfig) -> AttentionBackend:
    """Return the backend of tinylm's own model on the CPU; ``math`` if torch's fused kernels may refuse the shapes."""
    if needs_eager_attention(config):
        return "eager"
    return "math" if config.attention.kind == "latent" else "fused"


class _SharedInputs(NamedTuple):
    """Rotary tables, masks and biases that every layer of a pass reads: ``model/attention_mask.py:attention_masks``.

    Attributes:
        held: Their bytes throughout the pass.
        peak: Their bytes and those of the temporaries, while the last of them is made.
    """

    held: int
    peak: int


def _shared_inputs(
    config: ModelConfig, seq_len: int, keys: int, width: int, backend: AttentionBackend
) -> _SharedInputs:
    """Return what layers share: one rotary table per kind of layer, one mask or ALiBi bias. Flash needs no masks."""
    attention = config.attention
    pairs = seq_len * keys  # T × S
    has_window = backend != "flash" and attention.window is not None and attention.window < keys
    n_kinds = 1 + (attention.window is not None and "G" in attention.window_pattern)  # windowed layers, and global ones
    if config.position.kind == "alibi" and backend != "flash":
        bias = config.n_heads * pairs  # elements of (1, H, T, S)
        # in float32: the bias and its masked copy (H, T, S); at most three of (T, S): distances, mask, its complement
        temporaries = 2 * bias * FLOAT32_BYTES + 3 * pairs * FLOAT32_BYTES
        cast = bias * width if width != FLOAT32_BYTES else 0
        return _SharedInputs(n_kinds * bias * width, (n_kinds - 1) * bias * width + temporaries + cast)
    rotation = rotation_peak = 0
    if config.position.kind == "rope":
        table = seq_len * COS_AND_SIN * rotary_pairs(config)  # elements of cos and sin, (T, R/2) each
        rotation = n_kinds * table * width
        rotation_peak = 3 * table * FLOAT32_BYTES  # at most: angles, their cos and sin, both scaled
    mask = pairs * BOOL_BYTES if has_window else 0  # (1, 1, T, S)
    mask_peak = 3 * pairs * BOOL_BYTES if has_window else 0  # ones, tril, triu
    return _SharedInputs(rotation + mask, rotation + rotation_peak + mask_peak)


def _layer_mask(config: ModelConfig, seq_len: int, keys: int, width: int, backend: AttentionBackend) -> int:
    """Return the bytes of the mask that one layer's attention makes of the causal rule or of the shared mask."""
    window = config.attention.window
    has_mask = config.position.kind != "alibi" and window is not None and window < keys
    per_pair = {
        "flash": 0,
        "eager": 2 * BOOL_BYTES,  # ones and triu, or the mask's complement
        "math": BOOL_BYTES + 2 * max(width, FLOAT32_BYTES),  # the mask, the bias made of it, a temporary
        "fused": width if has_mask else 0,  # the boolean mask as a bias
    }
    return seq_len * keys * per_pair[backend]  # T × S × bytes of a pair


def _projections(config: ModelConfig) -> tuple[int, int, int]:
    """Return elements per token: of the query, of the key, and of x, norm(x), query, key and value together."""
    d_query, d_kv = config.n_heads * config.d_head, config.n_kv_heads * config.d_head  # H·K, G·K
    return d_query, d_kv, 2 * config.d_model + d_query + 2 * d_kv  # x and norm(x), q, k and v


def _qk_norm_and_rope(config: ModelConfig, width: int) -> tuple[int, ...]:
    """Return the bytes per token while ``SelfAttention.forward`` normalizes or rotates queries and keys."""
    if config.attention.kind == "latent":
        return ()
    d_query, d_kv, held = _projections(config)
    if config.position.kind == "rope":
        return (width * (held + 2 * d_query + d_kv),)  # the two products of a rotation of q, the rotated k
    return (width * (held + d_query + d_kv),) if config.attention.qk_norm != "none" else ()  # normalized q and k


def _attention(config: ModelConfig, keys: int, width: int, backend: AttentionBackend) -> tuple[int, ...]:
    """Return the bytes per token of attention, at each point that may peak, scores being over ``keys`` positions."""
    if config.attention.kind == "latent":
        return _latent_attention(config, keys, width, backend)
    d_query, _, held = _projections(config)
    peaks = [
        width * (held + d_query + d_query),  # held, the output (B, H, T, K), the output (B, T, H·K)
        width * (held + d_query + config.d_model),  # held, the output (B, T, H·K), its projection (B, T, D)
    ]
    if backend in ("math", "eager"):
        scores = config.n_heads * keys * _score_bytes(width, backend)  # H × S
        upcast_query = _upcast_and_scaled(width) * d_query if backend == "math" else 0
        peaks.append(width * held + scores + upcast_query)
    return tuple(peaks)


def _latent_attention(config: ModelConfig, keys: int, width: int, backend: AttentionBackend) -> tuple[int, ...]:
    """Return the bytes per token of latent attention, at each point that may peak.

    Follows ``model/latent_attention.py:LatentAttention._attend_to_expanded``. On the CPU its values are narrower than
    its keys, so torch takes the math backend: it upcasts queries, keys and values, and scales queries and keys, into
    new tensors.
    """
    attention, heads, upcast_width = config.attention, config.n_heads, max(width, FLOAT32_BYTES)
    d_query, d_values = heads * config.d_head, heads * attention.d_value  # H·(N + R), H·K_v
    held = (
        2 * config.d_model  # x, norm(x)
        + 3 * d_query  # q as projected, q and k as concatenated
        + heads * attention.d_rope  # q_rope, rotated
        + 2 * (attention.kv_rank + attention.d_rope)  # as projected; as normalized (C) and rotated (R)
        + (attention.q_rank or 0)  # the compressed query
        + (heads * attention.d_nope + d_values)  # k_nope and v, as expanded
    )
    if backend in ("flash", "fused"):
        return (
            width * (held + d_values + d_values),  # held, the output (B, H, T, K_v), the output (B, T, H·K_v)
            width * (held + d_values + config.d_model),  # held, the output (B, T, H·K_v), its projection (B, T, D)
        )
    upcast = (2 * d_query + d_values) * upcast_width if width < upcast_width else 0  # q, k and v in float32
    scaled = 2 * d_query * upcast_width  # q and k times √scale
    scores = heads * keys * _score_bytes(width, backend)  # H × S
    return (width * held + upcast + scaled + scores,)


def _joined_latent(config: ModelConfig, width: int, backend: AttentionBackend) -> int:
    """Return the bytes per cached position of latent attention's keys and values, as decoding copies them."""
    upcast_width, attention = max(width, FLOAT32_BYTES), config.attention
    d_key, d_value = attention.kv_rank + attention.d_rope, attention.kv_rank  # C + R, C
    if backend == "flash":
        return 0
    if backend == "fused":
        return d_key * width  # the concatenation
    upcast = (d_key + d_value) * upcast_width if width < upcast_width else 0  # key and value in float32
    return d_key * (width + upcast_width) + upcast  # the concatenation, the key times √scale


def _absorbed_query(config: ModelConfig, width: int) -> int:
    """Return the bytes of the query that decoding maps to the compressed vectors' dimensions, H × (C + R) elements."""
    d_key, upcast_width = config.attention.kv_rank + config.attention.d_rope, max(width, FLOAT32_BYTES)
    return config.n_heads * d_key * (2 * width + 2 * upcast_width)  # mapped, concatenated; upcast, times √scale


def _feed_forward(config: ModelConfig, width: int) -> tuple[int, ...]:
    """Return the bytes per token of the feed-forward part, at each point that may peak.

    Experts follow ``model/experts.py:Experts.forward`` in the worst case, in which one expert receives every token.
    """
    feed_forward, d = config.feed_forward, config.d_model
    stream = 4 * d * width  # x before and after attention, the output of attention, norm(x)
    hidden = _hidden_tensors(config) * width  # bytes per hidden unit
    dense = hidden * config.d_ff + d * width  # hidden tensors (F), the output (D)
    if feed_forward.n_experts is None:
        return (stream + dense,)
    top_k, upcast_width = feed_forward.top_k, max(width, FLOAT32_BYTES)
    # E scores as projected, and four times in float32: upcast, activated, corrected, masked by group
    routing = feed_forward.n_experts * (width + 4 * upcast_width)
    # k chosen experts: their index, its sort, the rows, a temporary of the sort; the weight in float32 and as cast
    indices = top_k * (4 * INT64_BYTES + upcast_width + width)
    # the tokens sent and the outputs put out (k × D each), the output of one expert (D), its hidden tensors (F)
    one_expert = (2 * top_k + 1) * d * width + hidden * config.d_expert
    # the tokens sent, the outputs, the weighted outputs (k × D each), the zeros and the sum (D each)
    weighted_sum = (3 * top_k + 2) * d * width
    # the routed output and the shared experts' output (D each), the hidden tensors of the shared experts
    shared = 2 * d * width + hidden * feed_forward.n_shared_experts * config.d_expert
    peaks = [routing, indices + one_expert, indices + weighted_sum, shared]
    if feed_forward.n_dense_layers:
        peaks.append(dense)
    return tuple(stream + peak for peak in peaks)


def _hidden_tensors(config: ModelConfig) -> int:
    """Return how many tensors of F elements ``model/feed_forward.py:FeedForward.forward`` holds at once."""
    feed_forward = config.feed_forward
    if feed_forward.gated:
        return 4 if feed_forward.clamp is None else 6  # gate, up, activation, product; both clamped
    return 3 if feed_forward.activation == "quick_gelu" else 2  # up, (its sigmoid,) activation


def _copied_keys_and_values(config: ModelConfig, width: int, backend: AttentionBackend) -> int:
    """Return the bytes per position of the copies that attention makes of keys and values."""
    if backend in ("flash", "fused") or config.attention.kind == "latent":
        return 0
    d_query = config.n_heads * config.d_head  # H·K: keys and values repeated for every query head
    repeated = 2 * d_query * width if config.n_kv_heads < config.n_heads else 0  # key and value
    if backend == "eager":
        return repeated
    # the key upcast and scaled; the value upcast, not scaled
    return repeated + d_query * (2 * _upcast_and_scaled(width) - max(width, FLOAT32_BYTES))


def _upcast_and_scaled(width: int) -> int:
    """Return the bytes of an element that torch's math backend upcasts to float32, if narrower, and scales."""
    upcast_width = max(width, FLOAT32_BYTES)
    upcast = upcast_width if width < FLOAT32_BYTES else 0
    return upcast + upcast_width  # upcast, scaled


def _score_bytes(width: int, backend: AttentionBackend) -> int:
    """Return the bytes of one score where scores are materialized."""
    upcast_width = max(width, FLOAT32_BYTES)
    if backend == "math":
        return 2 * upcast_width  # before and after softmax
    if backend == "eager":  # model/sdpa.py:sdpa
        capping = 3 * width  # before the soft-cap, the tanh, the capped score
        softmax = width + 2 * upcast_width  # the score, upcast, after softmax
        return max(capping, softmax)
    return 0

"""Working memory of prefill and decoding: the bytes that layers hold while they compute, at the peak of a pass.

An upper bound, derived from the operations of tinylm's own model. Each function adds up the tensors alive at one point
of ``model/block.py:TransformerBlock.forward``, or at each of several points that may be the peak. The caller takes the
maximum. Without a backend, the count follows torch's CPU kernels; fused kernels never materialize scores.

Letters: B batch_size, T tokens read, S positions attended to, D d_model, H n_heads, G n_kv_heads, K d_head, F d_ff or
d_expert, E n_experts, k top_k; latent attention has C kv_rank, Q q_rank, N d_nope, R d_rope and K_v d_value.
``element_bytes`` is the size of an element, ``upcast_bytes`` its size in float32 or wider: ``max(element_bytes, 4)``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tinylm_cli.analysis.attention_kernels import AttentionBackend, needs_eager_attention
from tinylm_cli.analysis.dtypes import BOOL_BYTES, FLOAT32_BYTES, INT64_BYTES
from tinylm_cli.analysis.layer_kinds import group_layers
from tinylm_cli.analysis.tensor_table import COS_AND_SIN, rotary_frequencies
from tinylm_cli.config.layer_kinds import layer_pattern
from tinylm_cli.config.schema import ModelConfig

BackendOf = Callable[[ModelConfig], AttentionBackend]
"""Returns the implementation of attention that layers of a kind use, given the config of the kind."""

SLACK = 1 << 16
"""Allowance in bytes for tensors too small to model: indices, tables of one position, and the temporaries of
``model/feed_forward.py:exact_gelu`` for fewer than 4,096 elements."""

MAX_SPLITS, MIN_SPLIT_POSITIONS = 128, 128
"""Flash decoding splits the positions that one token attends to into at most MAX_SPLITS chunks of at least
MIN_SPLIT_POSITIONS positions: Dao et al. 2023, https://crfm.stanford.edu/2023/10/12/flashdecoding.html."""


def forward_working_bytes(
    config: ModelConfig,
    *,
    batch_size: int,
    seq_len: int,
    element_bytes: int,
    backend_of: BackendOf | None = None,
    kv_len: int | None = None,
) -> tuple[int, ...]:
    """Return the bytes that a forward pass without gradients holds before the LM head, at each point that may peak.

    Args:
        config: A validated config.
        batch_size: B, sequences at once.
        seq_len: T, tokens in each.
        element_bytes: Bytes of an element of weights and activations.
        backend_of: Returns the implementation of attention in a kind of layers; the one that tinylm's own model uses
            on the CPU when None.
        kv_len: S, the key/value length; the last T positions are the queries' own. ``seq_len`` when None.
    """
    rows, kv_len, backend_of = batch_size * seq_len, kv_len or seq_len, backend_of or _cpu_backend
    shared, shared_peak = _shared_inputs(config, seq_len, kv_len, element_bytes, backend_of)
    points = [rows * 2 * config.d_model * element_bytes + shared_peak]  # token embedding before and after scaling
    for kind in (group.config for group in group_layers(config, kv_len)):
        backend = backend_of(kind)
        mask = _layer_mask(kind, seq_len, kv_len, element_bytes, backend)
        copies = batch_size * kv_len * _copied_keys_and_values(kind, element_bytes, backend)
        points += [shared + mask + rows * row for row in _qk_norm_and_rope(kind, element_bytes)]
        points += [shared + mask + copies + rows * row for row in _attention(kind, kv_len, element_bytes, backend)]
        points += [shared + rows * row for row in _feed_forward(kind, element_bytes)]
    return tuple(points)


def decode_working_bytes(
    config: ModelConfig, *, seq_len: int, element_bytes: int, backend_of: BackendOf | None = None
) -> tuple[int, ...]:
    """Return the bytes that decoding one token of one sequence holds, at each point that may peak.

    The KV cache of ``seq_len`` positions is not included. A backend that materializes scores also repeats cached keys
    and values for every query head. Latent attention concatenates the compressed vectors and the rotary keys:
    ``model/latent_attention.py:LatentAttention._attend_to_latents``. A flash kernel reads the cache in place and
    accumulates the output of each split in float32.

    Args:
        config: A validated config.
        seq_len: S, the positions in the cache.
        element_bytes: Bytes of an element of weights and activations.
        backend_of: As for :func:`forward_working_bytes`.
    """
    backend_of = backend_of or _cpu_backend
    return tuple(
        point
        for group in group_layers(config, seq_len)
        for point in _decode_layer(group.config, seq_len, element_bytes, backend_of(group.config))
    )


def _decode_layer(config: ModelConfig, seq_len: int, element_bytes: int, backend: AttentionBackend) -> Iterator[int]:
    """Yield the bytes that decoding holds in a layer of the kind ``config``, at each point that may peak."""
    attention, heads = config.attention, config.n_heads
    seq_len = min(seq_len, attention.window or seq_len)
    new_copies = _copied_keys_and_values(config, element_bytes, backend)  # of the new token
    scores = heads * _score_bytes(element_bytes, backend)
    per_position = new_copies + scores  # copies of the cached key and value; scores
    absorbed = 0
    if attention.kind == "latent":
        per_position = _concatenated_latent_kv(config, element_bytes, backend) + scores
        absorbed = _absorbed_query(config, element_bytes)
    if config.position.kind == "alibi" and backend != "flash":
        # distance · slope and the bias in float32, the bias in the model's dtype
        per_position += heads * (2 * FLOAT32_BYTES + element_bytes)
    d_out = attention.kv_rank if attention.kind == "latent" else config.d_value
    n_splits = min(MAX_SPLITS, -(-seq_len // MIN_SPLIT_POSITIONS)) if backend == "flash" else 0
    splits = n_splits * heads * (d_out + 1) * FLOAT32_BYTES  # each split's output and log-sum-exp
    held = seq_len * per_position + splits
    attending = (new_copies + row + absorbed for row in _attention(config, 1, element_bytes, backend))
    for row in (*_qk_norm_and_rope(config, element_bytes), *attending, *_feed_forward(config, element_bytes)):
        yield held + row


def _cpu_backend(config: ModelConfig) -> AttentionBackend:
    """Return the backend of tinylm's own model on the CPU; ``math`` if torch's fused kernels may reject the shapes."""
    if needs_eager_attention(config):
        return "eager"
    return "math" if config.attention.kind == "latent" else "fused"


def _shared_inputs(
    config: ModelConfig, seq_len: int, kv_len: int, element_bytes: int, backend_of: BackendOf
) -> tuple[int, int]:
    """Return the bytes of the inputs that layers share: throughout the pass, and while the last one is computed.

    These are one rotary table for each encoding and, without a flash kernel, one ALiBi bias or mask for each window:
    ``model/rope.py:RotaryPosition.rotation``, ``model/attention_mask.py:attention_masks``.
    """
    pairs = seq_len * kv_len  # T × S
    held = peak = 0
    for frequencies in rotary_frequencies(config):
        table = seq_len * COS_AND_SIN * frequencies  # elements of cos and sin, (T, R/2) each
        held += table * element_bytes
        peak = max(peak, 3 * table * FLOAT32_BYTES)  # at most: the angles; their cos and sin before and after scaling
    masked = [kind for kind in layer_pattern(config).kinds if backend_of(kind) != "flash"]
    for n_heads, _ in {(kind.n_heads, kind.attention.window) for kind in masked if kind.position.kind == "alibi"}:
        bias = n_heads * pairs  # elements of (1, H, T, S)
        held += bias * element_bytes
        # in float32: the bias and its masked copy (H, T, S); at most 3 of (T, S): distances, mask, its complement
        temporaries = 2 * bias * FLOAT32_BYTES + 3 * pairs * FLOAT32_BYTES
        cast = 0 if element_bytes != FLOAT32_BYTES else -bias * element_bytes  # the bias itself, or a copy in the dtype
        peak = max(peak, temporaries + cast)
    windows = {kind.attention.window or kv_len for kind in masked if kind.position.kind != "alibi"}
    masks = sum(window < kv_len for window in windows) * pairs * BOOL_BYTES  # (1, 1, T, S) each
    if masks:
        peak += 2 * pairs * BOOL_BYTES  # ones and tril, besides triu
    return held + masks, held + masks + peak


def _layer_mask(config: ModelConfig, seq_len: int, kv_len: int, element_bytes: int, backend: AttentionBackend) -> int:
    """Return the bytes of per-layer mask buffers, built from the causal mask or the shared mask."""
    window = config.attention.window
    has_mask = config.position.kind != "alibi" and window is not None and window < kv_len
    per_pair = {
        "flash": 0,
        "eager": 2 * BOOL_BYTES,  # ones and triu, or the complement of the mask
        "math": BOOL_BYTES + 2 * max(element_bytes, FLOAT32_BYTES),  # the mask, the bias converted from it, a temporary
        "fused": element_bytes if has_mask else 0,  # the boolean mask converted to a bias
    }
    return seq_len * kv_len * per_pair[backend]  # T × S × bytes per pair


def _projections(config: ModelConfig) -> tuple[int, int, int]:
    """Return elements per token: of the query, of the key, and the sum over x, norm(x), query, key and value."""
    d_query, d_kv = config.n_heads * config.d_head, config.n_kv_heads * config.d_head  # H·K, G·K
    return d_query, d_kv, 2 * config.d_model + d_query + 2 * d_kv  # x, norm(x); q; k, v


def _qk_norm_and_rope(config: ModelConfig, element_bytes: int) -> tuple[int, ...]:
    """Return the bytes per token while ``SelfAttention.forward`` normalizes or rotates queries and keys."""
    if config.attention.kind == "latent":
        return ()
    d_query, d_kv, held = _projections(config)
    if config.position.kind == "rope":
        return (element_bytes * (held + 2 * d_query + d_kv),)  # the two products that rotate q; the rotated k
    # normalized q and k
    return (element_bytes * (held + d_query + d_kv),) if config.attention.qk_norm != "none" else ()


def _attention(config: ModelConfig, kv_len: int, element_bytes: int, backend: AttentionBackend) -> tuple[int, ...]:
    """Return the bytes per token of attention over ``kv_len`` positions, at each point that may peak."""
    if config.attention.kind == "latent":
        return _latent_attention(config, kv_len, element_bytes, backend)
    d_query, _, held = _projections(config)
    peaks = [
        element_bytes * (held + d_query + d_query),  # held, the output (B, H, T, K), the output (B, T, H·K)
        element_bytes * (held + d_query + config.d_model),  # held, the output (B, T, H·K), its projection (B, T, D)
    ]
    if backend in ("math", "eager"):
        scores = config.n_heads * kv_len * _score_bytes(element_bytes, backend)  # H × S
        upcast_query = _upcast_and_scaled(element_bytes) * d_query if backend == "math" else 0
        peaks.append(element_bytes * held + scores + upcast_query)
    return tuple(peaks)


def _latent_attention(
    config: ModelConfig, kv_len: int, element_bytes: int, backend: AttentionBackend
) -> tuple[int, ...]:
    """Return the bytes per token of latent attention, at each point that may peak.

    Follows ``model/latent_attention.py:LatentAttention._attend_to_expanded``. Values have fewer dimensions than keys,
    so torch selects the math backend on the CPU. That backend allocates new tensors for the upcast queries, keys and
    values, and for the scaled queries and keys.
    """
    attention, heads, upcast_bytes = config.attention, config.n_heads, max(element_bytes, FLOAT32_BYTES)
    d_query, d_values = heads * config.d_head, heads * attention.d_value  # H·(N + R), H·K_v
    held = (
        2 * config.d_model  # x, norm(x)
        + 3 * d_query  # the projected q; the concatenated q and k
        + heads * attention.d_rope  # q_rope, rotated
        + 2 * (attention.kv_rank + attention.d_rope)  # kv_a_proj output; normalized (C) and rotated (R)
        + (attention.q_rank or 0)  # the compressed query
        + (heads * attention.d_nope + d_values)  # k_nope and v from kv_b_proj
    )
    if backend in ("flash", "fused"):
        held += d_values  # the output (B, H, T, K_v)
        return (
            element_bytes * (held + d_values),  # the output (B, T, H·K_v)
            element_bytes * (held + config.d_model),  # the projected output (B, T, D)
        )
    upcast = (2 * d_query + d_values) * upcast_bytes if element_bytes < upcast_bytes else 0  # q, k and v in float32
    scaled = 2 * d_query * upcast_bytes  # q and k times √scale
    scores = heads * kv_len * _score_bytes(element_bytes, backend)  # H × S
    return (element_bytes * held + upcast + scaled + scores,)


def _concatenated_latent_kv(config: ModelConfig, element_bytes: int, backend: AttentionBackend) -> int:
    """Return the bytes per cached position of the copies that decoding with latent attention makes."""
    upcast_bytes, attention = max(element_bytes, FLOAT32_BYTES), config.attention
    d_key, d_value = attention.kv_rank + attention.d_rope, attention.kv_rank  # C + R, C
    if backend == "flash":
        return 0
    if backend == "fused":
        return d_key * element_bytes  # the concatenation
    upcast = (d_key + d_value) * upcast_bytes if element_bytes < upcast_bytes else 0  # key and value in float32
    return d_key * (element_bytes + upcast_bytes) + upcast  # the concatenation; the key times √scale


def _absorbed_query(config: ModelConfig, element_bytes: int) -> int:
    """Return the bytes of the absorbed query: decoding projects it to the latent space, H × (C + R) elements."""
    d_key, upcast_bytes = config.attention.kv_rank + config.attention.d_rope, max(element_bytes, FLOAT32_BYTES)
    # projected, concatenated; upcast, times √scale
    return config.n_heads * d_key * (2 * element_bytes + 2 * upcast_bytes)


def _feed_forward(config: ModelConfig, element_bytes: int) -> tuple[int, ...]:
    """Return the bytes per token of the feed-forward part, at each point that may peak.

    Experts follow ``model/experts.py:Experts.forward``. In the worst case one expert receives every token.
    """
    feed_forward, d = config.feed_forward, config.d_model
    residual_stream = 4 * d * element_bytes  # x before and after attention, the attention output, norm(x)
    hidden = _hidden_tensors(config) * element_bytes  # bytes per hidden unit
    dense = hidden * config.d_ff + d * element_bytes  # hidden tensors (F), the output (D)
    if feed_forward.n_experts is None:
        return (residual_stream + dense,)
    top_k, upcast_bytes = feed_forward.top_k, max(element_bytes, FLOAT32_BYTES)
    # E scores in the model's dtype, and 4 copies in float32: upcast, activated, corrected, masked by group
    routing = feed_forward.n_experts * (element_bytes + 4 * upcast_bytes)
    # per selected expert: expert index, sort permutation, row indices, sort workspace (int64); routing weight in
    # float32 and in the model dtype
    indices = top_k * (4 * INT64_BYTES + upcast_bytes + element_bytes)
    # dispatched tokens and expert outputs (k × D each), the output of one expert (D), its hidden tensors (F)
    one_expert = (2 * top_k + 1) * d * element_bytes + hidden * config.d_expert
    # dispatched tokens, expert outputs, weighted outputs (k × D each); the zeros and the sum (D each)
    weighted_sum = (3 * top_k + 2) * d * element_bytes
    # routed output and shared-expert output (D each), hidden tensors of the shared experts
    shared = 2 * d * element_bytes + hidden * feed_forward.n_shared_experts * config.d_expert
    peaks = (routing, indices + one_expert, indices + weighted_sum, shared)
    return tuple(residual_stream + peak for peak in peaks)


def _hidden_tensors(config: ModelConfig) -> int:
    """Return the number of tensors of F elements that ``model/feed_forward.py:FeedForward.forward`` holds at once."""
    feed_forward = config.feed_forward
    if feed_forward.gated:
        return 4 if feed_forward.clamp is None else 6  # gate, up, activation, product; clamped gate and up
    return 3 if feed_forward.activation in ("quick_gelu", "relu2") else 2  # up, (sigmoid or ReLU of up,) activation


def _copied_keys_and_values(config: ModelConfig, element_bytes: int, backend: AttentionBackend) -> int:
    """Return the bytes per position of the copies that attention makes of keys and values."""
    if backend in ("flash", "fused") or config.attention.kind == "latent":
        return 0
    d_query = config.n_heads * config.d_head  # H·K: keys and values repeated for every query head
    repeated = 2 * d_query * element_bytes if config.n_kv_heads < config.n_heads else 0  # key and value
    if backend == "eager":
        return repeated
    # the key upcast and scaled; the value upcast, not scaled
    return repeated + d_query * (2 * _upcast_and_scaled(element_bytes) - max(element_bytes, FLOAT32_BYTES))


def _upcast_and_scaled(element_bytes: int) -> int:
    """Return the bytes of the copies of one element in torch's math backend: upcast (from 16 bits) and scaled."""
    upcast_bytes = max(element_bytes, FLOAT32_BYTES)
    upcast = upcast_bytes if element_bytes < FLOAT32_BYTES else 0
    return upcast + upcast_bytes  # upcast, scaled


def _score_bytes(element_bytes: int, backend: AttentionBackend) -> int:
    """Return the bytes of one score where scores are materialized."""
    upcast_bytes = max(element_bytes, FLOAT32_BYTES)
    if backend == "math":
        return 2 * upcast_bytes  # before and after softmax
    if backend == "eager":  # model/sdpa.py:sdpa
        capping = 3 * element_bytes  # raw score, tanh, capped score
        softmax = element_bytes + 2 * upcast_bytes  # score; upcast score, softmax output
        return max(capping, softmax)
    return 0

"""Working memory of prefill and decoding: the bytes that layers hold while they compute, at the peak of a pass.

An upper bound, derived from the operations of tinylm's own model. Each function adds up the tensors alive at one point
of ``model/block.py:TransformerBlock.forward``, or at each of several points that may be the peak. The caller takes the
maximum. Without a backend, the count follows torch's CPU kernels; fused kernels never materialize scores.

Letters: B batch_size, T tokens read, S positions attended to, D d_model, H n_heads, F d_ff or d_expert, E n_experts, k
top_k, R d_rope. ``element_bytes`` is the size of an element, ``upcast_bytes`` its size in float32 or wider:
``max(element_bytes, 4)``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tinylm_cli.analysis.attention_kernels import AttentionBackend, needs_eager_attention
from tinylm_cli.analysis.dtypes import BOOL_BYTES, FLOAT32_BYTES, INT64_BYTES
from tinylm_cli.analysis.layer_kinds import group_layers
from tinylm_cli.analysis.mixers import mixer_of
from tinylm_cli.analysis.mixers.mixer import InferencePass, norm_bytes
from tinylm_cli.analysis.shared_kv import most_held_elements
from tinylm_cli.analysis.tensor_table import COS_AND_SIN, rotary_frequencies, temperatures
from tinylm_cli.config.layer_kinds import index_sources, layer_pattern, shared_blocks
from tinylm_cli.config.schema import ModelConfig

BackendOf = Callable[[ModelConfig], AttentionBackend]
"""Returns the implementation of attention that layers of a kind use, given the config of the kind."""

SLACK = 1 << 16
"""Allowance in bytes for tensors too small to model: indices, tables of one position, and the temporaries of
``model/feed_forward.py:exact_gelu`` for fewer than 4,096 elements."""

_WHILE_COMPUTED = 4
"""Tensors besides the per-layer inputs while they are computed: projected, scaled, normalized, looked up and scaled."""


def forward_working_bytes(
    config: ModelConfig,
    *,
    batch_size: int,
    seq_len: int,
    element_bytes: int,
    backend_of: BackendOf | None = None,
    kv_len: int | None = None,
) -> tuple[int, ...]:
    """Return the bytes held by a forward pass without gradients, before the LM head, at each point that may peak.

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
    own_inputs = rows * config.n_layers * (config.embedding.d_per_layer or 0) * element_bytes  # B × T × n_layers·P
    shared, shared_peak = shared + own_inputs, shared_peak + own_inputs
    # keys and values for later layers, B × T × G·(K + K_v) each
    kept = rows * most_held_elements(config) * element_bytes
    # the positions that a layer selects for later ones, B × T × S
    kept += rows * kv_len * BOOL_BYTES if index_sources(config) else 0
    kept += rows * config.d_model * element_bytes if shared_blocks(config) else 0  # the embeddings, B × T × D
    kept += rows * config.d_model * element_bytes if _has_shortcuts(config) else 0  # the output of experts, B × T × D
    kept += _loop_states(config) * rows * config.d_model * element_bytes  # B × T × D each
    points = [rows * 2 * config.d_model * element_bytes + shared_peak]  # token embedding before and after scaling
    if own_inputs:  # the embeddings, and the inputs of the layers while they are computed
        points.append(rows * config.d_model * element_bytes + shared_peak + _WHILE_COMPUTED * own_inputs)
    for kind in (group.config for group in group_layers(config, kv_len)):
        inference = InferencePass(batch_size, seq_len, kv_len, element_bytes, backend_of(kind))
        streams = rows * _streams(kind, element_bytes)
        points += [shared + kept + rows * row for row in _hyper_connection(kind, element_bytes)]
        points += [shared + kept + rows * row for row in _altup(kind, element_bytes)]
        before_mixer = streams if kind.block.altup_streams is None else 2 * streams  # and their predictions
        points += [shared + kept + before_mixer + mixing for mixing in mixer_of(kind).prefill_bytes(kind, inference)]
        points += [
            shared + kept + 2 * streams + rows * row  # copies before and after the mixer
            for row in (
                *_gated_norms(kind, element_bytes),
                *_laurel(kind, element_bytes),
                *_feed_forward(kind, element_bytes),
                *_per_layer_input(kind, element_bytes),
            )
        ]
    return tuple(points)


def head_working_bytes(config: ModelConfig, rows: int, element_bytes: int) -> int:
    """Return the bytes that ``model/head_transform.py:HeadTransform.forward``, if any, holds for ``rows`` vectors."""
    if not config.head.dense:
        return 0
    inside = 1 if config.head.dense_activation in ("quick_gelu", "relu2") else 0  # sigmoid, or ReLU
    # the input, the output of the dense layer, activated; the norm
    return rows * config.d_model * ((3 + inside) * element_bytes + norm_bytes(config, element_bytes))


def decode_working_bytes(
    config: ModelConfig, *, seq_len: int, element_bytes: int, backend_of: BackendOf | None = None
) -> tuple[int, ...]:
    """Return the bytes that decoding one token of one sequence holds, at each point where memory may peak.

    The KV cache of ``seq_len`` positions is not included.

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
        for point in _decode_layer(
            group.config, seq_len, element_bytes, backend_of(group.config), has_shortcuts=_has_shortcuts(config)
        )
    )


def _has_shortcuts(config: ModelConfig) -> bool:
    """Return whether the output of the experts of some layers waits for the end of the next layer."""
    return any(kind.feed_forward.shortcut for kind in layer_pattern(config).kinds)


def _decode_layer(
    config: ModelConfig, seq_len: int, element_bytes: int, backend: AttentionBackend, *, has_shortcuts: bool
) -> Iterator[int]:
    """Yield the bytes that decoding holds in a layer of the kind ``config``, at each point where memory may peak."""
    one_token = InferencePass(1, 1, seq_len, element_bytes, backend)
    held, mixing = mixer_of(config).decode_bytes(config, one_token)
    # the inputs of all layers, while they are computed
    d_all = config.n_layers * (config.embedding.d_per_layer or 0)  # n_layers·P
    own_inputs = (1 + _WHILE_COMPUTED) * d_all * element_bytes
    own_inputs += config.d_model * element_bytes if shared_blocks(config) else 0  # the embedding (D)
    own_inputs += has_shortcuts * config.d_model * element_bytes  # the output of the experts of the layer before (D)
    own_inputs += _loop_states(config) * config.d_model * element_bytes  # D each
    others = (_gated_norms, _laurel, _feed_forward, _per_layer_input)
    streams = _streams(config, element_bytes)
    for row in (*mixing, *(row for of_part in others for row in of_part(config, element_bytes))):
        yield held + own_inputs + 2 * streams + row
    yield from (held + row for row in _hyper_connection(config, element_bytes))
    yield from (held + own_inputs + row for row in _altup(config, element_bytes))


def _cpu_backend(config: ModelConfig) -> AttentionBackend:
    """Return the backend of tinylm's own model on the CPU; ``math`` if torch's fused kernels may reject the shapes."""
    if needs_eager_attention(config):
        return "eager"
    return "math" if config.d_value != config.d_head or config.attention.kind == "latent" else "fused"


def _shared_inputs(
    config: ModelConfig, seq_len: int, kv_len: int, element_bytes: int, backend_of: BackendOf
) -> tuple[int, int]:
    """Return the bytes of the inputs that layers share: throughout the pass, and while the last one is computed.

    These are one rotary table for each encoding, the factors of the queries for each temperature and, without a flash
    kernel, one ALiBi bias or mask for each window:
    ``model/rope.py:RotaryPosition.rotation``, ``model/attention_mask.py:attention_masks``.
    """
    pairs = seq_len * kv_len  # T × S
    held = peak = 0
    for frequencies in rotary_frequencies(config):
        table = seq_len * COS_AND_SIN * frequencies  # elements of cos and sin, (T, R/2) each
        held += table * element_bytes
        peak = max(peak, 3 * table * FLOAT32_BYTES)  # at most: the angles; their cos and sin before and after scaling
    for _ in temperatures(config):
        held += seq_len * element_bytes  # (T, 1)
        peak = max(peak, 2 * seq_len * (INT64_BYTES + FLOAT32_BYTES))  # positions and steps; its logarithm, the sum
    masked = [kind for kind in layer_pattern(config).kinds if backend_of(kind) != "flash"]
    local = {
        (kind.attention.window or kv_len, kind.attention.chunked, kind.n_heads if kind.position.kind == "alibi" else 0)
        for kind in masked
    }
    for n_heads in (n_heads for _, _, n_heads in local if n_heads):
        bias = n_heads * pairs  # elements of (1, H, T, S)
        held += bias * element_bytes
        # in float32: the bias and its masked copy (H, T, S); at most 3 of (T, S): distances, mask, its complement
        temporaries = 2 * bias * FLOAT32_BYTES + 3 * pairs * FLOAT32_BYTES
        cast = 0 if element_bytes != FLOAT32_BYTES else -bias * element_bytes  # the bias itself, or a copy in the dtype
        peak = max(peak, temporaries + cast)
    n_masks = sum(window < kv_len and not n_heads for window, _, n_heads in local)
    masks = n_masks * pairs * BOOL_BYTES  # (1, 1, T, S) each
    if masks:
        peak += 2 * pairs * BOOL_BYTES  # ones and tril, besides triu
    return held + masks, held + masks + peak


def _loop_states(config: ModelConfig) -> int:
    """Return the hidden states that ``model/loop.py:Loop.forward`` holds while layers run.

    They are the embeddings, the injected output of the prelude, and the output of the pass before; of a hierarchical
    loop the embeddings and both states.
    """
    return 0 if config.loop.n_loops is None else 3


def _streams(config: ModelConfig, element_bytes: int) -> int:
    """Return the bytes per token of several residual streams, and of the weights that write to them."""
    n = config.block.n_streams if config.block.n_streams > 1 else 0
    return (n * config.d_model + n) * element_bytes  # n × D, n


def _hyper_connection(config: ModelConfig, element_bytes: int) -> tuple[int, ...]:
    """Return the bytes per token while the output of the feed-forward network is added to the residual streams.

    Follows ``model/block.py:TransformerBlock._sublayers``; reading the streams holds less.
    """
    n, d = config.block.hyper_streams, config.d_model
    if n is None:
        return ()
    # the streams before and after the mixer, the multiples of the output, their sum (n × D each); the mixer's output,
    # the input of the feed-forward network before and after its norm, its output (D each); the weights (n)
    return ((4 * n * d + 4 * d + n) * element_bytes,)


def _altup(config: ModelConfig, element_bytes: int) -> tuple[int, ...]:
    """Return the bytes per token of ``model/altup.py:AltUp.predict`` and ``correct``; projections hold less."""
    n, d = config.block.altup_streams, config.d_model
    if n is None:
        return ()
    # the streams, their weighted sums, the predictions (n × D each); the weights (n × n)
    predicting = (3 * n * d + n * n) * element_bytes
    # the streams and their predictions (n × D each), the layer's input and output (D each); the norm of the output
    routing = (2 * n + 2) * d * element_bytes + d * norm_bytes(config, element_bytes)
    # the streams, their predictions, the multiples of the error, the sum (n × D each), the layer's input and output
    # (D each), the coefficients (n)
    correcting = ((4 * n + 2) * d + n) * element_bytes
    return predicting, routing, correcting


def _laurel(config: ModelConfig, element_bytes: int) -> tuple[int, ...]:
    """Return the bytes per token of ``model/laurel.py:Laurel.forward``, and of the sum in ``model/block.py``."""
    rank, d = config.block.laurel_rank, config.d_model
    if rank is None:
        return ()
    held = 3 * d * element_bytes  # x, the normalized input, the mixer's output
    # the projected input (R), the output (D), its norm; then the output and two sums (D each)
    return (
        held + rank * element_bytes + d * (element_bytes + norm_bytes(config, element_bytes)),
        held + 3 * d * element_bytes,
    )


def _gated_norms(config: ModelConfig, element_bytes: int) -> Iterator[int]:
    """Yield the bytes per token of each norm with a gate: ``model/norm.py:GatedNorm.forward``.

    They hold the normalized vector, and the gate before and after its sigmoid, or the gate and the product (D each);
    before that, the two tensors of R elements between the projections.
    """
    block, d = config.block, config.d_model
    for held, rank in ((1, block.mixer_norm_gate_rank), (3, block.feed_forward_norm_gate_rank)):
        if rank is not None:  # held: x; or x before and after the mixer, and the mixer's output
            yield ((held + 3) * d + 2 * rank) * element_bytes


def _feed_forward(config: ModelConfig, element_bytes: int) -> tuple[int, ...]:
    """Return the bytes per token of the feed-forward part, at each point where memory may peak.

    Experts follow ``model/experts.py:Experts.forward``. In the worst case one expert receives every token.
    """
    feed_forward, d = config.feed_forward, config.d_model
    if not config.block.feed_forward:
        return ()
    residual_stream = 4 * d * element_bytes  # x before and after the mixer, its output, norm(x)
    # the norm, while the mixer's normalized input is held; a separate point, so that each is linear in the sizes;
    # LayerNorm allocates only its output, which is no larger than that of the sub-layer
    norming = () if config.norm.kind == "layernorm" else (d * norm_bytes(config, element_bytes),)
    hidden = _hidden_tensors(config) * element_bytes  # bytes per hidden unit
    dense = hidden * config.d_ff + d * element_bytes  # hidden tensors (F), the output (D)
    if feed_forward.n_experts is None:
        if feed_forward.sub_norm:  # the gate, the hidden units, their norm (F each)
            normalizing = (1 + feed_forward.gated) * element_bytes + norm_bytes(config, element_bytes)
            dense = max(dense, normalizing * config.d_ff)
        if feed_forward.channel_mixing:  # the receptance, a mix (D each)
            dense += 2 * d * element_bytes
        return tuple(residual_stream + peak for peak in (*norming, dense))
    top_k, upcast_bytes = feed_forward.top_k, max(element_bytes, FLOAT32_BYTES)
    # E scores in the model's dtype, and 4 copies in float32: upcast, activated, corrected, masked by group
    routing = feed_forward.n_scores * (element_bytes + 4 * upcast_bytes)
    # per selected expert: expert index, sort permutation, row indices, sort workspace (int64); routing weight in
    # float32 and in the model dtype
    indices = top_k * (4 * INT64_BYTES + upcast_bytes + element_bytes)
    # the projected tokens (M), if any
    d_routed, latent = config.d_routed, (feed_forward.d_latent or 0) * element_bytes
    # dispatched tokens and expert outputs (k × M each), the output of one expert (M), its hidden tensors (F)
    one_expert = (2 * top_k + 1) * d_routed * element_bytes + hidden * config.d_expert + latent
    # dispatched tokens, the outputs of single experts, and all outputs (k × M each); then, in place of the outputs of
    # single experts, the zeros and the sum (M each)
    weighted_sum = max(3 * top_k, 2 * top_k + 2) * d_routed * element_bytes + latent
    # routed output and shared-expert output (D each), hidden tensors of the shared experts
    shared = 2 * d * element_bytes + hidden * config.d_shared_experts
    if feed_forward.expert_scale:
        indices += top_k * (element_bytes + upcast_bytes)  # the factors of the selected experts, and the product
    # the sum of the experts (M), its projection (D); the projected tokens are freed
    projecting = (indices + latent + d * element_bytes,) if latent else ()
    # the inputs of the router and of the experts, each normalized; later an output and its norm (D each)
    norms = 2 * d * element_bytes if feed_forward.branch_norms else 0
    peaks = (*norming, *projecting, routing, indices + one_expert, indices + weighted_sum, shared)
    return tuple(residual_stream + norms + peak for peak in peaks)


def _per_layer_input(config: ModelConfig, element_bytes: int) -> tuple[int, ...]:
    """Return the bytes per token of ``model/per_layer_embedding.py:PerLayerInput.forward``."""
    d_per_layer = config.embedding.d_per_layer
    if d_per_layer is None:
        return ()
    # x before and after the layer, the projected output (D each) and its norm; of P elements, the gate before and after
    # its activation, and their product with the input
    held = (3 * config.d_model + 3 * d_per_layer) * element_bytes
    return (held + config.d_model * norm_bytes(config, element_bytes),)


def _hidden_tensors(config: ModelConfig) -> int:
    """Return the number of tensors of F elements that ``model/feed_forward.py:FeedForward.forward`` holds at once."""
    feed_forward = config.feed_forward
    # of xIELU: the sign, which is smaller than an element, its two parts, and a temporary of the second
    inside = {"quick_gelu": 1, "relu2": 1, "xielu": 3}.get(feed_forward.activation, 0)  # sigmoid, or ReLU
    adapted = 0 if feed_forward.adapter_rank is None else 2 if feed_forward.gated else 1  # the outputs of the adapter
    if feed_forward.gated:
        # gate, up, activation, product; clamped gate and up
        clamps = feed_forward.clamp is not None or feed_forward.expert_clamp is not None
        sparse = 2 if feed_forward.activation_sparsity is not None else 0  # the gate before its quantile is subtracted
        return max(4, 3 + inside) + adapted + sparse + (2 if clamps else 0)
    return 2 + inside + adapted  # up, activation

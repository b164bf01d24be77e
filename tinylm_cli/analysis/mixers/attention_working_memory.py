"""Working memory of attention in prefill and decoding; ``analysis/inference_working_memory.py`` explains the terms.

Letters: B batch_size, T tokens read, S positions attended to, D d_model, H n_heads, G n_kv_heads, K d_head; latent
attention has C kv_rank, Q q_rank, N d_nope, R d_rope and K_v d_value. ``element_bytes`` is the size of an element,
``upcast_bytes`` its size in float32 or wider: ``max(element_bytes, 4)``.
"""

from __future__ import annotations

from collections.abc import Iterator

from tinylm_cli.analysis.attention_kernels import AttentionBackend
from tinylm_cli.analysis.dtypes import BOOL_BYTES, FLOAT32_BYTES, INT32_BYTES, INT64_BYTES
from tinylm_cli.analysis.mixers.mixer import InferencePass, norm_bytes
from tinylm_cli.config.schema import ModelConfig

MAX_SPLITS, MIN_SPLIT_POSITIONS = 128, 128
"""Flash decoding splits the positions that one token attends to into at most MAX_SPLITS chunks of at least
MIN_SPLIT_POSITIONS positions: Dao et al. 2023, https://crfm.stanford.edu/2023/10/12/flashdecoding.html."""


def attention_prefill_bytes(config: ModelConfig, inference: InferencePass) -> Iterator[int]:
    """Yield the bytes that attention over the tokens read holds, at each point where memory may peak."""
    batch_size, seq_len, kv_len, element_bytes, backend = inference
    mask = _layer_mask(config, seq_len, kv_len, element_bytes, backend)
    if config.attention.index_top_k is not None:
        causal_mask = 0 if backend == "flash" else seq_len * kv_len * BOOL_BYTES  # T × S
        for row in _indexing(config, kv_len, element_bytes, backend) if config.attention.has_indexer else ():
            yield causal_mask + inference.tokens * row
        if backend == "flash":
            mask = inference.tokens * min(config.attention.index_top_k, kv_len) * INT32_BYTES  # positions, B × T × k
        elif config.attention.index_top_k < kv_len:
            # for each sequence: the mask of the selected positions, and the backend's additive mask
            mask = batch_size * (mask + seq_len * kv_len * (BOOL_BYTES + (element_bytes if backend == "fused" else 0)))
    copies = batch_size * kv_len * _copied_keys_and_values(config, element_bytes, backend)
    if config.attention.dynamic_mask_top_k is not None:
        held, masking = _dynamic_mask(config, seq_len, kv_len, element_bytes, backend)
        for per_sequence in masking:
            yield inference.tokens * element_bytes * _projections(config)[2] + batch_size * per_sequence
        mask = batch_size * (mask + held)
    for row in _qk_norm_and_rope(config, element_bytes):
        yield mask + inference.tokens * row
    for row in _attention(config, kv_len, element_bytes, backend):
        yield mask + copies + inference.tokens * row


def attention_decode_bytes(
    config: ModelConfig, seq_len: int, element_bytes: int, backend: AttentionBackend
) -> tuple[int, tuple[int, ...]]:
    """Return the bytes that decoding one token holds throughout, and at each point where memory may peak.

    A backend that materializes scores also repeats cached keys and values for every query head. Latent attention
    concatenates the compressed vectors and the rotary keys:
    ``model/latent_attention.py:LatentAttention._attend_to_latents``. A flash kernel reads the cache in place and
    accumulates the output of each split in float32.
    """
    attention, heads, n_cached = config.attention, config.n_heads, seq_len
    seq_len = min(seq_len, attention.window or attention.index_top_k or seq_len)
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
    if attention.index_top_k is not None:
        held += 0 if backend == "flash" else _gathered_latent_kv(config, n_cached, element_bytes)
    if attention.has_indexer:
        held = max(held, _indexing_cache(config, n_cached, element_bytes, backend))
    if attention.dynamic_mask_top_k is not None:
        mask, masking = _dynamic_mask(config, 1, seq_len, element_bytes, backend)
        held = max(held + mask, *masking)
    attending = (new_copies + row + absorbed for row in _attention(config, 1, element_bytes, backend))
    return held, (*_qk_norm_and_rope(config, element_bytes), *attending)


def _dynamic_mask(
    config: ModelConfig, seq_len: int, kv_len: int, element_bytes: int, backend: AttentionBackend
) -> tuple[int, tuple[int, ...]]:
    """Return the bytes of a dynamic mask of one sequence, and those held at each point that may peak while it is made.

    Follows ``model/dynamic_mask.py:DynamicMask.forward``. A flash kernel adds the biases and hides keys itself; the
    selection then holds only the highest ranks.
    """
    heads, kv_heads, top_k = config.n_heads, config.n_kv_heads, config.attention.dynamic_mask_top_k or kv_len
    logits = kv_len * kv_heads * element_bytes  # G × S
    # a copy of the cached values, with all heads of a position in one row
    d_copied = kv_heads * config.d_value_per_kv_head if seq_len == 1 and kv_heads > 1 else 0
    # the copied values, logits; then logits, softplus, times the scale; or logits, times the scale, exponential
    making = kv_len * d_copied * element_bytes + logits, 3 * logits
    if backend == "flash":
        return logits, making
    pairs = seq_len * kv_len  # T × S
    mask = heads * pairs * element_bytes  # H × T × S
    causal = pairs * BOOL_BYTES if seq_len > 1 else 0  # tril, T × S
    held = logits + kv_len * heads * element_bytes  # and the biases of all heads, H × S
    if top_k >= kv_len:
        return mask, (*making, held + 2 * causal + mask)  # tril, its complement
    selecting = held + causal + kv_heads * seq_len * _best_bytes(kv_len, top_k, element_bytes)
    selected = (kv_heads + 2 * heads) * pairs * BOOL_BYTES  # of KV heads; of all heads, and its complement
    return mask, (*making, selecting, held + selected + mask)


def _best_bytes(length: int, top_k: int, element_bytes: int) -> int:
    """Return the bytes that ``model/indexer.py:best`` holds for one row of ``length`` scores, with the scores."""
    positions = top_k * INT64_BYTES  # of the highest scores, from torch.topk
    # greater, equal, within the count; cumulative counts; the missing number
    comparing = length * (3 * BOOL_BYTES + INT32_BYTES) + INT32_BYTES
    return (length + top_k) * element_bytes + max(positions, comparing)  # the scores, the highest ones


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
    """Return elements per token: of the query, of the key, and the sum over x, norm(x), query, key and value.

    With ``attention.kv_from``, keys and values belong to an earlier layer: ``inference_working_memory.py`` counts them
    for as long as they are held.
    """
    n_kv_heads = 0 if config.attention.kv_from else config.n_kv_heads
    d_query, d_keys = config.n_heads * config.d_head, n_kv_heads * config.d_head  # H·K, G·K
    d_values = n_kv_heads * config.d_value_per_kv_head  # G·K_v
    return d_query, d_keys, 2 * config.d_model + d_query + d_keys + d_values  # x, norm(x); q; k, v


def _qk_norm_and_rope(config: ModelConfig, element_bytes: int) -> tuple[int, ...]:
    """Return the bytes per token while ``SelfAttention.forward`` normalizes or rotates queries and keys."""
    if config.attention.kind == "latent":
        return ()
    d_query, d_keys, held = _projections(config)
    if config.position.kind == "rope":
        return (element_bytes * (held + 2 * d_query + d_keys),)  # the two products that rotate q; the rotated k
    # normalized q and k
    return (element_bytes * (held + d_query + d_keys),) if config.attention.qk_norm != "none" else ()


def _attention(config: ModelConfig, kv_len: int, element_bytes: int, backend: AttentionBackend) -> tuple[int, ...]:
    """Return the bytes per token of attention over ``kv_len`` positions, at each point where memory may peak."""
    if config.attention.kind == "latent":
        return _latent_attention(config, kv_len, element_bytes, backend)
    d_query, _, held = _projections(config)
    d_out = config.n_heads * config.d_value_per_kv_head  # H·K_v
    if config.attention.temperature_scale is not None:
        held += d_query  # q times its factor
    peaks = [
        element_bytes * (held + d_out + d_out),  # held, the output (B, H, T, K_v), the output (B, T, H·K_v)
        element_bytes * (held + d_out + config.d_model),  # held, the output (B, T, H·K_v), its projection (B, T, D)
    ]
    if config.attention.n_experts is not None:
        top_k = config.attention_top_k
        # held, the output, the same sorted by expert; the outputs of experts (k × D) and the same weighted, or the sum
        # before and after its bias
        sorting = element_bytes * (held + 2 * d_out + max(2 * top_k, top_k + 2) * config.d_model)
        peaks.append(sorting + 2 * top_k * (INT64_BYTES + element_bytes))  # order, rows; weights, also sorted
    if config.attention.differential:
        # held; the outputs of both heads (2·H·K); of all pairs, the difference, normalized and scaled (H·K each)
        peaks.append(element_bytes * (held + 5 * d_query))
    if config.attention.gate:
        d_gate = config.n_heads if config.attention.gate_per_head else d_out
        # held, the output; the gate, before and after its sigmoid; or the gate, and the product
        peaks.append(element_bytes * (held + d_out + d_gate + max(d_gate, d_out)))
    if config.attention.sub_norm:  # held, the output (B, T, H·K_v), its norm
        peaks.append(element_bytes * (held + d_out) + d_out * norm_bytes(config, element_bytes))
    if backend in ("math", "eager"):
        scores = config.n_heads * kv_len * _score_bytes(element_bytes, backend)  # H × S
        upcast_query = _upcast_and_scaled(element_bytes) * d_query if backend == "math" else 0
        if config.d_value != config.d_head:  # the output, upcast and in the model's dtype
            upcast_query += config.n_heads * config.d_value * (element_bytes + max(element_bytes, FLOAT32_BYTES))
        peaks.append(element_bytes * held + scores + upcast_query)
    return tuple(peaks)


def _latent_attention(
    config: ModelConfig, kv_len: int, element_bytes: int, backend: AttentionBackend
) -> tuple[int, ...]:
    """Return the bytes per token of latent attention, at each point where memory may peak.

    Follows ``model/latent_attention.py:LatentAttention._attend_to_expanded``. Values have fewer dimensions than keys,
    so torch selects the math backend on the CPU. That backend allocates new tensors for the upcast queries, keys and
    values, and for the scaled queries and keys.
    """
    attention, heads, upcast_bytes = config.attention, config.n_heads, max(element_bytes, FLOAT32_BYTES)
    d_query, d_values = heads * config.d_head, heads * config.d_value  # H·(N + R), H·K_v
    d_rotated = attention.d_rope if config.position.kind == "rope" else 0
    d_own_key = attention.d_rope if attention.k_rope_norm else d_rotated
    held = (
        2 * config.d_model  # x, norm(x)
        + 3 * d_query  # the projected q; the concatenated q and k
        + heads * d_rotated  # q_rope, rotated
        + (attention.kv_rank + attention.d_rope)  # kv_a_proj output
        + (attention.kv_rank + d_own_key)  # normalized (C), and normalized or rotated (R)
        + (attention.q_rank or 0)  # the compressed query
        + (2 * (attention.q_rank or 0) if attention.q_concat_raw else 0)  # with its norm
        + (heads * attention.d_nope + d_values)  # k_nope and v from kv_b_proj
    )
    if attention.temperature_scale is not None:
        held += d_query  # q times its factor
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


def _indexing(config: ModelConfig, kv_len: int, element_bytes: int, backend: AttentionBackend) -> tuple[int, int, int]:
    """Return the bytes per token while an indexer rotates queries, scores ``kv_len`` positions, and selects some.

    Follows ``model/indexer.py:Indexer.select``. With flash kernels, one kernel also weights and sums the scores of all
    heads, as ``fp8_mqa_logits`` of https://github.com/deepseek-ai/DeepGEMM does, and another selects the highest.
    """
    attention, upcast_bytes = config.attention, max(element_bytes, FLOAT32_BYTES)
    assert attention.index_top_k is not None
    n_selected = min(attention.index_top_k, kv_len)
    copy_bytes = upcast_bytes if upcast_bytes > element_bytes else 0  # of an element that is upcast
    heads, d_index = attention.index_n_heads, attention.index_d_head
    held = element_bytes * (
        2 * config.d_model  # x, norm(x)
        + 2 * (attention.q_rank or 0)  # the compressed query, and its norm
        + config.n_heads * (config.d_head + attention.d_rope)  # the projected q; q_rope, rotated
        + 3 * (attention.kv_rank + attention.d_rope)  # kv_a_proj output; normalized (C) and rotated (R), cached
        + 2 * d_index  # the key, cached
    )
    queries = heads * d_index
    rotating = held + 3 * queries * element_bytes  # projected, rotated, by position
    weights = heads * (element_bytes + copy_bytes + upcast_bytes)  # projected, upcast, scaled
    keys = d_index * copy_bytes  # one per position, and there are as many tokens as positions
    scores = kv_len * upcast_bytes  # S
    if backend == "flash":
        positions = n_selected * INT32_BYTES
        return rotating, held + queries * element_bytes + weights + scores, held + scores + positions
    scoring = held + queries * (element_bytes + copy_bytes) + weights + keys + heads * scores + scores
    return rotating, scoring, held + _best_bytes(kv_len, n_selected, upcast_bytes)


def _indexing_cache(config: ModelConfig, kv_len: int, element_bytes: int, backend: AttentionBackend) -> int:
    """Return the bytes of the scores of one token, and of the cached keys in float32."""
    attention, upcast_bytes = config.attention, max(element_bytes, FLOAT32_BYTES)
    copies = upcast_bytes > element_bytes and backend != "flash"
    keys = attention.index_d_head * upcast_bytes if copies else 0
    return max(_indexing(config, kv_len, element_bytes, backend)) + kv_len * keys


def _gathered_latent_kv(config: ModelConfig, kv_len: int, element_bytes: int) -> int:
    """Return the bytes of the latents and rotary keys that an indexer selects of ``kv_len`` positions."""
    attention, top_k = config.attention, config.attention.index_top_k or kv_len
    if top_k >= kv_len:
        return 0
    d_latent = attention.kv_rank + attention.d_rope  # C + R
    # which are selected, as booleans and as bytes; their positions and values; latents and keys
    return kv_len * 2 * BOOL_BYTES + top_k * (INT64_BYTES + BOOL_BYTES + d_latent * element_bytes)


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
    tuned = element_bytes if config.attention.temperature_scale is not None else 0  # times its factor
    # projected, concatenated; upcast, times √scale
    return config.n_heads * d_key * (2 * element_bytes + tuned + 2 * upcast_bytes)


def _copied_keys_and_values(config: ModelConfig, element_bytes: int, backend: AttentionBackend) -> int:
    """Return the bytes per position of the copies that attention makes of keys and values."""
    if config.attention.kind == "latent":
        return 0
    # differential attention: the values of pairs of KV heads (G·K), repeated for both heads of a pair (G·2·K)
    paired = 3 * config.n_kv_heads * config.d_head * element_bytes if config.attention.differential else 0
    if backend in ("flash", "fused"):
        return paired
    d_query, d_values = config.n_heads * config.d_head, config.n_heads * config.d_value  # H·K, H·K_v
    # key and value repeated for every query head
    repeated = (d_query + d_values) * element_bytes if config.n_kv_heads < config.n_heads else 0
    if backend == "eager":
        return paired + repeated
    # the key upcast and scaled; the value upcast, not scaled
    upcast_values = d_values * (_upcast_and_scaled(element_bytes) - max(element_bytes, FLOAT32_BYTES))
    return paired + repeated + d_query * _upcast_and_scaled(element_bytes) + upcast_values


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

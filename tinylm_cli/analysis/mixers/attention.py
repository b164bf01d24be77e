"""Attention: multi-head, grouped-query and latent.

Letters: B batch_size, T tokens, S positions in the cache, D d_model, H n_heads, G n_kv_heads, K d_head, K_v d_value;
latent attention has C kv_rank, Q q_rank, N d_nope and R d_rope; its indexer H_i index_n_heads and I index_d_head.

References:
    Vaswani et al. 2017, https://arxiv.org/abs/1706.03762;
    Ainslie et al. 2023 (grouped queries), https://arxiv.org/abs/2305.13245;
    DeepSeek-AI 2024 (latent attention), https://arxiv.org/abs/2405.04434
"""

from __future__ import annotations

from collections.abc import Iterator

from tinylm_cli.analysis.dtypes import DTYPE_BYTES
from tinylm_cli.analysis.matmul import FLOPS_PER_ELEMENT, Matmul, SequencePass
from tinylm_cli.analysis.mixers.attention_working_memory import attention_decode_bytes, attention_prefill_bytes
from tinylm_cli.analysis.mixers.mixer import InferencePass, Mixer
from tinylm_cli.analysis.saved_tensors.attention import attention, attention_gradient_bytes
from tinylm_cli.analysis.saved_tensors.saved_tensor import ForwardPass, SavedTensor
from tinylm_cli.analysis.tensor import Tensor, linear, norm
from tinylm_cli.config.schema import ModelConfig

KEYS_AND_VALUES = 2
"""A head caches one key and one value per position."""

RAW_AND_NORMALIZED = 2
"""With ``attention.q_concat_raw``, queries are computed from the compressed query before and after its norm."""

_SCALE_BYTES_PER_VECTOR = {"float8": 0, "int8": 4}
"""An 8-bit cache takes 1 byte per element. ``float8`` has one scale per tensor or none, counted as 0, as in vLLM;
``int8`` has a 16-bit scale and a 16-bit zero point per key and per value, as in LMDeploy."""


class Attention(Mixer):
    """Causal self-attention of any kind."""

    column_parallel = (
        "q_proj",
        "k_proj",
        "v_proj",
        "gate_proj",
        "q_b_proj",
        "kv_b_proj",
        "sinks",
        "gate_bias",
        "sub_norm",
    )
    row_parallel = ("o_proj", "proj")
    caches_tokens = True
    supports_context_parallel = True

    def tensors(self, config: ModelConfig) -> Iterator[Tensor]:
        """Yield the projections, the norms of queries, keys and the output of all heads, and the sinks."""
        return _latent_attention(config) if config.attention.kind == "latent" else _attention(config)

    def matmuls(self, config: ModelConfig, counted: SequencePass) -> Iterator[Matmul]:
        """Yield the matmuls without weights: scores, scores times values, and the matmuls of an indexer.

        Attention counts only the pairs of positions that an indexer selects, as in a sparse kernel;
        ``model/latent_attention.py`` computes all pairs of a prompt, and masks the others.
        """
        attention = config.attention
        pairs = counted.pairs(attention.window or attention.index_top_k, chunked=attention.chunked)
        yield from _matmuls(config, pairs, absorbed=counted.decodes)
        if attention.dynamic_mask_top_k is not None and counted.decodes:
            # a step projects all cached values again: 2 × (S - 1) × G × G·K_v, without the token's own
            d_values = config.n_kv_heads * config.d_value_per_kv_head
            again = FLOPS_PER_ELEMENT * (pairs - 1) * config.n_kv_heads * d_values
            yield Matmul("attention.dynamic_mask.proj", "attention", again, has_weight=True)
        if attention.has_indexer:
            scored = counted.pairs(None)  # the indexer scores all pairs
            weighted = FLOPS_PER_ELEMENT * attention.index_n_heads * scored  # weights times scores, 2 × H_i × pairs
            products = weighted * attention.index_d_head  # queries times keys, 2 × H_i × pairs × I
            yield Matmul("attention.indexer.scores", "attention_scores", products)
            yield Matmul("attention.indexer.weighted", "attention_scores", weighted)

    def cache_bytes(self, config: ModelConfig, *, seq_len: int, dtype: str) -> int:
        """Return the bytes of keys and values: ``S · G · (K + K_v) · itemsize``; S is at most the window or chunk.

        Latent attention caches ``C + R`` elements per position, and ``I`` more with an indexer. A layer with
        ``attention.kv_from`` caches nothing. The shapes match ``model/attention.py:LayerKVCache.buffers``.
        """
        return 0 if config.attention.kv_from else self._attended_bytes(config, seq_len=seq_len, dtype=dtype)

    def _attended_bytes(self, config: ModelConfig, *, seq_len: int, dtype: str) -> int:
        """Return the bytes of the keys and values of the cached positions that a token attends to."""
        positions = min(seq_len, config.attention.window or seq_len)  # S
        return positions * position_bytes(*_cached(config), dtype)

    def read_cache_bytes(self, config: ModelConfig, *, seq_len: int, dtype: str) -> int:
        """Return the bytes that one step reads; with an indexer, every index key and the latents that it selects.

        A layer with ``attention.kv_from`` reads the keys and values that an earlier layer has cached.
        """
        attention = config.attention
        if attention.index_top_k is None:
            return self._attended_bytes(config, seq_len=seq_len, dtype=dtype)
        selected = min(seq_len, attention.index_top_k)
        latents = selected * position_bytes(attention.kv_rank + attention.d_rope, 1, dtype)  # min(S, k) × (C + R)
        if attention.index_shared:
            return latents
        return latents + seq_len * position_bytes(attention.index_d_head, 1, dtype)  # S × I

    def tensor_parallel_sizes(self, config: ModelConfig) -> Iterator[tuple[str, int]]:
        """Yield the heads; all heads share the latent vector."""
        yield "n_heads", config.n_heads
        if config.attention.differential:
            yield "pairs of KV heads", config.n_kv_heads // 2
        elif config.attention.kind != "latent":
            yield "attention.n_kv_heads", config.n_kv_heads

    def ring_elements(self, config: ModelConfig, *, tensor_parallel: int) -> int:
        """Return the elements of keys and values, and of the biases of a dynamic mask."""
        attention = config.attention
        if attention.kind == "latent":
            return _cached(config)[0]  # the latent vector and the shared rotary key; the key of the indexer
        d_key_and_value = config.d_head + config.d_value_per_kv_head  # K + K_v
        biases = 0 if attention.dynamic_mask_top_k is None else 1  # of each key in each KV head
        return config.n_kv_heads * (d_key_and_value + biases) // tensor_parallel  # G × (K + K_v)

    def summed_elements(self, config: ModelConfig) -> int:
        """Return the elements of the biases of keys, each computed from the values of all heads."""
        return 0 if config.attention.dynamic_mask_top_k is None else config.n_kv_heads

    def saved(self, run: ForwardPass, x: SavedTensor) -> Iterator[SavedTensor]:
        """Yield the inputs of the projections, and the tensors of core attention."""
        return attention(run, x)

    def gradient_bytes(self, run: ForwardPass) -> int:
        """Return the bytes of the gradients of scores, or of queries, keys, values and output."""
        return attention_gradient_bytes(run)

    def prefill_bytes(self, config: ModelConfig, inference: InferencePass) -> Iterator[int]:
        """Yield the bytes of projections, masks, copies and scores."""
        return attention_prefill_bytes(config, inference)

    def decode_bytes(self, config: ModelConfig, inference: InferencePass) -> tuple[int, tuple[int, ...]]:
        """Return the bytes of copies and scores, and of the projections of one token."""
        return attention_decode_bytes(config, inference.kv_len, inference.element_bytes, inference.backend)


def _attention(config: ModelConfig) -> Iterator[Tensor]:
    """Yield the projections to queries, keys and values, and the output projection (Vaswani et al. 2017).

    Grouped-query attention has G < H key/value heads, so the key and value projections are smaller. Layers with
    ``attention.kv_from`` have none of these. Attention in a shared block reads 2·D dimensions.

    References:
        Ainslie et al. 2023 (grouped queries), https://arxiv.org/abs/2305.13245;
        Shi et al. 2025 (dynamic mask), https://arxiv.org/abs/2508.02124;
        Brandon et al. 2024 (keys and values of an earlier layer), https://arxiv.org/abs/2405.12981;
        Ye et al. 2024 (differential attention), https://arxiv.org/abs/2410.05258;
        Wang et al. 2022 (Magneto, norm before the output projection), https://arxiv.org/abs/2210.06423
    """
    d, d_in, attention = config.d_model, config.d_attention_input, config.attention
    d_query, d_keys = config.n_heads * config.d_head, config.n_kv_heads * config.d_head
    d_values, d_out = (heads * config.d_value_per_kv_head for heads in (config.n_kv_heads, config.n_heads))
    projects = attention.kv_from is None  # keys and values
    if attention.sinks:
        yield Tensor("attention.sinks", (config.n_heads,), "attention")  # (H)
    if attention.gate_bias_kind == "per_head":
        yield Tensor("attention.gate_bias", (config.n_heads,), "attention")  # (H)
    if attention.differential:
        for name in ("lambda_q1", "lambda_k1", "lambda_q2", "lambda_k2"):
            yield Tensor(f"attention.{name}", (config.d_head,), "attention")  # (K)
    if attention.n_experts is None:
        yield from linear("attention.q_proj", d_in, d_query, "attention", bias=attention.bias)  # (H·K, D)
    else:
        yield from _experts(config, attention.n_experts)
    if projects:
        yield from linear("attention.k_proj", d_in, d_keys, "attention", bias=attention.bias)  # (G·K, D)
    if projects and not attention.keys_as_values:
        yield from linear("attention.v_proj", d_in, d_values, "attention", bias=attention.bias)  # (G·K_v, D)
    if attention.gate:
        has_bias = attention.gate_bias_kind == "full"
        yield from linear(
            "attention.gate_proj", d_in, _d_gate(config, d_out), "attention", bias=has_bias
        )  # (H·K_v or H, D)
    if attention.n_experts is None:
        yield from linear("attention.o_proj", d_out, d, "attention", bias=attention.has_out_bias)  # (D, H·K_v)
    if attention.qk_norm != "none" and attention.qk_norm_weight:
        per_head = attention.qk_norm == "per_head"
        yield from norm("attention.q_norm", config, config.d_head if per_head else d_query)  # (K) or (H·K)
        if projects:
            yield from norm("attention.k_norm", config, config.d_head if per_head else d_keys)  # (K) or (G·K)
    if attention.sub_norm:
        yield from norm("attention.sub_norm", config, d_out)  # (H·K_v)
    if attention.dynamic_mask_top_k is not None:
        yield Tensor("attention.dynamic_mask.scale", (config.n_kv_heads,), "attention")  # (G)
        yield from linear(
            "attention.dynamic_mask.proj", d_values, config.n_kv_heads, "attention", bias=attention.bias
        )  # (G, G·K_v)


def _experts(config: ModelConfig, n_experts: int) -> Iterator[Tensor]:
    """Yield the bias of the output, the router, and the projections of E experts of G heads; a token uses k experts.

    References:
        Zhang et al. 2022 (mixture of attention heads), https://arxiv.org/abs/2210.05144
    """
    d, d_in, attention, name = config.d_model, config.d_attention_input, config.attention, "attention.experts"
    d_query, d_out = (config.n_kv_heads * each for each in (config.d_head, config.d_value_per_kv_head))
    if attention.has_out_bias:
        yield Tensor(f"{name}.bias", (d,), "attention")  # (D)
    yield from linear(f"{name}.router", d_in, n_experts, "attention", bias=False)  # (E, D)
    queries = linear(f"{name}.q_proj", d_in, d_query, "attention", bias=attention.bias)  # (E, G·K, D)
    outputs = linear(f"{name}.o_proj", d_out, d, "attention", bias=False)  # (E, D, G·K_v)
    for tensor in (*queries, *outputs):
        yield tensor._replace(shape=(n_experts, *tensor.shape), experts_per_token=config.attention_top_k)


def _latent_attention(config: ModelConfig) -> Iterator[Tensor]:
    """Yield multi-head latent attention: keys and values are expanded from one compressed vector per token.

    References:
        DeepSeek-AI 2024 (DeepSeek-V2), section 2.1, https://arxiv.org/abs/2405.04434
    """
    d, heads, attention = config.d_model, config.n_heads, config.attention
    if attention.sinks:
        yield Tensor("attention.sinks", (heads,), "attention")  # (H)
    d_query, d_gate_input = heads * (attention.d_nope + attention.d_rope), d
    if attention.q_rank is None:
        yield from linear("attention.q_proj", d, d_query, "attention", bias=False)  # (H·(N + R), D)
    else:
        yield from linear("attention.q_a_proj", d, attention.q_rank, "attention", bias=attention.bias)  # (Q, D)
        yield from norm("attention.q_a_norm", config, attention.q_rank)  # (Q)
        d_input = attention.q_rank * (RAW_AND_NORMALIZED if attention.q_concat_raw else 1)  # Q, or 2Q
        d_gate_input = d_input if attention.q_concat_raw else d  # 2Q, or D
        yield from linear("attention.q_b_proj", d_input, d_query, "attention", bias=False)  # (H·(N + R), Q)
        if attention.has_indexer:
            yield from _indexer(config, attention.q_rank)
    d_compressed = attention.kv_rank + attention.d_rope
    yield from linear("attention.kv_a_proj", d, d_compressed, "attention", bias=attention.bias)  # (C + R, D)
    yield from norm("attention.kv_a_norm", config, attention.kv_rank)  # (C)
    if attention.k_rope_norm:
        yield from norm("attention.k_rope_norm", config, attention.d_rope)  # (R)
    d_expanded = heads * (attention.d_nope + config.d_value)
    yield from linear("attention.kv_b_proj", attention.kv_rank, d_expanded, "attention", bias=False)  # (H·(N + K_v), C)
    d_values = heads * config.d_value
    if attention.gate:
        yield from linear(
            "attention.gate_proj", d_gate_input, _d_gate(config, d_values), "attention", bias=False
        )  # (H·K_v or H, D or 2Q)
    yield from linear("attention.o_proj", d_values, d, "attention", bias=attention.has_out_bias)  # (D, H·K_v)


def _indexer(config: ModelConfig, q_rank: int) -> Iterator[Tensor]:
    """Yield the tensors of the indexer. Every GPU holds all of them, because all heads attend to its selection.

    References:
        DeepSeek-AI 2025 (DeepSeek-V3.2), section 2.1, https://arxiv.org/abs/2512.02556
    """
    d_index, heads = config.attention.index_d_head, config.attention.index_n_heads
    yield from linear("attention.indexer.wq_b", q_rank, heads * d_index, "attention", bias=False)  # (H_i·I, Q)
    yield from linear("attention.indexer.wk", config.d_model, d_index, "attention", bias=False)  # (I, D)
    for name in ("weight", "bias"):
        yield Tensor(f"attention.indexer.k_norm.{name}", (d_index,), "norm")  # (I)
    yield from linear("attention.indexer.weights_proj", config.d_model, heads, "attention", bias=False)  # (H_i, D)


def _d_gate(config: ModelConfig, d_values: int) -> int:
    """Return the factors of the output gate per token: one for each of ``d_values`` dimensions of all heads, or H."""
    return config.n_heads if config.attention.gate_per_head else d_values


def _matmuls(config: ModelConfig, pairs: int, *, absorbed: bool) -> Iterator[Matmul]:
    """Yield the matmuls inside attention; every query head has its own, even where heads share keys and values."""
    d_key, d_value = config.d_head, config.d_value  # K, K_v
    if absorbed and config.attention.kind == "latent":
        d_key, d_value = config.attention.kv_rank + config.attention.d_rope, config.attention.kv_rank
    scores = FLOPS_PER_ELEMENT * config.n_heads * pairs * d_key  # Q·Kᵀ: 2 × H × pairs × K
    values = FLOPS_PER_ELEMENT * config.n_heads * pairs * d_value  # softmax(scores)·V: 2 × H × pairs × K_v
    yield Matmul("attention.scores", "attention_scores", scores)
    yield Matmul("attention.values", "attention_scores", values)


def _cached(config: ModelConfig) -> tuple[int, int]:
    """Return the elements and the vectors that one layer caches per position."""
    attention = config.attention
    if attention.kind == "latent":
        # one vector of C + R, shared by all heads, and one of I of the indexer
        d_index = attention.index_d_head if attention.has_indexer else 0
        return attention.kv_rank + attention.d_rope + d_index, 1 + (d_index > 0)
    elements = config.n_kv_heads * (config.d_head + config.d_value_per_kv_head)  # G × (K + K_v)
    return elements, KEYS_AND_VALUES * config.n_kv_heads  # 2 × G


def position_bytes(elements: int, vectors: int, dtype: str) -> int:
    """Return the bytes of ``elements`` numbers cached as ``vectors`` keys or values; int8 has a scale for each."""
    if dtype in _SCALE_BYTES_PER_VECTOR:
        return elements + vectors * _SCALE_BYTES_PER_VECTOR[dtype]  # 1 byte each + scales
    return elements * DTYPE_BYTES[dtype]

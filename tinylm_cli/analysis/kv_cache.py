"""Bytes of the KV cache: keys and values of earlier tokens, which decoding does not recompute.

Letters: B batch_size, S cached positions, H n_heads, G n_kv_heads, K d_head, K_v d_value; latent attention has C
kv_rank and R d_rope.
"""

from __future__ import annotations

from tinylm_cli.analysis.dtypes import DTYPE_BYTES
from tinylm_cli.analysis.layer_kinds import group_layers
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.reports.serving import CacheKind, CacheShape

KEYS_AND_VALUES = 2
"""A head caches one key and one value per position."""

_SCALE_BYTES_PER_VECTOR = {"float8": 0, "int8": 4}
"""An 8-bit cache takes 1 byte per element. ``float8`` has one scale per tensor or none, counted as 0, as in vLLM;
``int8`` has a 16-bit scale and a 16-bit zero point per key and per value, as in LMDeploy."""


def kv_cache_bytes(config: ModelConfig, *, batch_size: int, seq_len: int, dtype: str) -> int:
    """Return the bytes of the KV cache.

    ``Σ over layers of B · S · 2 · G · K · itemsize``, where S is ``seq_len``, or ``min(seq_len, window)`` in a layer
    with a sliding window. Latent attention caches ``C + R`` elements per position instead of ``2 · G · K``. The shapes
    match ``model/attention.py:LayerKVCache.buffer_shape``.

    Args:
        config: A validated config.
        batch_size: B, sequences decoded together, >= 1.
        seq_len: Tokens per sequence, >= 1.
        dtype: A key of ``DTYPE_BYTES``, ``float8`` or ``int8``.

    Returns:
        Bytes, without allocator overhead.

    References:
        Ainslie et al. 2023 (grouped queries), https://arxiv.org/abs/2305.13245;
        DeepSeek-AI 2024 (latent attention), https://arxiv.org/abs/2405.04434;
        Jiang et al. 2023 (a window's rolling buffer), https://arxiv.org/abs/2310.06825;
        https://docs.vllm.ai/en/latest/features/quantization/quantized_kvcache/;
        https://lmdeploy.readthedocs.io/en/latest/quantization/kv_quant.html
    """
    per_sequence = 0
    for group in group_layers(config, seq_len):
        positions = min(seq_len, group.config.attention.window or seq_len)  # S, in the window
        per_sequence += len(group.layers) * positions * _position_bytes(*_cached(group.config), dtype)
    return batch_size * per_sequence  # B × Σ layers × S × bytes


def cache_shape(config: ModelConfig, dtype: str) -> CacheShape:
    """Return the kind of a model's cache, and its size compared with the cache of multi-head attention.

    Args:
        config: A validated config.
        dtype: As for :func:`kv_cache_bytes`.
    """
    latent = config.attention.kind == "latent"
    elements = config.n_heads * (config.d_head + config.d_value)  # H keys of K, H values of K_v
    multi_head_bytes = config.n_layers * _position_bytes(elements, KEYS_AND_VALUES * config.n_heads, dtype)
    token_bytes = kv_cache_bytes(config, batch_size=1, seq_len=1, dtype=dtype)
    n_windowed = sum(
        len(group.layers) for group in group_layers(config, None) if group.config.attention.window is not None
    )
    return CacheShape(
        kind=_kind(config),
        dtype=dtype,
        n_heads=config.n_heads,
        n_kv_heads=None if latent else config.n_kv_heads,
        kv_rank=config.attention.kv_rank if latent else None,
        d_rope=config.attention.d_rope if latent else None,
        n_layers=config.n_layers,
        window=config.attention.window if n_windowed else None,
        windowed_layers=n_windowed,
        token_bytes=token_bytes,
        multi_head_token_bytes=multi_head_bytes,
        multi_head_ratio=multi_head_bytes / token_bytes,
    )


def _kind(config: ModelConfig) -> CacheKind:
    if config.attention.kind == "latent":
        return "latent"
    if config.n_kv_heads == config.n_heads:
        return "multi-head"
    return "grouped-query" if config.n_kv_heads > 1 else "multi-query"


def _cached(config: ModelConfig) -> tuple[int, int]:
    """Return the elements and the vectors that one layer caches per position."""
    attention = config.attention
    if attention.kind == "latent":
        return attention.kv_rank + attention.d_rope, 1  # one vector of C + R, shared by all heads
    vectors = KEYS_AND_VALUES * config.n_kv_heads  # 2 × G
    return vectors * config.d_head, vectors  # 2 × G × K


def _position_bytes(elements: int, vectors: int, dtype: str) -> int:
    if dtype in _SCALE_BYTES_PER_VECTOR:
        return elements + vectors * _SCALE_BYTES_PER_VECTOR[dtype]  # 1 byte each + scales
    return elements * DTYPE_BYTES[dtype]

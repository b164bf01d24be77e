"""Bytes of the KV cache: keys and values of earlier tokens, which decoding does not recompute.

Letters: B batch_size, S cached positions, H n_heads, G n_kv_heads, K d_head, K_v d_value; latent attention has C
kv_rank and R d_rope.
"""

from __future__ import annotations

from tinylm_cli.analysis.layer_kinds import group_layers
from tinylm_cli.analysis.mixers.attention import KEYS_AND_VALUES, position_bytes
from tinylm_cli.analysis.mixers.registry import mixer_of
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.reports.serving import CacheKind, CacheShape


def kv_cache_bytes(config: ModelConfig, *, batch_size: int, seq_len: int, dtype: str) -> int:
    """Return the bytes of the KV cache.

    The sum over layers of what each mixer caches, as the ``cache_bytes`` of its file in ``analysis/mixers/`` describes.

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
        layer_bytes = mixer_of(group.config).cache_bytes(group.config, seq_len=seq_len, dtype=dtype)
        per_sequence += len(group.layers) * layer_bytes
    return batch_size * per_sequence  # B × Σ layers × bytes of a layer


def cache_shape(config: ModelConfig, dtype: str) -> CacheShape:
    """Return the kind of a model's cache, and its size compared with the cache of multi-head attention.

    Args:
        config: A validated config.
        dtype: As for :func:`kv_cache_bytes`.
    """
    latent = config.attention.kind == "latent"
    elements = config.n_heads * (config.d_head + config.d_value)  # H keys of K, H values of K_v
    multi_head_bytes = config.n_layers * position_bytes(elements, KEYS_AND_VALUES * config.n_heads, dtype)
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

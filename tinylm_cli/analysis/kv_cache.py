"""Bytes of the KV cache: keys and values of earlier tokens and states of constant size, which decoding reads.

Letters: B batch_size, H n_heads, K d_head, K_v d_value.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from tinylm_cli.analysis.cache_pages import cache_pages
from tinylm_cli.analysis.layer_kinds import LayerSet, group_layers
from tinylm_cli.analysis.mixers import mixer_of
from tinylm_cli.analysis.mixers.attention import KEYS_AND_VALUES, position_bytes
from tinylm_cli.analysis.mixers.mixer import state_element_bytes
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.reports.serving import CacheKind, CacheLayers, CacheShape


def kv_cache_bytes(config: ModelConfig, *, batch_size: int, seq_len: int, dtype: str) -> int:
    """Return the bytes of the KV cache.

    The sum over layers of the cache of each mixer (``cache_bytes`` of its file in ``analysis/mixers/``) and of the last
    input of channel mixing.

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
        per_sequence += group.n_runs * (layer_bytes + _shifted_bytes(group.config, dtype))
    return batch_size * per_sequence  # B × Σ layers × passes × bytes of a layer


def read_cache_bytes(config: ModelConfig, *, seq_len: int, dtype: str) -> int:
    """Return the bytes of the cache of one sequence that a decoding step reads.

    Args:
        config: A validated config.
        seq_len: Tokens in the cache, >= 1.
        dtype: As for :func:`kv_cache_bytes`.
    """
    return sum(
        group.n_runs
        * (
            mixer_of(group.config).read_cache_bytes(group.config, seq_len=seq_len, dtype=dtype)
            + _shifted_bytes(group.config, dtype)
        )
        for group in group_layers(config, seq_len)
    )


def state_bytes(config: ModelConfig, dtype: str) -> int:
    """Return the bytes of the states of constant size of one sequence, which each decoding step reads and writes."""
    return sum(each.state_bytes for each in _cache_layers(config, dtype))


def cache_shape(config: ModelConfig, dtype: str) -> CacheShape:
    """Return the cache of each kind of layers, and its size compared with the cache of multi-head attention.

    Args:
        config: A validated config.
        dtype: As for :func:`kv_cache_bytes`.
    """
    layers = tuple(_cache_layers(config, dtype))
    token_bytes = sum(each.token_bytes for each in layers)
    multi_head_bytes = sum(
        group.n_runs * _multi_head_bytes(group.config, dtype)
        for group in group_layers(config, None)
        if mixer_of(group.config).caches_tokens
    )
    return CacheShape(
        dtype=dtype,
        layers=layers,
        token_bytes=token_bytes,
        multi_head_token_bytes=multi_head_bytes,
        multi_head_ratio=multi_head_bytes / token_bytes if token_bytes else None,
        state_bytes=sum(each.state_bytes for each in layers),
        pages=cache_pages(layers),
    )


def _cache_layers(config: ModelConfig, dtype: str) -> Iterator[CacheLayers]:
    """Yield the layers with equal caches."""
    alike: dict[tuple[CacheLayers, int], list[LayerSet]] = {}
    for group in group_layers(config, None):
        alike.setdefault((_one_layer(group.config, dtype), group.n_passes), []).append(group.layers)
    for (layer, n_passes), sets in alike.items():
        layers = LayerSet.union(sets)
        n_caches = len(layers) * n_passes
        yield replace(
            layer,
            n_layers=n_caches,
            layers=layers.text() if n_passes == 1 else f"{layers.text()} ({n_passes} passes)",
            token_bytes=n_caches * layer.token_bytes,
            state_bytes=n_caches * layer.state_bytes,
        )


def _one_layer(config: ModelConfig, dtype: str) -> CacheLayers:
    mixer = mixer_of(config)
    kept, shifted = mixer.cache_bytes(config, seq_len=1, dtype=dtype), _shifted_bytes(config, dtype)
    if not mixer.caches_tokens:
        states = kept + shifted
        kind: CacheKind = "state" if states else "none"
        return CacheLayers(1, "", kind, None, None, None, None, None, None, False, token_bytes=0, state_bytes=states)
    states = mixer.state_bytes(config, dtype=dtype)
    latent = config.attention.kind == "latent"
    return CacheLayers(
        n_layers=1,
        layers="",
        kind=_kind(config),
        n_heads=config.n_heads,
        n_kv_heads=None if latent else config.n_kv_heads,
        kv_rank=config.attention.kv_rank if latent else None,
        d_rope=config.attention.d_rope if latent else None,
        d_index=config.attention.index_d_head if config.attention.has_indexer else None,
        window=config.attention.window,
        chunked=config.attention.chunked,
        token_bytes=kept - states,
        state_bytes=states + shifted,
    )


def _shifted_bytes(config: ModelConfig, dtype: str) -> int:
    """Return the bytes of the last input of channel mixing, D."""
    return config.d_model * state_element_bytes(dtype) if config.feed_forward.channel_mixing else 0


def _multi_head_bytes(config: ModelConfig, dtype: str) -> int:
    """Return the bytes per token of a layer's cache with one KV head per query head."""
    elements = config.n_heads * (config.d_head + config.d_value_per_kv_head)  # H keys of K, H values of K_v
    return position_bytes(elements, KEYS_AND_VALUES * config.n_heads, dtype)


def _kind(config: ModelConfig) -> CacheKind:
    if config.attention.kv_from:
        return "shared"
    if config.attention.kind == "latent":
        return "latent"
    if config.n_kv_heads == config.n_heads:
        return "multi-head"
    return "grouped-query" if config.n_kv_heads > 1 else "multi-query"

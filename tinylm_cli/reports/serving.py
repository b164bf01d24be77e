"""Memory and decode speed of serving, by batch size and length: part of the report of ``tinylm estimate``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tinylm_cli.reports.time import PassTime

CacheKind = Literal["multi-head", "grouped-query", "multi-query", "latent"]


@dataclass(frozen=True)
class CacheShape:
    """The kind of a model's KV cache, and its size per token.

    Attributes:
        kind: Multi-head, grouped-query, multi-query or latent attention.
        dtype: Type of the cache.
        n_heads: Query heads.
        n_kv_heads: KV heads; None for latent attention.
        kv_rank: Numbers of the latent vector; None for KV heads.
        d_rope: Dimensions of the rotary key cached with it; None for KV heads.
        n_layers: Layers, each with a cache.
        window: Positions that layers with a sliding window cache; None if no layer has one.
        windowed_layers: Number of layers with a sliding window.
        token_bytes: Bytes of one token in all layers, before a window is full.
        multi_head_token_bytes: The same with one KV head per query head.
        multi_head_ratio: ``multi_head_token_bytes / token_bytes``.
    """

    kind: CacheKind
    dtype: str
    n_heads: int
    n_kv_heads: int | None
    kv_rank: int | None
    d_rope: int | None
    n_layers: int
    window: int | None
    windowed_layers: int
    token_bytes: int
    multi_head_token_bytes: int
    multi_head_ratio: float


@dataclass(frozen=True)
class ServingCell:
    """Memory and speed of serving one batch size and length.

    Attributes:
        batch_size: Sequences decoded together.
        seq_len: Tokens in the KV cache per sequence.
        cache_bytes: The KV cache.
        working_bytes: Working memory of a pass at its peak.
        total_bytes: Weights, KV cache and working memory.
        fits: Whether that fits in the GPU; None without one.
        decode: Lower bound on the time of a decoding step; None without a GPU.
        decode_tokens_per_second: Tokens decoded per second, summed over the batch; None without a GPU.
    """

    batch_size: int
    seq_len: int
    cache_bytes: int
    working_bytes: int
    total_bytes: int
    fits: bool | None
    decode: PassTime | None
    decode_tokens_per_second: float | None


@dataclass(frozen=True)
class ServingGrid:
    """The serving table, for one GPU that holds the entire model.

    Attributes:
        batch_sizes: The rows, ascending.
        seq_lens: The columns, ascending.
        weights_bytes: All weights, the same in every cell.
        cells: Every batch size with every length, row by row.
        largest_batch_sizes: For each length, the largest batch that fits, or 0; empty without a GPU.
        longest_seq_lens: For each batch size, the longest sequences that fit, up to max_len, or 0; empty without a GPU.
    """

    batch_sizes: tuple[int, ...]
    seq_lens: tuple[int, ...]
    weights_bytes: int
    cells: tuple[ServingCell, ...]
    largest_batch_sizes: tuple[int, ...]
    longest_seq_lens: tuple[int, ...]

"""Memory and decode speed of serving, by batch size and length: part of the report of ``tinylm estimate``."""

from __future__ import annotations

from typing import Literal

from tinylm_cli.reports.record import Record
from tinylm_cli.reports.time import PassTime

CacheKind = Literal["multi-head", "grouped-query", "multi-query", "latent", "shared", "state", "none"]


class CacheLayers(Record):
    """Layers with equal caches."""

    n_layers: int  # Their number; a looped layer counts once for each pass, as it has a cache in each.
    layers: str  # Their indices, such as ``0..4, 6..10, …, 24..25``; of looped layers also the number of passes.
    # Multi-head, grouped-query, multi-query or latent attention; ``shared``: reads the cache of an earlier layer;
    # ``state``: a state of constant size; ``none``: no cache.
    kind: CacheKind
    n_heads: int | None  # Query heads; None without attention.
    n_kv_heads: int | None  # KV heads; None for latent attention.
    kv_rank: int | None  # Dimensions of the latent vector; None for KV heads.
    d_rope: int | None  # Dimensions of the rotary key cached with it; None for KV heads.
    d_index: int | None  # Dimensions of the key of an indexer cached with it; None without one.
    window: int | None  # Positions that a layer with a sliding window or chunks caches at most; None without one.
    chunked: bool  # Whether a layer caches the positions of a chunk rather than of a sliding window.
    token_bytes: int  # Bytes of one token in all these layers, before a window is full; 0 if shared, and for states.
    state_bytes: int  # Bytes of the states of all these layers, per sequence of any length.


class CachePages(Record):
    """Pages in which vLLM stores the cache of a model with both attention and states."""

    block_tokens: int  # Tokens whose keys and values in one layer fill a page.
    page_bytes: int  # Bytes of a page, to which the state of a layer is padded.
    group_layers: int  # Layers of a group; it takes a page for each of them at once.
    attention_groups: int  # Groups of layers with attention: a page per layer for each block of tokens.
    state_groups: int  # Groups of layers with states: a page per layer for each sequence.


class CacheShape(Record):
    """The cache of each layer kind, and its size."""

    dtype: str  # Data type of cached keys and values; states have the model's type, or float32.
    layers: tuple[CacheLayers, ...]  # Layers with equal caches, in the order in which they first occur.
    token_bytes: int  # Bytes of one token in all layers, before a window is full.
    multi_head_token_bytes: int  # The same with one KV head per query head.
    multi_head_ratio: float | None  # ``multi_head_token_bytes / token_bytes``; None if no layer caches tokens.
    state_bytes: int  # Bytes of all states of constant size, per sequence of any length.
    pages: CachePages | None  # Pages of a model with both attention and states; None for all others.


class ServingCell(Record):
    """Memory and speed of serving one batch size and length."""

    batch_size: int  # Sequences decoded together, or read in one pass if nothing is decoded.
    seq_len: int  # Tokens per sequence, which the KV cache holds.
    cache_bytes: int  # The KV cache.
    working_bytes: int  # Working memory of a pass at its peak.
    total_bytes: int  # Weights, KV cache and working memory.
    fits: bool | None  # Whether that fits in the GPU; None without one.
    decode: PassTime | None  # Lower bound on the time of a decoding step; None without a GPU or without an LM head.
    decode_tokens_per_second: float | None  # Tokens decoded per second, summed over the batch; None like ``decode``.


class ServingGrid(Record):
    """The serving table, for one GPU that holds the entire model."""

    batch_sizes: tuple[int, ...]  # The rows, ascending.
    seq_lens: tuple[int, ...]  # The columns, ascending.
    weights_bytes: int  # All weights, the same in every cell.
    cells: tuple[ServingCell, ...]  # Every batch size with every length, row by row.
    largest_batch_sizes: tuple[int, ...]  # For each length, the largest batch that fits, or 0; empty without a GPU.
    # For each batch size, the longest sequences that fit, up to max_len, or 0; empty without a GPU.
    longest_seq_lens: tuple[int, ...]

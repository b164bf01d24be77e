"""What serving holds and how fast it decodes, by batch and length: part of what ``tinylm estimate`` reports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tinylm_cli.reports.time import PassTime

CacheKind = Literal["multi-head", "grouped-query", "multi-query", "latent"]


@dataclass(frozen=True)
class CacheShape:
    """What a model keeps of each token it has read.

    Attributes:
        kind: Keys and values for each head of queries, for each group of them, for all of them; or latent vectors.
        dtype: Type that they are kept in.
        n_heads: Heads of queries.
        n_kv_heads: Heads of keys and values; None for latent vectors.
        kv_rank: Numbers of a latent vector; None for heads.
        d_rope: Numbers kept beside it, of the key that rotates; None for heads.
        n_layers: Layers, each with a cache of its own.
        window: Positions that windowed layers keep; None where none is windowed.
        windowed_layers: How many are.
        token_bytes: What a token adds for one sequence, in all layers, while no window is full.
        multi_head_token_bytes: What it would add with a key and a value for each head of queries.
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
    """Serving a batch of sequences of one length.

    Attributes:
        batch_size: Sequences at once.
        seq_len: Tokens kept of each.
        cache_bytes: What is kept of them.
        working_bytes: The most that a pass holds beside weights and cache.
        total_bytes: Weights, cache and working memory.
        fits: Whether that is within the GPU's memory; None without one.
        decode: The least time of decoding a token of each sequence; None without a GPU.
        decode_tokens_per_second: Of all sequences; None without a GPU.
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
    """Serving over batch and length on one GPU that holds the whole model.

    Attributes:
        batch_sizes: The rows, ascending.
        seq_lens: The columns, ascending.
        weights_bytes: All weights, the same in each cell.
        cells: Each batch with each length, row by row.
        largest_batch_sizes: For each length, the most sequences that fit, 0 for none; empty without a GPU.
        longest_seq_lens: For each batch, the most tokens of each sequence that fit, up to max_len, 0 for none; empty
            without a GPU.
    """

    batch_sizes: tuple[int, ...]
    seq_lens: tuple[int, ...]
    weights_bytes: int
    cells: tuple[ServingCell, ...]
    largest_batch_sizes: tuple[int, ...]
    longest_seq_lens: tuple[int, ...]

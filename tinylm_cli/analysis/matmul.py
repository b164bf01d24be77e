"""A matmul of one layer, and the pass in which its floating-point operations are counted."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from tinylm_cli.reports.choices import AttentionCount
    from tinylm_cli.reports.flops import FlopsComponent

FLOPS_PER_ELEMENT = 2
"""One multiply and one add for each weight element and token: FLOPs, not MACs."""


class SequencePass(NamedTuple):
    """A pass over one sequence, whose operations are counted."""

    tokens: int  # T, tokens read
    kv_len: int  # S, positions that the last of them attends to without a window
    attention: AttentionCount = "causal"  # the pairs of positions that count
    decodes: bool = False  # whether it reads one token, and the earlier ones from the cache

    def pairs(self, window: int | None, *, chunked: bool = False) -> int:
        """Return the (query, key) pairs that count in a layer with this window, or with chunks of this length.

        With chunks, the token that is decoded attends to those before it in its chunk, and to itself.
        """
        if self.decodes:
            return (self.kv_len - 1) % window + 1 if window and chunked else min(self.kv_len, window or self.kv_len)
        if window and chunked and self.attention == "causal":
            return self.pairs_in_chunks(window)
        return attended_pairs(self.tokens, window) if self.attention == "causal" else self.tokens**2

    def chunk(self, chunk_len: int) -> int:
        """Return the positions of a chunk: ``chunk_len``, but at most all tokens."""
        return min(chunk_len, self.tokens)

    def tokens_in_chunks(self, chunk_len: int) -> int:
        """Return the tokens, with the padding of the last chunk if all pairs count."""
        size = self.chunk(chunk_len)
        return self.tokens if self.attention == "causal" else -(-self.tokens // size) * size

    def pairs_in_chunks(self, chunk_len: int, *, is_padded: bool = True) -> int:
        """Return the pairs of positions in the same chunk that count; ``is_padded``: every chunk is of full size."""
        size = self.chunk(chunk_len)
        full_chunks, rest = divmod(self.tokens, size)
        if self.attention == "full":
            return self.tokens_in_chunks(chunk_len) * size if is_padded else full_chunks * size**2 + rest**2
        return full_chunks * attended_pairs(size, None) + attended_pairs(rest, None)


def attended_pairs(seq_len: int, window: int | None) -> int:
    """Return the (query, key) pairs that a causal mask with a window allows: ``Σ min(t, window)`` over t = 1..seq_len.

    The first ``reach`` queries attend to 1, 2, … keys; each later query attends to ``reach`` keys.
    """
    reach = min(seq_len, window or seq_len)
    growing = reach * (reach + 1) // 2  # 1 + 2 + … + reach
    sliding = (seq_len - reach) * reach  # later queries × reach
    return growing + sliding


class Matmul(NamedTuple):
    """A matmul of one layer, summed over heads or experts."""

    name: str  # the module that holds the weight; ``attention.scores`` and ``attention.values`` have no weight
    component: FlopsComponent  # the component that owns it
    flops: int  # operations for one sequence
    # whether one factor is a weight, or a matrix of AltUp's coefficients; selective recomputation repeats the others
    has_weight: bool = False

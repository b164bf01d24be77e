"""Token and position embeddings: the input of the blocks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import reduce

import torch
from torch import Tensor, nn
from torch.nn import functional

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.model.altup import StreamSplit
from tinylm_cli.model.linear import Uninitialized
from tinylm_cli.model.norm import build_norm
from tinylm_cli.model.per_layer_embedding import PerLayerEmbedding
from tinylm_cli.model.position import SinusoidalPosition, build_position
from tinylm_cli.model.rope import rotary_positions


class EmbeddingTable(Uninitialized, nn.Embedding):
    """``nn.Embedding`` without its own initialization."""


class TokenEmbedding(nn.Module):
    """Look up token embeddings and scale them, by √d_model unless the config sets a multiplier.

    The weights have std 0.02, which suits a tied LM head. The scale makes them comparable in size to the positions.
    With several codebooks, the embeddings of a position are added. The rows of codebook c are c · V to (c + 1) · V - 1.

    Args:
        vocab_size: Rows of each codebook, V.
        d_model: Width of the table, D.
        multiplier: The scale; None for √d_model.
        n_codebooks: Ids of each position, C.

    References:
        Vaswani et al. 2017, section 3.4, https://arxiv.org/abs/1706.03762;
        Copet et al. 2023 (MusicGen, the sum over codebooks), section 2.4, https://arxiv.org/abs/2306.05284
    """

    def __init__(self, vocab_size: int, d_model: int, multiplier: float | None = None, n_codebooks: int = 1) -> None:
        super().__init__()
        self.embedding = EmbeddingTable(n_codebooks * vocab_size, d_model, device="meta", dtype=torch.float32)
        self.scale = math.sqrt(d_model) if multiplier is None else multiplier
        self.n_codebooks = n_codebooks

    def forward(self, tokens: Tensor) -> Tensor:
        """Map ids (B, T), or (B, T, C) with several codebooks, to scaled vectors (B, T, D)."""
        if self.n_codebooks == 1:
            vectors: Tensor = self.embedding(tokens)  # (B, T, D)
        else:
            tables = self.embedding.weight.view(self.n_codebooks, -1, self.embedding.embedding_dim)  # (C, V, D)
            lookups = map(functional.embedding, tokens.unbind(-1), tables.unbind())  # C × (B, T, D)
            vectors = reduce(Tensor.add_, lookups)  # (B, T, D), added in place to hold two at once
        return vectors if self.scale == 1 else vectors * self.scale  # (B, T, D)


class TransformerEmbedding(nn.Module):
    """Token embedding plus position embedding, then an optional norm and dropout.

    Args:
        config: Uses vocab_size, d_model, max_len, dropout, embedding, position, norm and block.altup_streams.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        multiplier, n_codebooks = config.embedding.multiplier, config.embedding.n_codebooks
        self.token_embedding = TokenEmbedding(config.vocab_size, config.d_model, multiplier, n_codebooks)
        self.positional_encoding = build_position(config)
        self.norm = build_norm(config) if config.embedding.norm else None
        self.n_layers = config.n_layers
        d_per_layer = config.embedding.d_per_layer
        self.per_layer = None if d_per_layer is None else PerLayerEmbedding(config, d_per_layer)
        self.altup = StreamSplit(config) if config.block.altup_streams is not None else None
        self.dropout = config.dropout
        self.register_load_state_dict_post_hook(_rebuild_after_load)  # type: ignore[no-untyped-call]  # untyped in torch

    def forward(self, tokens: Tensor, start: int = 0) -> Tensor:
        """Embed ids (B, T), or (B, T, C) with several codebooks, at positions ``start`` to ``start + T``.

        Returns:
            Vectors (B, T, D).
        """
        x: Tensor = self.token_embedding(tokens)  # (B, T, D)
        x = self.positional_encoding(x, start)  # (B, T, D)
        if self.norm is not None:
            x = self.norm(x)  # (B, T, D)
        return functional.dropout(x, self.dropout) if self.training else x  # (B, T, D)

    def per_layer_inputs(self, tokens: Tensor, x: Tensor) -> Sequence[Tensor | None]:
        """Return the input of each layer (B, T, P), given ids (B, T) and their embeddings (B, T, D); None without."""
        return [None] * self.n_layers if self.per_layer is None else self.per_layer(tokens, x)

    def residual_streams(self, x: Tensor) -> Tensor:
        """Return the first residual streams (B, T, n, D) of embeddings (B, T, D); without AltUp, the embeddings."""
        return x if self.altup is None else self.altup(x)  # (B, T, D) or (B, T, n, D)


def _rebuild_after_load(embedding: nn.Module, _: object) -> None:
    """Rebuild position buffers, which state dicts omit, after ``load_state_dict(assign=True)`` moved the weights."""
    assert isinstance(embedding, TransformerEmbedding)
    position, weight = embedding.positional_encoding, embedding.token_embedding.embedding.weight
    for table in (position,) if isinstance(position, SinusoidalPosition) else rotary_positions(position):
        table.rebuild_like(weight)

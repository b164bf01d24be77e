"""Per-layer embeddings: each layer reads a small embedding of the token, beside the residual stream (Gemma 4)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.model.feed_forward import ACTIVATIONS
from tinylm_cli.model.linear import Linear, Uninitialized
from tinylm_cli.model.norm import build_norm


class PerLayerTable(Uninitialized, nn.Embedding):
    """``nn.Embedding`` without its own initialization."""


class PerLayerEmbedding(nn.Module):
    """The inputs of all layers: ``(norm(projection(x) / √D) + √P table(tokens)) / √2``, P dimensions for each layer.

    Args:
        config: Uses vocab_size, d_model, n_layers, embedding.d_per_layer and norm.

    References:
        Google 2025 (Gemma 3n), https://ai.google.dev/gemma/docs/gemma-3n
    """

    def __init__(self, config: ModelConfig, d_per_layer: int) -> None:
        super().__init__()
        self.n_layers, self.d_per_layer = config.n_layers, d_per_layer
        d_all = config.n_layers * d_per_layer
        self.table = PerLayerTable(config.vocab_size, d_all, device="meta", dtype=torch.float32)
        self.projection = Linear(config.d_model, d_all, bias=False)
        self.norm = build_norm(config, d_per_layer)

    def forward(self, tokens: Tensor, x: Tensor) -> tuple[Tensor, ...]:
        """Return the input (B, T, P) of each layer, for ids (B, T) and their embeddings ``x`` (B, T, D)."""
        shape = (*tokens.shape, self.n_layers, self.d_per_layer)
        projected = self.projection(x) * x.shape[-1] ** -0.5  # (B, T, n_layers·P)
        projected = self.norm(projected.view(shape))  # (B, T, n_layers, P)
        looked_up = self.table(tokens).view(shape) * math.sqrt(self.d_per_layer)  # (B, T, n_layers, P)
        inputs: Tensor = (projected + looked_up) * math.sqrt(0.5)  # (B, T, n_layers, P)
        return inputs.unbind(2)  # n_layers × (B, T, P)


class PerLayerInput(nn.Module):
    """``x + norm(projection(activation(gate(x)) · input))``, with the activation of the feed-forward network.

    Args:
        config: The config of the layer's kind; uses d_model, norm and feed_forward.activation.
        d_per_layer: Dimensions of the input, P.
    """

    def __init__(self, config: ModelConfig, d_per_layer: int) -> None:
        super().__init__()
        self.gate = Linear(config.d_model, d_per_layer, bias=False)
        self.projection = Linear(d_per_layer, config.d_model, bias=False)
        self.norm = build_norm(config)
        self.activation = ACTIVATIONS[config.feed_forward.activation]

    def forward(self, x: Tensor, own_input: Tensor) -> Tensor:
        """Map ``x`` (B, T, D) to (B, T, D), given the input of the layer (B, T, P)."""
        hidden = self.activation(self.gate(x)) * own_input  # (B, T, P)
        out: Tensor = x + self.norm(self.projection(hidden))  # (B, T, D)
        return out

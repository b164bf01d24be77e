"""Per-layer embeddings: each layer also reads a small embedding of the token (Gemma 4)."""

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

    A token without a row of its own reads the first row of the table.

    Args:
        config: Uses vocab_size, d_model, n_layers, embedding and norm.
        d_per_layer: Dimensions of the input of a layer, P.

    References:
        Google 2025 (Gemma 3n), https://ai.google.dev/gemma/docs/gemma-3n
    """

    def __init__(self, config: ModelConfig, d_per_layer: int) -> None:
        super().__init__()
        self.n_layers, self.d_per_layer = config.n_layers, d_per_layer
        d_all = config.n_layers * d_per_layer
        self.table = PerLayerTable(config.per_layer_rows, d_all, device="meta", dtype=torch.float32)
        self.lacks_rows = config.per_layer_rows < config.vocab_size
        self.projection = Linear(config.d_model, d_all, bias=False)
        self.norm = build_norm(config, d_per_layer)

    def forward(self, tokens: Tensor, x: Tensor) -> tuple[Tensor, ...]:
        """Return the input (B, T, P) of each layer, for ids (B, T) and their embeddings ``x`` (B, T, D)."""
        shape = (*tokens.shape, self.n_layers, self.d_per_layer)
        projected = self.projection(x) * x.shape[-1] ** -0.5  # (B, T, n_layers·P)
        projected = self.norm(projected.view(shape))  # (B, T, n_layers, P)
        if self.lacks_rows:
            tokens = torch.where(tokens < self.table.num_embeddings, tokens, 0)  # (B, T)
        looked_up = self.table(tokens).view(shape) * math.sqrt(self.d_per_layer)  # (B, T, n_layers, P)
        inputs: Tensor = (projected + looked_up) * math.sqrt(0.5)  # (B, T, n_layers, P)
        return inputs.unbind(2)  # n_layers × (B, T, P)


class PerLayerInput(nn.Module):
    """``x + norm(projection(activation(gate(x)) · input))``, with the activation of the feed-forward network.

    With AltUp, the gate reads the first residual stream times a learned ``scale``, and the result is added to each of
    the other streams.

    Args:
        config: The config of the layer's kind; uses d_model, norm, feed_forward.activation and block.altup_streams.
        d_per_layer: Dimensions of the input, P.
    """

    scale: nn.Parameter  # with AltUp

    def __init__(self, config: ModelConfig, d_per_layer: int) -> None:
        super().__init__()
        self.n_streams = config.block.altup_streams
        if self.n_streams is not None:
            self.scale = nn.Parameter(torch.empty(config.d_model, device="meta", dtype=torch.float32))
            self.initial_values = {"scale": 1.0}
        self.gate = Linear(config.d_model, d_per_layer, bias=False)
        self.projection = Linear(d_per_layer, config.d_model, bias=False)
        self.norm = build_norm(config)
        self.activation = ACTIVATIONS[config.feed_forward.activation]

    def forward(self, x: Tensor, per_layer_input: Tensor) -> Tensor:
        """Map ``x`` to the same shape, (B, T, D) or (B, T, n, D), given the input of the layer (B, T, P)."""
        if self.n_streams is None:
            return x + self._embedded(x, per_layer_input)  # (B, T, D)
        first, others = torch.split(x, [1, self.n_streams - 1], 2)  # (B, T, 1, D), (B, T, n - 1, D)
        read = first.squeeze(2).clone()  # (B, T, D); the clone keeps autograd from saving all streams
        out = self._embedded(read * self.scale, per_layer_input)  # (B, T, D)
        return torch.cat((first, others + out.unsqueeze(2)), 2)  # (B, T, n, D)

    def _embedded(self, x: Tensor, per_layer_input: Tensor) -> Tensor:
        hidden = self.activation(self.gate(x)) * per_layer_input  # (B, T, P)
        out: Tensor = self.norm(self.projection(hidden))  # (B, T, D)
        return out

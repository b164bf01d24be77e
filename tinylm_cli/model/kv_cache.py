"""The KV cache: keys and values of previous positions, reused in decoding."""

from __future__ import annotations

import torch
from torch import Tensor

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.model.attention import LayerKVCache
from tinylm_cli.model.latent_attention import LatentKVCache

LayerCache = LayerKVCache | LatentKVCache
"""Decoding state of one layer; each mixer defines its own."""


class KVCache:
    """Keys and values of every layer, preallocated: one buffer for all layers with the same number of slots.

    A layer with a sliding window uses a ring buffer of that many positions.

    Args:
        config: Uses n_layers and the attention block: heads, dimensions, ranks and windows.
        batch_size: Sequences decoded together, B.
        capacity: Maximum number of positions.
        device: Device of the buffers.
        dtype: Dtype of the keys and values.

    Attributes:
        length: Number of cached positions, 0..capacity.

    References:
        Shazeer 2019, https://arxiv.org/abs/1911.02150;
        Beltagy et al. 2020 (sliding windows), https://arxiv.org/abs/2004.05150
    """

    def __init__(
        self, config: ModelConfig, *, batch_size: int, capacity: int, device: torch.device, dtype: torch.dtype
    ) -> None:
        self.length = 0
        self._kind = LatentKVCache if config.attention.kind == "latent" else LayerKVCache
        self._layers: dict[int, list[int]] = {}  # layers by number of slots
        for layer in range(config.n_layers):
            size = min(config.window(layer) or capacity, capacity)
            self._layers.setdefault(size, []).append(layer)
        self._buffers = {
            size: torch.empty(
                self._kind.buffer_shape(config, len(layers), batch_size, size), device=device, dtype=dtype
            )
            for size, layers in self._layers.items()
        }

    @property
    def nbytes(self) -> int:
        """Bytes of all buffers."""
        return sum(buffer.nbytes for buffer in self._buffers.values())

    def reset(self) -> None:
        """Discard all positions."""
        self.length = 0

    def extend(self, count: int) -> list[LayerCache]:
        """Reserve slots for the next ``count`` positions, and return each layer's views.

        The cache must be empty or ``count`` 1; several positions after cached ones would need another mask.
        """
        assert count == 1 or self.length == 0
        start, self.length = self.length, self.length + count
        views = {size: self._views(buffer, size, start, count) for size, buffer in self._buffers.items()}
        if len(views) == 1:
            return next(iter(views.values()))
        by_layer: dict[int, LayerCache] = {}
        for size, layers in self._layers.items():
            by_layer.update(zip(layers, views[size], strict=True))
        return [by_layer[layer] for layer in range(len(by_layer))]

    def _views(self, buffer: Tensor, size: int, start: int, count: int) -> list[LayerCache]:
        axis = buffer.dim() - 2  # the position dimension
        new = buffer.narrow(axis, start % size if count == 1 else 0, min(count, size)).unbind(0)
        cached = buffer.narrow(axis, 0, min(self.length, size)).unbind(0)
        return list(self._kind.of_layers(new, cached))

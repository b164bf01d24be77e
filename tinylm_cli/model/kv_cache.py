"""The KV cache: keys and values of previous positions, reused in decoding."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from tinylm_cli.config.layer_kinds import layer_pattern
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.model.attention import LayerKVCache
from tinylm_cli.model.latent_attention import LatentKVCache

LayerCache = LayerKVCache | LatentKVCache
"""Decoding state of one layer; each mixer defines its own."""


_CacheShape = tuple[type[LayerKVCache] | type[LatentKVCache], tuple[int, ...]]
"""The decoding state of a layer, and the shape of its buffer."""


class _LayerGroup(NamedTuple):
    """Layers that share a buffer."""

    cache: type[LayerKVCache] | type[LatentKVCache]  # their decoding state
    buffer: Tensor  # one after the other along the first dimension
    layers: list[int]  # their indices


class KVCache:
    """Keys and values of every layer, preallocated: one buffer for all layers with the same shape of cache.

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
        self._groups: list[_LayerGroup] = []
        layers_of: dict[_CacheShape, list[int]] = {}
        pattern = layer_pattern(config)
        shapes = [_shape(kind, batch_size, capacity) for kind in pattern.kinds]
        for layer in range(config.n_layers):
            layers_of.setdefault(shapes[pattern.kind(layer)], []).append(layer)
        for (cache, shape), layers in layers_of.items():
            buffer = torch.empty((len(layers) * shape[0], *shape[1:]), device=device, dtype=dtype)
            self._groups.append(_LayerGroup(cache, buffer, layers))

    @property
    def nbytes(self) -> int:
        """Bytes of all buffers."""
        return sum(group.buffer.nbytes for group in self._groups)

    def reset(self) -> None:
        """Discard all positions."""
        self.length = 0

    def extend(self, count: int) -> list[LayerCache]:
        """Reserve slots for the next ``count`` positions, and return each layer's views.

        The cache must be empty or ``count`` 1; several positions after cached ones would need another mask.
        """
        assert count == 1 or self.length == 0
        start, self.length = self.length, self.length + count
        views = [self._views(group, start, count) for group in self._groups]
        if len(views) == 1:
            return views[0]
        by_layer: dict[int, LayerCache] = {}
        for group, caches in zip(self._groups, views, strict=True):
            by_layer.update(zip(group.layers, caches, strict=True))
        return [by_layer[layer] for layer in range(len(by_layer))]

    def _views(self, group: _LayerGroup, start: int, count: int) -> list[LayerCache]:
        axis = group.buffer.dim() - 2  # the position dimension
        size = group.buffer.shape[axis]
        new = group.buffer.narrow(axis, start % size if count == 1 else 0, min(count, size)).unbind(0)
        cached = group.buffer.narrow(axis, 0, min(self.length, size)).unbind(0)
        return list(group.cache.of_layers(new, cached))


def _shape(kind: ModelConfig, batch_size: int, capacity: int) -> _CacheShape:
    """Return the decoding state of a layer of this kind, and the shape of its buffer."""
    cache = LatentKVCache if kind.attention.kind == "latent" else LayerKVCache
    size = min(kind.attention.window or capacity, capacity)
    return cache, cache.buffer_shape(kind, 1, batch_size, size)

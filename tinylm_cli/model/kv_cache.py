"""The KV cache: keys and values of previous positions, reused in decoding."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from tinylm_cli.config.schema import ModelConfig


class LayerKVCache(NamedTuple):
    """One layer's views into the cache, with slots for T new positions.

    Attributes:
        new_keys: Slots for the new keys, (B, G, T, K); with a window shorter than T, only for the last ones.
        new_values: Slots for the new values, of the same shape.
        keys: Keys of all S cached positions, (B, G, S, K).
        values: Values of all S cached positions, (B, G, S, K).
    """

    new_keys: Tensor
    new_values: Tensor
    keys: Tensor
    values: Tensor

    def update(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Store new keys and values, (B, G, T, K) each, and return the keys and values to attend to, (B, G, S, K).

        A prompt attends to the arguments, because a sliding-window cache may already have dropped some of them.
        """
        self.new_keys.copy_(_ring_slots(keys, self.new_keys.shape[2]))
        self.new_values.copy_(_ring_slots(values, self.new_values.shape[2]))
        return (self.keys, self.values) if keys.shape[2] == 1 else (keys, values)  # (B, G, S, K) each


class LatentKVCache(NamedTuple):
    """One layer's views into the cache of latent attention, which has no head dimension.

    Attributes:
        new: Slots for the latents and rotated keys of new positions, (B, T, C + R).
        all: Latents and rotated keys of all S cached positions, (B, S, C + R).
    """

    new: Tensor
    all: Tensor

    def update(self, latent: Tensor, k_rope: Tensor) -> tuple[Tensor, Tensor]:
        """Store new latents (B, T, C) and rotated keys (B, T, R); return all cached ones, (B, S, C) and (B, S, R)."""
        rank = latent.shape[-1]
        self.new[..., :rank].copy_(latent)
        self.new[..., rank:].copy_(k_rope)
        return self.all[..., :rank], self.all[..., rank:]  # (B, S, C), (B, S, R)


class KVCache:
    """Keys and values of every layer, preallocated: one buffer for all layers with the same number of slots.

    A layer with a sliding window uses a ring buffer of that many positions.

    Args:
        config: Uses n_layers and the attention block: heads, widths, ranks and windows.
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
        self._latent = config.attention.kind == "latent"
        self._layers: dict[int, list[int]] = {}  # layers by number of slots
        for layer in range(config.n_layers):
            size = min(config.window(layer) or capacity, capacity)
            self._layers.setdefault(size, []).append(layer)
        self._buffers = {
            size: torch.empty(_buffer_shape(config, len(layers), batch_size, size), device=device, dtype=dtype)
            for size, layers in self._layers.items()
        }

    @property
    def nbytes(self) -> int:
        """Bytes of all buffers."""
        return sum(buffer.nbytes for buffer in self._buffers.values())

    def reset(self) -> None:
        """Discard all positions."""
        self.length = 0

    def extend(self, count: int) -> list[LayerKVCache | LatentKVCache]:
        """Reserve slots for the next ``count`` positions, and return each layer's views.

        The cache must be empty or ``count`` 1; several positions after cached ones would need another mask.
        """
        assert count == 1 or self.length == 0
        start, self.length = self.length, self.length + count
        views = {size: self._views(buffer, size, start, count) for size, buffer in self._buffers.items()}
        if len(views) == 1:
            return next(iter(views.values()))
        by_layer: dict[int, LayerKVCache | LatentKVCache] = {}
        for size, layers in self._layers.items():
            by_layer.update(zip(layers, views[size], strict=True))
        return [by_layer[layer] for layer in range(len(by_layer))]

    def _views(self, buffer: Tensor, size: int, start: int, count: int) -> list[LayerKVCache | LatentKVCache]:
        axis = buffer.dim() - 2  # the position dimension
        new = buffer.narrow(axis, start % size if count == 1 else 0, min(count, size)).unbind(0)
        held = buffer.narrow(axis, 0, min(self.length, size)).unbind(0)
        if self._latent:
            return [LatentKVCache(*layer) for layer in zip(new, held, strict=True)]
        return [LayerKVCache(*layer) for layer in zip(new[::2], new[1::2], held[::2], held[1::2], strict=True)]


def _buffer_shape(config: ModelConfig, n_layers: int, batch_size: int, size: int) -> tuple[int, ...]:
    """Return the shape of a buffer of ``size`` positions: keys and values of each layer, or its latents."""
    attention = config.attention
    if attention.kind == "latent":
        return (n_layers, batch_size, size, attention.kv_rank + attention.d_rope)
    return (2 * n_layers, batch_size, config.n_kv_heads, size, config.d_head)


def _ring_slots(x: Tensor, size: int) -> Tensor:
    """Return the last ``size`` positions of ``x`` (B, G, T, K), each in its slot of a ring buffer of that size."""
    length = x.shape[2]
    return x if length == size else x[:, :, -size:].roll(length % size, dims=2)  # (B, G, size, K)

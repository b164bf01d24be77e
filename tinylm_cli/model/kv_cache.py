"""What is kept of the positions already read, so that decoding a token does not read them again."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from tinylm_cli.config.schema import ModelConfig


class LayerCache(NamedTuple):
    """One layer's part of a cache, with room made for the T positions being read.

    Attributes:
        new_keys: Where the keys of those positions go, (B, G, T, K); of more than the layer holds, those of the last.
        new_values: Where their values go, likewise.
        keys: Keys of all positions held, (B, G, S, K).
        values: Their values, (B, G, S, K).
    """

    new_keys: Tensor
    new_values: Tensor
    keys: Tensor
    values: Tensor

    def store(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Keep the keys and values of the new positions, each (B, G, T, K), and return those to attend to.

        For a first read of several positions those are its own, some of which a window may already have dropped.
        """
        self.new_keys.copy_(_last(keys, self.new_keys.shape[2]))
        self.new_values.copy_(_last(values, self.new_values.shape[2]))
        return (self.keys, self.values) if keys.shape[2] == 1 else (keys, values)


class LatentCache(NamedTuple):
    """The same for latent attention, with no axis of heads.

    Attributes:
        new: Where the vectors of the new positions go, (B, T, C + R).
        all: Those of all positions held, (B, S, C + R).
    """

    new: Tensor
    all: Tensor

    def store(self, latent: Tensor, k_rope: Tensor) -> tuple[Tensor, Tensor]:
        """Keep small vectors (B, T, C) and shared keys (B, T, R) of new positions; return those to attend to."""
        rank = latent.shape[-1]
        self.new[..., :rank].copy_(latent)
        self.new[..., rank:].copy_(k_rope)
        return self.all[..., :rank], self.all[..., rank:]


class KVCache:
    """What every layer keeps, in buffers allocated once: one for all layers that hold equally many positions.

    A layer with a window holds no more than that, each position in the slot of the one that has left the window.

    Args:
        config: Uses n_layers and what attention says of heads, widths and windows.
        batch_size: Sequences decoded together, B.
        capacity: The most positions that will be read.
        device: Where the buffers live.
        dtype: Type of what is kept.

    Attributes:
        length: Positions read so far, 0..capacity.
    """

    def __init__(
        self, config: ModelConfig, *, batch_size: int, capacity: int, device: torch.device, dtype: torch.dtype
    ) -> None:
        self.length = 0
        self._latent = config.attention.kind == "latent"
        held = [min(config.window(layer) or capacity, capacity) for layer in range(config.n_layers)]
        self._layers: dict[int, list[int]] = {}
        for layer, size in enumerate(held):
            self._layers.setdefault(size, []).append(layer)
        self._buffers = {
            size: torch.empty(_shape(config, len(layers), batch_size, size), device=device, dtype=dtype)
            for size, layers in self._layers.items()
        }

    @property
    def nbytes(self) -> int:
        """Bytes of all buffers."""
        return sum(buffer.nbytes for buffer in self._buffers.values())

    def clear(self) -> None:
        """Forget every position."""
        self.length = 0

    def extend(self, count: int) -> list[LayerCache | LatentCache]:
        """Make room for the next ``count`` positions and return each layer's part.

        Either the cache is empty or ``count`` is 1: several positions after others would need a mask of their own.
        """
        assert count == 1 or self.length == 0
        start, self.length = self.length, self.length + count
        parts = {size: self._parts(buffer, size, start, count) for size, buffer in self._buffers.items()}
        if len(parts) == 1:
            return next(iter(parts.values()))
        placed: dict[int, LayerCache | LatentCache] = {}
        for size, layers in self._layers.items():
            placed.update(zip(layers, parts[size], strict=True))
        return [placed[layer] for layer in range(len(placed))]

    def _parts(self, buffer: Tensor, size: int, start: int, count: int) -> list[LayerCache | LatentCache]:
        axis = buffer.dim() - 2
        room = min(count, size)
        new = buffer.narrow(axis, start % size if count == 1 else 0, room).unbind(0)
        held = buffer.narrow(axis, 0, min(self.length, size)).unbind(0)
        if self._latent:
            return [LatentCache(*layer) for layer in zip(new, held, strict=True)]
        return [LayerCache(*layer) for layer in zip(new[::2], new[1::2], held[::2], held[1::2], strict=True)]


def _shape(config: ModelConfig, n_layers: int, batch_size: int, size: int) -> tuple[int, ...]:
    """Return the shape of a buffer: each layer's keys, then its values, or its small vectors."""
    attention = config.attention
    if attention.kind == "latent":
        return (n_layers, batch_size, size, attention.kv_rank + attention.d_rope)
    return (2 * n_layers, batch_size, config.n_kv_heads, size, config.d_head)


def _last(x: Tensor, size: int) -> Tensor:
    """Return the last ``size`` positions of ``x`` (B, G, T, K), each in the slot it has in a window of that size."""
    length = x.shape[2]
    return x if length == size else x[:, :, -size:].roll(length % size, dims=2)

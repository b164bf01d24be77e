"""Keys and values of the positions already read, so that decoding a token does not read them again."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from tinylm_cli.config.schema import ModelConfig


class LayerCache(NamedTuple):
    """One layer's part of a cache, with room made for the positions being read.

    Attributes:
        new_keys: Where the keys of those positions go, (B, H, T, K).
        new_values: Where their values go, (B, H, T, K).
        keys: Keys of all positions so far, the new ones last, (B, H, S, K).
        values: Their values, (B, H, S, K).
    """

    new_keys: Tensor
    new_values: Tensor
    keys: Tensor
    values: Tensor

    def store(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Keep the keys and values of the new positions, each (B, H, T, K), and return those of all positions."""
        self.new_keys.copy_(keys)
        self.new_values.copy_(values)
        return self.keys, self.values


class KVCache:
    """The keys and values of every layer, in one buffer allocated once.

    Args:
        config: Uses n_layers, n_heads and d_head.
        batch_size: Sequences decoded together, B.
        capacity: The most positions it will hold.
        device: Where the buffers live.
        dtype: Type of the keys and values.

    Attributes:
        length: Positions held so far, 0..capacity.
    """

    def __init__(
        self, config: ModelConfig, *, batch_size: int, capacity: int, device: torch.device, dtype: torch.dtype
    ) -> None:
        shape = (2 * config.n_layers, batch_size, config.n_heads, capacity, config.d_head)
        self.length = 0
        self._buffer = torch.empty(shape, device=device, dtype=dtype)  # each layer's keys, then its values

    def extend(self, count: int) -> list[LayerCache]:
        """Make room for the next ``count`` positions and return each layer's part.

        Either the cache is empty or ``count`` is 1: several positions after others would need a mask of their own.
        """
        assert count == 1 or self.length == 0
        start, self.length = self.length, self.length + count
        new = self._buffer.narrow(3, start, count).unbind(0)  # 2 · n_layers × (B, H, T, K)
        all_ = self._buffer.narrow(3, 0, self.length).unbind(0)  # 2 · n_layers × (B, H, S, K)
        return [LayerCache(*layer) for layer in zip(new[::2], new[1::2], all_[::2], all_[1::2], strict=True)]

    @staticmethod
    def bytes_needed(config: ModelConfig, *, batch_size: int, capacity: int, dtype: torch.dtype) -> int:
        """Return the bytes of a cache made with these arguments: 2 · n_layers · B · capacity · d_model elements."""
        return 2 * config.n_layers * batch_size * capacity * config.d_model * dtype.itemsize

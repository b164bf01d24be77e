"""The KV cache: what decoding keeps of previous positions, in each layer as its sequence mixer needs it."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from tinylm_cli.config.layer_kinds import layer_pattern
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.model.mixers.registry import mixer_class
from tinylm_cli.model.sequence_mixer import Buffer, LayerState

_StateKind = tuple[type[LayerState], tuple[Buffer, ...]]
"""The decoding state of a layer, and its buffers."""


class _LayerGroup(NamedTuple):
    """Layers that share buffers."""

    state: type[LayerState]  # their decoding state
    buffers: tuple[Tensor, ...]  # one layer after the other along the first dimension
    layers: list[int]  # their indices


class KVCache:
    """Keys and values, or states, of every layer, preallocated: shared buffers for all layers with the same shapes.

    A layer with a sliding window uses a ring buffer of that many positions, and a layer with chunks a buffer of one.

    Args:
        config: Uses n_layers and, of each kind of layers, the sequence mixer and its sizes.
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
        self._n_layers = config.n_layers
        self._groups: list[_LayerGroup] = []
        layers_of: dict[_StateKind, list[int]] = {}
        pattern = layer_pattern(config)
        states = [_state_kind(kind, batch_size, capacity) for kind in pattern.kinds]
        for layer in range(config.n_layers):
            kind = states[pattern.kind(layer)]
            if kind is not None:
                layers_of.setdefault(kind, []).append(layer)
        for (state, buffers), layers in layers_of.items():
            wide = torch.promote_types(dtype, torch.float32)
            allocated = tuple(
                torch.empty((len(layers) * shape[0], *shape[1:]), device=device, dtype=wide if is_upcast else dtype)
                for shape, is_upcast in buffers
            )
            self._groups.append(_LayerGroup(state, allocated, layers))

    @property
    def nbytes(self) -> int:
        """Bytes of all buffers."""
        return sum(buffer.nbytes for group in self._groups for buffer in group.buffers)

    def reset(self) -> None:
        """Discard all positions."""
        self.length = 0

    def extend(self, count: int) -> list[LayerState | None]:
        """Reserve slots for the next ``count`` positions, and return each layer's state; None if it has none.

        The cache must be empty or ``count`` 1; several positions after cached ones would need another mask.
        """
        assert count == 1 or self.length == 0
        start, self.length = self.length, self.length + count
        states: list[LayerState | None] = [None] * self._n_layers
        for group in self._groups:
            of_group = group.state.of_layers(group.buffers, start=start, count=count)
            if len(of_group) == self._n_layers:
                return list(of_group)
            for layer, state in zip(group.layers, of_group, strict=True):
                states[layer] = state
        return states


def _state_kind(kind: ModelConfig, batch_size: int, capacity: int) -> _StateKind | None:
    """Return the decoding state of a layer of this kind and its buffers; None without a sequence mixer."""
    mixer = mixer_class(kind)
    if mixer is None:
        return None
    state = mixer.state_class(kind)
    return state, state.buffers(kind, batch_size=batch_size, capacity=capacity)

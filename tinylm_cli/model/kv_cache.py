"""The KV cache: what decoding keeps of previous positions, in each layer as its sequence mixer needs it."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from tinylm_cli.config.layer_kinds import layer_pattern
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.model.loop import layer_order
from tinylm_cli.model.mixers.registry import mixer_classes
from tinylm_cli.model.sequence_mixer import Buffer, LayerState, ParallelState
from tinylm_cli.model.token_shift import ShiftState

_StateKind = tuple[tuple[type[LayerState], tuple[Buffer, ...]], ...]
"""The decoding state of each sequence mixer of a layer and of its channel mixing, and its buffers."""


class _LayerGroup(NamedTuple):
    """Layers that share buffers."""

    # the decoding state of each module, and its buffers: one layer after the other along the first dimension
    states: tuple[tuple[type[LayerState], tuple[Tensor, ...]], ...]
    runs: list[int]  # their places in the order in which layers run; a looped layer has one for each pass


class KVCache:
    """Keys and values, or states, of every layer, preallocated: shared buffers for all layers with the same shapes.

    A layer with a sliding window has a ring buffer of that many positions; one with chunks, a buffer of one chunk.

    Args:
        config: Uses n_layers, loop and, of each kind of layers, the sequence mixer and its sizes.
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
        order = layer_order(config)
        self._n_states = len(order)
        self._groups: list[_LayerGroup] = []
        runs_of: dict[_StateKind, list[int]] = {}
        pattern = layer_pattern(config)
        state_kinds = [_state_kind(kind, batch_size, capacity) for kind in pattern.kinds]
        for run, layer in enumerate(order):
            kind = state_kinds[pattern.kind(layer)]
            if kind:
                runs_of.setdefault(kind, []).append(run)
        wide = torch.promote_types(dtype, torch.float32)
        for kind, runs in runs_of.items():
            allocated = (
                tuple(
                    torch.empty((len(runs) * shape[0], *shape[1:]), device=device, dtype=wide if is_upcast else dtype)
                    for shape, is_upcast in buffers
                )
                for _, buffers in kind
            )
            states = (state for state, _ in kind)
            self._groups.append(_LayerGroup(tuple(zip(states, allocated, strict=True)), runs))

    @property
    def nbytes(self) -> int:
        """Bytes of all buffers."""
        return sum(buffer.nbytes for group in self._groups for _, buffers in group.states for buffer in buffers)

    def reset(self) -> None:
        """Discard all positions."""
        self.length = 0

    def extend(self, count: int) -> list[LayerState | ParallelState | None]:
        """Reserve slots for the next ``count`` positions, and return each layer's state; None if it has none.

        The states are in the order in which layers run; a looped layer has one for each pass.

        The cache must be empty or ``count`` 1; several positions after cached ones would need another mask.
        """
        assert count == 1 or self.length == 0
        start, self.length = self.length, self.length + count
        states: list[LayerState | ParallelState | None] = [None] * self._n_states
        for group in self._groups:
            mixer_states = [state.of_layers(buffers, start=start, count=count) for state, buffers in group.states]
            group_states: list[LayerState | ParallelState] = (
                [*mixer_states[0]]
                if len(mixer_states) == 1
                else [ParallelState(each) for each in zip(*mixer_states, strict=True)]
            )
            if len(group_states) == self._n_states:
                return list(group_states)
            for run, state in zip(group.runs, group_states, strict=True):
                states[run] = state
        return states


def _state_kind(kind: ModelConfig, batch_size: int, capacity: int) -> _StateKind:
    """Return the decoding states of a layer of this kind and their buffers.

    A mixer has none if it attends to keys and values of an earlier layer. The state of channel mixing is the last.
    """
    mixers = mixer_classes(kind).values() if kind.attention.kv_from is None else ()
    states = [mixer.state_class(kind) for mixer in mixers]
    if kind.feed_forward.channel_mixing:
        states.append(ShiftState)
    return tuple((state, state.buffers(kind, batch_size=batch_size, capacity=capacity)) for state in states)

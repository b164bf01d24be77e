"""The base of every sequence mixer, and of the state that it keeps of earlier positions while decoding."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import ClassVar, NamedTuple, Protocol, Self

from torch import Generator, Tensor, nn

from tinylm_cli.config.schema import ModelConfig


class Computed(NamedTuple):
    """Initial values that do not depend on the seed, computed when needed."""

    fill: Callable[[Tensor], None]  # fills a float32 tensor on the CPU


InitialValue = float | Tensor | Computed | Callable[[Tensor, Generator], None]
"""The value of all elements of a parameter, a tensor of values that broadcasts to its shape, values to compute, or a
function that draws a float32 tensor on the CPU."""


class Buffer(NamedTuple):
    """A buffer in which one layer keeps its decoding state."""

    shape: tuple[int, ...]  # with a first dimension, along which the buffers of several layers are concatenated
    is_upcast: bool = False  # whether it is in float32 or wider, independent of the dtype of the cache


class LayerState(Protocol):
    """Decoding state of one layer: views into the buffers of its group of layers."""

    @staticmethod
    def buffers(config: ModelConfig, *, batch_size: int, capacity: int) -> tuple[Buffer, ...]:
        """Return the buffers of one layer for at most ``capacity`` positions."""

    @classmethod
    def of_layers(cls, buffers: Sequence[Tensor], *, start: int, count: int) -> list[Self]:
        """Return the state of each layer, with slots for ``count`` positions after the ``start`` cached ones."""


class ParallelState(tuple[LayerState, ...]):
    """The decoding states of one layer with several mixers, in their order."""

    __slots__ = ()


class SequenceMixer(nn.Module):
    """The part of a layer that moves information between positions.

    ``forward(x, *, mask, rotation, cache)`` maps (B, T, D) to (B, T, D). ``mask`` and ``rotation`` are for attention;
    ``cache`` is the layer's :class:`LayerState`, or None.

    Attributes:
        label: Its description in the report of a forward pass.
        State: Its decoding state.
    """

    label: ClassVar[str]
    State: ClassVar[type[LayerState]]

    @classmethod
    def state_class(cls, config: ModelConfig) -> type[LayerState]:  # noqa: ARG003
        """Return the decoding state of layers of this kind."""
        return cls.State

    @classmethod
    def reads_earlier_positions(cls, config: ModelConfig) -> bool:  # noqa: ARG003
        """Return whether the output of a position depends on earlier ones."""
        return True

    def set_layer(self, layer: int) -> None:
        """Set the index of its layer, on which the decays of some mixers depend."""

    def shown_settings(self) -> Iterator[tuple[str, int]]:
        """Yield the settings that are not visible in the shapes of its parameters."""
        yield from ()


def constant_states(buffers: Sequence[Tensor], *, start: int) -> Iterator[tuple[Tensor, ...]]:
    """Yield the tensors of each layer's state, whose size is constant; they are emptied before the first position.

    Args:
        buffers: The buffers of a group of layers, each (N, B, ...).
        start: Positions read before the new ones.
    """
    if start == 0:
        for buffer in buffers:
            buffer.zero_()
    return zip(*(buffer.unbind(0) for buffer in buffers), strict=True)


def position_views(buffer: Tensor, *, start: int, count: int) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
    """Return views of the slots of new positions, and of all cached positions, of each row of a ring buffer.

    Args:
        buffer: One slot for each position in the second last dimension, (N, B, ..., S, K).
        start: Positions cached before the new ones.
        count: Number of new positions.
    """
    axis = buffer.dim() - 2
    size = buffer.shape[axis]
    new = buffer.narrow(axis, start % size if count == 1 else 0, min(count, size)).unbind(0)
    return new, buffer.narrow(axis, 0, min(start + count, size)).unbind(0)

"""Token shift: RWKV interpolates the vector of each position with the vector of the position before it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.model.sequence_mixer import Buffer, Computed, InitialValue, constant_states


class ShiftState(NamedTuple):
    """The decoding state of a module that reads the vector before each position.

    Attributes:
        last: The vector of the last position, (B, 1, D); zeros before the first.
    """

    last: Tensor

    @staticmethod
    def buffers(config: ModelConfig, *, batch_size: int, capacity: int) -> tuple[Buffer, ...]:  # noqa: ARG004
        """Return the buffer of one layer, which does not grow with the positions."""
        return (Buffer((1, batch_size, 1, config.d_model)),)  # (1, B, 1, D)

    @classmethod
    def of_layers(cls, buffers: Sequence[Tensor], *, start: int, count: int) -> list[Self]:  # noqa: ARG003
        """Return the state of each layer, emptied before the first position."""
        return [cls(*tensors) for tensors in constant_states(buffers, start=start)]


def shift_tokens(x: Tensor, last: Tensor | None = None) -> Tensor:
    """Return the vector before each position of ``x`` (B, T, D), same shape.

    Args:
        x: (B, T, D).
        last: The vector before the first position, (B, 1, D), replaced by the last vector; None: zeros.
    """
    if last is None:
        return functional.pad(x[:, :-1], (0, 0, 1, 0))  # (B, T, D)
    shifted = torch.cat([last, x[:, :-1]], dim=1)  # (B, T, D)
    last.copy_(x[:, -1:])
    return shifted


def mix_parameter(d_model: int) -> nn.Parameter:
    """Return the coefficients μ (D) of a token shift, ``μ · x_t + (1 - μ) · x_{t-1}``, on meta."""
    return nn.Parameter(torch.empty(d_model, device="meta", dtype=torch.float32))


def initial_mix(exponent: float, offset: float = 0.0) -> InitialValue:
    """Return the initial coefficients (D), which grow from the offset in the first dimension as a power of its index.

    References:
        Peng et al. 2023, appendix E, https://arxiv.org/abs/2305.13048
    """
    return Computed(partial(_fill_mix, exponent, offset))


def _fill_mix(exponent: float, offset: float, values: Tensor) -> None:
    index = torch.arange(len(values), device="cpu", dtype=torch.float32)  # (D)
    values.copy_((index / len(values)) ** exponent + offset)

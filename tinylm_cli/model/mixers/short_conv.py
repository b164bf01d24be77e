"""Gated short convolution (LFM2): a causal convolution over a few positions, between two gates."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Self

from torch import Tensor

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.model.linear import Linear
from tinylm_cli.model.mixers.causal_conv import CausalConv
from tinylm_cli.model.sequence_mixer import Buffer, SequenceMixer, constant_states


class ShortConvState(NamedTuple):
    """The last inputs of one layer's convolution.

    Attributes:
        inputs: The L - 1 inputs before the next position, (B, L - 1, D); zeros before the first position.
    """

    inputs: Tensor

    @staticmethod
    def buffers(config: ModelConfig, *, batch_size: int, capacity: int) -> tuple[Buffer, ...]:  # noqa: ARG004
        """Return the buffer of one layer, which does not grow with the positions."""
        return (Buffer((1, batch_size, config.short_conv.kernel_size - 1, config.d_model)),)  # (1, B, L - 1, D)

    @classmethod
    def of_layers(cls, buffers: Sequence[Tensor], *, start: int, count: int) -> list[Self]:  # noqa: ARG003
        """Return the state of each layer, emptied before the first position."""
        return [cls(*tensors) for tensors in constant_states(buffers, start=start)]


class ShortConv(SequenceMixer):
    """``out_proj(gate_out ⊙ conv(gate_in ⊙ x'))``, where ``in_proj`` maps each token to both gates and x'.

    Args:
        config: Uses d_model and short_conv.

    References:
        Liquid AI 2025 (LFM2), section 2, https://arxiv.org/abs/2511.23404
    """

    label = "gated short convolution"
    State = ShortConvState

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        d, settings = config.d_model, config.short_conv
        self.in_proj = Linear(d, 3 * d, bias=settings.bias)
        self.conv = CausalConv(d, settings.kernel_size, bias=settings.bias)
        self.out_proj = Linear(d, d, bias=settings.bias)

    @classmethod
    def reads_earlier_positions(cls, config: ModelConfig) -> bool:
        """Return whether the kernel is longer than the position itself."""
        return config.short_conv.kernel_size > 1

    def shown_settings(self) -> Iterator[tuple[str, int]]:
        """Yield the kernel size."""
        yield "kernel_size", self.conv.kernel_size

    def forward(self, x: Tensor, *, cache: ShortConvState | None = None, **_: object) -> Tensor:
        """Mix ``x`` (B, T, D) with the positions before it, which ``cache`` holds, and return (B, T, D)."""
        gate_in, gate_out, x = self.in_proj(x).chunk(3, dim=-1)  # (B, T, D) each
        x = self.conv(gate_in * x, None if cache is None else cache.inputs)  # (B, T, D)
        out: Tensor = self.out_proj(gate_out * x)  # (B, T, D)
        return out

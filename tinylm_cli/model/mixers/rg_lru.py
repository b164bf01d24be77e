"""RG-LRU: a real-gated linear recurrent unit, computed position by position.

Each inner dimension keeps one number h. At each position, with gates r and i in (0, 1) and a learned Λ,

    a = exp(-8 · softplus(Λ) · r),    h = a · h + √(1 - a²) · i · x

At the first position, √(1 - a²) is replaced by 1.

Shapes: B batch, T positions, D d_model, I d_inner, H n_blocks of W = I / H dimensions, L kernel_size.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.model.linear import Linear
from tinylm_cli.model.mixers.causal_conv import CausalConv
from tinylm_cli.model.sequence_mixer import Buffer, InitialValue, SequenceMixer, constant_states

GATE_SCALE = 8.0
"""The constant c of the paper, section 2.4."""

INITIAL_DECAY = (0.9, 0.999)
"""Range of the initial decay of an open gate, exp(-softplus(Λ)), of the paper; its square is drawn uniformly."""

MIN_SQUARE = 2.5e-7
"""Least 1 - a², which bounds the gradient of its square root by 1,000, as in RecurrentGemma."""


class RgLruState(NamedTuple):
    """The decoding state of one layer; zeros before the first position.

    Attributes:
        inputs: The L - 1 inputs of the convolution before the next position, (B, L - 1, I).
        hidden: The number of every inner dimension, (B, I), in float32 or wider.
        start: Positions read so far.
    """

    inputs: Tensor
    hidden: Tensor
    start: int

    @staticmethod
    def buffers(config: ModelConfig, *, batch_size: int, capacity: int) -> tuple[Buffer, ...]:  # noqa: ARG004
        """Return the buffers of one layer, which do not grow with the positions."""
        d_inner = config.rg_lru_d_inner
        return (
            Buffer((1, batch_size, config.rg_lru.kernel_size - 1, d_inner)),  # (1, B, L - 1, I)
            Buffer((1, batch_size, d_inner), is_upcast=True),  # (1, B, I)
        )

    @classmethod
    def of_layers(cls, buffers: Sequence[Tensor], *, start: int, count: int) -> list[Self]:  # noqa: ARG003
        """Return the state of each layer, emptied before the first position."""
        return [cls(inputs, hidden, start) for inputs, hidden in constant_states(buffers, start=start)]


class RgLru(SequenceMixer):
    """``out_proj(h · gelu(gate_proj(x)))``, where the recurrence maps ``conv(in_proj(x))`` to h.

    Args:
        config: Uses d_model and rg_lru.

    References:
        De et al. 2024 (Griffin), section 2, https://arxiv.org/abs/2402.19427;
        Botev et al. 2024 (RecurrentGemma), https://arxiv.org/abs/2404.07839
    """

    label = "real-gated linear recurrent unit"
    State = RgLruState

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        settings, d, d_inner = config.rg_lru, config.d_model, config.rg_lru_d_inner
        self.n_blocks = settings.n_blocks
        self.decay = nn.Parameter(torch.empty(d_inner, device="meta", dtype=torch.float32))  # (I), Λ
        self.gate_proj = Linear(d, d_inner, bias=settings.bias)
        self.in_proj = Linear(d, d_inner, bias=settings.bias)
        self.conv = CausalConv(d_inner, settings.kernel_size, bias=settings.bias)
        self.input_gate = BlockDiagonal(settings.n_blocks, d_inner // settings.n_blocks)
        self.decay_gate = BlockDiagonal(settings.n_blocks, d_inner // settings.n_blocks)
        self.out_proj = Linear(d_inner, d, bias=settings.bias)
        self.initial_values: dict[str, InitialValue] = {"decay": _draw_decay}

    def shown_settings(self) -> Iterator[tuple[str, int]]:
        """Yield the blocks of the gates."""
        yield "n_blocks", self.n_blocks

    def forward(self, x: Tensor, *, cache: RgLruState | None = None, **_: object) -> Tensor:
        """Mix ``x`` (B, T, D) with the positions before it, which ``cache`` summarizes, and return (B, T, D)."""
        branch = functional.gelu(self.gate_proj(x), approximate="tanh")  # (B, T, I)
        x = self.conv(self.in_proj(x), None if cache is None else cache.inputs).contiguous()  # (B, T, I)
        wide = torch.promote_types(x.dtype, torch.float32)
        input_gate = self.input_gate(x).to(wide).sigmoid()  # (B, T, I)
        rate = -GATE_SCALE * functional.softplus(self.decay.to(wide))  # (I)
        decay = (rate * self.decay_gate(x).to(wide).sigmoid()).exp()  # (B, T, I), a
        scale = (1 - decay.square()).clamp(min=MIN_SQUARE).sqrt()  # (B, T, I)
        if cache is None or cache.start == 0:
            scale = functional.pad(scale[:, 1:], (0, 0, 1, 0), value=1.0)  # (B, T, I)
        added = x.to(wide) * input_gate * scale  # (B, T, I)
        h = linear_recurrence(decay, added, None if cache is None else cache.hidden)  # (B, T, I)
        out: Tensor = self.out_proj(h.to(x.dtype) * branch)  # (B, T, D)
        return out


class BlockDiagonal(nn.Module):
    """A linear map with a bias whose weight is zero outside of square blocks on its diagonal.

    Args:
        n_blocks: H.
        width: W, dimensions of a block.
    """

    def __init__(self, n_blocks: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(n_blocks, width, width, device="meta", dtype=torch.float32))  # (H, W, W)
        self.bias = nn.Parameter(torch.empty(n_blocks, width, device="meta", dtype=torch.float32))  # (H, W)
        self.initial_values: dict[str, InitialValue] = {"bias": 0.0}

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, T, I) to (B, T, I)."""
        blocks = x.reshape(-1, *self.bias.shape).transpose(0, 1)  # (H, B·T, W)
        y = torch.baddbmm(self.bias[:, None], blocks, self.weight)  # (H, B·T, W)
        return y.transpose(0, 1).reshape(x.shape)  # (B, T, I)


def linear_recurrence(decay: Tensor, added: Tensor, state: Tensor | None = None) -> Tensor:
    """Return ``h[t] = decay[t] · h[t - 1] + added[t]`` of all positions, (B, T, I).

    Args:
        decay: (B, T, I).
        added: (B, T, I).
        state: The number before the first position, (B, I), replaced by the number after the last; None: zeros.
    """
    current = torch.zeros_like(added[:, 0]) if state is None else state  # (B, I)
    hidden = []
    for decay_t, added_t in zip(decay.unbind(1), added.unbind(1), strict=True):
        current = torch.addcmul(added_t, decay_t, current)  # (B, I)
        hidden.append(current)
    if state is not None:
        state.copy_(current)
    return torch.stack(hidden, dim=1)  # (B, T, I)


def _draw_decay(values: Tensor, generator: torch.Generator) -> None:
    """Fill Λ (I), so that the square of exp(-softplus(Λ)) is uniform in the range of squares of ``INITIAL_DECAY``."""
    low, high = INITIAL_DECAY
    values.uniform_(low**2, high**2, generator=generator).pow_(-0.5).sub_(1).log_()

"""Positions added to the embeddings: fixed sinusoids, a learned table, or none.

RoPE (:mod:`tinylm_cli.model.rope`) and ALiBi (:mod:`tinylm_cli.model.attention_mask`) act inside attention instead.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tinylm_cli.config.choices import Sinusoids
from tinylm_cli.config.layer_kinds import layer_pattern
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.model.rope import RotaryPosition, RotaryPositions, rotary_configs

BASE = 10_000.0
"""Base of the geometric progression of wavelengths."""

CHUNK_ANGLES = 1 << 18
"""Angles computed at once: 2 MiB in float64, to avoid a second full-size table."""


class SinusoidalPosition(nn.Module):
    """Add a fixed sine or cosine to each dimension; no parameters.

    ``table[t, 2i] = sin(t / 10000^(2i / D))`` and ``table[t, 2i + 1] = cos(t / 10000^(2i / D))``. Checkpoints omit
    this buffer, because :meth:`fill` rebuilds it. The order ``concatenated`` has all sines before all cosines; so has
    ``tensor2tensor``, with exponents ``2i / (D - 2)``.

    Args:
        max_len: Positions in the table.
        d_model: Width of the table; even.
        offset: Position of its first row.
        sinusoids: Order of sines and cosines.

    References:
        Vaswani et al. 2017, section 3.5, https://arxiv.org/abs/1706.03762;
        Vaswani et al. 2018 (Tensor2Tensor), https://arxiv.org/abs/1803.07416
    """

    table: Tensor

    def __init__(self, max_len: int, d_model: int, *, offset: int = 0, sinusoids: Sinusoids = "interleaved") -> None:
        super().__init__()
        self.offset = offset
        self.sinusoids = sinusoids
        table = torch.empty(max_len, d_model, device="meta", dtype=torch.float32)
        self.register_buffer("table", table, persistent=False)

    @torch.no_grad()
    def fill(self) -> None:
        """Fill the table; each value is computed in float64 and rounded once."""
        max_len, d_model = self.table.shape
        half = d_model // 2
        steps = max(half - 1, 1) if self.sinusoids == "tensor2tensor" else half
        exponents = torch.arange(half, dtype=torch.float64, device="cpu") / steps  # (D/2)
        frequencies = BASE**-exponents  # (D/2)
        rows = max(1, CHUNK_ANGLES // len(frequencies))
        for start in range(0, max_len, rows):
            positions = torch.arange(start, min(start + rows, max_len), dtype=torch.float64, device="cpu")  # (rows)
            angles = torch.outer(positions + self.offset, frequencies)  # (rows, D/2)
            chunk = self.table[start : start + rows]  # (rows, D)
            is_interleaved = self.sinusoids == "interleaved"
            sines, cosines = (chunk[:, 0::2], chunk[:, 1::2]) if is_interleaved else (chunk[:, :half], chunk[:, half:])
            sines.copy_(angles.sin())  # (rows, D/2)
            cosines.copy_(angles.cos())  # (rows, D/2)

    def rebuild_like(self, like: Tensor) -> None:
        """Rebuild the table with the device and dtype of ``like``, if either differs."""
        if (self.table.device, self.table.dtype) != (like.device, like.dtype):
            self.table = torch.empty(self.table.shape, device=like.device, dtype=like.dtype)
            if not like.is_meta:
                self.fill()

    def forward(self, x: Tensor, start: int = 0) -> Tensor:
        """Add the rows of positions ``start`` to ``start + T`` to ``x`` (B, T, D)."""
        return x + self.table.narrow(0, start, x.shape[1])  # (B, T, D)


class LearnedPosition(nn.Module):
    """Add a learned vector for each position.

    Args:
        max_len: Positions in the table.
        d_model: Width of the table.
        offset: Number of unused rows before the first position, as in OPT.

    References:
        Radford et al. 2019 (GPT-2), https://cdn.openai.com/better-language-models/language_models_are_unsupervised_multitask_learners.pdf
    """

    def __init__(self, max_len: int, d_model: int, offset: int = 0) -> None:
        super().__init__()
        self.offset = offset
        self.weight = nn.Parameter(torch.empty(offset + max_len, d_model, device="meta", dtype=torch.float32))

    def forward(self, x: Tensor, start: int = 0) -> Tensor:
        """Add the rows of positions ``start`` to ``start + T`` to ``x`` (B, T, D)."""
        return x + self.weight.narrow(0, self.offset + start, x.shape[1])  # (B, T, D)


class NoPosition(nn.Module):
    """Return the embeddings unchanged; only the causal mask or ALiBi conveys order.

    References:
        Kazemnejad et al. 2023, https://arxiv.org/abs/2305.19466
    """

    def forward(self, x: Tensor, start: int = 0) -> Tensor:  # noqa: ARG002 - common signature of position modules
        """Return ``x`` (B, T, D)."""
        return x


PositionModule = SinusoidalPosition | LearnedPosition | RotaryPosition | RotaryPositions | NoPosition


def build_position(config: ModelConfig) -> PositionModule:
    """Return the module of the positions of ``config``, on meta."""
    rotary = list(rotary_configs(layer_pattern(config).kinds).values())
    if rotary:
        return RotaryPosition(rotary[0]) if len(rotary) == 1 else RotaryPositions(rotary)
    if config.position.kind == "learned":
        return LearnedPosition(config.max_len, config.d_model, config.position.offset)
    if config.position.kind == "sinusoidal":
        position = config.position
        return SinusoidalPosition(config.max_len, config.d_model, offset=position.offset, sinusoids=position.sinusoids)
    return NoPosition()

"""Rotary positions: queries and keys turned by an angle that grows with their position."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from tinylm_cli.config.blocks import Pairing, Position
from tinylm_cli.config.schema import ModelConfig


class Rotation(NamedTuple):
    """The turns of some positions, alike for every head.

    Attributes:
        cos: Cosine of each pair's angle, (T, R/2).
        sin: Its sine, (T, R/2).
        pairing: Which dimensions make a pair.
    """

    cos: Tensor
    sin: Tensor
    pairing: Pairing

    def turn(self, x: Tensor) -> Tensor:
        """Turn the first R dimensions of each vector in ``x`` (B, H, T, K), K >= R, and keep the others."""
        rotated = 2 * self.cos.shape[-1]
        kept = x[..., rotated:]  # (B, H, T, K - R)
        x = x[..., :rotated]  # (B, H, T, R)
        if self.pairing == "half":
            first, second = x.chunk(2, dim=-1)  # (B, H, T, R/2) each
            turned = torch.cat(self._pairs(first, second), dim=-1)  # (B, H, T, R)
        else:
            turned = torch.stack(self._pairs(x[..., 0::2], x[..., 1::2]), dim=-1).flatten(-2)  # (B, H, T, R)
        return torch.cat((turned, kept), dim=-1) if kept.shape[-1] else turned  # (B, H, T, K)

    def _pairs(self, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        return first * self.cos - second * self.sin, second * self.cos + first * self.sin


class RotaryPosition(nn.Module):
    """The angles of every position; no parameters.

    Position t turns pair i by ``t · theta^(-2i / R)``, R being the dimensions that rotate, and scaling stretches the
    wavelengths of that.

    Args:
        config: Uses position and the width of a head.

    References:
        Su et al. 2021, https://arxiv.org/abs/2104.09864
    """

    frequencies: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.position = config.position
        latent = config.attention.kind == "latent"
        self.rotated = config.attention.d_rope if latent else int(config.d_head * config.position.rotary_fraction)
        empty = torch.empty(self.rotated // 2, device="meta", dtype=torch.float32)
        self.register_buffer("frequencies", empty, persistent=False)  # radians per position, (R/2)

    def fill(self) -> None:
        """Write the frequencies of sequences no longer than those the model was first trained on."""
        self.frequencies.copy_(self._frequencies(0))

    def _apply(self, fn: object, recurse: bool = True) -> RotaryPosition:  # noqa: FBT001, FBT002 - torch's
        """Move with the model, and stay in float32: half precision would be wrong by whole turns."""
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]  # torch leaves it so
        self.place(self.frequencies)
        return self

    def place(self, like: Tensor) -> None:
        """Write the frequencies anew, in float32, on the device of ``like``."""
        self.frequencies = torch.empty(self.rotated // 2, device=like.device, dtype=torch.float32)
        if not like.is_meta:
            self.fill()

    def regime(self, length: int) -> int:
        """Return which frequencies sequences of ``length`` are read with: those of equal regimes are the same."""
        original = self.position.original_max_len
        if original is None or length <= original or self.position.scaling not in ("dynamic", "longrope"):
            return 0
        return length if self.position.scaling == "dynamic" else 1

    def forward(self, x: Tensor, start: int = 0) -> Tensor:  # noqa: ARG002 - every kind of position is called alike
        """Return ``x`` (B, T, D): these positions enter through attention."""
        return x

    def rotation(self, start: int, length: int, *, local: bool, dtype: torch.dtype) -> Rotation:
        """Return the rotation of positions ``start`` to ``start + length``, for a layer with a window if ``local``."""
        device = self.frequencies.device
        regime = self.regime(start + length)
        frequencies = self.frequencies
        if local and self.position.local_theta is not None:
            frequencies = _unscaled(self.position.local_theta, self.rotated).to(device, torch.float32)  # (R/2)
        elif regime:
            frequencies = self._frequencies(regime).to(device, torch.float32)  # (R/2)
        positions = torch.arange(start, start + length, device=device, dtype=torch.float32)  # (T)
        angles = torch.outer(positions, frequencies)  # (T, R/2)
        factor = 1.0 if local and self.position.local_theta is not None else attention_factor(self.position)
        cos, sin = angles.cos() * factor, angles.sin() * factor  # (T, R/2)
        return Rotation(cos.to(dtype), sin.to(dtype), self.position.pairing)

    def _frequencies(self, regime: int) -> Tensor:
        """Return the frequencies of a regime, computed in float64, (R/2)."""
        position, rotated = self.position, self.rotated
        if position.scaling == "dynamic" and regime and rotated > 2:
            return _unscaled(_dynamic_theta(position, rotated, regime), rotated)
        frequencies = _unscaled(position.theta, rotated)  # (R/2)
        if position.scaling == "linear":
            return frequencies / position.stretch
        if position.scaling == "llama3":
            return _llama3(frequencies, position)
        if position.scaling == "yarn":
            return _yarn(frequencies, position, rotated)
        if position.scaling == "longrope":
            factors = position.long_factors if regime else position.short_factors
            return frequencies / torch.tensor(factors, dtype=torch.float64, device="cpu")
        return frequencies


def attention_factor(position: Position) -> float:
    """Return what cosines and sines are multiplied by, so that scores stay as sharp over a longer sequence.

    References:
        Peng et al. 2023 (YaRN), equation 22, https://arxiv.org/abs/2309.00071;
        Ding et al. 2024 (LongRoPE), https://arxiv.org/abs/2402.13753
    """
    if position.attention_factor is not None:
        return position.attention_factor
    if position.scaling == "yarn":
        return 0.1 * math.log(position.stretch) + 1.0
    if position.scaling == "longrope" and position.stretch > 1 and (position.original_max_len or 1) > 1:
        assert position.original_max_len is not None
        return math.sqrt(1 + math.log(position.stretch) / math.log(position.original_max_len))
    return 1.0


def _unscaled(theta: float, rotated: int) -> Tensor:
    exponents = torch.arange(0, rotated, 2, dtype=torch.float64, device="cpu") / rotated  # (R/2)
    return torch.tensor(theta, dtype=torch.float64, device="cpu") ** -exponents  # (R/2)


def _dynamic_theta(position: Position, rotated: int, length: int) -> float:
    """Return the base that stretches the longest wavelength to ``length`` (NTK-aware scaling).

    References:
        Peng et al. 2023, section 3.3 and appendix A.2, https://arxiv.org/abs/2309.00071
    """
    assert position.original_max_len is not None
    stretch = position.stretch * length / position.original_max_len - (position.stretch - 1)
    return float(position.theta * stretch ** (rotated / (rotated - 2)))


def _llama3(frequencies: Tensor, position: Position) -> Tensor:
    """Stretch long wavelengths, keep short ones, and pass smoothly from one to the other.

    References:
        Grattafiori et al. 2024 (Llama 3.1), https://arxiv.org/abs/2407.21783
    """
    assert position.original_max_len is not None
    low, high = position.low_freq_factor, position.high_freq_factor
    turns = position.original_max_len * frequencies / (2 * math.pi)  # (R/2), over the original length
    kept = ((turns - low) / (high - low)).clamp(0.0, 1.0)  # (R/2), 1 for short wavelengths
    return frequencies * (kept + (1 - kept) / position.stretch)


def _yarn(frequencies: Tensor, position: Position, rotated: int) -> Tensor:
    """Stretch pairs that turn seldom, keep those that turn often, and pass linearly over the pairs between.

    References:
        Peng et al. 2023, section 3.2, https://arxiv.org/abs/2309.00071
    """
    first, last = (_pair_that_turns(turns, position, rotated) for turns in (position.beta_fast, position.beta_slow))
    if position.truncate:
        first, last = math.floor(first), math.ceil(last)
    first, last = max(first, 0), min(last, rotated - 1)
    width = last - first or 0.001
    pairs = torch.arange(rotated // 2, dtype=torch.float64, device="cpu")  # (R/2)
    stretched = ((pairs - first) / width).clamp(0.0, 1.0)  # (R/2)
    return frequencies * (1 - stretched + stretched / position.stretch)


def _pair_that_turns(turns: float, position: Position, rotated: int) -> float:
    """Return the index, with its fraction, of the pair that turns so often over the original length."""
    assert position.original_max_len is not None
    return rotated * math.log(position.original_max_len / (turns * 2 * math.pi)) / (2 * math.log(position.theta))

"""Rotary position embeddings (RoPE): queries and keys are rotated by angles proportional to their position."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from tinylm_cli.config.blocks import Position
from tinylm_cli.config.choices import Pairing
from tinylm_cli.config.schema import ModelConfig


class Rotation(NamedTuple):
    """The RoPE angles of T positions, shared by all heads.

    Attributes:
        cos: Cosine of each pair's angle, (T, R/2).
        sin: Sine of each pair's angle, (T, R/2).
        pairing: Which dimensions form a pair.
    """

    cos: Tensor
    sin: Tensor
    pairing: Pairing

    def rotate(self, x: Tensor) -> Tensor:
        """Rotate the first R dimensions of each vector in ``x`` (B, H, T, K), K >= R; the others are unchanged."""
        d_rotary = 2 * self.cos.shape[-1]
        rest = x[..., d_rotary:]  # (B, H, T, K - R)
        x = x[..., :d_rotary]  # (B, H, T, R)
        if self.pairing == "half":
            first, second = x.chunk(2, dim=-1)  # (B, H, T, R/2) each
            rotated = torch.cat(self._rotate_pairs(first, second), dim=-1)  # (B, H, T, R)
        else:
            rotated = torch.stack(self._rotate_pairs(x[..., 0::2], x[..., 1::2]), dim=-1).flatten(-2)  # (B, H, T, R)
        return torch.cat((rotated, rest), dim=-1) if rest.shape[-1] else rotated  # (B, H, T, K)

    def _rotate_pairs(self, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        return first * self.cos - second * self.sin, second * self.cos + first * self.sin  # (B, H, T, R/2) each


RotaryKey = tuple[Position, int]
"""What a rotary encoding depends on: the position block, and the dimensions that RoPE rotates."""


class RotaryPosition(nn.Module):
    """The RoPE frequency of each pair of dimensions; no parameters.

    Position t rotates pair i by ``t · theta^(-2i / R)``, where R dimensions rotate. Proportional RoPE has a frequency
    for each pair of a head and rotates the first ones; the other frequencies are 0. RoPE scaling (linear, dynamic NTK,
    Llama 3, YaRN, LongRoPE) increases the wavelengths for longer sequences.

    Args:
        config: The config of the layers that it is for; uses position, and d_head or d_rope.

    References:
        Su et al. 2021, https://arxiv.org/abs/2104.09864
    """

    frequencies: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.position, self.d_rotary = rotary_key(config)
        empty = torch.empty(self.d_rotary // 2, device="meta", dtype=torch.float32)
        self.register_buffer("frequencies", empty, persistent=False)  # radians per position, (R/2)

    def fill(self) -> None:
        """Fill the frequencies for sequences up to the original training length."""
        self.frequencies.copy_(self._frequencies(0))

    def _apply(self, fn: object, recurse: bool = True) -> RotaryPosition:  # noqa: FBT001, FBT002 - torch's signature
        """Move with the model, but stay in float32: in half precision, angles would be wrong by full turns."""
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]  # untyped in torch
        self.rebuild_like(self.frequencies)
        return self

    def rebuild_like(self, like: Tensor) -> None:
        """Recompute the frequencies, in float32, on the device of ``like``."""
        self.frequencies = torch.empty(self.d_rotary // 2, device=like.device, dtype=torch.float32)
        if not like.is_meta:
            self.fill()

    def scaling_key(self, length: int) -> int:
        """Return a key that identifies the frequencies at this sequence length.

        Beyond the original length, dynamic NTK scaling has other frequencies at every length, LongRoPE a second set.
        """
        original = self.position.original_max_len
        if original is None or length <= original or self.position.scaling not in ("dynamic", "longrope"):
            return 0
        return length if self.position.scaling == "dynamic" else 1

    def forward(self, x: Tensor, start: int = 0) -> Tensor:  # noqa: ARG002 - common signature of position modules
        """Return ``x`` (B, T, D) unchanged: RoPE acts inside attention."""
        return x

    def rotation(self, start: int, length: int, *, dtype: torch.dtype) -> Rotation:
        """Return the rotation of positions ``start`` to ``start + length``, with cosines and sines in ``dtype``."""
        device = self.frequencies.device
        scaling_key = self.scaling_key(start + length)
        frequencies = self.frequencies  # (R/2)
        if scaling_key:
            frequencies = self._frequencies(scaling_key).to(device, torch.float32)  # (R/2)
        positions = torch.arange(start, start + length, device=device, dtype=torch.float32)  # (T)
        angles = torch.outer(positions, frequencies)  # (T, R/2)
        factor = attention_factor(self.position)
        cos, sin = angles.cos() * factor, angles.sin() * factor  # (T, R/2)
        return Rotation(cos.to(dtype), sin.to(dtype), self.position.pairing)

    def _frequencies(self, scaling_key: int) -> Tensor:
        """Return the scaled frequencies (R/2) for a :meth:`scaling_key`, in radians per position, in float64."""
        position, d_rotary = self.position, self.d_rotary
        if position.scaling == "dynamic" and scaling_key and d_rotary > 2:
            return _unscaled(_dynamic_ntk_theta(position, d_rotary, scaling_key), d_rotary)  # (R/2)
        frequencies = _unscaled(position.theta, d_rotary)  # (R/2)
        if position.proportional:
            frequencies[int(position.rotary_fraction * d_rotary) // 2 :] = 0
        if position.scaling == "linear":
            return frequencies / position.stretch
        if position.scaling == "llama3":
            return _llama3(frequencies, position)
        if position.scaling == "yarn":
            return _yarn(frequencies, position, d_rotary)
        if position.scaling == "longrope":
            factors = position.long_factors if scaling_key else position.short_factors
            return frequencies / torch.tensor(factors, dtype=torch.float64, device="cpu")  # (R/2)
        return frequencies


def stretch_factors(config: ModelConfig) -> Tensor:
    """Return how much RoPE scaling stretches the wavelength of each pair up to the original length, (R/2)."""
    rotary = RotaryPosition(config)
    return _unscaled(rotary.position.theta, rotary.d_rotary) / rotary._frequencies(0)


class RotaryPositions(nn.ModuleList):
    """Several rotary encodings, one for each kind of layers that has its own.

    Args:
        configs: The config of each encoding, as for :class:`RotaryPosition`.
    """

    def __init__(self, configs: Iterable[ModelConfig]) -> None:
        super().__init__(map(RotaryPosition, configs))

    def forward(self, x: Tensor, start: int = 0) -> Tensor:  # noqa: ARG002 - common signature of position modules
        """Return ``x`` (B, T, D) unchanged: RoPE acts inside attention."""
        return x


def rotary_positions(position: nn.Module) -> tuple[RotaryPosition, ...]:
    """Return the rotary encodings in the module of a model's positions."""
    if isinstance(position, RotaryPosition):
        return (position,)
    return tuple(position) if isinstance(position, RotaryPositions) else ()  # type: ignore[arg-type]


def rotary_configs(kinds: Iterable[ModelConfig]) -> dict[RotaryKey, ModelConfig]:
    """Return the config of each rotary encoding among the kinds of layers, by its key."""
    return {rotary_key(kind): kind for kind in kinds if kind.position.kind == "rope"}


def rotary_key(config: ModelConfig) -> RotaryKey:
    """Return the position block of a kind of layers, and the dimensions that RoPE rotates."""
    if config.attention.kind == "latent":
        return config.position, config.attention.d_rope
    fraction = 1.0 if config.position.proportional else config.position.rotary_fraction
    return config.position, int(config.d_head * fraction)


def attention_factor(position: Position) -> float:
    """Return the factor on cosines and sines (mscale), which keeps attention sharp on longer sequences.

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


def _unscaled(theta: float, d_rotary: int) -> Tensor:
    """Return ``theta^(-2i / R)`` for each pair i, (R/2)."""
    exponents = torch.arange(0, d_rotary, 2, dtype=torch.float64, device="cpu") / d_rotary  # (R/2)
    return torch.tensor(theta, dtype=torch.float64, device="cpu") ** -exponents  # (R/2)


def _dynamic_ntk_theta(position: Position, d_rotary: int, length: int) -> float:
    """Return the theta that scales the longest wavelength to ``length`` (dynamic NTK scaling).

    References:
        Peng et al. 2023, section 3.3 and appendix A.2, https://arxiv.org/abs/2309.00071
    """
    assert position.original_max_len is not None
    stretch = position.stretch * length / position.original_max_len - (position.stretch - 1)
    return float(position.theta * stretch ** (d_rotary / (d_rotary - 2)))


def _llama3(frequencies: Tensor, position: Position) -> Tensor:
    """Scale long wavelengths, keep short ones, and interpolate smoothly in between (Llama 3.1); (R/2).

    References:
        Grattafiori et al. 2024 (Llama 3.1), https://arxiv.org/abs/2407.21783
    """
    assert position.original_max_len is not None
    low, high = position.low_freq_factor, position.high_freq_factor
    turns = position.original_max_len * frequencies / (2 * math.pi)  # (R/2), over the original length
    # (R/2), 1 for short wavelengths
    kept = ((turns - low) / (high - low)).clamp(0.0, 1.0) if low < high else (turns >= low).to(turns.dtype)
    return frequencies * (kept + (1 - kept) / position.stretch)


def _yarn(frequencies: Tensor, position: Position, d_rotary: int) -> Tensor:
    """Scale low frequencies, keep high ones, and interpolate linearly in between (YaRN); (R/2).

    References:
        Peng et al. 2023, section 3.2, https://arxiv.org/abs/2309.00071
    """
    first, last = (_correction_pair(turns, position, d_rotary) for turns in (position.beta_fast, position.beta_slow))
    if position.truncate:
        first, last = math.floor(first), math.ceil(last)
    first, last = max(first, 0), min(last, d_rotary - 1)
    width = last - first or 0.001
    pairs = torch.arange(d_rotary // 2, dtype=torch.float64, device="cpu")  # (R/2)
    stretched = ((pairs - first) / width).clamp(0.0, 1.0)  # (R/2)
    return frequencies * (1 - stretched + stretched / position.stretch)


def _correction_pair(turns: float, position: Position, d_rotary: int) -> float:
    """Return the fractional index of the pair that completes ``turns`` rotations over the original length.

    References:
        Peng et al. 2023, section 3.2, https://arxiv.org/abs/2309.00071
    """
    assert position.original_max_len is not None
    return d_rotary * math.log(position.original_max_len / (turns * 2 * math.pi)) / (2 * math.log(position.theta))

"""Token shift: RWKV reads the vector of each position mixed with that of the position before it."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


def shift_tokens(x: Tensor, last: Tensor | None = None) -> Tensor:
    """Return the vector before each position of ``x`` (B, T, D), same shape.

    Args:
        x: (B, T, D).
        last: The vector before the first position, (B, 1, D), replaced by that of the last one; None: zeros.
    """
    if last is None:
        return functional.pad(x[:, :-1], (0, 0, 1, 0))  # (B, T, D)
    shifted = torch.cat([last, x[:, :-1]], dim=1)  # (B, T, D)
    last.copy_(x[:, -1:])
    return shifted


def mix_parameter(d_model: int) -> nn.Parameter:
    """Return the shares (D) of each position in a mix with the one before it, on meta."""
    return nn.Parameter(torch.empty(d_model, device="meta", dtype=torch.float32))


def initial_mix(d_model: int, exponent: float) -> Tensor:
    """Return initial shares (D), which grow from 0 in the first dimension as a power of its index.

    References:
        Peng et al. 2023, appendix E, https://arxiv.org/abs/2305.13048
    """
    return (torch.arange(d_model, device="cpu", dtype=torch.float32) / d_model) ** exponent

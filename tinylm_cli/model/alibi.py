"""ALiBi: attention that fades with distance."""

from __future__ import annotations

import torch
from torch import Tensor


def slopes(n_heads: int) -> tuple[float, ...]:
    """Return how fast each head fades: ``2^(-8h / H)`` for h = 1..H where H is a power of two.

    Any other number of heads takes the slopes of the power of two below it, then every other one of those of the power
    above.

    References:
        Press, Smith and Lewis 2022, https://arxiv.org/abs/2108.12409
    """
    power = 1 << (n_heads.bit_length() - 1)
    found = [2.0 ** (-8 * head / power) for head in range(1, power + 1)]
    found += [2.0 ** (-4 * head / power) for head in range(1, 2 * (n_heads - power), 2)]
    return tuple(found)


def distance_bias(n_heads: int, queries: Tensor, keys: Tensor) -> Tensor:
    """Return what to add to each head's scores, 0 where a position meets itself and less the farther back.

    Args:
        n_heads: H.
        queries: Their positions (T), floating.
        keys: Their positions (S), floating.

    Returns:
        (1, H, T, S).
    """
    slope = torch.tensor(slopes(n_heads), device=queries.device, dtype=queries.dtype)  # (H)
    return slope[None, :, None, None] * (keys[None, :] - queries[:, None])  # (1, H, T, S)

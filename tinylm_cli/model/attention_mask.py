"""What the attention of a layer may see, and how positions enter it: worked out once for all layers alike."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.model.alibi import distance_bias
from tinylm_cli.model.rotary import RotaryPosition, Rotation


class Sight(NamedTuple):
    """What one kind of layer sees.

    Attributes:
        mask: Boolean, True where a query may attend, or added to the scores; (B or 1, H or 1, T, S). None for no other
            rule than ``is_causal``.
        is_causal: Whether each of T queries sees the keys up to its own, S being T.
        rotation: How queries and new keys are turned, or None.
    """

    mask: Tensor | None = None
    is_causal: bool = False
    rotation: Rotation | None = None


def look(
    config: ModelConfig,
    position: nn.Module,
    *,
    start: int,
    length: int,
    device: torch.device,
    dtype: torch.dtype,
    mask: Tensor | None = None,
) -> tuple[Sight, ...]:
    """Return what each layer sees of a sequence.

    Args:
        config: What the model is.
        position: How its tokens know where they stand.
        start: Positions before those being read; over 0 only with a length of 1, which sees all that is cached.
        length: T, positions being read.
        device: Where masks are made.
        dtype: The model's.
        mask: Replaces the causal rule and the window; (B or 1, 1, T, T).
    """
    windows = [config.window(layer) for layer in range(config.n_layers)] if config.attention.window else [None]
    kinds: dict[int | None, Sight] = {}
    for window in set(windows):
        rotation = None
        if isinstance(position, RotaryPosition):
            rotation = position.rotation(start, length, local=window is not None, dtype=dtype)
        seen = _mask(config, window, start=start, length=length, device=device, dtype=dtype, mask=mask)
        kinds[window] = Sight(seen, seen is None and length > 1, rotation)
    if len(kinds) == 1:
        return (kinds[windows[0]],) * config.n_layers
    return tuple(kinds[window] for window in windows)


def _mask(
    config: ModelConfig,
    window: int | None,
    *,
    start: int,
    length: int,
    device: torch.device,
    dtype: torch.dtype,
    mask: Tensor | None,
) -> Tensor | None:
    end = start + length
    fades = config.position.kind == "alibi"
    if length > 1 and mask is None and (fades or (window is not None and window < length)):
        mask = _band(length, window, device)[None, None]  # (1, 1, T, T)
    if not fades:
        return mask
    queries = torch.arange(start, end, device=device, dtype=torch.float32)  # (T)
    keys = queries if length > 1 else _cached_positions(end, window, device)  # (S)
    bias = distance_bias(config.n_heads, queries, keys)  # (1, H, T, S)
    if mask is None:
        return bias.to(dtype)
    return (bias.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else bias + mask).to(dtype)


def _band(length: int, window: int | None, device: torch.device) -> Tensor:
    """Return which of ``length`` positions each may see: itself and those before it, within the window; (T, T)."""
    allowed = torch.ones(length, length, dtype=torch.bool, device=device).tril()  # (T, T)
    return allowed if window is None else allowed.triu(1 - window)


def _cached_positions(end: int, window: int | None, device: torch.device) -> Tensor:
    """Return the position that each slot of a cache holds when ``end`` have been read; a window's slots go round."""
    size = end if window is None else min(window, end)
    slots = torch.arange(size, device=device)  # (S)
    last = end - 1
    return (last - (last - slots) % size).float()  # (S)

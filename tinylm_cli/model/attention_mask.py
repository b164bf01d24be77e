"""Attention masks (causal, sliding-window, chunked, ALiBi) and temperatures, built once per forward pass and shared."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from tinylm_cli.config.choices import TemperatureGrowth
from tinylm_cli.config.schema import ModelConfig


class AttentionMask(NamedTuple):
    """The mask of one layer, in the form that ``scaled_dot_product_attention`` takes.

    Attributes:
        values: Boolean (True where a query may attend) or floating (added to the scores), (B or 1, H or 1, T, S). None
            if ``is_causal`` suffices.
        is_causal: Whether each of T queries attends to the keys up to its own position; then S = T.
        query_scale: Factor on each query, (T, 1); None if it is 1.
        key_positions: The positions of the keys, (S), if a dynamic mask selects from a ring buffer; else None.
    """

    values: Tensor | None = None
    is_causal: bool = False
    query_scale: Tensor | None = None
    key_positions: Tensor | None = None


class _Local(NamedTuple):
    """The positions that the layers of a kind attend to, and the number of their heads with ALiBi biases."""

    window: int | None
    chunked: bool
    n_alibi_heads: int


def attention_masks(
    kinds: Sequence[ModelConfig],
    *,
    start: int,
    length: int,
    device: torch.device,
    dtype: torch.dtype,
    mask: Tensor | None = None,
) -> list[AttentionMask]:
    """Return the mask of each kind of layers; kinds with the same window or chunks and ALiBi biases share one.

    Args:
        kinds: The config of each kind; uses attention.window, .chunked and .temperature_scale, n_heads and position.
        start: Positions already in the KV cache; nonzero only if length is 1.
        length: Number of new positions, T. A single position attends to everything in the cache.
        device: Device of the masks.
        dtype: Floating type of the model, for ALiBi biases.
        mask: A mask (B or 1, 1, T, T) that replaces the causal, sliding-window and chunked masks.
    """
    masks: dict[_Local, AttentionMask] = {}
    scales: dict[_Temperature, Tensor] = {}
    found = []
    for kind in kinds:
        attention = kind.attention
        local = _Local(attention.window, attention.chunked, kind.n_heads if kind.position.kind == "alibi" else 0)
        if local not in masks:
            values = _mask_values(local, start=start, length=length, device=device, dtype=dtype, mask=mask)
            masks[local] = AttentionMask(values, is_causal=values is None and length > 1)
        own = masks[local]
        if attention.temperature_scale is not None:
            tuning = _Temperature(
                attention.temperature_scale,
                attention.temperature_len,
                attention.temperature_offset,
                attention.temperature_growth,
            )
            if tuning not in scales:
                scales[tuning] = query_scale(*tuning, start=start, length=length, device=device).to(dtype)
            own = own._replace(query_scale=scales[tuning])
        if attention.dynamic_mask_top_k is not None and attention.window is not None and length == 1:
            positions = _cached_positions(start + 1, attention.window, device, chunked=False)  # (S)
            own = own._replace(key_positions=positions)
        found.append(own)
    return found


class _Temperature(NamedTuple):
    """The fields of a kind of layers that determine the factors on its queries."""

    scale: float
    period: int
    offset: int
    growth: TemperatureGrowth


def query_scale(
    scale: float,
    period: int,
    offset: int,
    growth: TemperatureGrowth = "log_steps",
    *,
    start: int,
    length: int,
    device: torch.device,
) -> Tensor:
    """Return the factor on the query of each position, (T, 1).

    It is ``1 + scale · ln(1 + ⌊(t + offset) / period⌋)``, or ``(1 + (t + offset) / period) ** scale``.

    Args:
        scale: ``attention.temperature_scale``.
        period: ``attention.temperature_len``.
        offset: ``attention.temperature_offset``.
        growth: ``attention.temperature_growth``, which selects the formula.
        start: First position.
        length: Number of positions, T.
        device: Device of the factors, which are in float32.

    References:
        Nakanishi 2025 (Scalable-Softmax), https://arxiv.org/abs/2501.19399;
        Meta 2025 (Llama 4), https://ai.meta.com/blog/llama-4-multimodal-intelligence/
    """
    positions = torch.arange(start + offset, start + offset + length, device=device)  # (T)
    if growth == "power":
        return torch.exp(scale * torch.log1p(positions.float() / period))[:, None]  # (T, 1)
    steps = torch.div(positions, period, rounding_mode="floor")  # (T)
    return (1 + scale * torch.log1p(steps.float()))[:, None]  # (T, 1)


def _mask_values(
    local: _Local,
    *,
    start: int,
    length: int,
    device: torch.device,
    dtype: torch.dtype,
    mask: Tensor | None,
) -> Tensor | None:
    window, chunked, n_alibi_heads = local
    end = start + length
    if length > 1 and mask is None and (n_alibi_heads or (window is not None and window < length)):
        if window is not None and chunked:
            mask = chunked_mask(length, window, device)[None, None]  # (1, 1, T, T)
        else:
            mask = sliding_window_mask(length, window, device)[None, None]  # (1, 1, T, T)
    if not n_alibi_heads:
        return mask
    queries = torch.arange(start, end, device=device, dtype=torch.float32)  # (T)
    keys = queries if length > 1 else _cached_positions(end, window, device, chunked=chunked)  # (S)
    bias = alibi_bias(n_alibi_heads, queries, keys)  # (1, H, T, S)
    if mask is None:
        return bias.to(dtype)
    return (bias.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else bias + mask).to(dtype)  # (·, H, T, S)


def sliding_window_mask(length: int, window: int | None, device: torch.device) -> Tensor:
    """Return the boolean causal mask (T, T): True for a position itself and the ``window - 1`` before it.

    Args:
        length: T.
        window: Positions that each query attends to, itself included; None for all earlier ones.
        device: Device of the mask.

    References:
        Beltagy et al. 2020 (Longformer), section 3.1, https://arxiv.org/abs/2004.05150;
        Jiang et al. 2023 (Mistral 7B), https://arxiv.org/abs/2310.06825
    """
    causal = torch.ones(length, length, dtype=torch.bool, device=device).tril()  # (T, T)
    return causal if window is None else causal.triu(1 - window)  # (T, T)


def chunked_mask(length: int, chunk: int, device: torch.device) -> Tensor:
    """Return the boolean causal mask (T, T): True for a position itself and those before it in the same chunk.

    Args:
        length: T.
        chunk: Positions of a chunk; the first chunk begins at position 0.
        device: Device of the mask.

    References:
        Meta 2025 (Llama 4), https://ai.meta.com/blog/llama-4-multimodal-intelligence/
    """
    chunks = torch.arange(length, device=device) // chunk  # (T)
    return (chunks[:, None] == chunks).tril()  # (T, T)


def _cached_positions(end: int, window: int | None, device: torch.device, *, chunked: bool) -> Tensor:
    """Return the position in each KV cache slot (S) after ``end`` positions.

    Sliding-window caches are ring buffers, and caches of chunks hold the last chunk.
    """
    if window is not None and chunked:
        return torch.arange((end - 1) // window * window, end, device=device).float()  # (S)
    size = end if window is None else min(window, end)
    slots = torch.arange(size, device=device)  # (S)
    last = end - 1
    return (last - (last - slots) % size).float()  # (S)


def alibi_slopes(n_heads: int) -> tuple[float, ...]:
    """Return the ALiBi slope of each head: ``2^(-8h / H)`` for h = 1..H if H is a power of two.

    Otherwise, the slopes of the next lower power of two, followed by every second slope of the next higher one.

    References:
        Press, Smith and Lewis 2022, https://arxiv.org/abs/2108.12409
    """
    power = 1 << (n_heads.bit_length() - 1)
    slopes = [2.0 ** (-8 * head / power) for head in range(1, power + 1)]
    slopes += [2.0 ** (-4 * head / power) for head in range(1, 2 * (n_heads - power), 2)]
    return tuple(slopes)


def alibi_bias(n_heads: int, queries: Tensor, keys: Tensor) -> Tensor:
    """Return the bias (1, H, T, S) on each head's scores: minus its slope times the distance from key to query.

    ``queries`` (T) and ``keys`` (S) are floating positions.

    References:
        Press, Smith and Lewis 2022, https://arxiv.org/abs/2108.12409
    """
    slopes = torch.tensor(alibi_slopes(n_heads), device=queries.device, dtype=queries.dtype)  # (H)
    return slopes[None, :, None, None] * (keys[None, :] - queries[:, None])  # (1, H, T, S)

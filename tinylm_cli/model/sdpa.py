"""Scaled dot-product attention, with grouped KV heads, soft-capped scores and attention sinks."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from tinylm_cli.model.attention_mask import AttentionMask

FUSED_GQA_ON_CPU = tuple(map(int, torch.__version__.split(".")[:2])) >= (2, 9)
"""Whether torch's fused CPU kernel reads grouped KV heads: https://github.com/pytorch/pytorch/pull/157893. Without it,
``enable_gqa`` on the CPU selects the math backend, which copies keys and values and materializes the scores."""


def sdpa(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: AttentionMask,
    *,
    scale: float | None = None,
    dropout: float = 0.0,
    softcap: float | None = None,
    sinks: Tensor | None = None,
) -> Tensor:
    """Return ``softmax(q·kᵀ · scale, masked) · v``; each group of H / G query heads shares a KV head.

    Uses torch's fused kernel unless there is a soft-cap or sinks, which the kernel does not support.

    Args:
        q: Queries (B, H, T, K).
        k: Keys (B, G, S, K), G dividing H.
        v: Values (B, G, S, K_v).
        mask: Which keys each query attends to, and the factor on each query.
        scale: Factor on the scores; 1/√K if None.
        dropout: Dropout probability of the attention weights, in training.
        softcap: Bound c on the scores, ``c · tanh(scores / c)``, applied before the mask.
        sinks: A logit per head that takes part in the softmax but has no value vector: (H), or as many dimensions as
            the scores (B, H, T, S).

    Returns:
        (B, H, T, K_v).

    References:
        Vaswani et al. 2017, section 3.2, https://arxiv.org/abs/1706.03762;
        Ainslie et al. 2023 (grouped queries), https://arxiv.org/abs/2305.13245;
        Gemma Team 2024 (soft-capping), https://arxiv.org/abs/2408.00118;
        Xiao et al. 2024 (sinks), https://arxiv.org/abs/2309.17453
    """
    if mask.query_scale is not None:
        q, mask = q * mask.query_scale, mask._replace(query_scale=None)  # (B, H, T, K)
    groups = q.shape[1] // k.shape[1]
    if softcap is None and sinks is None:
        if groups > 1 and q.device.type == "cpu" and not FUSED_GQA_ON_CPU:
            return _sdpa_by_kv_head(q, k, v, mask, scale=scale, dropout=dropout)  # (B, H, T, K_v)
        return functional.scaled_dot_product_attention(
            q,
            k,
            v,
            attn_mask=mask.values,
            dropout_p=dropout,
            is_causal=mask.is_causal,
            scale=scale,
            enable_gqa=groups > 1,
        )  # (B, H, T, K_v)
    if groups > 1:
        k, v = k.repeat_interleave(groups, dim=1), v.repeat_interleave(groups, dim=1)  # (B, H, S, K), (B, H, S, K_v)
    scores = q @ k.transpose(-2, -1) * (scale if scale is not None else 1 / math.sqrt(q.shape[-1]))  # (B, H, T, S)
    if softcap is not None:
        scores = softcap * torch.tanh(scores / softcap)  # (B, H, T, S)
    scores = _masked(scores, mask)  # (B, H, T, S)
    softmax_dtype = torch.promote_types(scores.dtype, torch.float32)
    if sinks is not None:
        by_head = sinks if sinks.dim() > 1 else sinks.view(1, -1, 1, 1)  # (1, H, 1, 1)
        column = by_head.expand(*scores.shape[:-1], 1)  # (B, H, T, 1)
        weights = torch.cat((scores, column), dim=-1).to(softmax_dtype).softmax(-1)[..., :-1]  # (B, H, T, S)
    elif mask.values is None:
        weights = scores.to(softmax_dtype).softmax(-1)  # (B, H, T, S)
    else:  # a fully masked query gets weights of 0, because softmax of all -inf would be nan
        empty = scores.isneginf().all(-1, keepdim=True)  # (B, H, T, 1)
        weights = scores.masked_fill(empty, 0.0).to(softmax_dtype).softmax(-1).masked_fill(empty, 0.0)  # (B, H, T, S)
    weights = functional.dropout(weights.to(q.dtype), dropout) if dropout else weights.to(q.dtype)  # (B, H, T, S)
    return weights @ v  # (B, H, T, K_v)


def _sdpa_by_kv_head(
    q: Tensor, k: Tensor, v: Tensor, mask: AttentionMask, *, scale: float | None, dropout: float
) -> Tensor:
    """Attend with the fused kernel to one KV head at a time, which its query heads share as a view."""
    groups = q.shape[1] // k.shape[1]
    outputs = []
    for kv_head in range(k.shape[1]):
        heads = slice(kv_head * groups, (kv_head + 1) * groups)
        key, value = (
            x[:, kv_head, None].expand(-1, groups, -1, -1) for x in (k, v)
        )  # (B, H/G, S, K), (B, H/G, S, K_v)
        values = mask.values
        if values is not None and values.shape[1] > 1:
            values = values[:, heads]  # (B or 1, H/G, T, S)
        outputs.append(
            sdpa(q[:, heads], key, value, AttentionMask(values, mask.is_causal), scale=scale, dropout=dropout)
        )
    return torch.cat(outputs, dim=1)  # (B, H, T, K_v)


def _masked(scores: Tensor, mask: AttentionMask) -> Tensor:
    if mask.is_causal:
        later = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).triu(1)  # (T, T)
        return scores.masked_fill(later, -torch.inf)  # (B, H, T, T)
    if mask.values is None:
        return scores
    return scores.masked_fill(~mask.values, -torch.inf) if mask.values.dtype == torch.bool else scores + mask.values

"""Scaled dot products of queries and keys, and the values they weigh."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from tinylm_cli.model.attention_mask import Sight


def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    sight: Sight,
    *,
    scale: float | None = None,
    dropout: float = 0.0,
    softcap: float | None = None,
    sinks: Tensor | None = None,
) -> Tensor:
    """Mix values by softmax(q·k · scale), each group of queries with its head of keys and values.

    Args:
        q: Queries (B, H, T, K).
        k: Keys (B, G, S, K), G dividing H.
        v: Values (B, G, S, V).
        sight: What each query may see.
        scale: Factor on the scores; 1/√K when None.
        dropout: Share of the weights zeroed.
        softcap: Bound on the scores before they are masked, approached as by tanh.
        sinks: A score for each head (H) that takes weight and has no value.

    Returns:
        (B, H, T, V).

    References:
        Vaswani et al. 2017, section 3.2, https://arxiv.org/abs/1706.03762;
        Ainslie et al. 2023 (groups), https://arxiv.org/abs/2305.13245;
        Gemma Team 2024 (soft-capping), https://arxiv.org/abs/2408.00118;
        Xiao et al. 2024 (sinks), https://arxiv.org/abs/2309.17453
    """
    if softcap is None and sinks is None:
        return functional.scaled_dot_product_attention(
            q,
            k,
            v,
            attn_mask=sight.mask,
            dropout_p=dropout,
            is_causal=sight.is_causal,
            scale=scale,
            enable_gqa=k.shape[1] != q.shape[1],
        )  # (B, H, T, V)
    groups = q.shape[1] // k.shape[1]
    if groups > 1:
        k, v = k.repeat_interleave(groups, dim=1), v.repeat_interleave(groups, dim=1)  # (B, H, S, K), (B, H, S, V)
    scores = q @ k.transpose(-2, -1) * (scale if scale is not None else 1 / math.sqrt(q.shape[-1]))  # (B, H, T, S)
    if softcap is not None:
        scores = softcap * torch.tanh(scores / softcap)
    scores = _masked(scores, sight)  # (B, H, T, S)
    wide = torch.promote_types(scores.dtype, torch.float32)
    if sinks is not None:
        column = sinks.view(1, -1, 1, 1).expand(*scores.shape[:-1], 1)  # (B, H, T, 1)
        weights = torch.cat((scores, column), dim=-1).to(wide).softmax(-1)[..., :-1]  # (B, H, T, S)
    else:
        if sight.mask is None:
            weights = scores.to(wide).softmax(-1)  # (B, H, T, S)
        else:  # a query that may see nothing must have neither weights nor a gradient that is no number
            nothing = scores.isneginf().all(-1, keepdim=True)  # (B, H, T, 1)
            weights = scores.masked_fill(nothing, 0.0).to(wide).softmax(-1).masked_fill(nothing, 0.0)
    weights = functional.dropout(weights.to(q.dtype), dropout) if dropout else weights.to(q.dtype)
    return weights @ v  # (B, H, T, V)


def _masked(scores: Tensor, sight: Sight) -> Tensor:
    if sight.is_causal:
        square = scores.shape[-2:]
        later = torch.ones(square, dtype=torch.bool, device=scores.device).triu(1)  # (T, T)
        return scores.masked_fill(later, -torch.inf)
    if sight.mask is None:
        return scores
    return scores.masked_fill(~sight.mask, -torch.inf) if sight.mask.dtype == torch.bool else scores + sight.mask

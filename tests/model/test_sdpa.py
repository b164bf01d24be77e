from __future__ import annotations

import math
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.attention import SDPBackend

from tinylm_cli.model.attention_mask import AttentionMask
from tinylm_cli.model.sdpa import FUSED_GQA_ON_CPU, sdpa


def by_hand(
    q: Tensor, k: Tensor, v: Tensor, *, scale: float, softcap: float | None, sinks: Tensor | None, allowed: Tensor
) -> Tensor:
    """Attend head by head and query by query."""
    batch, heads, length, _ = q.shape
    out = torch.zeros(batch, heads, length, v.shape[-1])
    each = heads // k.shape[1]
    for b, h, t in product(range(batch), range(heads), range(length)):
        seen = [s for s in range(k.shape[2]) if allowed[t, s]]
        scores = [float(q[b, h, t] @ k[b, h // each, s]) * scale for s in seen]
        if softcap is not None:
            scores = [softcap * math.tanh(score / softcap) for score in scores]
        total = sum(map(math.exp, scores)) + (math.exp(float(sinks[h])) if sinks is not None else 0.0)
        for s, score in zip(seen, scores, strict=True):
            out[b, h, t] += math.exp(score) / total * v[b, h // each, s]
    return out


@pytest.mark.parametrize("softcap", [None, 1.5])
@pytest.mark.parametrize("with_sinks", [False, True])
@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("windowed", [False, True])
@pytest.mark.parametrize("fused_gqa", [False, True])
def test_formula(
    softcap: float | None,
    with_sinks: bool,
    groups: int,
    windowed: bool,
    fused_gqa: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tinylm_cli.model.sdpa.FUSED_GQA_ON_CPU", fused_gqa)
    torch.manual_seed(0)
    q, k, v = torch.randn(2, 4, 5, 6), torch.randn(2, groups, 5, 6), torch.randn(2, groups, 5, 3)
    sinks = torch.randn(4) if with_sinks else None
    allowed = torch.ones(5, 5).tril().bool()
    if windowed:
        allowed = allowed.triu(-1)
    mask = AttentionMask(allowed[None, None]) if windowed else AttentionMask(is_causal=True)
    found = sdpa(q, k, v, mask, scale=0.7, softcap=softcap, sinks=sinks)
    expected = by_hand(q, k, v, scale=0.7, softcap=softcap, sinks=sinks, allowed=allowed)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_fused_gqa() -> None:
    """Whether torch selects its fused kernel for grouped KV heads on the CPU."""
    q, k = torch.randn(1, 4, 5, 8), torch.randn(1, 2, 5, 8)
    chosen = torch._fused_sdp_choice(q, k, k, is_causal=True, enable_gqa=True)
    assert (SDPBackend(chosen) == SDPBackend.FLASH_ATTENTION) == FUSED_GQA_ON_CPU


@pytest.mark.parametrize("kv_heads", [1, 2])
def test_bias_of_each_head_without_fused_gqa(kv_heads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    q, k, v = torch.randn(2, 4, 5, 6), torch.randn(2, kv_heads, 5, 6), torch.randn(2, kv_heads, 5, 6)
    mask = AttentionMask(torch.randn(1, 4, 5, 5))
    kernel, grouped = functional.scaled_dot_product_attention, []

    def recorded(*args: Any, **kwargs: Any) -> Tensor:
        grouped.append(kwargs["enable_gqa"])
        return kernel(*args, **kwargs)

    monkeypatch.setattr(functional, "scaled_dot_product_attention", recorded)
    found = {}
    for fused_gqa in (False, True):
        monkeypatch.setattr("tinylm_cli.model.sdpa.FUSED_GQA_ON_CPU", fused_gqa)
        found[fused_gqa] = sdpa(q, k, v, mask)
    assert grouped == [False] * kv_heads + [True], "one KV head at a time, then all together"
    torch.testing.assert_close(found[False], found[True], atol=1e-5, rtol=1e-5)

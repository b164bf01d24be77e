"""Mixture of attention heads (MoA): experts with query and output projections, which share keys and values."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.model.experts import Dispatch, ExpertLinear, sort_by_expert
from tinylm_cli.model.linear import Linear


class AttentionRoutes(NamedTuple):
    """The experts of all N tokens in one layer."""

    dispatch: Dispatch
    weights: Tensor  # of each expert of a token, (N, k)


class AttentionExperts(nn.Module):
    """A router, and the query and output projections of E experts, each of G = n_kv_heads heads.

    A token selects the k = n_heads / n_kv_heads experts with the highest logits. Head g of each of them attends to the
    keys and values of KV head g. The outputs of its experts are added, weighted by a softmax over their logits.

    Args:
        config: Uses d_model, n_heads and attention.

    References:
        Zhang et al. 2022 (mixture of attention heads), https://arxiv.org/abs/2210.05144;
        Shen et al. 2024 (JetMoE), section 2.3, https://arxiv.org/abs/2404.07413
    """

    bias: nn.Parameter | None

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        d, d_in, attention, kv_heads = config.d_model, config.d_attention_input, config.attention, config.n_kv_heads
        assert attention.n_experts is not None
        self.n_experts, self.top_k, self.n_kv_heads = attention.n_experts, config.attention_top_k, kv_heads
        values = torch.empty(d, device="meta", dtype=torch.float32)  # (D)
        self.register_parameter("bias", nn.Parameter(values) if attention.has_out_bias else None)
        self.router = Linear(d_in, self.n_experts, bias=False)
        self.q_proj = ExpertLinear(self.n_experts, d_in, kv_heads * config.d_head, bias=attention.bias)
        self.o_proj = ExpertLinear(self.n_experts, kv_heads * config.d_value_per_kv_head, d, bias=False)

    def route(self, x: Tensor) -> AttentionRoutes:
        """Select the experts of the tokens with vectors ``x`` (B, T, D)."""
        logits = self.router(x.flatten(0, 1))  # (N, E)
        best = logits.to(torch.promote_types(x.dtype, torch.float32)).topk(self.top_k, dim=-1)  # (N, k)
        weights = best.values.softmax(-1).to(x.dtype)  # (N, k)
        return AttentionRoutes(sort_by_expert(best.indices, self.n_experts), weights)

    def queries(self, x: Tensor, routes: AttentionRoutes) -> Tensor:
        """Project ``x`` (B, T, D) to the queries (B, T, H·K) of all heads; k consecutive heads share a key."""
        order, rows, _ = routes.dispatch
        queries = routes.dispatch.apply(self.q_proj.per_expert(), x.flatten(0, 1)[rows])  # (N·k, G·K), by expert
        queries = queries[order.argsort()]  # (N·k, G·K), by token
        return queries.view(*x.shape[:2], self.top_k, self.n_kv_heads, -1).transpose(2, 3).flatten(2)  # (B, T, G·k·K)

    def output(self, attended: Tensor, routes: AttentionRoutes) -> Tensor:
        """Project the output of all heads (B, T, H·K_v) to (B, T, D)."""
        order, rows, _ = routes.dispatch
        batch, length, _ = attended.shape
        by_head = attended.view(batch, length, self.n_kv_heads, self.top_k, -1)  # (B, T, G, k, K_v)
        inputs = by_head.transpose(2, 3).reshape(len(order), -1)[order]  # (N·k, G·K_v)
        outputs = routes.dispatch.apply(self.o_proj.per_expert(), inputs)  # (N·k, D)
        outputs = outputs * routes.weights.flatten()[order, None]  # (N·k, D)
        out = outputs.new_zeros(batch * length, outputs.shape[-1]).index_add(0, rows, outputs)  # (N, D)
        if self.bias is not None:
            out = out + self.bias  # (N, D)
        return out.view(batch, length, -1)  # (B, T, D)

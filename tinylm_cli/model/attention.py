"""Multi-head causal self-attention; with fewer KV heads than query heads, grouped-query attention."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.model.attention_mask import AttentionMask
from tinylm_cli.model.kv_cache import LayerKVCache
from tinylm_cli.model.latent_attention import LatentAttention
from tinylm_cli.model.linear import Linear
from tinylm_cli.model.norm import build_norm
from tinylm_cli.model.rope import Rotation
from tinylm_cli.model.sdpa import sdpa


class SelfAttention(nn.Module):
    """Multi-head attention: each of H heads averages values, weighted by softmax(q·k / √d_head).

    Args:
        config: Uses d_model, n_heads, dropout (on the attention weights, while training), norm (of queries and keys)
            and attention.

    References:
        Vaswani et al. 2017, section 3.2, https://arxiv.org/abs/1706.03762;
        Ainslie et al. 2023 (grouped queries), https://arxiv.org/abs/2305.13245;
        Henry et al. 2020 (norms on queries and keys), https://arxiv.org/abs/2010.04245
    """

    sinks: nn.Parameter | None

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        attention = config.attention
        self.d_head = config.d_head
        self.dropout = config.dropout
        self.scale = attention.scale
        self.softcap = attention.logit_softcap
        d_query, d_kv = config.n_heads * config.d_head, config.n_kv_heads * config.d_head
        self.q_proj = Linear(config.d_model, d_query, bias=attention.bias)
        self.k_proj = Linear(config.d_model, d_kv, bias=attention.bias)
        self.v_proj = Linear(config.d_model, d_kv, bias=attention.bias)
        self.o_proj = Linear(d_query, config.d_model, bias=attention.has_out_bias)
        self.norms_each_head = attention.qk_norm == "per_head"
        self.q_norm = self.k_norm = None
        if attention.qk_norm != "none":
            self.q_norm = build_norm(config, self.d_head if self.norms_each_head else d_query)
            self.k_norm = build_norm(config, self.d_head if self.norms_each_head else d_kv)
        sinks = torch.empty(config.n_heads, device="meta", dtype=torch.float32)  # (H)
        self.register_parameter("sinks", nn.Parameter(sinks) if attention.sinks else None)

    def forward(
        self, x: Tensor, mask: AttentionMask, rotation: Rotation | None = None, cache: LayerKVCache | None = None
    ) -> Tensor:
        """Attend within ``x``, and to the earlier positions in ``cache``.

        Args:
            x: Vectors (B, T, D).
            mask: Which positions each query attends to.
            rotation: RoPE of these T positions; None without RoPE.
            cache: Keys and values of earlier positions, with slots for those of ``x``.

        Returns:
            Vectors (B, T, D).
        """
        q, k, v = self.q_proj(x), self.k_proj(x), self.v_proj(x)  # (B, T, H·K), (B, T, G·K), (B, T, G·K)
        q_norm, k_norm = self.q_norm, self.k_norm
        if q_norm is not None and k_norm is not None and not self.norms_each_head:
            q, k = q_norm(q), k_norm(k)  # (B, T, H·K), (B, T, G·K)
        q = self._split_heads(q)  # (B, H, T, K)
        k, v = self._split_heads(k), self._split_heads(v)  # (B, G, T, K), (B, G, T, K)
        if q_norm is not None and k_norm is not None and self.norms_each_head:
            q, k = q_norm(q), k_norm(k)  # (B, H, T, K), (B, G, T, K)
        if rotation is not None:
            q, k = rotation.rotate(q), rotation.rotate(k)  # (B, H, T, K), (B, G, T, K)
        if cache is not None:
            k, v = cache.update(k, v)  # (B, G, S, K) each, S positions so far
        attended = sdpa(
            q,
            k,
            v,
            mask,
            scale=self.scale,
            dropout=self.dropout if self.training else 0.0,
            softcap=self.softcap,
            sinks=self.sinks,
        )  # (B, H, T, K)
        out: Tensor = self.o_proj(attended.transpose(1, 2).reshape(*x.shape[:2], -1))  # (B, T, D)
        return out

    def _split_heads(self, x: Tensor) -> Tensor:
        """Reshape (B, T, H·K) to (B, H, T, K)."""
        batch, length, width = x.shape
        if length == 1:  # decoding: a single position needs no transpose
            return x.view(batch, width // self.d_head, 1, self.d_head)  # (B, H, 1, K)
        return x.view(batch, length, -1, self.d_head).transpose(1, 2)  # (B, H, T, K)


def build_attention(config: ModelConfig) -> SelfAttention | LatentAttention:
    """Return the attention module of ``config.attention.kind``, on meta."""
    return LatentAttention(config) if config.attention.kind == "latent" else SelfAttention(config)

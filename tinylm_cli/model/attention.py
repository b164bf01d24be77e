"""Multi-head causal self-attention."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.model.cache import LayerCache
from tinylm_cli.model.linear import Linear


class SelfAttention(nn.Module):
    """Each head mixes the values of the positions it may see, weighted by softmax(q·k / √d_head).

    Args:
        config: Uses d_model, n_heads, dropout (on the attention weights, while training) and attention.

    References:
        Vaswani et al. 2017, section 3.2, https://arxiv.org/abs/1706.03762
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        bias = config.attention.bias
        self.n_heads = config.n_heads
        self.d_head = config.d_head
        self.dropout = config.dropout
        self.q_proj = Linear(config.d_model, config.d_model, bias=bias)
        self.k_proj = Linear(config.d_model, config.d_model, bias=bias)
        self.v_proj = Linear(config.d_model, config.d_model, bias=bias)
        self.o_proj = Linear(config.d_model, config.d_model, bias=bias)

    def forward(self, x: Tensor, mask: Tensor | None = None, cache: LayerCache | None = None) -> Tensor:
        """Attend within ``x``, and to the positions in ``cache`` that came before it.

        Args:
            x: Vectors (B, T, D).
            mask: Replaces the causal rule: boolean (True may attend) or additive, broadcastable to (B, H, T, T).
            cache: Earlier positions, with room for those of ``x``.

        Returns:
            Vectors (B, T, D).
        """
        batch, length, width = x.shape
        q = self._split_heads(self.q_proj(x))  # (B, H, T, K)
        k = self._split_heads(self.k_proj(x))  # (B, H, T, K)
        v = self._split_heads(self.v_proj(x))  # (B, H, T, K)
        if cache is not None:
            k, v = cache.store(k, v)  # (B, H, S, K), S positions so far
        mixed = functional.scaled_dot_product_attention(
            q,
            k,
            v,
            attn_mask=mask,
            dropout_p=self.dropout if self.training else 0.0,
            is_causal=mask is None and length > 1,
        )  # (B, H, T, K)
        out: Tensor = self.o_proj(mixed.transpose(1, 2).reshape(batch, length, width))  # (B, T, D)
        return out

    def _split_heads(self, x: Tensor) -> Tensor:
        """Turn (B, T, D) into (B, H, T, K)."""
        batch, length, _ = x.shape
        if length == 1:  # decoding: one position is in the same order either way
            return x.view(batch, self.n_heads, 1, self.d_head)
        return x.view(batch, length, self.n_heads, self.d_head).transpose(1, 2)

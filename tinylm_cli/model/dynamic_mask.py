"""The dynamic mask of Doge's attention: biases of keys, computed from their values, and a selection by these biases."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.model.attention_mask import AttentionMask
from tinylm_cli.model.indexer import best
from tinylm_cli.model.linear import Linear


class DynamicMask(nn.Module):
    """Add a bias to the scores of each key, and hide all but the ``top_k`` keys of the highest biases from a query.

    The bias of a key in each KV head is ``exp(scale · softplus(proj(v)))``, where v are its values in all KV heads. It
    does not depend on the query, but the keys that a query selects from do.

    Args:
        config: Uses n_heads and attention.

    References:
        Shi et al. 2025 (trainable dynamic mask attention), https://arxiv.org/abs/2508.02124
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        top_k, n_kv_heads = config.attention.dynamic_mask_top_k, config.n_kv_heads
        assert top_k is not None
        self.top_k, self.heads_each = top_k, config.n_heads // n_kv_heads
        self.scale = nn.Parameter(torch.empty(n_kv_heads, device="meta", dtype=torch.float32))  # (G)
        d_values = n_kv_heads * config.d_value_per_kv_head
        self.proj = Linear(d_values, n_kv_heads, bias=config.attention.bias)

    def forward(self, v: Tensor, mask: AttentionMask, length: int) -> AttentionMask:
        """Return the mask of ``length`` queries with the biases of the keys, (B, H, T, S).

        Args:
            v: Values of all S positions, (B, G, S, K_v).
            mask: Which keys each query may attend to.
            length: T.
        """
        logits: Tensor = self.proj(v.transpose(1, 2).flatten(2))  # (B, S, G)
        biases = torch.exp(self.scale * functional.softplus(logits)).transpose(1, 2)  # (B, G, S)
        biases = biases.repeat_interleave(self.heads_each, dim=1)[:, :, None]  # (B, H, 1, S)
        allowed = _allowed(mask, length, v.device)  # (B or 1, 1, T, S)
        if self.top_k < v.shape[2]:
            chosen = self._chosen(logits.detach(), allowed, mask.key_positions)  # (B, G, T or 1, S)
            allowed = chosen if allowed is None else chosen & allowed  # (B, G, T, S)
            allowed = allowed.repeat_interleave(self.heads_each, dim=1)  # (B, H, T, S)
        if allowed is not None:
            biases = biases.masked_fill(~allowed, -torch.inf)  # (B, H, T, S)
        elif length > 1:
            biases = biases.expand(-1, -1, length, -1)  # (B, H, T, S)
        if mask.values is not None and mask.values.dtype != torch.bool:
            biases = biases + mask.values  # (B, H, T, S)
        return mask._replace(values=biases, is_causal=False)

    def _chosen(self, logits: Tensor, allowed: Tensor | None, positions: Tensor | None) -> Tensor:
        """Return whether each key is among the ``top_k`` that a query may attend to with the highest biases.

        Biases rise with the logits, or fall if the scale is negative; logits are compared, because rounding makes
        fewer of them equal. Of equal ones, the earliest positions are chosen.
        """
        ranks = (logits * self.scale.detach().sign()).transpose(1, 2)[:, :, None]  # (B, G, 1, S)
        if allowed is not None:
            ranks = ranks.masked_fill(~allowed, -torch.inf)  # (B, G, T, S)
        if positions is None:
            return best(ranks, self.top_k)  # (B, G, T or 1, S)
        order = positions.argsort()  # (S)
        return best(ranks[..., order], self.top_k)[..., order.argsort()]  # (B, G, T or 1, S)

    def extra_repr(self) -> str:
        """Return the number of keys for ``print(model)``."""
        return f"top_k={self.top_k}"


def _allowed(mask: AttentionMask, length: int, device: torch.device) -> Tensor | None:
    """Return whether each query may attend to each key, (B or 1, 1, T, S); None if every query may attend to all."""
    if mask.is_causal:
        return torch.ones(length, length, dtype=torch.bool, device=device).tril()[None, None]  # (1, 1, T, T)
    if mask.values is None or mask.values.dtype == torch.bool:
        return mask.values
    return ~mask.values.isneginf()

"""The lightning indexer of DeepSeek sparse attention, which selects the positions that each query attends to."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.model.attention_mask import AttentionMask
from tinylm_cli.model.linear import Linear
from tinylm_cli.model.norm import LayerNorm
from tinylm_cli.model.rope import Rotation


class Indexer(nn.Module):
    """Score each pair of positions with small queries and keys, and select the ``top_k`` best keys of each query.

    The score is ``Σ weight[t, h] · ReLU(q[t, h] · k[s] / √d)`` over the heads h, where all heads share a key. Selecting
    has no gradient: the reference implementation trains the indexer with a loss of its own.

    Args:
        config: Uses d_model, attention.q_rank and the fields of attention that begin with index.

    References:
        DeepSeek-AI 2025 (DeepSeek-V3.2), section 2.1, https://arxiv.org/abs/2512.02556
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        attention = config.attention
        assert attention.q_rank is not None
        assert attention.index_top_k is not None
        self.top_k, self.n_heads, self.d_head = attention.index_top_k, attention.index_n_heads, attention.index_d_head
        self.pairing, self.rotates_last = attention.index_pairing, attention.index_rope_last
        self.d_pass = self.d_head - attention.d_rope
        self.wq_b = Linear(attention.q_rank, self.n_heads * self.d_head, bias=False)
        self.wk = Linear(config.d_model, self.d_head, bias=False)
        self.k_norm = LayerNorm(self.d_head, eps=attention.index_norm_eps, weight=True, bias=True, zero_centered=False)
        self.weights_proj = Linear(config.d_model, self.n_heads, bias=False)

    @torch.no_grad()
    def keys(self, x: Tensor, rotation: Rotation | None) -> Tensor:
        """Return the indexer's keys (B, T, I) of ``x`` (B, T, D)."""
        return self._rotate(self.k_norm(self.wk(x))[:, None], rotation)[:, 0]  # (B, T, I)

    @torch.no_grad()
    def select(
        self, x: Tensor, compressed: Tensor, keys: Tensor, rotation: Rotation | None, mask: AttentionMask
    ) -> Tensor | None:
        """Return whether each query attends to each key, (B, T, S); None if it may attend to all that the mask allows.

        Args:
            x: The input of attention, (B, T, D).
            compressed: The normalized compressed queries, (B, T, Q).
            keys: Keys of all positions so far, (B, S, I).
            rotation: The RoPE of the T positions; None without RoPE.
            mask: Which keys each query may attend to.
        """
        # also if every key is selected, so that the FLOPs of a pass do not depend on top_k
        scores = self._scores(x, compressed, keys, rotation)  # (B, T, S)
        if self.top_k >= keys.shape[1]:
            return None
        return best(_masked(scores, mask), self.top_k)  # (B, T, S)

    def _scores(self, x: Tensor, compressed: Tensor, keys: Tensor, rotation: Rotation | None) -> Tensor:
        """Return the score of each pair of positions in float32 or wider, (B, T, S)."""
        batch, length, _ = x.shape
        wide = torch.promote_types(x.dtype, torch.float32)
        q = self.wq_b(compressed).view(batch, length, self.n_heads, self.d_head).transpose(1, 2)  # (B, H, T, I)
        q = self._rotate(q, rotation).transpose(1, 2).reshape(batch, -1, self.d_head)  # (B, T·H, I)
        scores = q.to(wide) @ keys.to(wide).transpose(1, 2)  # (B, T·H, S)
        scores = functional.relu_(scores.mul_(self.d_head**-0.5)).view(batch, length, self.n_heads, -1)  # (B, T, H, S)
        weights: Tensor = self.weights_proj(x).to(wide) * self.n_heads**-0.5  # (B, T, H)
        return (weights[:, :, None] @ scores)[:, :, 0]  # (B, T, S)

    def _rotate(self, x: Tensor, rotation: Rotation | None) -> Tensor:
        """Rotate the first or the last dimensions of queries (B, H, T, I) or keys (B, 1, T, I)."""
        if rotation is None:
            return x
        rotation = rotation._replace(pairing=self.pairing)
        if not self.rotates_last or not self.d_pass:
            return rotation.rotate(x)
        return torch.cat((x[..., : self.d_pass], rotation.rotate(x[..., self.d_pass :])), dim=-1)  # as x

    def extra_repr(self) -> str:
        """Return the sizes for ``print(model)``."""
        return f"n_heads={self.n_heads}, top_k={self.top_k}"


def restricted(mask: AttentionMask, selected: Tensor) -> AttentionMask:
    """Return the mask of the ``selected`` keys (B, T, S) among those that ``mask`` allows."""
    chosen = selected[:, None]  # (B, 1, T, S)
    if mask.values is None:
        values = chosen & _causal(selected) if mask.is_causal else chosen  # (B, 1, T, S)
    elif mask.values.dtype == torch.bool:
        values = mask.values & chosen  # (B, 1, T, S)
    else:
        values = mask.values.masked_fill(~chosen, -torch.inf)  # (B, 1, T, S)
    return mask._replace(values=values, is_causal=False)


def _causal(like: Tensor) -> Tensor:
    """Return the boolean causal mask (T, T) of ``like`` (B, T, T)."""
    return torch.ones(like.shape[1:], dtype=torch.bool, device=like.device).tril()


def _masked(scores: Tensor, mask: AttentionMask) -> Tensor:
    """Return the scores (B, T, S), with -inf where the mask hides a key."""
    if mask.values is None:
        return scores.masked_fill_(~_causal(scores), -torch.inf) if mask.is_causal else scores  # (B, T, S)
    values = mask.values[:, 0]  # (B or 1, T, S)
    return scores.masked_fill_(~values, -torch.inf) if values.dtype == torch.bool else scores + values  # (B, T, S)


def best(scores: Tensor, top_k: int) -> Tensor:
    """Return whether each of the scores (..., S) is among the ``top_k`` best of its row; of equal scores, the first.

    ``torch.topk`` leaves open which of equal scores it returns. ReLU makes scores of 0 frequent.
    """
    least = scores.topk(top_k, dim=-1).values[..., -1:]  # (..., 1)
    better, equal = scores > least, scores == least  # (..., S) each
    missing = top_k - better.sum(-1, keepdim=True, dtype=torch.int32)  # (..., 1)
    return better | (equal & (equal.cumsum(-1, dtype=torch.int32) <= missing))  # (..., S)

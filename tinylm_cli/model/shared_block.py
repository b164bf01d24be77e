"""A transformer block whose weights several layers share (Zamba)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.model.adapter import BlockAdapters
from tinylm_cli.model.attention import LayerKVCache, SelfAttention
from tinylm_cli.model.attention_mask import AttentionMask
from tinylm_cli.model.feed_forward import FeedForward
from tinylm_cli.model.norm import build_norm
from tinylm_cli.model.rope import Rotation


class SharedBlock(nn.Module):
    """``feed_forward(norm(attention(norm([x, embedded]))))``, without residual additions.

    Args:
        config: The config of a kind of layers that uses the block; uses d_model, d_ff, dropout, norm, attention,
            feed_forward, and block.feed_forward.

    References:
        Glorioso et al. 2024 (Zamba), section 2, https://arxiv.org/abs/2405.16712
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.ln_1 = build_norm(config, config.d_attention_input)
        self.attention = SelfAttention(config)
        has_feed_forward = config.block.feed_forward
        self.ln_2 = build_norm(config) if has_feed_forward else None
        self.feed_forward = FeedForward(config, config.d_ff) if has_feed_forward else None

    def forward(
        self,
        x: Tensor,
        embedded: Tensor,
        mask: AttentionMask,
        rotation: Rotation | None = None,
        cache: LayerKVCache | None = None,
        adapters: BlockAdapters | None = None,
    ) -> Tensor:
        """Map the concatenation of hidden states ``x`` and embeddings ``embedded``, (B, T, D) each, to (B, T, D).

        ``mask``, ``rotation`` and the ``cache`` of the layer are passed to attention; ``adapters`` are the layer's.
        """
        both = self.ln_1(torch.cat((x, embedded), dim=-1))  # (B, T, 2D)
        out: Tensor = self.attention(both, mask, rotation, cache, adapters=adapters)  # (B, T, D)
        if self.ln_2 is not None and self.feed_forward is not None:
            adapter = None if adapters is None else adapters.feed_forward
            out = self.feed_forward.with_adapter(self.ln_2(out), adapter)  # (B, T, D)
        return out

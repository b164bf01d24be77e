"""One transformer block: attention, then feed-forward, each on a normalized copy and added back."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.model.attention import build_attention
from tinylm_cli.model.attention_mask import Sight
from tinylm_cli.model.experts import build_feed_forward
from tinylm_cli.model.kv_cache import LatentCache, LayerCache
from tinylm_cli.model.norm import build_norm


class TransformerBlock(nn.Module):
    """``x + attention(norm(x))``, then ``x + feed_forward(norm(x))``, with dropout on what is added.

    The norms may stand after the sub-layers instead (``post_ln_1``, ``post_ln_2``), or on both sides; and the two
    sub-layers may read the same vector, side by side.

    Args:
        config: Uses every field but vocab_size, max_len, tie_weights, embedding and head.
        layer: Which block it is, from 0.

    Attributes:
        window: Positions that its attention sees, or None for all before each; what it is given as sight follows that.

    References:
        Xiong et al. 2020 (pre-norm), https://arxiv.org/abs/2002.04745;
        OLMo Team 2024 (norms after), https://arxiv.org/abs/2501.00656;
        Gemma Team 2024 (both), https://arxiv.org/abs/2408.00118;
        Wang and Komatsuzaki 2021 (parallel), https://github.com/kingoflolz/mesh-transformer-jax
    """

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        before, after = config.norm.placement != "post", config.norm.placement != "pre"
        self.ln_1 = build_norm(config) if before else None
        self.attention = build_attention(config)
        self.post_ln_1 = build_norm(config) if after else None
        self.ln_2 = build_norm(config) if before and not config.block.shared_norm else None
        self.feed_forward = build_feed_forward(config, layer)
        self.post_ln_2 = build_norm(config) if after else None
        self.window = config.window(layer)
        self.parallel = config.block.parallel
        self.shared_norm = config.block.shared_norm
        self.multiplier = config.block.residual_multiplier
        self.dropout = config.dropout

    def forward(self, x: Tensor, sight: Sight, cache: LayerCache | LatentCache | None = None) -> Tensor:
        """Map ``x`` (B, T, D) to (B, T, D); ``sight`` and ``cache`` are those of the attention."""
        normed = x if self.ln_1 is None else self.ln_1(x)  # (B, T, D)
        attended = self._branch(self.attention(normed, sight, cache), self.post_ln_1)  # (B, T, D)
        if not self.parallel:
            x = x + attended  # (B, T, D)
        if not self.shared_norm:
            normed = x if self.ln_2 is None else self.ln_2(x)  # (B, T, D)
        thought = self._branch(self.feed_forward(normed), self.post_ln_2)  # (B, T, D)
        return x + attended + thought if self.parallel else x + thought

    def extra_repr(self) -> str:
        """Say what the printed tree of modules does not show."""
        return "" if self.window is None else f"window={self.window}"

    def _branch(self, x: Tensor, norm: nn.Module | None) -> Tensor:
        """Return what a sub-layer that put out ``x`` adds to the stream."""
        if norm is not None:
            x = norm(x)
        if self.multiplier != 1:
            x = x * self.multiplier
        return functional.dropout(x, self.dropout) if self.training else x

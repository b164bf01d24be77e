"""One transformer block: attention, then feed-forward, each on a normalised copy and added back."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.model.attention import SelfAttention
from tinylm_cli.model.cache import LayerCache
from tinylm_cli.model.feed_forward import FeedForward
from tinylm_cli.model.norm import build_norm


class TransformerBlock(nn.Module):
    """``x + attention(norm(x))``, then ``x + feed_forward(norm(x))``, with dropout on what is added.

    Args:
        config: Uses every field but vocab_size, n_layers, max_len and tie_weights.

    References:
        Xiong et al. 2020 (pre-norm), https://arxiv.org/abs/2002.04745
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.ln_1 = build_norm(config)
        self.attention = SelfAttention(config)
        self.ln_2 = build_norm(config)
        self.feed_forward = FeedForward(config)
        self.dropout = config.dropout

    def forward(self, x: Tensor, mask: Tensor | None = None, cache: LayerCache | None = None) -> Tensor:
        """Map ``x`` (B, T, D) to (B, T, D); ``mask`` and ``cache`` are those of :class:`SelfAttention`."""
        x = x + self._thinned(self.attention(self.ln_1(x), mask, cache))  # (B, T, D)
        return x + self._thinned(self.feed_forward(self.ln_2(x)))  # (B, T, D)

    def _thinned(self, x: Tensor) -> Tensor:
        return functional.dropout(x, self.dropout) if self.training else x

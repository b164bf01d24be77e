"""The dense layer before the head, as in BERT and ModernBERT."""

from __future__ import annotations

from torch import Tensor, nn

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.model.feed_forward import ACTIVATIONS
from tinylm_cli.model.linear import Linear
from tinylm_cli.model.norm import build_norm


class HeadTransform(nn.Module):
    """``norm(activation(dense(x)))``.

    Args:
        config: Uses d_model, norm and head.

    References:
        Devlin et al. 2018, https://arxiv.org/abs/1810.04805
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.dense = Linear(config.d_model, config.d_model, bias=config.head.dense_bias)
        self.norm = build_norm(config)
        self.activation = ACTIVATIONS[config.head.dense_activation]

    def forward(self, x: Tensor) -> Tensor:
        """Map ``x`` (..., D) to (..., D)."""
        out: Tensor = self.norm(self.activation(self.dense(x)))  # (..., D)
        return out

"""Normalisation of each token's vector: LayerNorm or RMSNorm."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.model.unfilled import Unfilled


class LayerNorm(Unfilled, nn.LayerNorm):
    """Centre and scale each vector to unit variance, then apply a learned weight and bias.

    References:
        Ba, Kiros and Hinton 2016, https://arxiv.org/abs/1607.06450
    """

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - the name nn.LayerNorm gives it
        """Map (..., D) to (..., D)."""
        return torch.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)


class RMSNorm(Unfilled, nn.RMSNorm):
    """Scale each vector by its root mean square, then apply a learned weight.

    References:
        Zhang and Sennrich 2019, https://arxiv.org/abs/1910.07467
    """


def build_norm(config: ModelConfig) -> LayerNorm | RMSNorm:
    """Return a norm over d_model, on meta, of the kind and eps that ``config.norm`` names."""
    if config.norm.kind == "rmsnorm":
        return RMSNorm(config.d_model, eps=config.norm.eps, device="meta", dtype=torch.float32)
    return LayerNorm(config.d_model, eps=config.norm.eps, device="meta", dtype=torch.float32)

"""The network applied to each position on its own."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from tinylm_cli.config.blocks import Activation
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.model.linear import Linear

SHORT = 1 << 12
"""Elements below which torch's exact GELU, a oneDNN primitive on the CPU, takes longer to set up than to compute."""


def exact_gelu(x: Tensor) -> Tensor:
    """Return ``x`` times the share of a standard normal distribution that lies below ``x``, of the same shape.

    References:
        Hendrycks and Gimpel 2016, https://arxiv.org/abs/1606.08415
    """
    if x.numel() >= SHORT or x.dtype != torch.float32 or x.device.type != "cpu":
        return functional.gelu(x)
    half = 0.5 * x
    return torch.addcmul(half, half, torch.erf(x * math.sqrt(0.5)))


ACTIVATIONS: dict[Activation, Callable[[Tensor], Tensor]] = {
    "gelu": exact_gelu,
    "gelu_tanh": partial(functional.gelu, approximate="tanh"),
    "relu": functional.relu,
    "silu": functional.silu,
}


class FeedForward(nn.Module):
    """Widen to d_ff, apply the activation, narrow back to d_model.

    Args:
        config: Uses d_model, d_ff and feed_forward.

    References:
        Vaswani et al. 2017, section 3.3, https://arxiv.org/abs/1706.03762
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        bias = config.feed_forward.bias
        self.up_proj = Linear(config.d_model, config.d_ff, bias=bias)
        self.down_proj = Linear(config.d_ff, config.d_model, bias=bias)
        self.activation = ACTIVATIONS[config.feed_forward.activation]

    def forward(self, x: Tensor) -> Tensor:
        """Map ``x`` (B, T, D) to (B, T, D)."""
        hidden = self.activation(self.up_proj(x))  # (B, T, F)
        out: Tensor = self.down_proj(hidden)  # (B, T, D)
        return out

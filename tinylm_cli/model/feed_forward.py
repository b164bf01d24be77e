"""The network applied to each position on its own."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

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


def quick_gelu(x: Tensor) -> Tensor:
    """Return ``x`` times sigmoid(1.702 x), of the same shape.

    References:
        Hendrycks and Gimpel 2016, section 2, https://arxiv.org/abs/1606.08415
    """
    return x * torch.sigmoid(1.702 * x)


ACTIVATIONS: dict[Activation, Callable[[Tensor], Tensor]] = {
    "gelu": exact_gelu,
    "gelu_tanh": partial(functional.gelu, approximate="tanh"),
    "quick_gelu": quick_gelu,
    "relu": functional.relu,
    "silu": functional.silu,
}


class Between(NamedTuple):
    """What happens between the projections: the activation, and the product with a second one where there is a gate.

    Attributes:
        activation: Applied to the gate, or to the only projection.
        clamp: Bound on both projections; the plain one is then raised by 1.

    References:
        Shazeer 2020 (gated units), https://arxiv.org/abs/2002.05202;
        OpenAI 2025 (bounds and the shift by 1), https://arxiv.org/abs/2508.10925
    """

    activation: Callable[[Tensor], Tensor]
    clamp: float | None

    def __call__(self, up: Tensor, gate: Tensor | None) -> Tensor:
        """Return the hidden layer, of the shape of ``up``, from what the projections put out."""
        if gate is None:
            return self.activation(up)
        if self.clamp is not None:
            gate = gate.clamp(max=self.clamp)
            up = up.clamp(-self.clamp, self.clamp) + 1
        return self.activation(gate) * up


def build_between(config: ModelConfig) -> Between:
    """Return what ``config.feed_forward`` puts between the projections."""
    return Between(ACTIVATIONS[config.feed_forward.activation], config.feed_forward.clamp)


class FeedForward(nn.Module):
    """Widen to F dimensions, apply the activation, narrow back to d_model.

    Args:
        config: Uses d_model and feed_forward.
        width: F.

    References:
        Vaswani et al. 2017, section 3.3, https://arxiv.org/abs/1706.03762
    """

    def __init__(self, config: ModelConfig, width: int) -> None:
        super().__init__()
        bias = config.feed_forward.bias
        self.gate_proj = Linear(config.d_model, width, bias=bias) if config.feed_forward.gated else None
        self.up_proj = Linear(config.d_model, width, bias=bias)
        self.down_proj = Linear(width, config.d_model, bias=bias)
        self.between = build_between(config)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``x`` (..., D) to (..., D)."""
        gate = self.gate_proj(x) if self.gate_proj is not None else None  # (..., F)
        hidden = self.between(self.up_proj(x), gate)  # (..., F)
        out: Tensor = self.down_proj(hidden)  # (..., D)
        return out

"""Normalization: LayerNorm and RMSNorm."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.model.linear import Linear


class Norm(nn.Module):
    """Base class of LayerNorm and RMSNorm.

    Args:
        dim: Size of the last dimension.
        eps: Added to the variance.
        weight: Whether to learn a scale for each dimension.
        bias: Whether to learn a bias for each dimension.
        zero_centered: Whether the gain is 1 + weight, as in Gemma.

    Attributes:
        initial_values: Initial value of each parameter, by name.
    """

    weight: nn.Parameter  # None if absent, as in torch's layers
    bias: nn.Parameter

    def __init__(self, dim: int, *, eps: float, weight: bool, bias: bool, zero_centered: bool) -> None:
        super().__init__()
        self.shape = (dim,)
        self.eps = eps
        self.zero_centered = zero_centered
        self.initial_values = {"weight": 0.0 if zero_centered else 1.0, "bias": 0.0}
        for name, wanted in (("weight", weight), ("bias", bias)):
            values = torch.empty(dim, device="meta", dtype=torch.float32)
            self.register_parameter(name, nn.Parameter(values) if wanted else None)

    def extra_repr(self) -> str:
        """Return size and epsilon for ``print(model)``."""
        return f"{self.shape[0]}, eps={self.eps}"


class LayerNorm(Norm):
    """Center and scale each vector to unit variance, then apply weight and bias.

    References:
        Ba, Kiros and Hinton 2016, https://arxiv.org/abs/1607.06450
    """

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., D) to (..., D)."""
        gain = 1 + self.weight if self.zero_centered else self.weight  # (D)
        return torch.layer_norm(x, self.shape, gain, self.bias, self.eps)  # (..., D)


class RMSNorm(Norm):
    """Scale each vector by its root mean square, then apply the weight.

    References:
        Zhang and Sennrich 2019, https://arxiv.org/abs/1910.07467
    """

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., D) to (..., D)."""
        gain = 1 + self.weight if self.zero_centered else self.weight  # (D)
        return torch.rms_norm(x, self.shape, gain, self.eps)  # (..., D)


class GatedNorm(nn.Module):
    """A norm whose output is multiplied by a gate that a network of low rank computes from it.

    With the normalized vector y, the output is ``y * sigmoid(up(silu(down(y))))``.

    Args:
        config: Uses d_model and norm.
        rank: Dimensions between the two projections of the gate.

    References:
        The gated norms of A.X K2, https://huggingface.co/skt/A.X-K2
    """

    def __init__(self, config: ModelConfig, rank: int) -> None:
        super().__init__()
        self.norm = build_norm(config)
        self.down = Linear(config.d_model, rank, bias=False)
        self.up = Linear(rank, config.d_model, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., D) to (..., D)."""
        y: Tensor = self.norm(x)  # (..., D)
        gate: Tensor = self.up(functional.silu(self.down(y)))  # (..., D)
        return y * gate.sigmoid()  # (..., D)


def norm_before(config: ModelConfig, gate_rank: int | None) -> LayerNorm | RMSNorm | GatedNorm:
    """Return the norm before a sub-layer, with a gate of ``gate_rank`` unless that is None."""
    return build_norm(config) if gate_rank is None else GatedNorm(config, gate_rank)


def build_norm(
    config: ModelConfig, dim: int | None = None, *, eps: float | None = None, learns: bool = True
) -> LayerNorm | RMSNorm:
    """Return the norm of ``config.norm`` over vectors of ``dim`` elements (d_model if None), on meta.

    ``eps`` replaces ``norm.eps``. Unless it ``learns``, it has neither weight nor bias.
    """
    norm = config.norm
    kind = RMSNorm if norm.kind == "rmsnorm" else LayerNorm
    return kind(
        config.d_model if dim is None else dim,
        eps=eps or norm.eps,
        weight=norm.weight and learns,
        bias=norm.has_bias and learns,
        zero_centered=norm.zero_centered and learns,
    )

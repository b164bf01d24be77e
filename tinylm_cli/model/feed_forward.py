"""The feed-forward network (MLP), plain or gated, applied to each position independently."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from statistics import NormalDist
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from tinylm_cli.config.choices import Activation
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.model.adapter import Adapter
from tinylm_cli.model.linear import Linear
from tinylm_cli.model.norm import build_norm

MIN_ONEDNN_ELEMENTS = 1 << 12
"""Elements below which the setup of torch's exact GELU on the CPU (a oneDNN primitive) dominates its run time."""


def exact_gelu(x: Tensor) -> Tensor:
    """Return ``x · Φ(x)``, where Φ is the standard normal CDF; same shape.

    References:
        Hendrycks and Gimpel 2016, https://arxiv.org/abs/1606.08415
    """
    if x.numel() >= MIN_ONEDNN_ELEMENTS or x.dtype != torch.float32 or x.device.type != "cpu":
        return functional.gelu(x)
    half = 0.5 * x
    return torch.addcmul(half, half, torch.erf(x * math.sqrt(0.5)))


def quick_gelu(x: Tensor) -> Tensor:
    """Return ``x · sigmoid(1.702 x)``; same shape.

    References:
        Hendrycks and Gimpel 2016, section 2, https://arxiv.org/abs/1606.08415
    """
    return x * torch.sigmoid(1.702 * x)


def relu_squared(x: Tensor) -> Tensor:
    """Return ``max(x, 0)²``; same shape.

    References:
        So et al. 2021, https://arxiv.org/abs/2109.08668
    """
    return functional.relu(x).square()


class XIELU(nn.Module):
    """``β x + α_p x²`` above 0, and ``β x + α_n (exp(min(x, ε)) - 1 - x)`` below, with learned slopes.

    ``α_p = softplus(alpha_p)`` and ``α_n = β + softplus(alpha_n)``, so that both are positive. ε is just below 0.

    References:
        Huang and Schlag 2024, https://arxiv.org/abs/2411.13010
    """

    BETA, EPS = 0.5, -1e-6
    INITIAL_SLOPE = 0.8

    def __init__(self) -> None:
        super().__init__()
        self.alpha_p, self.alpha_n = (nn.Parameter(torch.empty(1, device="meta", dtype=torch.float32)) for _ in "pn")
        self.initial_values = {
            "alpha_p": math.log(math.expm1(self.INITIAL_SLOPE)),
            "alpha_n": math.log(math.expm1(self.INITIAL_SLOPE - self.BETA)),
        }

    def forward(self, x: Tensor) -> Tensor:
        """Map ``x`` to the same shape."""
        above = functional.softplus(self.alpha_p) * (x * x)  # (..., F)
        below = torch.expm1(x.clamp(max=self.EPS)) - x  # (..., F)
        below = (self.BETA + functional.softplus(self.alpha_n)) * below  # (..., F)
        return torch.where(x > 0, above, below).add_(x, alpha=self.BETA)  # (..., F)


ACTIVATIONS: dict[Activation, Callable[[Tensor], Tensor]] = {
    "gelu": exact_gelu,
    "gelu_tanh": partial(functional.gelu, approximate="tanh"),
    "quick_gelu": quick_gelu,
    "relu": functional.relu,
    "relu2": relu_squared,
    "silu": functional.silu,
}
"""The activations without parameters."""


def above_quantile(x: Tensor, share: float) -> Tensor:
    """Return ``max(x - quantile, 0)``, for the quantile of a normal distribution with the mean and variance of x.

    Args:
        x: Vectors (..., F).
        share: The share of the distribution below the quantile, 0 < share < 1.

    References:
        You et al. 2025 (statistical top-k), section 3.2, https://arxiv.org/abs/2506.06644
    """
    mean, std = x.mean(-1, keepdim=True), x.std(-1, correction=0, keepdim=True)  # (..., 1) each
    return functional.relu(x - (mean + std * NormalDist().inv_cdf(share)))  # (..., F)


class HiddenActivation(NamedTuple):
    """The activation between the projections; with a gate projection, a gated linear unit such as SwiGLU.

    Attributes:
        function: Applied to the gate projection or, without a gate, to the up projection.
        clamp: Bound on both projections of a gated unit.
        shift: Added to the clamped up projection.
        gate_multiplier: Multiplier of the gate projection.
        sparsity: Share of the gate projection that becomes 0 if its elements are normally distributed.

    References:
        Shazeer 2020 (gated units), https://arxiv.org/abs/2002.05202;
        You et al. 2025 (Spark Transformer, sparsity), https://arxiv.org/abs/2506.06644;
        OpenAI 2025 (clamp and shift by 1), https://arxiv.org/abs/2508.10925
    """

    function: Callable[[Tensor], Tensor]
    clamp: float | None
    shift: float = 0.0
    gate_multiplier: float = 1.0
    sparsity: float | None = None

    def __call__(self, up: Tensor, gate: Tensor | None) -> Tensor:
        """Return the hidden layer (..., F) from the up and gate projections (..., F)."""
        if gate is None:
            return self.function(up)  # (..., F)
        if self.gate_multiplier != 1:
            gate = gate * self.gate_multiplier  # (..., F)
        if self.sparsity is not None:
            gate = above_quantile(gate, self.sparsity)  # (..., F)
        if self.clamp is not None:
            gate = gate.clamp(max=self.clamp)  # (..., F)
            up = up.clamp(-self.clamp, self.clamp)  # (..., F)
            up = up + self.shift if self.shift else up  # (..., F)
        return self.function(gate) * up  # (..., F)


def build_activation(config: ModelConfig, xielu: XIELU | None = None, *, routed: bool = False) -> HiddenActivation:
    """Return the activation of ``config.feed_forward``, or of its ``routed`` experts; ``xielu`` replaces it."""
    settings = config.feed_forward
    function = xielu or ACTIVATIONS[settings.activation]
    if routed and settings.expert_clamp is not None:
        return HiddenActivation(function, settings.expert_clamp, gate_multiplier=settings.gate_multiplier)
    return HiddenActivation(
        function,
        settings.clamp,
        shift=1.0,
        gate_multiplier=settings.gate_multiplier,
        sparsity=settings.activation_sparsity,
    )


class FeedForward(nn.Module):
    """``down(activation(up(x)))``, or gated ``down(activation(gate(x)) * up(x))``.

    With ``feed_forward.sub_norm``, a norm precedes the down projection.

    Args:
        config: Uses d_model, norm and feed_forward.
        d_hidden: Hidden size, F.

    References:
        Vaswani et al. 2017, section 3.3, https://arxiv.org/abs/1706.03762;
        Shazeer 2020 (gated units), https://arxiv.org/abs/2002.05202;
        Wang et al. 2022 (Magneto, norm before the down projection), https://arxiv.org/abs/2210.06423
    """

    def __init__(self, config: ModelConfig, d_hidden: int) -> None:
        super().__init__()
        bias = config.feed_forward.bias
        self.xielu = XIELU() if config.feed_forward.activation == "xielu" else None
        self.gate_proj = Linear(config.d_model, d_hidden, bias=bias) if config.feed_forward.gated else None
        self.up_proj = Linear(config.d_model, d_hidden, bias=bias)
        self.sub_norm = build_norm(config, d_hidden) if config.feed_forward.sub_norm else None
        self.down_proj = Linear(d_hidden, config.d_model, bias=bias)
        self.activation = build_activation(config, self.xielu)
        self.out_multiplier = config.feed_forward.out_multiplier

    def forward(self, x: Tensor) -> Tensor:
        """Map ``x`` (..., D) to (..., D)."""
        return self.with_adapter(x, None)  # (..., D)

    def with_adapter(self, x: Tensor, adapter: Adapter | None) -> Tensor:
        """Map ``x`` (..., D) to (..., D); ``adapter`` adds to the outputs of the gate and up projections."""
        gate = self.gate_proj(x) if self.gate_proj is not None else None  # (..., F)
        up = self.up_proj(x)  # (..., F)
        if adapter is not None:
            *of_gate, of_up = adapter(x).split(up.shape[-1], dim=-1)  # (..., F) each
            up = up + of_up  # (..., F)
            gate = None if gate is None else gate + of_gate[0]  # (..., F)
        hidden = self.activation(up, gate)  # (..., F)
        del up, gate
        if self.sub_norm is not None:
            hidden = self.sub_norm(hidden)  # (..., F)
        out: Tensor = self.down_proj(hidden)  # (..., D)
        return out if self.out_multiplier == 1 else out * self.out_multiplier  # (..., D)

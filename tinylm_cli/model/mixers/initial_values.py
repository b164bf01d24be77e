"""Initial values that several state-space mixers draw, as the reference implementation does."""

from __future__ import annotations

import math

import torch
from torch import Tensor

INITIAL_DT = (1e-3, 1e-1)
"""Range of the initial step size, drawn log-uniformly, in https://github.com/state-spaces/mamba."""


def draw_conv(values: Tensor, generator: torch.Generator) -> None:
    """Fill the convolution's weight (C, 1, L) as torch's ``Conv1d`` does: uniform in ±1/√L."""
    bound = values.shape[-1] ** -0.5
    values.uniform_(-bound, bound, generator=generator)


def draw_dt_bias(values: Tensor, generator: torch.Generator) -> None:
    """Fill the bias of a step size, so that softplus of it is log-uniform."""
    low, high = map(math.log, INITIAL_DT)
    values.uniform_(low, high, generator=generator).exp_()  # Δ
    values += torch.log(-torch.expm1(-values))  # the inverse of softplus

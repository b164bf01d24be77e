"""Initial values of state-space mixers, compared with their distributions."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional

from tinylm_cli.model.mixers.initial_values import draw_conv, draw_dt_bias


def test_convolution_is_drawn_as_by_torch() -> None:
    """torch draws the weight of a depthwise convolution uniformly in ±1/√L; L is 4, so the bound is 1/2."""
    theirs = nn.Conv1d(20_000, 20_000, 4, groups=20_000, bias=False).weight.detach()
    ours = torch.empty(20_000, 1, 4)
    draw_conv(ours, torch.Generator().manual_seed(0))
    for values in (ours, theirs):
        assert 0.499 < values.abs().max() <= 0.5
        assert abs(values.mean()) < 0.005
        assert math.isclose(values.std().item(), 0.5 / math.sqrt(3), rel_tol=0.01)


def test_steps_are_log_uniform() -> None:
    """Between 0.001 and 0.1, whose logarithms are uniform: half of the steps are below 0.01."""
    bias = torch.empty(50_000)
    draw_dt_bias(bias, torch.Generator().manual_seed(0))
    steps = functional.softplus(bias.double())
    assert 1e-3 <= steps.min() * (1 + 1e-4) < 1.01e-3
    assert 0.099 < steps.max() * (1 - 1e-4) <= 0.1
    for share in (0.25, 0.5, 0.75):
        assert math.isclose((steps < 10 ** (2 * share - 3)).double().mean().item(), share, abs_tol=0.01)

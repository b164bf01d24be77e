from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.model.norm import GatedNorm, build_norm, norm_before

Randomize = Callable[[nn.Module], nn.Module]


@pytest.mark.parametrize("eps", [1e-6, 0.05])
def test_layernorm_centers_and_scales(
    make_config: Callable[..., ModelConfig], randomized: Randomize, eps: float
) -> None:
    norm = build_norm(make_config(norm={"kind": "layernorm", "eps": eps}))
    randomized(norm)
    x = torch.randn(2, 5, 16)
    centered = x - x.mean(-1, keepdim=True)
    expected = centered / (centered.square().mean(-1, keepdim=True) + eps).sqrt() * norm.weight + norm.get_parameter(
        "bias"
    )
    torch.testing.assert_close(norm(x), expected)


@pytest.mark.parametrize("eps", [1e-6, 0.05])
def test_rmsnorm_scales(make_config: Callable[..., ModelConfig], randomized: Randomize, eps: float) -> None:
    norm = build_norm(make_config(norm={"kind": "rmsnorm", "eps": eps}))
    randomized(norm)
    x = torch.randn(2, 5, 16)
    torch.testing.assert_close(norm(x), x / (x.square().mean(-1, keepdim=True) + eps).sqrt() * norm.weight)
    assert dict(norm.named_parameters()).keys() == {"weight"}


def test_gate(make_config: Callable[..., ModelConfig], randomized: Randomize) -> None:
    """The gate of rank 3 is computed from the normalized vectors, and multiplies them."""
    norm = norm_before(make_config(norm={"kind": "rmsnorm"}), 3)
    assert isinstance(norm, GatedNorm)
    randomized(norm)
    x = torch.randn(2, 5, 16)
    y = norm.norm(x)
    hidden = y @ norm.down.weight.T
    gate = torch.sigmoid((hidden * torch.sigmoid(hidden)) @ norm.up.weight.T)
    torch.testing.assert_close(norm(x), y * gate)
    assert {name: tuple(each.shape) for name, each in norm.named_parameters()} == {
        "norm.weight": (16,),
        "down.weight": (3, 16),
        "up.weight": (16, 3),
    }

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn import functional

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.model.feed_forward import (
    ACTIVATIONS,
    MIN_ONEDNN_ELEMENTS,
    XIELU,
    FeedForward,
    above_quantile,
    exact_gelu,
)

Make = Callable[..., ModelConfig]
Randomize = Callable[[nn.Module], nn.Module]

FORMULAS: dict[str, Callable[[float], float]] = {
    "gelu": lambda x: x * 0.5 * (1 + math.erf(x / math.sqrt(2))),
    "gelu_tanh": lambda x: 0.5 * x * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    "quick_gelu": lambda x: x / (1 + math.exp(-1.702 * x)),
    "relu": lambda x: max(x, 0.0),
    "relu2": lambda x: max(x, 0.0) ** 2,
    "silu": lambda x: x / (1 + math.exp(-x)),
}


@pytest.mark.parametrize("name", FORMULAS)
def test_activations_equal_formulas(name: str) -> None:
    points = torch.linspace(-6, 6, 97)
    expected = torch.tensor([FORMULAS[name](float(point)) for point in points])
    torch.testing.assert_close(ACTIVATIONS[name](points), expected, atol=1e-6, rtol=1e-6)  # type: ignore[index]


def test_xielu_equals_its_formula() -> None:
    module, points = XIELU().to_empty(device="cpu"), torch.linspace(-6, 6, 97)
    above, below = 0.3, -1.2
    nn.init.constant_(module.alpha_p, above)
    nn.init.constant_(module.alpha_n, below)
    slope, decay = math.log1p(math.exp(above)), 0.5 + math.log1p(math.exp(below))

    def formula(x: float) -> float:
        return 0.5 * x + (slope * x * x if x > 0 else decay * (math.expm1(min(x, -1e-6)) - x))

    expected = torch.tensor([formula(float(point)) for point in points])
    torch.testing.assert_close(module(points), expected, atol=1e-5, rtol=1e-5)


def test_xielu_begins_with_equal_slopes() -> None:
    """Of the two slopes, the one below 0 includes beta, 0.5."""
    values = XIELU().initial_values
    slopes = [functional.softplus(torch.tensor(values[name])) for name in ("alpha_p", "alpha_n")]
    torch.testing.assert_close(torch.stack(slopes), torch.tensor([0.8, 0.3]))


@pytest.mark.parametrize("size", [1, MIN_ONEDNN_ELEMENTS - 1, MIN_ONEDNN_ELEMENTS, MIN_ONEDNN_ELEMENTS + 1])
def test_exact_gelu_at_every_size(size: int) -> None:
    x = torch.linspace(-8, 8, size)
    torch.testing.assert_close(exact_gelu(x), functional.gelu(x), atol=1e-6, rtol=1e-6)
    assert torch.equal(exact_gelu(x.bfloat16()), functional.gelu(x.bfloat16()))


def test_exact_gelu_has_its_gradient() -> None:
    assert torch.autograd.gradcheck(exact_gelu, torch.randn(6, dtype=torch.float64, requires_grad=True))
    x = torch.randn(6, requires_grad=True)
    torch.testing.assert_close(
        torch.autograd.grad(exact_gelu(x).sum(), x), torch.autograd.grad(functional.gelu(x).sum(), x)
    )


@pytest.mark.parametrize("bias", [True, False])
def test_projections_up_and_down(
    make_config: Callable[..., ModelConfig], randomized: Callable[[nn.Module], nn.Module], *, bias: bool
) -> None:
    module = FeedForward(make_config(feed_forward={"activation": "relu", "bias": bias}), 40)
    randomized(module)
    x = torch.randn(2, 5, 16)
    up, down = module.up_proj, module.down_proj
    hidden = x @ up.weight.T + (up.bias if bias else 0)
    expected = hidden.clamp(min=0) @ down.weight.T + (down.bias if bias else 0)
    torch.testing.assert_close(module(x), expected)
    assert (up.bias is None) is (not bias)


def test_norm_before_the_down_projection(make_config: Make, randomized: Randomize) -> None:
    fields = {"sub_norm": True, "gated": True, "activation": "relu2"}
    network = FeedForward(make_config(feed_forward=fields, norm={"kind": "rmsnorm", "eps": 0.1}), 20)
    randomized(network)
    x = torch.randn(3, 16)
    assert network.gate_proj is not None
    assert network.sub_norm is not None
    hidden = network.gate_proj(x).relu().square() * network.up_proj(x)
    normed = hidden / (hidden.square().mean(-1, keepdim=True) + 0.1).sqrt() * network.sub_norm.weight
    torch.testing.assert_close(network(x), network.down_proj(normed))


@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
def test_share_above_the_quantile(share: float) -> None:
    """The share holds for normally distributed elements of any mean and variance."""
    x = 3 * torch.randn(2, 200_000, generator=torch.Generator().manual_seed(0)) - 1
    found = above_quantile(x, share)
    torch.testing.assert_close((found == 0).float().mean(-1), torch.full((2,), share), rtol=0, atol=0.005)
    kept = found > 0
    torch.testing.assert_close(
        (x - found)[kept], torch.quantile(x[0], share).expand(int(kept.sum())), rtol=0, atol=0.03
    )


def test_sparse_gate(make_config: Make, randomized: Randomize) -> None:
    config = make_config(feed_forward={"gated": True, "activation": "silu", "activation_sparsity": 0.7})
    module = FeedForward(config, 12)
    randomized(module)
    assert module.gate_proj is not None
    x = torch.randn(2, 5, 16)
    gate = module.gate_proj(x)
    deviation = (gate - gate.mean(-1, keepdim=True)).square().mean(-1, keepdim=True).sqrt()
    quantile = gate.mean(-1, keepdim=True) + math.sqrt(2) * torch.erfinv(torch.tensor(2 * 0.7 - 1)) * deviation
    hidden = functional.silu((gate - quantile).clamp(min=0)) * module.up_proj(x)
    torch.testing.assert_close(module(x), module.down_proj(hidden))

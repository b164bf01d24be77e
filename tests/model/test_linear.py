from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import nn
from torch.nn import functional

from tinylm_cli.model import linear
from tinylm_cli.model.linear import Linear


@pytest.fixture(params=[1, 2, 3])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def filled(in_features: int, out_features: int, *, bias: bool, dtype: torch.dtype = torch.float32) -> Linear:
    module = Linear(in_features, out_features, bias=bias).to_empty(device="cpu").to(dtype)
    for parameter in module.parameters():
        nn.init.normal_(parameter)
    return module


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("out_features", [6, 7])
@pytest.mark.parametrize("shape", [(5,), (1, 5), (1, 1, 5), (3, 5), (2, 3, 5)])
def test_input_shapes(
    monkeypatch: pytest.MonkeyPatch, shape: tuple[int, ...], out_features: int, *, bias: bool
) -> None:
    monkeypatch.setattr(linear, "MIN_SPLIT_ELEMENTS", 0)
    module = filled(5, out_features, bias=bias)
    x = torch.randn(shape, requires_grad=True)
    y = module(x)
    expected = functional.linear(x, module.weight, module.bias)
    torch.testing.assert_close(y, expected)
    for found, wanted in zip(
        torch.autograd.grad(y.sum(), [x, *module.parameters()], retain_graph=True),
        torch.autograd.grad(expected.sum(), [x, *module.parameters()]),
        strict=True,
    ):
        torch.testing.assert_close(found, wanted)


def test_other_dtypes_are_left_to_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear, "MIN_SPLIT_ELEMENTS", 0)
    module = filled(4, 6, bias=True, dtype=torch.bfloat16)
    x = torch.randn(1, 4, dtype=torch.bfloat16)
    assert torch.equal(module(x), functional.linear(x, module.weight, module.bias))


def test_equals_nn_linear() -> None:
    module = Linear(3, 4)
    assert isinstance(module, nn.Linear)
    assert module.weight.is_meta
    assert module.weight.shape == (4, 3)

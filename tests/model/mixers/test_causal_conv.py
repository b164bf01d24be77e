from __future__ import annotations

import pytest
import torch

from tinylm_cli.model.mixers.causal_conv import CausalConv


def conv(kernel_size: int, *, bias: bool) -> CausalConv:
    module = CausalConv(6, kernel_size, bias=bias).to_empty(device="cpu")
    for parameter in module.parameters():
        parameter.data.normal_(generator=torch.Generator().manual_seed(0))
    return module


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("kernel_size", [1, 2, 4])
def test_definition(kernel_size: int, bias: bool) -> None:
    module, x = conv(kernel_size, bias=bias), torch.randn(2, 7, 6)
    for t in range(7):
        expected = torch.zeros(2, 6) if module.bias is None else module.bias.expand(2, 6)
        for back in range(min(kernel_size, t + 1)):
            expected = expected + module.weight[:, 0, kernel_size - 1 - back] * x[:, t - back]
        torch.testing.assert_close(module(x)[:, t], expected)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("kernel_size", [1, 2, 4])
@pytest.mark.parametrize("lengths", [[7], [1] * 7, [3, 1, 3], [2, 5]])
def test_pieces_equal_the_whole(lengths: list[int], kernel_size: int, bias: bool) -> None:
    module, x = conv(kernel_size, bias=bias), torch.randn(2, 7, 6)
    previous = torch.zeros(2, kernel_size - 1, 6)
    with torch.no_grad():
        pieces = [module(piece, previous) for piece in torch.split(x, lengths, dim=1)]
        torch.testing.assert_close(torch.cat(pieces, dim=1), module(x))
    assert torch.equal(previous, x[:, 7 - (kernel_size - 1) :])

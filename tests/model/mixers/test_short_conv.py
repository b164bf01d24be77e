"""The gated short convolution: step by step, and compared with transformers' module."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn
from transformers import Lfm2Config
from transformers.models.lfm2.modeling_lfm2 import Lfm2ShortConv

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.model.mixers.short_conv import ShortConv, ShortConvState

Make = Callable[..., ModelConfig]
Randomize = Callable[[nn.Module], nn.Module]


def short_conv(make_config: Make, randomized: Randomize, **fields: object) -> ShortConv:
    module = ShortConv(make_config(block={"mixer": "short_conv"}, short_conv=fields))
    randomized(module)
    return module


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("kernel_size", [1, 3, 4])
def test_equals_transformers(make_config: Make, randomized: Randomize, kernel_size: int, bias: bool) -> None:
    ours = short_conv(make_config, randomized, kernel_size=kernel_size, bias=bias)
    config = Lfm2Config(
        hidden_size=16, conv_L_cache=kernel_size, conv_bias=bias, num_hidden_layers=1, layer_types=["conv"]
    )
    theirs = Lfm2ShortConv(config, layer_idx=0)
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(2, 9, 16)
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("lengths", [[9], [1] * 9, [4, 1, 1, 3]])
def test_steps_equal_the_parallel_form(make_config: Make, randomized: Randomize, lengths: list[int]) -> None:
    module = short_conv(make_config, randomized, kernel_size=3, bias=True)
    x = torch.randn(2, 9, 16)
    state = ShortConvState(torch.zeros(2, 2, 16))
    with torch.no_grad():
        pieces = [module(piece, cache=state) for piece in torch.split(x, lengths, dim=1)]
        torch.testing.assert_close(torch.cat(pieces, dim=1), module(x), rtol=1e-5, atol=1e-5)

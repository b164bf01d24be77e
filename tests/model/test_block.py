from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.model.attention_mask import AttentionMask
from tinylm_cli.model.block import TransformerBlock

Make = Callable[..., ModelConfig]
Randomize = Callable[[nn.Module], nn.Module]
CAUSAL = AttentionMask(is_causal=True)


def test_pre_norm_residual(make_config: Make, randomized: Randomize) -> None:
    block = TransformerBlock(make_config())
    randomized(block)
    x = torch.randn(2, 5, 16)
    assert block.ln_1 is not None
    assert block.ln_2 is not None
    middle = x + block.attention(block.ln_1(x), CAUSAL)
    torch.testing.assert_close(block(x, CAUSAL), middle + block.feed_forward(block.ln_2(middle)))


def test_dropout_on_branches(make_config: Make, randomized: Randomize) -> None:
    block = TransformerBlock(make_config(dropout=0.999))
    randomized(block)
    x = torch.randn(4, 5, 16)
    assert (block.eval()(x, CAUSAL) == x).float().mean() < 0.01
    assert (block.train()(x, CAUSAL) == x).float().mean() > 0.9

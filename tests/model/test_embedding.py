from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.model.embedding import TransformerEmbedding

Make = Callable[..., ModelConfig]
Randomize = Callable[[nn.Module], nn.Module]


@pytest.mark.parametrize("start", [0, 4])
def test_scale_before_positions(make_config: Make, randomized: Randomize, start: int) -> None:
    module = TransformerEmbedding(make_config(position={"kind": "learned"}))
    randomized(module)
    tokens = torch.randint(23, (2, 5))
    table = module.token_embedding.embedding.weight
    positions = module.get_parameter("positional_encoding.weight")
    torch.testing.assert_close(module(tokens, start), table[tokens] * 4.0 + positions[start : start + 5])


def test_dropout_is_for_training_only(make_config: Make, randomized: Randomize) -> None:
    module = TransformerEmbedding(make_config(dropout=0.5, position={"kind": "none"}))
    randomized(module)
    tokens = torch.arange(23)[None]
    whole = module.eval()(tokens)
    thinned = module.train()(tokens)
    dropped = thinned == 0
    assert 0.3 < dropped.float().mean() < 0.7
    torch.testing.assert_close(thinned[~dropped], 2 * whole[~dropped])

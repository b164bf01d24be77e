"""Per-layer embeddings equal their formulas, with sizes that all differ."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.model.per_layer_embedding import PerLayerEmbedding, PerLayerInput

Make = Callable[..., ModelConfig]
Randomize = Callable[[nn.Module], nn.Module]


def test_inputs_of_layers(make_config: Make, randomized: Randomize) -> None:
    """Of 3 layers with 5 dimensions each, for 7 tokens of 16 dimensions."""
    module = PerLayerEmbedding(make_config(norm={"kind": "rmsnorm"}), 5)
    randomized(module)
    tokens, x = torch.randint(23, (2, 7)), torch.randn(2, 7, 16)
    for layer, found in enumerate(module(tokens, x)):
        own = slice(5 * layer, 5 * layer + 5)
        projected = module.norm(functional.linear(x, module.projection.weight[own]) / math.sqrt(16))
        looked_up = module.table.weight[tokens, own] * math.sqrt(5)
        torch.testing.assert_close(found, (projected + looked_up) / math.sqrt(2))


def test_residual(make_config: Make, randomized: Randomize) -> None:
    module = PerLayerInput(make_config(norm={"kind": "rmsnorm"}, feed_forward={"activation": "silu"}), 5)
    randomized(module)
    x, per_layer_input = torch.randn(2, 7, 16), torch.randn(2, 7, 5)
    gated = functional.silu(module.gate(x)) * per_layer_input
    torch.testing.assert_close(module(x, per_layer_input), x + module.norm(module.projection(gated)))


def test_tokens_without_rows(make_config: Make, randomized: Randomize) -> None:
    """They read the first row."""
    config = make_config(embedding={"d_per_layer": 5, "per_layer_vocab_size": 4})
    module = PerLayerEmbedding(config, 5)
    randomized(module)
    assert module.table.weight.shape == (4, 15)
    x = torch.randn(1, 4, 16)
    for found, expected in zip(
        module(torch.tensor([[0, 3, 4, 22]]), x), module(torch.tensor([[0, 3, 0, 0]]), x), strict=True
    ):
        torch.testing.assert_close(found, expected)

"""Hyper-connections: the modules of transformers, and a block by hand."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn
from transformers.models.hy_v4.configuration_hy_v4 import HYV4Config
from transformers.models.hy_v4.modeling_hy_v4 import HYV4HyperConnection, HYV4HyperHead

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.model import TinyTransformerLM
from tinylm_cli.model.attention_mask import AttentionMask
from tinylm_cli.model.block import TransformerBlock
from tinylm_cli.model.hyper_connections import HyperConnection, StreamReader
from tinylm_cli.model.state_dict import unique_params

Make = Callable[..., ModelConfig]
Randomize = Callable[[nn.Module], nn.Module]
N = 3
HYPER = {"hyper_streams": N, "hyper_write_scale": 1.5, "hyper_eps": 0.01}


def theirs_config() -> HYV4Config:
    return HYV4Config(hidden_size=16, hc_mult=N, hc_magnitude=1.5, hc_eps=0.01, rms_norm_eps=1e-3)


@pytest.fixture
def config(make_config: Make) -> ModelConfig:
    return make_config(norm={"kind": "rmsnorm", "eps": 1e-3}, block=HYPER)


def test_connection_equals_transformers(config: ModelConfig, randomized: Randomize) -> None:
    ours, theirs = HyperConnection(config), HYV4HyperConnection(theirs_config())
    randomized(ours)
    theirs.load_state_dict({"fn": ours.proj.weight, "base": ours.base, "scale": ours.scale})
    streams = torch.randn(2, 5, N, 16)
    write, read = theirs(streams)
    found_read, found_write = ours.connect(streams)
    torch.testing.assert_close(found_read, read)
    torch.testing.assert_close(found_write, write)


def test_head_equals_transformers(config: ModelConfig, randomized: Randomize) -> None:
    ours, theirs = StreamReader(config), HYV4HyperHead(theirs_config())
    randomized(ours)
    theirs.load_state_dict({"hc_fn": ours.proj.weight, "hc_base": ours.base, "hc_scale": ours.scale})
    streams = torch.randn(2, 5, N, 16)
    torch.testing.assert_close(ours(streams), theirs(streams))


def test_block(config: ModelConfig, randomized: Randomize) -> None:
    """Each sub-layer reads one vector of each token, and its output is added to every copy with a weight."""
    block = TransformerBlock(config)
    randomized(block)
    block.eval()
    assert block.hyper_1 is not None
    assert block.hyper_2 is not None
    assert block.ln_1 is not None
    assert block.ln_2 is not None
    assert block.feed_forward is not None
    mask = AttentionMask(is_causal=True)
    streams = torch.randn(2, 5, N, 16)
    read, write = block.hyper_1.connect(streams)
    mixed = block.mixers[0](block.ln_1(read), mask)
    after = streams + torch.einsum("btn,btd->btnd", write, mixed)
    read, write = block.hyper_2.connect(after)
    expected = after + torch.einsum("btn,btd->btnd", write, block.feed_forward(block.ln_2(read)))
    torch.testing.assert_close(block(streams, mask), expected)


def test_initial_weights(config: ModelConfig) -> None:
    """Each copy is read with about 1/n, and written with half of the largest weight."""
    model = TinyTransformerLM.from_config(config, seed=1)
    connection = model.blocks[0].hyper_1
    assert isinstance(connection, HyperConnection)
    read, write = connection.weights(torch.randn(1, 4, N, 16))
    torch.testing.assert_close(read, torch.full_like(read, 1 / N), rtol=0.05, atol=0)
    torch.testing.assert_close(write, torch.full_like(write, 0.5), rtol=0.05, atol=0)
    plain = config.model_copy(update={"block": config.block.model_copy(update={"hyper_streams": None})})
    added = unique_params(model) - unique_params(TinyTransformerLM.from_config(plain))
    assert added == 2 * config.n_layers * (2 * N * N * 16 + 2 * N + 2) + N * N * 16 + N + 1

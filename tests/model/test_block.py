from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest
import torch
from torch import nn

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.model import TinyTransformerLM
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
    assert block.feed_forward is not None
    middle = x + block.mixers[0](block.ln_1(x), mask=CAUSAL)
    torch.testing.assert_close(block(x, CAUSAL), middle + block.feed_forward(block.ln_2(middle)))


def test_residual_of_the_normalized_input(make_config: Make, randomized: Randomize) -> None:
    """DeepNorm in MiniMax-Text: the norm is applied to the residual stream, which is multiplied by α."""
    fields = {"normed_residual": True, "skip_multiplier": 3.5, "residual_multiplier": 0.5}
    block = TransformerBlock(make_config(block=fields))
    randomized(block)
    x = torch.randn(2, 5, 16)
    assert block.ln_1 is not None
    assert block.ln_2 is not None
    assert block.feed_forward is not None
    normed = block.ln_1(x)
    normed = block.ln_2(3.5 * normed + 0.5 * block.mixers[0](normed, mask=CAUSAL))
    torch.testing.assert_close(block(x, CAUSAL), 3.5 * normed + 0.5 * block.feed_forward(normed))


def test_residual_additions_scaled_by_depth(make_config: Make, randomized: Randomize) -> None:
    """Of the stream's terms, the embedding is the first: a block after three terms adds the fourth and the fifth."""
    fields = {"depth_scaled_residual": True, "skip_multiplier": 3.5, "residual_multiplier": 0.5}
    block = TransformerBlock(make_config(block=fields), n_terms=3)
    randomized(block)
    x = torch.randn(2, 5, 16)
    assert block.ln_1 is not None
    assert block.ln_2 is not None
    assert block.feed_forward is not None
    mixed = block.mixers[0](block.ln_1(x), mask=CAUSAL)
    middle = 3.5 * (3 / 4) ** 0.5 * x + 0.5 * (1 / 4) ** 0.5 * mixed
    out = block.feed_forward(block.ln_2(middle))
    torch.testing.assert_close(block(x, CAUSAL), 3.5 * (4 / 5) ** 0.5 * middle + 0.5 * (1 / 5) ** 0.5 * out)


def test_terms_of_the_residual_stream(make_config: Make) -> None:
    """Each sub-layer adds a term, also where layers have different numbers of them."""
    kinds = {"both": {}, "one": {"block": {"feed_forward": False}}}
    fields = {"block": {"depth_scaled_residual": True}, "layers": {"pattern": "both, one", "kinds": kinds}}
    model = TinyTransformerLM.from_config(make_config(n_layers=4, **fields), device="meta")
    found = [factors.branch**-2 for block in model.blocks for factors in cast("TransformerBlock", block).factors]
    assert found == pytest.approx([2, 3, 4, 5, 6, 7])


def test_norms_after_the_residual_additions(make_config: Make, randomized: Randomize) -> None:
    """The original transformer, where norms follow the additions (Vaswani et al. 2017, section 3.1)."""
    block = TransformerBlock(make_config(norm={"placement": "post_residual"}))
    randomized(block)
    x = torch.randn(2, 5, 16)
    assert block.ln_1 is None
    assert block.ln_2 is None
    assert block.feed_forward is not None
    assert block.post_ln_1 is not None
    assert block.post_ln_2 is not None
    middle = block.post_ln_1(x + block.mixers[0](x, mask=CAUSAL))
    torch.testing.assert_close(block(x, CAUSAL), block.post_ln_2(middle + block.feed_forward(middle)))


def test_norm_after_the_experts(make_config: Make, randomized: Randomize) -> None:
    block = TransformerBlock(make_config(feed_forward={"n_experts": 4, "out_norm": True}))
    randomized(block)
    x = torch.randn(2, 5, 16)
    assert block.ln_1 is not None
    assert block.ln_2 is not None
    assert block.feed_forward is not None
    assert block.post_ln_1 is None
    assert block.post_ln_2 is not None
    middle = x + block.mixers[0](block.ln_1(x), mask=CAUSAL)
    experts = block.feed_forward(block.ln_2(middle), middle)
    torch.testing.assert_close(block(x, CAUSAL), middle + block.post_ln_2(experts))


def test_dropout_on_branches(make_config: Make, randomized: Randomize) -> None:
    block = TransformerBlock(make_config(dropout=0.999))
    randomized(block)
    x = torch.randn(4, 5, 16)
    assert (block.eval()(x, CAUSAL) == x).float().mean() < 0.01
    assert (block.train()(x, CAUSAL) == x).float().mean() > 0.9


def test_mixer_is_named_in_the_config(make_config: Make) -> None:
    block = TransformerBlock(make_config())
    assert block.mixers[0] is block.get_submodule("attention")
    block = TransformerBlock(make_config(block={"mixer": "short_conv"}))
    assert block.mixers[0] is block.get_submodule("short_conv")


def test_only_a_mixer(make_config: Make, randomized: Randomize) -> None:
    block = TransformerBlock(make_config(block={"mixer": "short_conv", "feed_forward": False}))
    randomized(block)
    x = torch.randn(2, 5, 16)
    assert {name for name, _ in block.named_children()} == {"ln_1", "short_conv"}
    assert block.ln_1 is not None
    torch.testing.assert_close(block(x, CAUSAL), x + block.mixers[0](block.ln_1(x)))


def test_mixers_in_parallel(make_config: Make, randomized: Randomize) -> None:
    """Attention and Mamba-2 read one normalized input, and their outputs are added, as in Falcon-H1."""
    block = TransformerBlock(make_config(block={"mixer": "attention_mamba2"}, mamba2={"n_heads": 2, "d_head": 4}))
    randomized(block)
    x = torch.randn(2, 5, 16)
    assert [name for name, _ in block.named_children()] == ["ln_1", "attention", "mamba2", "ln_2", "feed_forward"]
    assert block.ln_1 is not None
    assert block.ln_2 is not None
    assert block.feed_forward is not None
    attention, mamba2 = block.mixers
    normed = block.ln_1(x)
    middle = x + attention(normed, mask=CAUSAL) + mamba2(normed)
    torch.testing.assert_close(block(x, CAUSAL), middle + block.feed_forward(block.ln_2(middle)))


def test_only_a_feed_forward(make_config: Make, randomized: Randomize) -> None:
    block = TransformerBlock(make_config(block={"mixer": "none"}))
    randomized(block)
    x = torch.randn(2, 5, 16)
    assert {name for name, _ in block.named_children()} == {"ln_2", "feed_forward"}
    assert not block.mixers
    assert block.ln_2 is not None
    assert block.feed_forward is not None
    torch.testing.assert_close(block(x, CAUSAL), x + block.feed_forward(block.ln_2(x)))


@pytest.mark.parametrize(
    "fields",
    [
        {"n_heads": 8, "attention": {"differential": True}},
        {"block": {"mixer": "lightning_attention"}, "lightning_attention": {"n_heads": 16}},
    ],
    ids=["λ", "decays"],
)
def test_mixer_depends_on_the_layer(fields: dict[str, Any], make_config: Make, randomized: Randomize) -> None:
    block = TransformerBlock(make_config(**fields), layer=2)
    randomized(block)
    x = torch.randn(2, 5, 16)
    (mixer,) = block.mixers
    found = mixer(x, mask=CAUSAL)
    for layer, is_same in ((2, True), (0, False)):
        mixer.set_layer(layer)
        assert torch.equal(mixer(x, mask=CAUSAL), found) == is_same


def test_mixer_without_a_norm(make_config: Make, randomized: Randomize) -> None:
    """The first layer of ModernBERT: attention reads the residual stream, the feed-forward network its norm."""
    block = TransformerBlock(make_config(block={"mixer_norm": False}))
    randomized(block)
    x = torch.randn(2, 5, 16)
    assert block.ln_1 is None
    assert block.ln_2 is not None
    assert block.feed_forward is not None
    middle = x + block.mixers[0](x, mask=CAUSAL)
    torch.testing.assert_close(block(x, CAUSAL), middle + block.feed_forward(block.ln_2(middle)))

"""Properties of the blocks of a config, which follow from several of its fields."""

from __future__ import annotations

import pytest

from tinylm_cli.config.blocks import Norm, Position, ResidualBlock
from tinylm_cli.config.feed_forward import FeedForward
from tinylm_cli.config.mixers.attention import Attention


def test_stretch() -> None:
    assert Position().stretch == 1.0
    assert Position(scaling_factor=4.0).stretch == 4.0


@pytest.mark.parametrize(
    ("placement", "precedes", "is_final"),
    [("pre", True, True), ("post", False, True), ("sandwich", True, True), ("post_residual", False, False)],
)
def test_norms(placement: str, precedes: bool, is_final: bool) -> None:
    norm = Norm.model_validate({"placement": placement})
    assert (norm.precedes_sublayers, norm.is_final) == (precedes, is_final)


@pytest.mark.parametrize(
    ("mixer", "feed_forward", "mixers", "n_sublayers", "has_shared_block"),
    [
        ("attention", True, ("attention",), 2, False),
        ("mamba2", False, ("mamba2",), 1, False),
        ("attention_mamba2", True, ("attention", "mamba2"), 2, False),
        ("shared_block_mamba", True, ("attention", "mamba"), 3, True),
        ("none", True, (), 1, False),
    ],
)
def test_sublayers(
    mixer: str, feed_forward: bool, mixers: tuple[str, ...], n_sublayers: int, has_shared_block: bool
) -> None:
    """Two mixers of one input are one sub-layer; those of a shared block run before the layer's own mixer."""
    block = ResidualBlock.model_validate({"mixer": mixer, "feed_forward": feed_forward})
    assert (block.mixers, block.n_sublayers, block.has_shared_block) == (mixers, n_sublayers, has_shared_block)
    assert block.has_mixer == bool(mixers)


def test_residual_additions() -> None:
    """A parallel layer adds both outputs at once, and a layer with a shared block only that of its own mixer."""
    assert ResidualBlock().n_residual_additions == 2
    assert ResidualBlock(feed_forward=False).n_residual_additions == 1
    assert ResidualBlock(parallel=True).n_residual_additions == 1
    assert ResidualBlock(mixer="shared_block_mamba2").n_residual_additions == 1


def test_streams() -> None:
    assert ResidualBlock().n_streams == 1
    assert ResidualBlock(hyper_streams=4).n_streams == 4
    assert ResidualBlock(altup_streams=3).n_streams == 3


def test_biases_of_experts() -> None:
    assert FeedForward(bias=True).has_expert_bias
    assert not FeedForward(bias=True, expert_bias=False).has_expert_bias
    assert FeedForward(bias=False, expert_bias=True).has_expert_bias


def test_scores_of_the_router() -> None:
    assert FeedForward().n_scores == 0
    assert FeedForward(n_experts=8, n_zero_experts=3).n_scores == 11


def test_indexer() -> None:
    """A layer that takes the selection of another has none of its own."""
    assert not Attention().has_indexer
    assert Attention(index_top_k=4).has_indexer
    assert not Attention(index_top_k=4, index_shared=True).has_indexer


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({}, "none"),
        ({"gate": True, "bias": True}, "full"),
        ({"gate": True, "bias": False}, "none"),
        ({"gate": True, "bias": False, "gate_bias": "per_head"}, "per_head"),
        ({"kind": "latent", "gate": True, "bias": True}, "none"),
    ],
)
def test_biases_of_the_gate(fields: dict[str, object], kind: str) -> None:
    assert Attention.model_validate(fields).gate_bias_kind == kind

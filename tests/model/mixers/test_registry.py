from __future__ import annotations

from collections.abc import Callable
from typing import get_args

from tinylm_cli.config.choices import MixerKind
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.model.attention import SelfAttention
from tinylm_cli.model.latent_attention import LatentAttention
from tinylm_cli.model.mixers.registry import MIXERS, mixer_classes

NARROW_HEADS = {
    "mamba2": {"d_head": 8},
    "gated_deltanet": {"d_key": 8},
    "kimi_delta_attention": {"d_head": 8},
    "lightning_attention": {"d_head": 8},
    "mlstm": {"d_value": 8},
}
"""Sizes of heads that fit the width of the test models."""


def test_every_mixer_of_the_schema_has_a_module(make_config: Callable[..., ModelConfig]) -> None:
    of_kinds = {
        "attention_mamba2": ["attention", "mamba2"],
        "shared_block_mamba": ["attention", "mamba"],
        "shared_block_mamba2": ["attention", "mamba2"],
        "none": [],
    }
    for kind in get_args(MixerKind):
        names = of_kinds.get(kind, [kind])
        sizes = {name: NARROW_HEADS[name] for name in names if name in NARROW_HEADS}
        found = mixer_classes(make_config(block={"mixer": kind}, **sizes))
        assert found == {name: MIXERS[name] for name in names}
        assert list(found) == names


def test_kinds_of_attention(make_config: Callable[..., ModelConfig]) -> None:
    latent = make_config(position={"kind": "rope"}, attention={"kind": "latent"})
    assert mixer_classes(latent) == {"attention": LatentAttention}
    assert mixer_classes(make_config()) == {"attention": SelfAttention}

from __future__ import annotations

from collections.abc import Callable
from typing import get_args

from tinylm_cli.config.blocks import MixerKind
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.model.attention import SelfAttention
from tinylm_cli.model.latent_attention import LatentAttention
from tinylm_cli.model.mixers.registry import MIXERS, mixer_class


def test_every_mixer_of_the_schema_has_a_module(make_config: Callable[..., ModelConfig]) -> None:
    assert list(MIXERS) == list(get_args(MixerKind))
    for name in get_args(MixerKind):
        sizes = {"mamba2": {"d_head": 8}} if name == "mamba2" else {}
        assert mixer_class(make_config(block={"mixer": name}, **sizes)) is MIXERS[name]


def test_kinds_of_attention(make_config: Callable[..., ModelConfig]) -> None:
    latent = make_config(position={"kind": "rope"}, attention={"kind": "latent"})
    assert mixer_class(latent) is LatentAttention
    assert mixer_class(make_config()) is SelfAttention

from __future__ import annotations

from collections.abc import Callable
from typing import get_args

from tinylm_cli.config.choices import MixerKind
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.model.attention import SelfAttention
from tinylm_cli.model.latent_attention import LatentAttention
from tinylm_cli.model.mixers.registry import MIXERS, mixer_classes


def test_every_mixer_of_the_schema_has_a_module(make_config: Callable[..., ModelConfig]) -> None:
    of_kinds = {
        "attention_mamba2": ["attention", "mamba2"],
        "shared_block_mamba": ["attention", "mamba"],
        "shared_block_mamba2": ["attention", "mamba2"],
        "none": [],
    }
    for kind in get_args(MixerKind):
        names = of_kinds.get(kind, [kind])
        sizes = {"mamba2": {"d_head": 8}} if "mamba2" in names else {}
        found = mixer_classes(make_config(block={"mixer": kind}, **sizes))
        assert found == {name: MIXERS[name] for name in names}
        assert list(found) == names


def test_kinds_of_attention(make_config: Callable[..., ModelConfig]) -> None:
    latent = make_config(position={"kind": "rope"}, attention={"kind": "latent"})
    assert mixer_classes(latent) == {"attention": LatentAttention}
    assert mixer_classes(make_config()) == {"attention": SelfAttention}

"""The sequence mixers by name."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import cast, get_args

from tinylm_cli.analysis.mixers.mixer import Mixer
from tinylm_cli.analysis.mixers.parallel_mixers import ParallelMixers
from tinylm_cli.analysis.mixers.shared_block import SharedBlock
from tinylm_cli.config.base import WITH_SHARED_BLOCK
from tinylm_cli.config.choices import MIXERS_OF_LAYER, MixerKind
from tinylm_cli.config.schema import ModelConfig

_CLASSES: dict[str, str] = {
    "attention": "attention.Attention",
    "short_conv": "short_conv.ShortConv",
    "mamba": "mamba.Mamba",
    "mamba2": "mamba2.Mamba2",
    "gated_deltanet": "gated_deltanet.GatedDeltaNet",
    "kimi_delta_attention": "kimi_delta_attention.KimiDeltaAttention",
    "lightning_attention": "lightning_attention.LightningAttention",
    "mlstm": "mlstm.Mlstm",
    "rg_lru": "rg_lru.RgLru",
    "rwkv": "rwkv.Rwkv",
    "none": "no_mixer.NoMixer",
}
"""Module and class of each single mixer. A command imports only those of its config, which shortens its start."""


@cache
def mixer(name: str) -> Mixer:
    """Return the costs of the layers whose ``block.mixer`` is ``name``."""
    if len(parts := MIXERS_OF_LAYER.get(name, ())) > 1:
        return (SharedBlock if name in WITH_SHARED_BLOCK else ParallelMixers)(*map(mixer, parts))
    module, class_name = _CLASSES[name].split(".")
    return cast("Mixer", getattr(import_module(f"{__name__}.{module}"), class_name)())


def mixer_of(config: ModelConfig) -> Mixer:
    """Return the sequence mixer of the layers that ``config`` describes."""
    return mixer(config.block.mixer)


def shared_block_of(config: ModelConfig) -> SharedBlock:
    """Return the mixers of the layers that ``config`` describes, which have a shared block."""
    return cast("SharedBlock", mixer_of(config))


def all_mixers() -> dict[MixerKind, Mixer]:
    """Return every sequence mixer by its value of ``block.mixer``."""
    return {name: mixer(name) for name in get_args(MixerKind)}

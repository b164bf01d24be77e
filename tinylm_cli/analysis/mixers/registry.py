"""The sequence mixers by name."""

from __future__ import annotations

from tinylm_cli.analysis.mixers.attention import Attention
from tinylm_cli.analysis.mixers.gated_deltanet import GatedDeltaNet
from tinylm_cli.analysis.mixers.kimi_delta_attention import KimiDeltaAttention
from tinylm_cli.analysis.mixers.lightning_attention import LightningAttention
from tinylm_cli.analysis.mixers.mamba import Mamba
from tinylm_cli.analysis.mixers.mamba2 import Mamba2
from tinylm_cli.analysis.mixers.mixer import Mixer
from tinylm_cli.analysis.mixers.nothing import NoMixer
from tinylm_cli.analysis.mixers.rg_lru import RgLru
from tinylm_cli.analysis.mixers.short_conv import ShortConv
from tinylm_cli.analysis.mixers.side_by_side import SideBySide
from tinylm_cli.config.choices import MixerKind
from tinylm_cli.config.schema import ModelConfig

MIXERS: dict[MixerKind, Mixer] = {
    "attention": Attention(),
    "short_conv": ShortConv(),
    "mamba": Mamba(),
    "mamba2": Mamba2(),
    "gated_deltanet": GatedDeltaNet(),
    "kimi_delta_attention": KimiDeltaAttention(),
    "lightning_attention": LightningAttention(),
    "rg_lru": RgLru(),
    "attention_mamba2": SideBySide(Attention(), Mamba2()),
    "none": NoMixer(),
}


def mixer_of(config: ModelConfig) -> Mixer:
    """Return the sequence mixer of the layers that ``config`` describes."""
    return MIXERS[config.block.mixer]

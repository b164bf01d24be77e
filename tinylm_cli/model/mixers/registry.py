"""The sequence mixers by name."""

from __future__ import annotations

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.model.attention import SelfAttention
from tinylm_cli.model.latent_attention import LatentAttention
from tinylm_cli.model.mixers.gated_deltanet import GatedDeltaNet
from tinylm_cli.model.mixers.kimi_delta_attention import KimiDeltaAttention
from tinylm_cli.model.mixers.lightning_attention import LightningAttention
from tinylm_cli.model.mixers.mamba import Mamba
from tinylm_cli.model.mixers.mamba2 import Mamba2
from tinylm_cli.model.mixers.mlstm import Mlstm
from tinylm_cli.model.mixers.rg_lru import RgLru
from tinylm_cli.model.mixers.rwkv import Rwkv
from tinylm_cli.model.mixers.short_conv import ShortConv
from tinylm_cli.model.sequence_mixer import SequenceMixer

MIXERS: dict[str, type[SequenceMixer]] = {
    "attention": SelfAttention,
    "short_conv": ShortConv,
    "mamba": Mamba,
    "mamba2": Mamba2,
    "gated_deltanet": GatedDeltaNet,
    "kimi_delta_attention": KimiDeltaAttention,
    "lightning_attention": LightningAttention,
    "mlstm": Mlstm,
    "rg_lru": RgLru,
    "rwkv": Rwkv,
}


def mixer_classes(config: ModelConfig) -> dict[str, type[SequenceMixer]]:
    """Return the class of each sequence mixer of the layers that ``config`` describes, by the mixer's name."""
    classes = {name: MIXERS[name] for name in config.block.mixers}
    if "attention" in classes and config.attention.kind == "latent":
        classes["attention"] = LatentAttention
    return classes

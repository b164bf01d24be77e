"""The sequence mixers by name."""

from __future__ import annotations

from tinylm_cli.analysis.mixers.attention import Attention
from tinylm_cli.analysis.mixers.mixer import Mixer
from tinylm_cli.config.schema import ModelConfig

MIXERS: dict[str, Mixer] = {"attention": Attention()}


def mixer_of(config: ModelConfig) -> Mixer:  # noqa: ARG001
    """Return the sequence mixer of the layers that ``config`` describes."""
    return MIXERS["attention"]

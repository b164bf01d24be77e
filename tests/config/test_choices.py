"""The mixers that a layer can have."""

from __future__ import annotations

from typing import get_args

from tinylm_cli.config.base import WITH_ATTENTION, WITH_MAMBA, WITH_MAMBA2
from tinylm_cli.config.choices import MixerKind, SingleMixer, mixers_within


def test_mixers_within() -> None:
    assert mixers_within([]) == set()
    assert mixers_within(["none", "rwkv"]) == {"none", "rwkv"}
    assert mixers_within(["attention_mamba2", "mamba"]) == {"attention_mamba2", "attention", "mamba2", "mamba"}


def test_lists_of_mixers() -> None:
    """The values of ``block.mixer`` that contain a mixer are those that other rules list."""
    for mixer, listed in (("attention", WITH_ATTENTION), ("mamba", WITH_MAMBA), ("mamba2", WITH_MAMBA2)):
        assert {kind for kind in get_args(MixerKind) if mixer in mixers_within([kind])} == {*listed}
    assert {*get_args(SingleMixer)} < {*get_args(MixerKind)}

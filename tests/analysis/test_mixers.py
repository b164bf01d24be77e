from __future__ import annotations

from typing import get_args

from tinylm_cli.analysis.mixers import all_mixers, mixer_of
from tinylm_cli.config.choices import MixerKind
from tinylm_cli.interop.load import load_config


def test_every_mixer_of_the_schema_has_costs() -> None:
    mixers = all_mixers()
    for name in get_args(MixerKind):
        narrow = ["mlstm.d_value=128"] if name == "mlstm" else []
        config = load_config("tiny", [f"block.mixer={name}", *narrow]).config
        assert mixer_of(config) is mixers.pop(name)
    assert not mixers

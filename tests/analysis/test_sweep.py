"""Figures at every combination of values."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tinylm_cli.analysis.figures import FIGURES, figure
from tinylm_cli.analysis.setups import Setups
from tinylm_cli.analysis.sweep import sweep
from tinylm_cli.config.loader import LoadedConfig
from tinylm_cli.errors import ConfigError
from tinylm_cli.interop.load import load_config
from tinylm_cli.reports.sweep import SweptField


def small(overrides: Sequence[str]) -> LoadedConfig:
    return load_config("small", overrides)


def test_all_combinations_in_order() -> None:
    fields = [SweptField("n_layers", ("2", "4")), SweptField("norm.kind", ("layernorm", "rmsnorm"))]
    report = sweep(small, fields, Setups.of(seq_len=100))
    assert [each.values for each in report.points] == [
        ("2", "layernorm"),
        ("2", "rmsnorm"),
        ("4", "layernorm"),
        ("4", "rmsnorm"),
    ]
    for point in report.points:
        config = small([f"n_layers={point.values[0]}", f"norm.kind={point.values[1]}"]).config
        assert point.figures == {name: figure(name, config, Setups.of(seq_len=100)) for name in FIGURES}
    assert len({each.figures["total_params"] for each in report.points if each.figures}) == 4


def test_invalid_point() -> None:
    report = sweep(small, [SweptField("d_model", ("256", "500", "512"))], Setups())
    assert [each.figures is not None for each in report.points] == [True, False, True]
    assert "d_model 500 is not divisible by n_heads 8" in report.points[1].error


def test_seq_len_beyond_max_len() -> None:
    report = sweep(small, [SweptField("max_len", ("64", "512"))], Setups.of(seq_len=512))
    assert report.points[0].figures is None
    assert "512" in report.points[0].error
    assert report.points[1].figures is not None


def test_invalid_config() -> None:
    with pytest.raises(ConfigError, match="n_heads"):
        sweep(lambda more: load_config("small", ["n_heads=7", *more]), [SweptField("n_layers", ("2",))], Setups())

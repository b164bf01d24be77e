"""What varying fields does to figures."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tinylm_cli.analysis.design.sweep import sweep
from tinylm_cli.analysis.figures import FIGURES, Conditions, figure
from tinylm_cli.config.loader import LoadedConfig
from tinylm_cli.errors import ConfigError
from tinylm_cli.interop.load import load_config
from tinylm_cli.reports.design import Varied


def small(overrides: Sequence[str]) -> LoadedConfig:
    return load_config("small", overrides)


def test_every_combination_in_order_with_its_figures() -> None:
    varied = [Varied("n_layers", ("2", "4")), Varied("norm.kind", ("layernorm", "rmsnorm"))]
    report = sweep(small, varied, Conditions(seq_len=100))
    assert [each.values for each in report.variants] == [
        ("2", "layernorm"),
        ("2", "rmsnorm"),
        ("4", "layernorm"),
        ("4", "rmsnorm"),
    ]
    for variant in report.variants:
        config = small([f"n_layers={variant.values[0]}", f"norm.kind={variant.values[1]}"]).config
        assert variant.figures == {name: figure(name, config, Conditions(seq_len=100)) for name in FIGURES}
    assert len({each.figures["total_params"] for each in report.variants if each.figures}) == 4


def test_what_is_no_config_says_why_and_stops_nothing() -> None:
    report = sweep(small, [Varied("d_model", ("256", "500", "512"))], Conditions())
    valid = [each.figures is not None for each in report.variants]
    assert valid == [True, False, True]
    assert "d_model 500 is not divisible by n_heads 8" in report.variants[1].invalid


def test_a_length_that_a_variant_does_not_read() -> None:
    report = sweep(small, [Varied("max_len", ("64", "512"))], Conditions(seq_len=512))
    assert report.variants[0].figures is None
    assert "512" in report.variants[0].invalid
    assert report.variants[1].figures is not None


def test_a_config_that_is_wrong_before_anything_is_varied() -> None:
    with pytest.raises(ConfigError, match="n_heads"):
        sweep(lambda more: load_config("small", ["n_heads=7", *more]), [Varied("n_layers", ("2",))], Conditions())

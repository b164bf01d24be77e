from __future__ import annotations

import pytest
from hypothesis import given

from tests.random_configs import small_configs
from tinylm_cli.analysis.figures import FIGURES, figure
from tinylm_cli.analysis.params import analyze_params
from tinylm_cli.analysis.setups import Setups
from tinylm_cli.analysis.tensor import COMPONENTS
from tinylm_cli.config.loader import LoadedConfig
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop.load import load_config


@pytest.mark.parametrize("name", FIGURES)
def test_names_state_the_unit(name: str) -> None:
    assert name.endswith(tuple(f"_{FIGURES[name].unit}{of}" for of in ("", "_per_gpu", "_per_token")))


@given(config=small_configs())
def test_figures_agree_with_reports(config: ModelConfig) -> None:
    report = analyze_params(LoadedConfig("drawn", "drawn", config, {}), dtype="bfloat16")
    for name in FIGURES:
        value = figure(name, config)
        assert type(value) is int
        assert value >= 0
        if hasattr(report, name):
            assert value == getattr(report, name)
    parts = {f"{part.name}_params": part.params for part in report.components}
    assert {name: figure(name, config) for name in parts} == parts
    assert sum(figure(f"{name}_params", config) for name in COMPONENTS) == report.total_params


def test_figures_depend_on_setups() -> None:
    config = load_config("llama-3-8b").config
    assert figure("weights_bytes", config) == 2 * 8_030_261_248 + 64 * 4, "rotary frequencies in float32"
    assert figure("weights_bytes", config, Setups.of(dtype="float32")) == 4 * (8_030_261_248 + 64)
    assert figure("kv_cache_bytes", config, Setups.of(batch_size=3, seq_len=100)) == 3 * 100 * 32 * 2 * 8 * 128 * 2
    assert figure("decode_flops_per_token", config, Setups.of(seq_len=1)) < figure("decode_flops_per_token", config)


class TestReadWhileDecoding:
    def test_llama_by_hand(self) -> None:
        """Every weight but the embedding's; and keys and values of 100 positions."""
        config = load_config("llama-3-8b").config
        weights, kept = 8_030_261_248 - 128_256 * 4096, 100 * 32 * 2 * 8 * 128
        given = Setups.of(seq_len=100, batch_size=7)
        assert figure("decode_read_bytes_per_token", config, given) == 2 * (weights + kept)

    def test_tied_head_reads_the_entire_table(self) -> None:
        config = load_config("gpt2").config
        weights, kept = 124_439_808 - 1024 * 768, 1024 * 12 * 2 * 768
        assert figure("decode_read_bytes_per_token", config, Setups.of(dtype="float32")) == 4 * (weights + kept)

    def test_active_experts(self) -> None:
        config = load_config("mixtral-8x7b").config
        weights, kept = 12_879_925_248 - 32_000 * 4096, 32 * 2 * 8 * 128
        assert figure("decode_read_bytes_per_token", config, Setups.of(seq_len=1)) == 2 * (weights + kept)

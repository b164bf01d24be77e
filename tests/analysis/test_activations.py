"""Activation memory in closed form: published formulas, sharding, and sizes out of range."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings

from tests.random_configs import small_configs
from tinylm_cli.analysis.activations import activation_bytes
from tinylm_cli.analysis.setups import TrainingSetup
from tinylm_cli.config.layer_kinds import layer_pattern
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.errors import AnalysisError
from tinylm_cli.interop.load import load_config
from tinylm_cli.reports.choices import AttentionKernel
from tinylm_cli.reports.memory import LayerActivations

GPT: dict[str, Any] = {
    "vocab_size": 1000,
    "d_model": 768,
    "n_heads": 12,
    "n_layers": 12,
    "d_ff": 4 * 768,
    "dropout": 0.1,
    "max_len": 1024,
}


def one_layer(config: ModelConfig, **asked: Any) -> LayerActivations:
    usual: dict[str, Any] = {"batch_size": 3, "seq_len": 512, "dtype": "bfloat16"}
    (layer,) = activation_bytes(config, TrainingSetup(**usual | asked)).layers
    return layer


def test_gpt_layer_by_korthikanti() -> None:
    """``sbh · 34`` in 16 bits without scores; in 32 bits, four statistics of each token and one number of each head."""
    tokens, width, heads = 3 * 512, 768, 12
    config = ModelConfig.model_validate(GPT)
    flash = one_layer(config)
    assert flash.layer_bytes == tokens * (34 * width + 4 * 4 + 4 * heads)
    selective = one_layer(config, attention_kernel="math", recompute="selective")
    assert one_layer(config, recompute="selective").layer_bytes == tokens * (34 * width + 4 * 4)
    full = one_layer(config, recompute="full")
    assert full.layer_bytes == tokens * 2 * width
    assert full.recomputed_bytes == flash.layer_bytes - full.layer_bytes
    assert selective.layer_bytes == tokens * (34 * width + 4 * 4)
    assert selective.recomputed_bytes > 512 * 3 * 512 * heads * 9  # scores in 32 bits twice, and a mask


def test_sharding_by_korthikanti() -> None:
    tokens, width, heads = 3 * 512, 768, 12
    parts = one_layer(ModelConfig.model_validate(GPT)).parts
    assert sum(part.tensor_parallel_bytes for part in parts) == tokens * (24 * width + 4 * heads)
    assert sum(part.sequence_parallel_bytes for part in parts) == tokens * (10 * width + 4 * 4)


@given(small_configs())
@settings(max_examples=60)
def test_parts_sum_to_total(config: ModelConfig) -> None:
    kernel: AttentionKernel
    for kernel in ("flash", "sdpa", "math"):
        kept = []
        for recompute in ("none", "selective", "full"):
            found = activation_bytes(
                config, TrainingSetup(batch_size=2, seq_len=9, attention_kernel=kernel, recompute=recompute)
            )
            outside = sum(part.saved_bytes for part in found.outside)
            assert found.saved_bytes == outside + sum(layer.count * layer.layer_bytes for layer in found.layers)
            assert found.total_bytes == found.saved_bytes + found.recomputed_bytes
            assert sum(layer.count for layer in found.layers) == config.n_layers
            for layer in found.layers:
                assert sum(part.saved_bytes for part in layer.parts) == layer.layer_bytes
                for part in layer.parts:
                    divided = part.tensor_parallel_bytes + part.sequence_parallel_bytes
                    assert 0 <= divided <= part.saved_bytes
            kept.append(found.saved_bytes)
        assert kept[0] > kept[2]
        assert kept[1] >= kept[2]
        attends = any(kind.block.mixer == "attention" for kind in layer_pattern(config).kinds)
        assert kept[0] > kept[1] or kernel != "flash" or not attends  # values may lie with keys that are kept
        assert kept[0] >= kept[1] or kernel != "flash"


def test_layer_kinds() -> None:
    def names(name: str) -> list[tuple[str, int]]:
        found = activation_bytes(load_config(name).config, TrainingSetup(batch_size=1, seq_len=8192))
        return [(layer.name, layer.count) for layer in found.layers]

    assert names("gemma-2-2b") == [("layers, window 4096", 13), ("layers, full attention", 13)]
    assert names("gemma-3-1b") == [("layers, window 512", 22), ("layers, full attention", 4)]
    assert names("deepseek-v2-lite") == [("layers, dense", 1), ("layers, experts", 26)]
    assert names("llama-3-8b") == [("layers", 32)]


def test_many_layers() -> None:
    one, many = (
        activation_bytes(
            load_config("tiny", [f"n_layers={n}"]).config, TrainingSetup(batch_size=1, seq_len=9, dtype="float32")
        )
        for n in (1, 100_000)
    )
    assert many.layers[0].layer_bytes == one.layers[0].layer_bytes
    assert many.saved_bytes == one.saved_bytes + 99_999 * one.layers[0].layer_bytes


@pytest.mark.parametrize("name", ["mistral-7b", "gemma-2-2b", "gpt-oss-20b", "deepseek-v2-lite", "llama-3-8b"])
def test_flash_is_linear_in_tokens(name: str) -> None:
    """Queries, keys, values, their mixture, and a number for each query and head."""
    config = load_config(name, ["max_len=16384"]).config
    short, long, longest = (
        activation_bytes(config, TrainingSetup(batch_size=1, seq_len=length)) for length in (4096, 8192, 16384)
    )
    assert longest.saved_bytes - long.saved_bytes == 2 * (long.saved_bytes - short.saved_bytes)
    parts = {part.name: part.saved_bytes for part in long.layers[-1].parts}
    if config.attention.kind == "multi_head":
        vectors = 2 * config.n_heads * config.d_head + 2 * config.n_kv_heads * config.d_head
        assert parts["attention"] == 8192 * (2 * vectors + 4 * config.n_heads)


def test_sdpa_mask_and_output_copy() -> None:
    config = load_config("mistral-7b", ["attention.n_kv_heads=32"]).config
    asked: dict[str, Any] = {"batch_size": 1, "seq_len": 8192, "dtype": "bfloat16"}
    flash, torch_own = (one_layer(config, **asked, attention_kernel=kernel) for kernel in ("flash", "sdpa"))
    assert torch_own.layer_bytes - flash.layer_bytes == 2 * 8192**2 + 2 * 8192 * 4096


@pytest.mark.parametrize(("batch_size", "seq_len"), [(0, 1), (1, 0), (1, 1025), (-1, 5)])
def test_sizes_out_of_range(batch_size: int, seq_len: int) -> None:
    with pytest.raises(AnalysisError, match=r"batch_size|outside 1\.\.1,024") as refused:
        activation_bytes(
            load_config("tiny").config, TrainingSetup(batch_size=batch_size, seq_len=seq_len, dtype="float32")
        )
    assert refused.value.help
    assert refused.value.exit_code == 2

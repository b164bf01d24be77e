"""The costs of RG-LRU, by hand, with the sizes of recurrentgemma-2b: D = I = 2,560, 10 blocks, L = 4."""

from __future__ import annotations

from tinylm_cli.analysis.flops import analyze_flops, decode_flops
from tinylm_cli.analysis.kv_cache import cache_shape
from tinylm_cli.analysis.parallel.layouts import layout_mismatches
from tinylm_cli.analysis.parallel.sharding import stage_table
from tinylm_cli.analysis.params import component_params
from tinylm_cli.analysis.setups import TrainingSetup
from tinylm_cli.analysis.tensor_table import tensor_table
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop.load import load_config
from tinylm_cli.reports.plan import Layout

D, H, L, LAYERS = 2560, 10, 4, 3
WEIGHTS = 3 * D * D + 2 * H * (D // H) ** 2 + D * L


def make(*overrides: str) -> ModelConfig:
    sizes = (f"d_model={D}", f"n_layers={LAYERS}", "vocab_size=1000", "max_len=4096", "rg_lru.n_blocks=10")
    mixer = ("position.kind=none", "block.mixer=rg_lru", "block.feed_forward=false")
    return load_config("tiny", [*sizes, *mixer, *overrides]).config


def test_params() -> None:
    biases = 3 * D + D + 2 * D  # of the projections, the convolution, the gates
    assert component_params(tensor_table(make()), "rg_lru") == LAYERS * (WEIGHTS + biases + D)
    unbiased = component_params(tensor_table(make("rg_lru.bias=false")), "rg_lru")
    assert unbiased == LAYERS * (WEIGHTS + 2 * D + D)


def test_flops() -> None:
    found = {part.name: part.forward_flops for part in analyze_flops(make(), TrainingSetup(1, 300)).components}
    assert found["rg_lru"] == LAYERS * 2 * 300 * WEIGHTS
    assert decode_flops(make(), context_len=9) == LAYERS * 2 * WEIGHTS + 2 * 1000 * D


def test_state() -> None:
    assert cache_shape(make(), "bfloat16").state_bytes == LAYERS * ((L - 1) * D * 2 + D * 4)


def test_tensor_parallel() -> None:
    """Whole blocks of the gates."""
    table = stage_table(make(), Layout(tensor=2), 0)
    shapes = {tensor.name: tensor.shape for section in table for tensor in section.tensors}
    assert shapes["rg_lru.gate_proj.weight"] == shapes["rg_lru.in_proj.weight"] == (D // 2, D)
    assert shapes["rg_lru.input_gate.weight"] == (H // 2, D // H, D // H)
    assert shapes["rg_lru.decay_gate.bias"] == (H // 2, D // H)
    assert shapes["rg_lru.decay"] == (D // 2,)
    assert shapes["rg_lru.out_proj.weight"] == (D, D // 2)
    (mismatch,) = layout_mismatches(make(), TrainingSetup(n_gpus=4), Layout(tensor=4))
    assert mismatch.config_field == "rg_lru.n_blocks"

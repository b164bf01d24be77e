"""The costs of Mamba, by hand, with the sizes of mamba-130m: D = 768, I = 1,536, N = 16, R = 48."""

from __future__ import annotations

from tinylm_cli.analysis.activations import activation_bytes
from tinylm_cli.analysis.flops import analyze_flops, decode_flops
from tinylm_cli.analysis.kv_cache import cache_shape
from tinylm_cli.analysis.parallel.layouts import layout_mismatches
from tinylm_cli.analysis.parallel.sharding import stage_table
from tinylm_cli.analysis.params import component_params, total_params
from tinylm_cli.analysis.setups import TrainingSetup
from tinylm_cli.analysis.tensor_table import tensor_table
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop.load import load_config
from tinylm_cli.reports.plan import Layout

D, INNER, N, R, L = 768, 1536, 16, 48, 4
LAYERS = 24
WEIGHTS = 2 * INNER * D + INNER * L + (R + 2 * N) * INNER + R * INNER + D * INNER


def make(*overrides: str) -> ModelConfig:
    sizes = (f"d_model={D}", f"n_layers={LAYERS}", "vocab_size=50280", "max_len=65536", "norm.kind=rmsnorm")
    mixer = ("position.kind=none", "block.mixer=mamba", "block.feed_forward=false")
    return load_config("tiny", [*sizes, *mixer, *overrides]).config


def test_params() -> None:
    """As many as the published checkpoint: https://huggingface.co/state-spaces/mamba-130m."""
    layer = WEIGHTS + INNER + INNER + INNER * N + INNER  # the biases of the convolution and of dt_proj; A; D
    table = tensor_table(make())
    assert component_params(table, "mamba") == LAYERS * layer
    assert total_params(table) == LAYERS * (layer + D) + D + 50280 * D == 129_135_360
    normed = component_params(tensor_table(make("mamba.norm=weighted")), "mamba")
    assert normed == LAYERS * (layer + R + 2 * N)


def test_flops() -> None:
    """The scan costs the same in both forms, for each token."""
    config, length = make(), 300
    found = {part.name: part.forward_flops for part in analyze_flops(config, TrainingSetup(1, length)).components}
    assert found["mamba"] == LAYERS * 2 * length * WEIGHTS
    assert found["mamba_scan"] == LAYERS * length * 4 * INNER * N
    assert decode_flops(config, context_len=9) == LAYERS * (2 * WEIGHTS + 4 * INNER * N) + 2 * 50280 * D


def test_state() -> None:
    """The states are in float32, the inputs of the convolution in the dtype of the cache, but in 16 bits."""
    expected = LAYERS * ((L - 1) * INNER * 2 + INNER * N * 4)
    assert cache_shape(make(), "bfloat16").state_bytes == cache_shape(make(), "int8").state_bytes == expected


def test_fused_kernel() -> None:
    """It saves the outputs of both projections, B and C once more, and the states after every 2,048 tokens."""
    found = activation_bytes(make(), TrainingSetup(2, 4096, dtype="bfloat16"))
    (layer,) = found.layers
    parts = {part.name: part.saved_bytes for part in layer.parts}
    vectors = 2 * 4096 * (2 * INNER + (R + 2 * N) + 2 * N + INNER) * 2
    assert parts["mamba"] == vectors + 2 * 2 * INNER * 2 * N * 4


def test_tensor_parallel() -> None:
    table = stage_table(make("mamba.bias=true"), Layout(tensor=4), 0)
    shapes = {tensor.name: tensor.shape for section in table for tensor in section.tensors}
    assert shapes["mamba.in_proj.weight"] == (2 * INNER // 4, D)
    assert shapes["mamba.A_log"] == (INNER // 4, N)
    assert shapes["mamba.x_proj.weight"] == (R + 2 * N, INNER // 4)
    assert shapes["mamba.dt_proj.weight"] == (INNER // 4, R)
    assert shapes["mamba.dt_proj.bias"] == shapes["mamba.D"] == (INNER // 4,)
    assert shapes["mamba.out_proj.weight"] == (D, INNER // 4)
    (mismatch,) = layout_mismatches(make("mamba.d_inner=1535"), TrainingSetup(n_gpus=2), Layout(tensor=2))
    assert mismatch.config_field == "mamba.d_inner"

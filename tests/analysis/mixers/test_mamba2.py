"""The costs of Mamba-2, by hand, with the sizes of mamba2-2.7b: D = 2,560, 80 heads of 64, N = 128, one group."""

from __future__ import annotations

import pytest

from tinylm_cli.analysis.activations import activation_bytes
from tinylm_cli.analysis.flops import analyze_flops, decode_flops, matmul_groups
from tinylm_cli.analysis.kv_cache import cache_shape, kv_cache_bytes
from tinylm_cli.analysis.parallel.layouts import layout_mismatches
from tinylm_cli.analysis.parallel.sharding import stage_table
from tinylm_cli.analysis.params import component_params, total_params
from tinylm_cli.analysis.roofline import decode_step
from tinylm_cli.analysis.setups import ServingSetup, TrainingSetup
from tinylm_cli.analysis.tensor_table import tensor_table
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop.load import load_config
from tinylm_cli.reports.choices import AttentionCount
from tinylm_cli.reports.plan import Layout

D, H, P, N, L, Q = 2560, 80, 64, 128, 4, 256
INNER = H * P
CHANNELS = INNER + 2 * N
LAYERS = 64


def make(*overrides: str) -> ModelConfig:
    sizes = (f"d_model={D}", f"n_layers={LAYERS}", "vocab_size=50288", "max_len=65536", "norm.kind=rmsnorm")
    mixer = ("position.kind=none", "block.mixer=mamba2", "block.feed_forward=false")
    return load_config("tiny", [*sizes, *mixer, *overrides]).config


def test_params() -> None:
    """As many as the published checkpoint: https://huggingface.co/state-spaces/mamba2-2.7b."""
    projections = (INNER + CHANNELS + H) * D + INNER * D
    layer = projections + CHANNELS * (L + 1) + 3 * H + INNER
    table = tensor_table(make())
    assert component_params(table, "mamba2") == LAYERS * layer
    assert total_params(table) == LAYERS * (layer + D) + D + 50288 * D == 2_702_599_680


def test_forward_flops() -> None:
    """Two chunks and a half; all pairs count with padding, causal ones without."""
    config, length = make(), 2 * Q + Q // 2
    weights = 2 * length * ((INNER + CHANNELS + H) * D + CHANNELS * L + INNER * D)
    counts: tuple[tuple[AttentionCount, int, int], ...] = (
        ("causal", 2 * (Q * (Q + 1) // 2) + (Q // 2) * (Q // 2 + 1) // 2, length),
        ("full", 3 * Q * Q, 3 * Q),
    )
    for attention, pairs, tokens in counts:
        scan = 2 * pairs * N + 2 * pairs * INNER + 2 * (2 * tokens * INNER * N)
        found = {
            part.name: part.forward_flops
            for part in analyze_flops(config, TrainingSetup(1, length), attention=attention).components
        }
        assert found["mamba2"] == LAYERS * weights
        assert found["mamba2_scan"] == LAYERS * scan


def test_decode_flops() -> None:
    per_layer = 2 * ((INNER + CHANNELS + H) * D + CHANNELS * L + INNER * D) + 2 * 2 * INNER * N
    for context_len in (1, 65536):
        assert decode_flops(make(), context_len=context_len) == LAYERS * per_layer + 2 * 50288 * D


def test_selective_recompute_repeats_the_scan() -> None:
    config = make()
    scan = sum(
        group.n_layers * matmul.flops
        for group in matmul_groups(config, seq_len=512)
        for matmul in group.matmuls
        if matmul.component == "mamba2_scan"
    )
    assert analyze_flops(config, TrainingSetup(1, 512, recompute="selective")).recompute_flops == scan


@pytest.mark.parametrize(
    ("dtype", "inputs", "states"), [("bfloat16", 2, 4), ("float32", 4, 4), ("float64", 8, 8), ("int8", 2, 4)]
)
def test_state(dtype: str, inputs: int, states: int) -> None:
    """The states are in float32 or wider, the inputs of the convolution in the dtype of the cache, but in 16 bits."""
    expected = LAYERS * ((L - 1) * CHANNELS * inputs + INNER * N * states)
    assert kv_cache_bytes(make(), batch_size=2, seq_len=9000, dtype=dtype) == 2 * expected
    assert cache_shape(make(), dtype).state_bytes == expected


def test_decoding_reads_and_writes_the_states() -> None:
    config = make()
    step = decode_step(config, ServingSetup(dtype="bfloat16"))
    state = cache_shape(config, "bfloat16").state_bytes
    assert step.cache_bytes_per_sequence == 2 * state
    assert step.moved_bytes(3) == step.weights.dense_bytes + 6 * state


def test_fused_kernel() -> None:
    """It saves the input and output of the projection, and the output of the scan with a statistic of its norm."""
    found = activation_bytes(make(), TrainingSetup(2, 1024, dtype="bfloat16"))
    (layer,) = found.layers
    parts = {part.name: part.saved_bytes for part in layer.parts}
    assert parts["mamba2"] == 2 * 1024 * ((INNER + CHANNELS + H + INNER) * 2 + 4)
    composed = activation_bytes(make(), TrainingSetup(2, 1024, dtype="bfloat16", attention_kernel="math"))
    assert composed.saved_bytes > 2 * found.saved_bytes


def test_tensor_parallel() -> None:
    """Whole groups of heads, each with its own B and C."""
    config = make("mamba2.n_groups=8", "mamba2.bias=true")
    table = stage_table(config, Layout(tensor=4), 0)
    shapes = {tensor.name: tensor.shape for section in table for tensor in section.tensors}
    channels = INNER + 2 * 8 * N
    assert shapes["mamba2.in_proj.weight"] == ((INNER + channels + H) // 4, D)
    assert shapes["mamba2.in_proj.bias"] == ((INNER + channels + H) // 4,)
    assert shapes["mamba2.conv.weight"] == (channels // 4, 1, L)
    assert shapes["mamba2.A_log"] == shapes["mamba2.D"] == shapes["mamba2.dt_bias"] == (H // 4,)
    assert shapes["mamba2.norm.weight"] == (INNER // 4,)
    assert shapes["mamba2.out_proj.weight"] == (D, INNER // 4)
    assert shapes["mamba2.out_proj.bias"] == (D,)
    (mismatch,) = layout_mismatches(make(), TrainingSetup(n_gpus=2), Layout(tensor=2))
    assert mismatch.config_field == "mamba2.n_groups"

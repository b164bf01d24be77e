"""The costs of gated DeltaNet, by hand, with the sizes of Qwen3-Next-80B-A3B: D = 2,048, 16 and 32 heads of 128."""

from __future__ import annotations

import pytest

from tinylm_cli.analysis.activations import activation_bytes
from tinylm_cli.analysis.flops import analyze_flops, decode_flops
from tinylm_cli.analysis.kv_cache import cache_shape, kv_cache_bytes
from tinylm_cli.analysis.parallel.layouts import layout_mismatches
from tinylm_cli.analysis.parallel.sharding import stage_table
from tinylm_cli.analysis.params import component_params
from tinylm_cli.analysis.setups import TrainingSetup
from tinylm_cli.analysis.tensor_table import tensor_table
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop.load import load_config
from tinylm_cli.reports.choices import AttentionCount
from tinylm_cli.reports.plan import Layout

D, G, H, K, V, L, Q = 2048, 16, 32, 128, 128, 4, 64
VALUES = H * V
CHANNELS = 2 * G * K + VALUES
LAYERS = 36
WEIGHTS = D * (CHANNELS + VALUES + 2 * H) + CHANNELS * L + VALUES * D


def make(*overrides: str) -> ModelConfig:
    sizes = (f"d_model={D}", f"n_layers={LAYERS}", "max_len=65536")
    mixer = ("position.kind=none", "block.mixer=gated_deltanet", f"gated_deltanet.n_value_heads={H}")
    return load_config("tiny", [*sizes, *mixer, *overrides]).config


def test_params() -> None:
    assert component_params(tensor_table(make()), "gated_deltanet") == LAYERS * (WEIGHTS + 2 * H + V)
    ungated = component_params(tensor_table(make("gated_deltanet.gate=false")), "gated_deltanet")
    assert ungated == LAYERS * (WEIGHTS - D * VALUES + 2 * H + V)


def test_forward_flops() -> None:
    """Two chunks and a half; all pairs count with padding, causal ones without."""
    length = 2 * Q + Q // 2
    counts: tuple[tuple[AttentionCount, int, int], ...] = (
        ("causal", 2 * (Q * (Q + 1) // 2) + (Q // 2) * (Q // 2 + 1) // 2, length),
        ("full", 3 * Q * Q, 3 * Q),
    )
    for attention, pairs, tokens in counts:
        rule = 2 * H * (2 * pairs * K + 2 * pairs * V + 3 * tokens * K * V)
        report = analyze_flops(make(), TrainingSetup(1, length, recompute="selective"), attention=attention)
        found = {part.name: part.forward_flops for part in report.components}
        assert found["gated_deltanet"] == LAYERS * 2 * length * WEIGHTS
        assert found["delta_rule"] == report.recompute_flops == LAYERS * rule


def test_decode_flops() -> None:
    """Three products with each state, however many tokens came before."""
    config = make("block.feed_forward=false", "vocab_size=100")
    for context_len in (1, 65536):
        found = decode_flops(config, context_len=context_len)
        assert found == LAYERS * (2 * WEIGHTS + 3 * 2 * H * K * V) + 2 * 100 * D


@pytest.mark.parametrize(
    ("dtype", "inputs", "states"), [("bfloat16", 2, 4), ("float32", 4, 4), ("float64", 8, 8), ("int8", 2, 4)]
)
def test_state(dtype: str, inputs: int, states: int) -> None:
    """The states are in float32 or wider, the inputs of the convolution in the dtype of the cache, but in 16 bits."""
    expected = LAYERS * ((L - 1) * CHANNELS * inputs + H * K * V * states)
    assert kv_cache_bytes(make(), batch_size=2, seq_len=9000, dtype=dtype) == 2 * expected
    assert cache_shape(make(), dtype).state_bytes == expected


def test_fused_kernels() -> None:
    """They save the inputs of the convolution, of the delta rule and of the norm, and the inverse of each system."""
    setup = TrainingSetup(2, 1024, dtype="bfloat16")
    found = activation_bytes(make(), setup)
    (layer,) = found.layers
    parts = {part.name: part.saved_bytes for part in layer.parts}
    in_half = 2 * CHANNELS + 2 * H + H * Q + VALUES + VALUES + VALUES  # …, the systems, the output, gate, o_proj input
    in_float32 = 2 * G + 2 * H + H
    assert parts["gated_deltanet"] == 2 * 1024 * (2 * in_half + 4 * in_float32)
    composed = activation_bytes(make(), setup._replace(attention_kernel="math"))
    assert composed.saved_bytes > 2 * found.saved_bytes
    selective = activation_bytes(make(), setup._replace(attention_kernel="math", recompute="selective"))
    assert selective.saved_bytes == found.saved_bytes


def test_tensor_parallel() -> None:
    """Whole groups of value heads, each with its key head."""
    table = stage_table(make(), Layout(tensor=4), 0)
    shapes = {tensor.name: tensor.shape for section in table for tensor in section.tensors}
    assert shapes["gated_deltanet.q_proj.weight"] == shapes["gated_deltanet.k_proj.weight"] == (G * K // 4, D)
    assert shapes["gated_deltanet.v_proj.weight"] == shapes["gated_deltanet.gate_proj.weight"] == (VALUES // 4, D)
    assert shapes["gated_deltanet.a_proj.weight"] == shapes["gated_deltanet.b_proj.weight"] == (H // 4, D)
    assert shapes["gated_deltanet.conv.weight"] == (CHANNELS // 4, 1, L)
    assert shapes["gated_deltanet.A_log"] == shapes["gated_deltanet.dt_bias"] == (H // 4,)
    assert shapes["gated_deltanet.o_norm.weight"] == (V,)
    assert shapes["gated_deltanet.o_proj.weight"] == (D, VALUES // 4)
    (mismatch,) = layout_mismatches(make("gated_deltanet.n_key_heads=2"), TrainingSetup(n_gpus=4), Layout(tensor=4))[:1]
    assert mismatch.config_field == "gated_deltanet.n_key_heads"

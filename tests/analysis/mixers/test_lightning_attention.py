"""The costs of lightning attention, by hand, with the sizes of MiniMax-Text-01: D = 6,144 and 64 heads of 128."""

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

D, H, K, Q = 6144, 64, 128, 64
INNER = H * K
LAYERS = 70
WEIGHTS = 5 * D * INNER


def make(*overrides: str) -> ModelConfig:
    sizes = (f"d_model={D}", f"n_layers={LAYERS}", "max_len=65536", f"lightning_attention.n_heads={H}")
    return load_config("tiny", [*sizes, "position.kind=none", "block.mixer=lightning_attention", *overrides]).config


def test_params() -> None:
    assert component_params(tensor_table(make()), "lightning_attention") == LAYERS * (WEIGHTS + INNER)


def test_forward_flops() -> None:
    """A sequence of two and a half chunks; the last chunk is not padded."""
    length = 2 * Q + Q // 2
    counts: tuple[tuple[AttentionCount, int], ...] = (
        ("causal", 2 * (Q * (Q + 1) // 2) + (Q // 2) * (Q // 2 + 1) // 2),
        ("full", 2 * Q * Q + (Q // 2) ** 2),
    )
    for attention, pairs in counts:
        recurrence = 2 * H * (2 * pairs * K + 2 * length * K * K)
        report = analyze_flops(make(), TrainingSetup(1, length, recompute="selective"), attention=attention)
        found = {part.name: part.forward_flops for part in report.components}
        assert found["lightning_attention"] == LAYERS * 2 * length * WEIGHTS
        assert found["linear_attention"] == report.recompute_flops == LAYERS * recurrence


def test_decode_flops() -> None:
    """Two products with each state, however many tokens came before."""
    config = make("block.feed_forward=false", "vocab_size=100")
    for context_len in (1, 65536):
        found = decode_flops(config, context_len=context_len)
        assert found == LAYERS * (2 * WEIGHTS + 2 * 2 * H * K * K) + 2 * 100 * D


@pytest.mark.parametrize(("dtype", "element_bytes"), [("bfloat16", 4), ("float32", 4), ("float64", 8), ("int8", 4)])
def test_state(dtype: str, element_bytes: int) -> None:
    """The states are in float32 or wider."""
    expected = LAYERS * H * K * K * element_bytes
    assert kv_cache_bytes(make(), batch_size=2, seq_len=9000, dtype=dtype) == 2 * expected
    assert cache_shape(make(), dtype).state_bytes == expected


def test_fused_kernels() -> None:
    """They save the inputs of SiLU, queries, keys and values, the output, and the inputs of the gate and o_proj."""
    setup = TrainingSetup(2, 1024, dtype="bfloat16")
    found = activation_bytes(make(), setup)
    (layer,) = found.layers
    parts = {part.name: part.saved_bytes for part in layer.parts}
    assert parts["lightning_attention"] == 2 * 1024 * (2 * (3 + 3 + 1 + 2 + 1) * INNER + 4)
    composed = activation_bytes(make(), setup._replace(attention_kernel="math"))
    assert composed.saved_bytes > found.saved_bytes


def test_tensor_parallel() -> None:
    table = stage_table(make(), Layout(tensor=4), 0)
    shapes = {tensor.name: tensor.shape for section in table for tensor in section.tensors}
    for name in ("q_proj", "k_proj", "v_proj", "gate_proj"):
        assert shapes[f"lightning_attention.{name}.weight"] == (INNER // 4, D)
    assert shapes["lightning_attention.o_norm.weight"] == (INNER,)
    assert shapes["lightning_attention.o_proj.weight"] == (D, INNER // 4)
    config = make("lightning_attention.n_heads=2")
    (mismatch,) = layout_mismatches(config, TrainingSetup(n_gpus=4), Layout(tensor=4))[:1]
    assert mismatch.config_field == "lightning_attention.n_heads"

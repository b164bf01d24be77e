"""The costs of lightning attention, by hand, with the sizes of MiniMax-Text-01: D = 6,144 and 64 heads of 128."""

from __future__ import annotations

import pytest

from tinylm_cli.analysis.activations import activation_bytes
from tinylm_cli.analysis.flops import analyze_flops, decode_flops
from tinylm_cli.analysis.kv_cache import cache_shape, kv_cache_bytes
from tinylm_cli.analysis.mixers.lightning_attention import LightningAttention
from tinylm_cli.analysis.mixers.mixer import InferencePass
from tinylm_cli.analysis.parallel.layouts import layout_mismatches
from tinylm_cli.analysis.parallel.sharding import stage_table
from tinylm_cli.analysis.params import component_params
from tinylm_cli.analysis.saved_tensors.saved_tensor import ForwardPass, SavedTensor
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


def small() -> ModelConfig:
    """Return a config with D = 7, H = 2, K = 3, H·K = 6, states of 18 elements, and chunks of 3 positions."""
    sizes = ("d_model=7", "n_heads=1", "lightning_attention.n_heads=2", "lightning_attention.d_head=3")
    return make(*sizes, "lightning_attention.chunk_len=3")


X = SavedTensor("x", "residual", 99, "sequence")


@pytest.mark.parametrize(("dtype", "element_bytes"), [("float32", 4), ("bfloat16", 2)])
@pytest.mark.parametrize(
    ("seq_len", "chunk", "pairs", "decayed", "states"),
    [(7, 3, 3 * 3 + 3 * 3 + 1 * 1, 7 + 4, 3), (6, 3, 2 * 3 * 3, 6 + 3, 2), (2, 2, 2 * 2, 2, 1)],
)
def test_saved_tensors(
    seq_len: int, chunk: int, pairs: int, decayed: int, states: int, dtype: str, element_bytes: int
) -> None:
    """Two sequences. Decayed queries of the first chunk are not saved: they multiply a zero state."""
    run = ForwardPass(small(), TrainingSetup(2, seq_len, dtype=dtype, attention_kernel="math"))
    first, *rest = LightningAttention().saved(run, X)
    tokens = 2 * seq_len
    outside = {
        "SiLU input": tokens * 3 * 6 * element_bytes,
        "queries, keys and values": tokens * 3 * 6 * 4,
        "output": tokens * 6 * element_bytes,
        "output norm statistics": tokens * 4,
        "gate": 2 * tokens * 6 * element_bytes,
        "o_proj input": tokens * 6 * element_bytes,
    }
    recurrence = {
        "chunk decays": 2 * (chunk + 1) * chunk * 4,
        "chunk scores": 2 * pairs * 2 * 4,
        "chunk queries and keys": 2 * decayed * 6 * 4,
        "chunk states": 2 * states * 18 * 4,
    }
    assert first == X
    assert {tensor.name: tensor.nbytes for tensor in rest if not tensor.is_core_attention} == outside
    assert {tensor.name: tensor.nbytes for tensor in rest if tensor.is_core_attention} == recurrence
    assert {tensor.sharding for tensor in rest} == {"tensor"}
    assert LightningAttention().gradient_bytes(run) == 4 * tokens * 6 * 4


@pytest.mark.parametrize("element_bytes", [4, 2, 8])
@pytest.mark.parametrize(("seq_len", "chunk"), [(8, 3), (2, 2)])
def test_prefill(seq_len: int, chunk: int, element_bytes: int) -> None:
    """Two sequences: x and norm(x); decays; queries, keys and values; and the terms of each peak candidate."""
    wide, tokens = max(element_bytes, 4), 2 * seq_len
    held = tokens * 2 * 7 * element_bytes + (chunk * chunk * 2 + tokens * 3 * 6) * wide
    outputs, state, scores, rows = tokens * 6, 2 * 18, 2 * chunk * chunk * 2, 2 * chunk * 6
    points = (
        outputs + state + 2 * scores,  # before and after decay
        outputs + state + scores + 2 * rows,  # an output of two parts
        outputs + scores + 4 * state,  # a state, the decayed state, the update, their sum
        2 * outputs + state,  # outputs by chunk, and concatenated
    )
    found = LightningAttention().prefill_bytes(small(), InferencePass(2, seq_len, seq_len, element_bytes, "fused"))
    assert list(found) == [held + each * wide for each in points]
    # queries, keys, values, the output, its norm, the gate
    expected = 2 * 7 * element_bytes + 6 * 6 * wide
    found_decode = LightningAttention().decode_bytes(small(), InferencePass(1, 1, 9, element_bytes, "fused"))
    assert found_decode == (0, (expected,))

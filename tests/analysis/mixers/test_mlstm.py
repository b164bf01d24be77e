"""The costs of mLSTM, by hand, with the sizes of xLSTM 7B: D = 4,096, 8 heads of 256 keys and 512 values."""

from __future__ import annotations

import pytest

from tinylm_cli.analysis.activations import activation_bytes
from tinylm_cli.analysis.flops import analyze_flops, decode_flops
from tinylm_cli.analysis.kv_cache import cache_shape, kv_cache_bytes
from tinylm_cli.analysis.mixers.mixer import InferencePass
from tinylm_cli.analysis.mixers.mlstm import Mlstm
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

D, H, K, V, Q = 4096, 8, 256, 512, 64
KEYS, VALUES, SUMS = H * K, H * V, H * (V + 1)
LAYERS = 32
WEIGHTS = D * (2 * KEYS + 3 * VALUES + 2 * H)


def make(*overrides: str) -> ModelConfig:
    sizes = (f"d_model={D}", f"n_layers={LAYERS}", "max_len=8192", "mlstm.gate_softcap=15")
    return load_config("tiny", [*sizes, "position.kind=none", "block.mixer=mlstm", *overrides]).config


def test_params() -> None:
    """The weights, the biases of the gates, and the norm."""
    assert component_params(tensor_table(make()), "mlstm") == LAYERS * (WEIGHTS + 2 * H + VALUES)


def test_forward_flops() -> None:
    """A sequence of two and a half chunks; the last chunk is not padded. The normalizer is one more value."""
    length = 2 * Q + Q // 2
    counts: tuple[tuple[AttentionCount, int], ...] = (
        ("causal", 2 * (Q * (Q + 1) // 2) + (Q // 2) * (Q // 2 + 1) // 2),
        ("full", 2 * Q * Q + (Q // 2) ** 2),
    )
    for attention, pairs in counts:
        recurrence = 2 * (pairs * (KEYS + SUMS) + 2 * length * K * SUMS)
        report = analyze_flops(make(), TrainingSetup(1, length, recompute="selective"), attention=attention)
        found = {part.name: part.forward_flops for part in report.components}
        assert found["mlstm"] == LAYERS * 2 * length * WEIGHTS
        assert found["linear_attention"] == report.recompute_flops == LAYERS * recurrence


def test_decode_flops() -> None:
    """Two products with each memory, however many tokens came before."""
    config = make("block.feed_forward=false", "vocab_size=100")
    for context_len in (1, 8192):
        found = decode_flops(config, context_len=context_len)
        assert found == LAYERS * (2 * WEIGHTS + 2 * 2 * K * SUMS) + 2 * 100 * D


@pytest.mark.parametrize(("dtype", "element_bytes"), [("bfloat16", 4), ("float32", 4), ("float64", 8), ("int8", 4)])
def test_state(dtype: str, element_bytes: int) -> None:
    """The memories and maxima are in float32 or wider."""
    expected = LAYERS * (K * SUMS + H) * element_bytes
    assert kv_cache_bytes(make(), batch_size=2, seq_len=8000, dtype=dtype) == 2 * expected
    assert cache_shape(make(), dtype).state_bytes == expected


def test_fused_kernels() -> None:
    """They save queries, keys, values, gates, denominators and maxima; the others tanh, the norm and the gate."""
    setup, tokens = TrainingSetup(2, 1024, dtype="bfloat16"), 2 * 1024
    found = activation_bytes(make(), setup)
    (layer,) = found.layers
    parts = {part.name: part.saved_bytes for part in layer.parts}
    narrow, wide = 2 * KEYS + VALUES + (1 + 3 + 1) * VALUES, (2 + 2 + 2 + 2) * H
    assert parts["mlstm"] == tokens * (2 * narrow + 4 * wide)
    composed = activation_bytes(make(), setup._replace(attention_kernel="math"))
    assert composed.saved_bytes > found.saved_bytes
    uncapped = activation_bytes(make("mlstm.gate_softcap=null"), setup)
    assert found.saved_bytes - uncapped.saved_bytes == LAYERS * tokens * 2 * H * 4


def test_tensor_parallel() -> None:
    table = stage_table(make(), Layout(tensor=4), 0)
    shapes = {tensor.name: tensor.shape for section in table for tensor in section.tensors}
    for name, rows in (("q", KEYS), ("k", KEYS), ("v", VALUES), ("i", H), ("f", H), ("gate", VALUES)):
        assert shapes[f"mlstm.{name}_proj.weight"] == (rows // 4, D)
    assert shapes["mlstm.i_proj.bias"] == shapes["mlstm.f_proj.bias"] == (H // 4,)
    assert shapes["mlstm.o_norm.weight"] == (VALUES // 4,)
    assert shapes["mlstm.o_proj.weight"] == (D, VALUES // 4)
    config = make("mlstm.n_heads=2")
    (mismatch,) = layout_mismatches(config, TrainingSetup(n_gpus=4), Layout(tensor=4))[:1]
    assert mismatch.config_field == "mlstm.n_heads"


def small() -> ModelConfig:
    """Return a config with D = 7, H = 2, K = 3, V = 4, memories of 2 × 3 × 5 elements, and chunks of 3 positions."""
    sizes = ("d_model=7", "n_heads=1", "mlstm.n_heads=2", "mlstm.d_key=3", "mlstm.d_value=4", "mlstm.chunk_len=3")
    return make(*sizes)


X = SavedTensor("x", "residual", 99, "sequence")


@pytest.mark.parametrize(("dtype", "element_bytes"), [("float32", 4), ("bfloat16", 2)])
@pytest.mark.parametrize(
    ("seq_len", "chunk", "pairs", "decayed", "memories"),
    [(7, 3, 3 * 3 + 3 * 3 + 1 * 1, 7 + 4, 3), (6, 3, 2 * 3 * 3, 6 + 3, 2), (2, 2, 2 * 2, 2, 1)],
)
def test_saved_tensors(
    seq_len: int, chunk: int, pairs: int, decayed: int, memories: int, dtype: str, element_bytes: int
) -> None:
    """Of 2 sequences; queries of the first chunk, which multiply a memory of zeros, are not saved decayed."""
    run = ForwardPass(small(), TrainingSetup(2, seq_len, dtype=dtype, attention_kernel="math"))
    first, *rest = Mlstm().saved(run, X)
    tokens = 2 * seq_len
    outside = {
        "tanh of the gates": tokens * 2 * 2 * 4,
        "queries, keys and values": tokens * (6 + 6 + 10) * 4,
        "forget gate": tokens * 2 * 4,
        "sums": tokens * 10 * 4,
        "denominators": tokens * 3 * 2 * 4,
        "output": tokens * 8 * element_bytes,
        "output norm statistics": tokens * 2 * 2 * 4,
        "gate": 3 * tokens * 8 * element_bytes,
        "o_proj input": tokens * 8 * element_bytes,
    }
    recurrence = {
        "chunk mask": chunk * chunk,
        "chunk scores": 3 * 2 * pairs * 2 * 4,
        "chunk decays": tokens * 2 * 4,
        "chunk queries and keys": 2 * decayed * 6 * 4,
        "chunk memories": 2 * memories * 30 * 4,
    }
    assert first == X
    assert {tensor.name: tensor.nbytes for tensor in rest if not tensor.is_core_attention} == outside
    assert {tensor.name: tensor.nbytes for tensor in rest if tensor.is_core_attention} == recurrence
    assert {tensor.sharding for tensor in rest if tensor.name != "chunk mask"} == {"tensor"}
    assert Mlstm().gradient_bytes(run) == (6 + 6 + 10 + 10) * tokens * 4


@pytest.mark.parametrize("element_bytes", [4, 2, 8])
@pytest.mark.parametrize(("seq_len", "chunk", "rest"), [(8, 3, 2), (2, 2, 0)])
def test_prefill(seq_len: int, chunk: int, rest: int, element_bytes: int) -> None:
    """Two sequences: x and norm(x); queries, keys, values, gates and a maximum; and the terms of each candidate."""
    wide, tokens = max(element_bytes, 4), 2 * seq_len
    stream, mask = tokens * 2 * 7 * element_bytes, chunk * chunk
    held = tokens * (6 + 6 + 10 + 2 * 2) + 2 * 2
    memory, points = 2 * 30, [stream + 3 * tokens * 6 * wide]
    for length, before in ((chunk, seq_len - rest - chunk), (rest, seq_len - rest)):
        done, vectors, square = 2 * before * (10 + 2), 5 * 2 * length * 2, 2 * length * length * 2
        keys, sums = 2 * length * 6, 2 * length * 10
        chunk_points = (
            memory + 3 * square,
            memory + 2 * square + 2 * sums + sums,  # sums are wider than keys
            memory + 2 * square + sums + keys + memory,
            2 * square + sums + 4 * memory,
        )
        points += [stream + mask + (held + done + vectors + point) * wide for point in chunk_points]
    points += [
        stream + mask + (held + 2 * tokens * (10 + 2) + memory) * wide,
        stream + (held + tokens * 10 + tokens * (3 * 2 + 8)) * wide,
        stream + 4 * tokens * 8 * element_bytes,
        stream + tokens * (2 * 8 + 7) * element_bytes,
    ]
    found = Mlstm().prefill_bytes(small(), InferencePass(2, seq_len, seq_len, element_bytes, "fused"))
    assert list(found) == points


@pytest.mark.parametrize("element_bytes", [4, 2, 8])
def test_decoding(element_bytes: int) -> None:
    wide, stream = max(element_bytes, 4), 2 * 7 * element_bytes
    cast = 6 * element_bytes if element_bytes == 2 else 0
    points = (2 * 6 * wide + cast, (2 * 6 + 3 * 10 + 4 * 2) * wide, 4 * 8 * element_bytes, (2 * 8 + 7) * element_bytes)
    found = Mlstm().decode_bytes(small(), InferencePass(1, 1, 9, element_bytes, "fused"))
    assert found == (0, tuple(stream + point for point in points))

"""The costs of gated DeltaNet, by hand, with the sizes of Qwen3-Next-80B-A3B: D = 2,048, 16 and 32 heads of 128."""

from __future__ import annotations

import pytest
import torch

from tests.live_memory import prefill_peak
from tinylm_cli.analysis.activations import activation_bytes
from tinylm_cli.analysis.flops import analyze_flops, decode_flops
from tinylm_cli.analysis.kv_cache import cache_shape, kv_cache_bytes
from tinylm_cli.analysis.mixers.gated_deltanet import GatedDeltaNet
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
    """A sequence of two and a half chunks: all pairs of a padded chunk count, else only causal ones."""
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


def small(*overrides: str) -> ModelConfig:
    """Return a config with D = 7, G = 2, H = 4, K = 3, V = 5, L = 4, and chunks of 3 positions.

    Queries and keys take 2·G·K = 12 of 32 channels, values H·V = 20; the state of a sequence H·K·V = 60 elements.
    """
    sizes = ("d_model=7", "n_heads=1", "gated_deltanet.n_key_heads=2", "gated_deltanet.n_value_heads=4")
    heads = ("gated_deltanet.d_key=3", "gated_deltanet.d_value=5", "gated_deltanet.chunk_len=3")
    return make(*sizes, *heads, *overrides)


X = SavedTensor("x", "residual", 99, "sequence")


@pytest.mark.parametrize(("dtype", "element_bytes"), [("float32", 4), ("bfloat16", 2)])
@pytest.mark.parametrize(("seq_len", "n_chunks"), [(8, 3), (3, 1)])
def test_saved_tensors(seq_len: int, n_chunks: int, dtype: str, element_bytes: int) -> None:
    """Of 2 sequences, without fused kernels."""
    run = ForwardPass(small(), TrainingSetup(2, seq_len, dtype=dtype, attention_kernel="math"))
    first, *rest = GatedDeltaNet().saved(run, X)
    tokens, rows = 2 * seq_len, 2 * n_chunks * 3
    outside = {
        "convolution input": 2 * (3 + seq_len) * 32 * element_bytes,  # 3 positions before the first
        "convolution output": tokens * 32 * element_bytes,
        "queries, keys and values": tokens * 32 * 4,
        "inverse lengths": tokens * 2 * 2 * 4,
        "write strengths": tokens * 4 * 4,
        "step sizes": 2 * tokens * 4 * 4,
        "decay rates": 2 * 4 * 4,
        "output": tokens * 20 * 2 if dtype == "bfloat16" else rows * 20 * 4,
        "output norm statistics": tokens * 4 * 4,
        "gate": 3 * tokens * 20 * element_bytes,
        "o_proj input": tokens * 20 * element_bytes,
    }
    n_keys = 6 if n_chunks > 1 else 4  # the first state of zeros needs no gradient
    rule = {
        "chunk mask": 3 * 3,
        "chunk decays": rows * 4 * 3 * 4,
        "chunk vectors": 2 * rows * 4 * 4,
        "chunk keys and queries": n_keys * rows * 4 * 3 * 4,
        "chunk matrices": 5 * rows * 4 * 3 * 4,
        "chunk values": 3 * rows * 20 * 4,
        "chunk states": 2 * n_chunks * 60 * 4,
    }
    assert first == X
    assert {tensor.name: tensor.nbytes for tensor in rest if not tensor.is_core_attention} == outside
    assert {tensor.name: tensor.nbytes for tensor in rest if tensor.is_core_attention} == rule
    assert {tensor.name for tensor in rest if tensor.sharding != "tensor"} == {"chunk mask"}


def test_gradients() -> None:
    """Gradients of decayed keys and queries, of values, and of three matrices of pairs, all of padded chunks."""
    run = ForwardPass(small(), TrainingSetup(2, 8, dtype="bfloat16"))
    assert GatedDeltaNet().gradient_bytes(run) == (2 * 3 * 3) * 4 * (3 * 3 + 5 + 3 * 3) * 4


@pytest.mark.parametrize("element_bytes", [4, 2, 8])
def test_prefill(element_bytes: int) -> None:
    """Of 2 sequences of 8 tokens, in 3 chunks of 3."""
    wide, tokens, rows = max(element_bytes, 4), 2 * 8, 2 * 3 * 3
    stream = tokens * 2 * 7 * element_bytes  # x, norm(x)
    # queries, keys and values: as projected, concatenated, padded, convolved
    convolution = 2 * (8 * (1 + 1 + 1 + 1) + 3) * 32 * element_bytes
    mixed = tokens * (32 + 2 * 4 * 3)  # queries, keys and values; queries and keys of each value head
    square = 3 * 3  # the mask
    scoring = mixed + rows * 4 * (3 * 3 + 5 + 5 * 3 + 7)
    rule = mixed + rows * 4 * (6 * 3 + 4 * 3 + 3 * 5 + 7) + 2 * 3 * 20  # with the updates u of the last chunk
    state, outputs = 2 * 60, rows * 20
    points = (
        convolution,
        square + scoring * wide,
        square + (rule + 3 * state) * wide,
        square + (rule + state + outputs) * wide,
        (mixed + tokens * 3 * 4) * wide + tokens * (20 + 7) * element_bytes,  # write strengths, …; y, its projection
    )
    found = GatedDeltaNet().prefill_bytes(small(), InferencePass(2, 8, 8, element_bytes, "fused"))
    assert list(found) == [stream + each for each in points]


@pytest.mark.parametrize(("dtype", "element_bytes"), [(torch.float32, 4), (torch.bfloat16, 2)])
@pytest.mark.parametrize(("seq_len", "chunk_len", "d_head"), [(128, 16, 16), (64, 64, 2), (64, 64, 64), (256, 64, 4)])
def test_measured_prefill(seq_len: int, chunk_len: int, d_head: int, dtype: torch.dtype, element_bytes: int) -> None:
    """The peak is at the scores, at the state of the last chunk, or at the concatenated outputs."""
    config = small("n_layers=1", f"gated_deltanet.d_key={d_head}", f"gated_deltanet.chunk_len={chunk_len}")
    points = GatedDeltaNet().prefill_bytes(config, InferencePass(2, seq_len, seq_len, element_bytes, "fused"))
    assert max(points) == prefill_peak(config, 2, seq_len, dtype)


@pytest.mark.parametrize("element_bytes", [4, 2, 8])
@pytest.mark.parametrize(("key_heads", "shared"), [(2, 1), (4, 0)])
def test_decoding(key_heads: int, shared: int, element_bytes: int) -> None:
    wide, stream = max(element_bytes, 4), 2 * 7 * element_bytes  # x, norm(x)
    keys = key_heads * 3
    channels, repeated = 2 * keys + 20, 2 * 4 * 3  # a query and a key for each value head
    # queries, keys and values, as projected and concatenated; inputs, products, their sum
    window = (1 + 1 + 4 + 4 + 1) * channels * element_bytes
    lengths = (channels + 3 * keys + shared * repeated) * wide  # queries and keys of length 1, queries scaled
    held = (channels + repeated + 3 * 4) * wide  # write strengths, step sizes, decays
    cast = 1 if element_bytes == 2 else 0
    # y, normalized, weighted, and cast to float32; inverse lengths; y in 16 bits
    normed = ((3 + cast) * 20 + 4) * wide + cast * 20 * element_bytes
    output = (20 + 7) * element_bytes  # y, its projection
    found = GatedDeltaNet().decode_bytes(
        small(f"gated_deltanet.n_key_heads={key_heads}"), InferencePass(1, 1, 9, element_bytes, "fused")
    )
    assert found == (0, tuple(stream + each for each in (window, lengths, held + normed, held + output)))

"""The costs of Kimi delta attention, by hand, with the sizes of Kimi-Linear-48B-A3B: D = 2,304, 32 heads of 128."""

from __future__ import annotations

import pytest
import torch

from tests.live_memory import prefill_peak
from tinylm_cli.analysis.activations import activation_bytes
from tinylm_cli.analysis.flops import analyze_flops, decode_flops
from tinylm_cli.analysis.kv_cache import cache_shape, kv_cache_bytes
from tinylm_cli.analysis.mixers.kimi_delta_attention import KimiDeltaAttention
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

D, H, K, R, L, Q = 2304, 32, 128, 128, 4, 64
INNER = H * K
LAYERS = 20
WEIGHTS = D * (3 * INNER + H + 2 * R) + 2 * R * INNER + 3 * INNER * L + INNER * D


def make(*overrides: str) -> ModelConfig:
    sizes = (
        f"d_model={D}",
        f"n_layers={LAYERS}",
        "max_len=65536",
        f"kimi_delta_attention.gate_rank={R}",
        f"kimi_delta_attention.n_heads={H}",
    )
    return load_config("tiny", [*sizes, "position.kind=none", "block.mixer=kimi_delta_attention", *overrides]).config


def test_params() -> None:
    vectors = H + INNER + K  # A_log, dt_bias, o_norm
    assert component_params(tensor_table(make()), "kimi_delta_attention") == LAYERS * (WEIGHTS + vectors)
    full = component_params(tensor_table(make("kimi_delta_attention.gate_rank=null")), "kimi_delta_attention")
    assert full == LAYERS * (WEIGHTS - 2 * R * (D + INNER) + 2 * D * INNER + vectors)


def test_forward_flops() -> None:
    """A sequence of two and a half chunks: all pairs of a padded chunk count, else only causal ones."""
    length = 2 * Q + Q // 2
    half = Q // 2
    counts: tuple[tuple[AttentionCount, int, int, int], ...] = (
        ("causal", Q * (Q - 1) + half * (half - 1) // 2, Q * (Q + 1) + half * (half + 1) // 2, length),
        ("full", 3 * Q * (Q - 1) // 2, 3 * Q * Q, 3 * Q),
    )
    for attention, below, pairs, tokens in counts:
        rule = 2 * H * (2 * below * K + 2 * pairs * K + 3 * tokens * K * K)
        report = analyze_flops(make(), TrainingSetup(1, length, recompute="selective"), attention=attention)
        found = {part.name: part.forward_flops for part in report.components}
        assert found["kimi_delta_attention"] == LAYERS * 2 * length * WEIGHTS
        assert found["delta_rule"] == report.recompute_flops == LAYERS * rule


def test_decode_flops() -> None:
    """Three products with each state, however many tokens came before."""
    config = make("block.feed_forward=false", "vocab_size=100")
    for context_len in (1, 65536):
        found = decode_flops(config, context_len=context_len)
        assert found == LAYERS * (2 * WEIGHTS + 3 * 2 * H * K * K) + 2 * 100 * D


@pytest.mark.parametrize(
    ("dtype", "inputs", "states"), [("bfloat16", 2, 4), ("float32", 4, 4), ("float64", 8, 8), ("int8", 2, 4)]
)
def test_state(dtype: str, inputs: int, states: int) -> None:
    """The states are in float32 or wider, the inputs of the convolution in the dtype of the cache, but in 16 bits."""
    expected = LAYERS * ((L - 1) * 3 * INNER * inputs + H * K * K * states)
    assert kv_cache_bytes(make(), batch_size=2, seq_len=9000, dtype=dtype) == 2 * expected
    assert cache_shape(make(), dtype).state_bytes == expected


def test_fused_kernels() -> None:
    """They save the inputs of the convolution, of the delta rule and of the norm, and two matrices of each chunk."""
    setup = TrainingSetup(2, 1024, dtype="bfloat16")
    (layer,) = activation_bytes(make(), setup).layers
    parts = {part.name: part.saved_bytes for part in layer.parts}
    # queries, keys and values twice, decay inputs, the output, gate, o_proj input; matrices; low-rank projections
    in_half = (2 * 3 + 4) * INNER + 2 * H * Q + 2 * R
    in_float32 = 2 * H + H + H  # inverse lengths, write strengths, norm statistics
    assert parts["kimi_delta_attention"] == 2 * 1024 * (2 * in_half + 4 * in_float32)
    composed = activation_bytes(make(), setup._replace(attention_kernel="math"))
    assert composed.saved_bytes > 2 * activation_bytes(make(), setup).saved_bytes


def test_tensor_parallel() -> None:
    """Whole heads; the first of two matrices of a low-rank projection is on every GPU."""
    table = stage_table(make(), Layout(tensor=4), 0)
    shapes = {tensor.name: tensor.shape for section in table for tensor in section.tensors}
    for name in ("q_proj", "k_proj", "v_proj"):
        assert shapes[f"kimi_delta_attention.{name}.weight"] == (INNER // 4, D)
    for name in ("decay", "gate"):
        assert shapes[f"kimi_delta_attention.{name}_a_proj.weight"] == (R, D)
        assert shapes[f"kimi_delta_attention.{name}_b_proj.weight"] == (INNER // 4, R)
    assert shapes["kimi_delta_attention.conv.weight"] == (3 * INNER // 4, 1, L)
    assert shapes["kimi_delta_attention.A_log"] == shapes["kimi_delta_attention.b_proj.weight"][:1] == (H // 4,)
    assert shapes["kimi_delta_attention.dt_bias"] == (INNER // 4,)
    assert shapes["kimi_delta_attention.o_norm.weight"] == (K,)
    assert shapes["kimi_delta_attention.o_proj.weight"] == (D, INNER // 4)
    config = make("kimi_delta_attention.n_heads=2")
    mismatch = layout_mismatches(config, TrainingSetup(n_gpus=4), Layout(tensor=4))[0]
    assert mismatch.config_field == "kimi_delta_attention.n_heads"


def small(*overrides: str) -> ModelConfig:
    """Return a config with D = 7, H = 2, K = 3, H·K = 6, R = 5, L = 4, and chunks of 4 positions."""
    sizes = ("d_model=7", "n_heads=1", "kimi_delta_attention.n_heads=2", "kimi_delta_attention.d_head=3")
    settings = ("kimi_delta_attention.gate_rank=5", "kimi_delta_attention.chunk_len=3")
    return make(*sizes, *settings, *overrides)


X = SavedTensor("x", "residual", 99, "sequence")


@pytest.mark.parametrize(("dtype", "element_bytes"), [("float32", 4), ("bfloat16", 2)])
@pytest.mark.parametrize(("seq_len", "n_chunks"), [(9, 3), (4, 1)])
@pytest.mark.parametrize("bound", ["null", "5"])
def test_saved_tensors(seq_len: int, n_chunks: int, dtype: str, element_bytes: int, bound: str) -> None:
    """Of 2 sequences, without fused kernels."""
    config = small(f"kimi_delta_attention.max_decay_rate={bound}")
    run = ForwardPass(config, TrainingSetup(2, seq_len, dtype=dtype, attention_kernel="math"))
    first, *rest = KimiDeltaAttention().saved(run, X)
    tokens, rows = 2 * seq_len, 2 * n_chunks * 4
    outside = {
        "low-rank projections": 2 * tokens * 5 * element_bytes,
        "convolution input": 2 * (3 + seq_len) * 18 * element_bytes,  # 3 positions before the first
        "convolution output": tokens * 18 * element_bytes,
        "queries, keys and values": tokens * 18 * 4,
        "inverse lengths": tokens * 2 * 2 * 4,
        "write strengths": tokens * 2 * 4,
        "decays": 2 * tokens * 6 * 4,
        "decay rates": (2 if bound == "null" else 1) * 2 * 4,
        "output": tokens * 6 * 2 if dtype == "bfloat16" else rows * 6 * 4,
        "output norm statistics": tokens * 2 * 4,
        "gate": 2 * tokens * 6 * element_bytes,
        "o_proj input": tokens * 6 * element_bytes,
    }
    rule = {
        "chunk write strengths": rows * 2 * 4,
        "chunk decays": 2 * rows * 6 * 4,
        "chunk keys and queries": (6 if n_chunks > 1 else 4) * rows * 6 * 4,  # the first state needs no gradient
        "block keys and queries": 2 * 5 * (rows // 2) * 6 * 4,  # blocks of 1 and of 2 positions
        "chunk matrices": 3 * rows * 2 * 4 * 4,
        "chunk values": 3 * rows * 6 * 4,
        "chunk states": 2 * n_chunks * 2 * 3 * 3 * 4,
    }
    assert first == X
    assert {tensor.name: tensor.nbytes for tensor in rest if not tensor.is_core_attention} == outside
    assert {tensor.name: tensor.nbytes for tensor in rest if tensor.is_core_attention} == rule
    assert {tensor.name for tensor in rest if tensor.sharding != "tensor"} == {"low-rank projections"}


@pytest.mark.parametrize(("seq_len", "n_matrices"), [(1, 2), (2, 3), (3, 3)])
def test_systems_of_short_sequences(seq_len: int, n_matrices: int) -> None:
    """A chunk of one position has no system to solve."""
    run = ForwardPass(small(), TrainingSetup(2, seq_len, dtype="float32", attention_kernel="math"))
    found = {tensor.name: tensor.nbytes for tensor in KimiDeltaAttention().saved(run, X)}
    size = 4 if seq_len == 3 else seq_len
    assert found["chunk matrices"] == n_matrices * 2 * size * 2 * size * 4
    assert found["chunk values"] == n_matrices * 2 * size * 6 * 4


def test_gradients() -> None:
    """Gradients of decayed keys and queries, of decays and values, and of three matrices of pairs."""
    run = ForwardPass(small(), TrainingSetup(2, 9, dtype="bfloat16"))
    assert KimiDeltaAttention().gradient_bytes(run) == (2 * 3 * 4) * 2 * (5 * 3 + 3 * 4) * 4


@pytest.mark.parametrize("element_bytes", [4, 2, 8])
@pytest.mark.parametrize("rank", [5, 90])
def test_prefill(rank: int, element_bytes: int) -> None:
    """Of 2 sequences of 9 tokens, in 3 chunks of 4; a wide low-rank projection outweighs the inputs of the decays."""
    wide, tokens, rows = max(element_bytes, 4), 2 * 9, 2 * 3 * 4
    stream = tokens * 2 * 7 * element_bytes  # x, norm(x)
    # of queries, keys and values: the projected ones, concatenated, padded, convolved; or in float32
    concatenated = (2 * 3 * 18 + tokens * 3 * 18) * element_bytes
    convolution = max(concatenated, tokens * 2 * 18 * element_bytes + tokens * 18 * wide)
    written = tokens * (18 + 2 * 6 + 2)  # queries, keys and values; queries and keys of length 1; write strengths
    # the projection and its output; or inputs and two intermediates, and the biases
    decays = max(tokens * (rank + 6) * element_bytes, (tokens * 3 * 6 + 6) * wide)
    vectors = written + tokens * 6  # the decays
    chunk = 6 * 3 + 1  # queries, keys, values, decays, summed decays, written keys; write strengths
    solved = vectors + rows * 2 * (chunk + 3 * 4)  # three matrices
    complete = solved + rows * 2 * (2 + 4 + 1) * 3  # decays from the start, to the end; products, values; the outputs
    complete += 2 * 4 * 6  # the updates u of the last chunk
    state = 2 * 2 * 3 * 3
    points = (
        convolution,
        written * wide + decays,
        (solved + 4 * 4) * wide,  # and the identity
        (complete + 3 * state) * wide,
        (complete + state + rows * 6) * wide,
        tokens * (3 * 6 + rank) * element_bytes,  # y, normalized; the low-rank projection, its projection
        tokens * (6 + 7) * element_bytes,  # y, its projection
    )
    config = small(f"kimi_delta_attention.gate_rank={rank}")
    found = KimiDeltaAttention().prefill_bytes(config, InferencePass(2, 9, 9, element_bytes, "fused"))
    assert list(found) == [stream + each for each in points]


@pytest.mark.parametrize(("dtype", "element_bytes"), [(torch.float32, 4), (torch.bfloat16, 2)])
@pytest.mark.parametrize(
    ("seq_len", "chunk_len", "d_head"), [(128, 16, 16), (128, 64, 64), (256, 64, 4), (256, 256, 2)]
)
def test_measured_prefill(seq_len: int, chunk_len: int, d_head: int, dtype: torch.dtype, element_bytes: int) -> None:
    """The peak is at the solve, at the state of the last chunk, or at the concatenated outputs."""
    config = small("n_layers=1", f"kimi_delta_attention.d_head={d_head}", f"kimi_delta_attention.chunk_len={chunk_len}")
    points = KimiDeltaAttention().prefill_bytes(config, InferencePass(2, seq_len, seq_len, element_bytes, "fused"))
    assert max(points) == prefill_peak(config, 2, seq_len, dtype)


@pytest.mark.parametrize("element_bytes", [4, 2, 8])
def test_decoding(element_bytes: int) -> None:
    wide, stream = max(element_bytes, 4), 2 * 7 * element_bytes  # x, norm(x)
    # queries, keys and values, as concatenated and convolved; inputs, products
    window = (1 + 1 + 4 + 4) * 18 * element_bytes
    held = (18 + 2 * 6 + 2) * wide  # queries and keys of length 1; write strengths
    cast = 6 * element_bytes if element_bytes == 2 else 0
    points = (
        window,
        held + 3 * 6 * wide + cast,  # inputs of the decays, biases, an intermediate; the inputs before the upcast
        held + (5 + 6) * element_bytes,  # the low-rank projection, its projection
        (3 * 6 + 5) * element_bytes,  # y, normalized, the gate and its low-rank projection
        (6 + 7) * element_bytes,  # y, its projection
    )
    found = KimiDeltaAttention().decode_bytes(small(), InferencePass(1, 1, 9, element_bytes, "fused"))
    assert found == (0, tuple(stream + each for each in points))

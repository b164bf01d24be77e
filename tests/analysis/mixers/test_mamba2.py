"""The costs of Mamba-2, by hand, with the sizes of mamba2-2.7b: D = 2,560, 80 heads of 64, N = 128, one group."""

from __future__ import annotations

import pytest

from tinylm_cli.analysis.activations import activation_bytes
from tinylm_cli.analysis.flops import analyze_flops, decode_flops, matmul_groups
from tinylm_cli.analysis.kv_cache import cache_shape, kv_cache_bytes
from tinylm_cli.analysis.mixers.mamba2 import Mamba2
from tinylm_cli.analysis.mixers.mixer import InferencePass
from tinylm_cli.analysis.parallel.layouts import layout_mismatches
from tinylm_cli.analysis.parallel.sharding import stage_table
from tinylm_cli.analysis.params import component_params, total_params
from tinylm_cli.analysis.roofline import decode_step
from tinylm_cli.analysis.saved_tensors.saved_tensor import ForwardPass, SavedTensor
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
    """A sequence of two and a half chunks: all pairs of a padded chunk count, else only causal ones."""
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


def small(*overrides: str) -> ModelConfig:
    """Return a config with D = 7, H = 4, P = 3, N = 5, G = 2 and L = 4, and chunks of 3 positions.

    I = 12 inner dimensions, 2·G·N = 20 of B and C, together 32 channels.
    """
    sizes = ("d_model=7", "n_heads=1", "mamba2.n_heads=4", "mamba2.d_head=3", "mamba2.d_state=5", "mamba2.n_groups=2")
    return make(*sizes, "mamba2.chunk_len=3", *overrides)


X = SavedTensor("x", "residual", 99, "sequence")


@pytest.mark.parametrize(("dtype", "element_bytes"), [("float32", 4), ("bfloat16", 2)])
@pytest.mark.parametrize(("norm", "statistics"), [("none", 0), ("grouped", 2), ("full", 1)])
def test_saved_tensors(norm: str, statistics: int, dtype: str, element_bytes: int) -> None:
    """Of 2 sequences of 11 tokens, in 4 chunks of 3 positions each, without a fused kernel."""
    run = ForwardPass(small(f"mamba2.norm={norm}"), TrainingSetup(2, 11, dtype=dtype, attention_kernel="math"))
    first, *rest = Mamba2().saved(run, X)
    tokens, rows, is_cast = 2 * 11, 2 * 4 * 3, dtype == "bfloat16"
    outside = {
        "convolution input": 2 * (3 + 11) * 32 * element_bytes,  # 3 positions before the first
        "convolution output": tokens * 32 * element_bytes,
        "out_proj input": tokens * 12 * element_bytes,
    }
    elements = {
        "Δ before softplus": tokens * 4,
        "Δ": tokens * 4,
        "per head": (3 if is_cast else 2) * 4,  # exp(A_log), its negative; D, if it is cast
        "x, B and C": tokens * 32,
        "scan decay between positions": rows * 3 * 4,
        "scan B and C in chunks": rows * 20,
        "scan scores": rows * 3 * 2,
        "scan decayed scores": rows * 3 * 4,
        "scan x in chunks": rows * 12,
        "scan decay to the end": rows * 4,
        "scan x decayed to the end": rows * 12,
        "scan decay of chunks": 2 * 4 * 4,
        "scan states": 2 * (4 - 1) * 12 * 5,
        "scan states before chunks": 2 * 4 * 12 * 5,
        "scan outputs of states": rows * 12,
        "scan decay from the start": rows * 4,
        "gated input": tokens * 12,
        "activated gate": tokens * 12,
    }
    if is_cast:
        elements["z"] = tokens * 12
    else:
        outside["in_proj output"] = tokens * (12 + 32 + 4) * 4  # the gate is a view of it
    if norm != "none":
        elements |= {"norm input": tokens * 12, "norm statistics": tokens * statistics, "normalized": tokens * 12}
        elements |= {"norm weight": 12} if is_cast else {}
    scan = {name: 4 * number for name, number in elements.items()} | {"scan mask": 3 * 3}
    assert first == X
    assert {tensor.name: tensor.nbytes for tensor in rest if not tensor.is_core_attention} == outside
    assert {tensor.name: tensor.nbytes for tensor in rest if tensor.is_core_attention} == scan
    assert {tensor.name for tensor in rest if tensor.sharding != "tensor"} == {"scan mask"}


@pytest.mark.parametrize(("overrides", "is_clamped"), [("min_dt=0.1", True), ("max_dt=0.1", True), ("min_dt=0", False)])
def test_clamped_step_size(overrides: str, *, is_clamped: bool) -> None:
    run = ForwardPass(small(f"mamba2.{overrides}"), TrainingSetup(2, 8, attention_kernel="math"))
    found = {tensor.name: tensor.nbytes for tensor in Mamba2().saved(run, X)}
    assert found.get("Δ before clamp") == (2 * 8 * 4 * 4 if is_clamped else None)


def test_multipliers() -> None:
    """One factor for each output of the input projection."""
    run = ForwardPass(make("mamba2.multipliers=[2, 2, 2, 2, 2]"), TrainingSetup(1, 8, "bfloat16"))
    saved = Mamba2().saved(run, X)
    assert {each.name: each.nbytes for each in saved}["multipliers"] == (INNER + CHANNELS + H) * 2


def test_fused_norm_statistics() -> None:
    setup = TrainingSetup(2, 8, dtype="bfloat16")
    for norm, groups in (("none", 0), ("grouped", 2), ("full", 1)):
        found = list(Mamba2().saved(ForwardPass(small(f"mamba2.norm={norm}"), setup), X))
        outputs = 2 * 8 * (12 + 32 + 4 + 12) * 2  # of in_proj, of the scan
        assert sum(tensor.nbytes for tensor in found) == X.nbytes + outputs + 2 * 8 * groups * 4


def test_gradients() -> None:
    """Gradients of in_proj's output, y and the gated y; in chunks, of decays, decayed scores and scores."""
    run = ForwardPass(small(), TrainingSetup(2, 8, dtype="bfloat16", attention_kernel="math"))
    narrow = (12 + 32 + 4) + 2 * 12
    pairs = 3 * (4 + 4 + 2)  # with the positions of a chunk: of 4 heads twice, of 2 groups once
    assert Mamba2().gradient_bytes(run) == 2 * 8 * (narrow * 2 + pairs * 4 + (32 + 2 * 12) * 4)
    fused = run._replace(setup=run.setup._replace(attention_kernel="flash"))
    assert Mamba2().gradient_bytes(fused) == 2 * 8 * narrow * 2
    short = run._replace(setup=run.setup._replace(seq_len=1))
    assert Mamba2().gradient_bytes(short) == 2 * (narrow * 2 + pairs // 3 * 4 + (32 + 2 * 12) * 4)


@pytest.mark.parametrize("element_bytes", [4, 2, 8])
def test_prefill(element_bytes: int) -> None:
    """Two sequences of 8 tokens, in 3 chunks of 3: x and norm(x), in_proj's output, and the terms of each candidate."""
    wide, tokens, rows = max(element_bytes, 4), 2 * 8, 2 * 3 * 3
    held = tokens * (2 * 7 + 12 + 32 + 4) * element_bytes
    convolution = 2 * (8 * (1 + 1) + 3) * 32 * element_bytes  # its padded input and its output
    assert list(Mamba2().prefill_bytes(small(), InferencePass(2, 8, 8, element_bytes, "flash"))) == [
        held + convolution,
        held + tokens * (32 + 2 * 12) * element_bytes,  # x, B and C; y, its gated norm
    ]
    in_float32 = 1 if element_bytes == 2 else 0
    vectors = tokens * 32 * (element_bytes + in_float32 * wide)  # x, B and C, cast
    inner, states = rows * 12 * wide, 2 * 3 * 12 * 5 * wide
    in_chunks = rows * (2 * 12 + 20 + 4 * 4) * wide  # x twice; B and C; Δ, and three of its size
    # decays before and after exp, scores; the mask
    pairs = rows * 3 * (4 + 4 + 2) * wide + 3 * 3
    steps = tokens * 2 * 4 * wide  # Δ, its decay
    points = (
        rows * (12 + 20 + 20 + 4 * 4) * wide,  # x; B and C twice; Δ, and three of its size
        in_chunks + pairs + rows * 3 * 4 * wide + inner,  # decayed scores; y
        in_chunks + pairs + 2 * inner + 3 * states,  # y, x decayed; states added, each, stacked
        in_chunks + pairs + 5 * inner + 2 * states,  # y twice, x decayed, outputs of states twice
        steps + tokens * 3 * 12 * wide + in_float32 * 12 * wide,  # y, normalized, weighted; the weight
        steps + tokens * (12 * wide + (in_float32 * 12 + 7) * element_bytes),  # y, also cast; its projection
    )
    found = Mamba2().prefill_bytes(small(), InferencePass(2, 8, 8, element_bytes, "fused"))
    assert list(found) == [held + convolution, *(held + vectors + each for each in points)]


def test_prefill_of_one_short_chunk() -> None:
    """A chunk is at most as long as the sequence: one token has one pair."""
    first, second = (
        list(Mamba2().prefill_bytes(small(f"mamba2.chunk_len={size}"), InferencePass(2, 1, 1, 4, "fused")))
        for size in (1, 256)
    )
    assert first == second


@pytest.mark.parametrize("element_bytes", [4, 2, 8])
def test_decoding(element_bytes: int) -> None:
    """x and norm(x), in_proj's output, and the terms of each peak candidate."""
    wide = max(element_bytes, 4)
    held = (2 * 7 + 12 + 32 + 4) * element_bytes
    window = (4 + 4 + 1) * 32 * element_bytes  # inputs, products, their sum
    in_float32 = 1 if element_bytes == 2 else 0
    vectors = 32 * (element_bytes + in_float32 * wide) + 2 * 4 * wide  # x, B and C, cast; Δ, its decay
    normed = (3 + in_float32) * 12 * wide  # y, normalized, weighted; the weight, cast
    output = 12 * wide + (in_float32 * 12 + 7) * element_bytes  # y, also cast; its projection
    found = Mamba2().decode_bytes(small(), InferencePass(1, 1, 9, element_bytes, "fused"))
    assert found == (0, (held + window, held + vectors + normed, held + vectors + output))

"""The costs of Mamba, by hand, with the sizes of mamba-130m: D = 768, I = 1,536, N = 16, R = 48."""

from __future__ import annotations

import pytest

from tinylm_cli.analysis.activations import activation_bytes
from tinylm_cli.analysis.flops import analyze_flops, decode_flops
from tinylm_cli.analysis.kv_cache import cache_shape
from tinylm_cli.analysis.mixers.mamba import Mamba
from tinylm_cli.analysis.mixers.mixer import InferencePass
from tinylm_cli.analysis.parallel.layouts import layout_mismatches
from tinylm_cli.analysis.parallel.sharding import stage_table
from tinylm_cli.analysis.params import component_params, total_params
from tinylm_cli.analysis.saved_tensors.saved_tensor import ForwardPass, SavedTensor
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
    (mismatch,) = layout_mismatches(make("mamba.n_heads=3"), TrainingSetup(n_gpus=2), Layout(tensor=2))
    assert mismatch.config_field == "mamba.n_heads"


def small(*overrides: str) -> ModelConfig:
    """Return a config with D = 7, I = 6, N = 5, R = 3 and L = 4, and chunks of 3 positions."""
    sizes = ("d_model=7", "n_heads=1", "mamba.d_inner=6", "mamba.d_state=5", "mamba.dt_rank=3", "mamba.chunk_len=3")
    return make(*sizes, *overrides)


X = SavedTensor("x", "residual", 99, "sequence")


@pytest.mark.parametrize(("dtype", "element_bytes"), [("float32", 4), ("bfloat16", 2)])
@pytest.mark.parametrize("norm", ["none", "unweighted", "weighted"])
def test_saved_tensors(norm: str, dtype: str, element_bytes: int) -> None:
    """Of 2 sequences of 5 tokens, without a fused kernel."""
    run = ForwardPass(small(f"mamba.norm={norm}"), TrainingSetup(2, 5, dtype=dtype, attention_kernel="math"))
    first, *rest = Mamba().saved(run, X)
    tokens, is_cast = 2 * 5, dtype == "bfloat16"
    outside = {
        "convolution input": 2 * (3 + 5) * 6 * element_bytes,  # 3 positions before the first
        "convolution output": tokens * 6 * element_bytes,
        "x_proj input": tokens * 6 * element_bytes,
        "x_proj output": tokens * (3 + 5 + 5) * element_bytes,
        "b in chunks": tokens * 5 * 4,
        "c in chunks": tokens * 5 * 4,
        "out_proj input": tokens * 6 * element_bytes,
    }
    if norm != "none":
        outside |= {f"{name}_norm statistics": tokens * 4 for name in ("dt", "b", "c")}
        outside["dt_norm output"] = tokens * 3 * element_bytes
    vectors = ["Δ before softplus", "Δ", "Δ·x", "gated input", "activated gate"]
    vectors += ["x in float32", "z"] if is_cast else []
    scan = dict.fromkeys(vectors, tokens * 6 * 4)
    scan |= dict.fromkeys(("scan decays", "scan states", "scan states, stacked"), tokens * 6 * 5 * 4)
    scan["A"] = 2 * 6 * 5 * 4  # exp(A_log), its negative
    if is_cast:
        scan["D in float32"] = 6 * 4
    else:
        outside["in_proj output"] = tokens * 2 * 6 * 4  # the gate is a view of it
    assert first == X
    assert {tensor.name: tensor.nbytes for tensor in rest if not tensor.is_core_attention} == outside
    assert {tensor.name: tensor.nbytes for tensor in rest if tensor.is_core_attention} == scan
    unsharded = {tensor.name for tensor in rest if tensor.sharding == "none"}
    assert unsharded == {name for name in outside if name.startswith(("x_proj output", "dt_", "b", "c_", "c in"))}


def test_gradients() -> None:
    """Gradients of in_proj's output, x·Δ and Δ; of states (single and stacked), their decays and inputs."""
    run = ForwardPass(small(), TrainingSetup(2, 5, dtype="bfloat16", attention_kernel="math"))
    vectors = 2 * 5 * (2 * 6 * 2 + 2 * 6 * 4)
    assert Mamba().gradient_bytes(run) == vectors + 4 * 2 * 3 * 6 * 5 * 4
    fused = run._replace(setup=run.setup._replace(attention_kernel="flash"))
    assert Mamba().gradient_bytes(fused) == vectors


@pytest.mark.parametrize("element_bytes", [4, 2, 8])
def test_prefill(element_bytes: int) -> None:
    """Two sequences of 5 tokens: x and norm(x), in_proj's output, and the terms of each peak candidate."""
    wide = max(element_bytes, 4)
    held = 2 * 5 * (2 * 7 + 2 * 6) * element_bytes
    convolution = 2 * (5 * (1 + 1) + 3) * 6 * element_bytes  # its padded input and its output
    assert list(Mamba().prefill_bytes(small(), InferencePass(2, 5, 5, element_bytes, "flash"))) == [
        held + convolution,
        held + 2 * 5 * 3 * 6 * element_bytes,  # x, Δ, y
    ]
    in_float32 = 1 if element_bytes == 2 else 0  # x
    # x; A; Δ and x in float32, B and C
    scanning = 2 * 5 * 6 * element_bytes + 6 * 5 * wide + 2 * 5 * ((1 + in_float32) * 6 + 5 + 5) * wide
    state, vector = 2 * 6 * 5 * wide, 2 * 5 * 6 * wide
    copies = 2 * 3 * (6 + 5 + 5) * wide  # Δ·x, B and C of a chunk
    points = (
        2 * vector + copies + state + 4 * 3 * state,  # Δ·x, y; the last state; of a chunk of 3: decays, …
        3 * vector + state,  # Δ·x, y, y of each chunk; the last state
        vector + 2 * 5 * (in_float32 * 6 + 7) * element_bytes,  # y, also cast; its projection
    )
    found = Mamba().prefill_bytes(small(), InferencePass(2, 5, 5, element_bytes, "fused"))
    assert list(found) == [held + convolution, *(held + scanning + each for each in points)]


@pytest.mark.parametrize("element_bytes", [4, 2, 8])
def test_decoding(element_bytes: int) -> None:
    """x and norm(x), in_proj's output, and the terms of each peak candidate."""
    wide = max(element_bytes, 4)
    held = (2 * 7 + 2 * 6) * element_bytes
    window = (4 + 4 + 1) * 6 * element_bytes  # inputs, products, their sum
    in_float32 = 1 if element_bytes == 2 else 0  # x
    scanning = 6 * element_bytes + (6 * 5 + (1 + in_float32) * 6 + 5 + 5) * wide  # x; A; Δ, x; B, C
    states = (2 * 6 * 5 + 6) * wide  # Δ·A, its exponential; Δ·x
    output = 6 * wide + (in_float32 * 6 + 7) * element_bytes  # y, also cast; its projection
    found = Mamba().decode_bytes(small(), InferencePass(1, 1, 9, element_bytes, "fused"))
    assert found == (0, (held + window, held + scanning + states, held + scanning + output))

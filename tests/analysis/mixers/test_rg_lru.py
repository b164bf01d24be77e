"""The costs of RG-LRU, by hand, with the sizes of recurrentgemma-2b: D = I = 2,560, 10 blocks, L = 4."""

from __future__ import annotations

import pytest

from tinylm_cli.analysis.flops import analyze_flops, decode_flops
from tinylm_cli.analysis.kv_cache import cache_shape
from tinylm_cli.analysis.mixers.mixer import InferencePass
from tinylm_cli.analysis.mixers.rg_lru import RgLru
from tinylm_cli.analysis.parallel.layouts import layout_mismatches
from tinylm_cli.analysis.parallel.sharding import stage_table
from tinylm_cli.analysis.params import component_params
from tinylm_cli.analysis.saved_tensors.saved_tensor import ForwardPass, SavedTensor
from tinylm_cli.analysis.setups import TrainingSetup
from tinylm_cli.analysis.tensor_table import tensor_table
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop.load import load_config
from tinylm_cli.reports.plan import Layout

D, H, L, LAYERS = 2560, 10, 4, 3
WEIGHTS = 3 * D * D + 2 * H * (D // H) ** 2 + D * L


def make(*overrides: str) -> ModelConfig:
    sizes = (f"d_model={D}", f"n_layers={LAYERS}", "vocab_size=1000", "max_len=4096", "rg_lru.n_blocks=10")
    mixer = ("position.kind=none", "block.mixer=rg_lru", "block.feed_forward=false")
    return load_config("tiny", [*sizes, *mixer, *overrides]).config


def test_params() -> None:
    biases = 3 * D + D + 2 * D  # of the projections, the convolution, the gates
    assert component_params(tensor_table(make()), "rg_lru") == LAYERS * (WEIGHTS + biases + D)
    unbiased = component_params(tensor_table(make("rg_lru.bias=false")), "rg_lru")
    assert unbiased == LAYERS * (WEIGHTS + 2 * D + D)


def test_flops() -> None:
    found = {part.name: part.forward_flops for part in analyze_flops(make(), TrainingSetup(1, 300)).components}
    assert found["rg_lru"] == LAYERS * 2 * 300 * WEIGHTS
    assert decode_flops(make(), context_len=9) == LAYERS * 2 * WEIGHTS + 2 * 1000 * D


def test_state() -> None:
    assert cache_shape(make(), "bfloat16").state_bytes == LAYERS * ((L - 1) * D * 2 + D * 4)


def test_tensor_parallel() -> None:
    """Whole blocks of the gates."""
    table = stage_table(make(), Layout(tensor=2), 0)
    shapes = {tensor.name: tensor.shape for section in table for tensor in section.tensors}
    assert shapes["rg_lru.gate_proj.weight"] == shapes["rg_lru.in_proj.weight"] == (D // 2, D)
    assert shapes["rg_lru.input_gate.weight"] == (H // 2, D // H, D // H)
    assert shapes["rg_lru.decay_gate.bias"] == (H // 2, D // H)
    assert shapes["rg_lru.decay"] == (D // 2,)
    assert shapes["rg_lru.out_proj.weight"] == (D, D // 2)
    (mismatch,) = layout_mismatches(make(), TrainingSetup(n_gpus=4), Layout(tensor=4))
    assert mismatch.config_field == "rg_lru.n_blocks"


def small(*overrides: str) -> ModelConfig:
    """Return a config with D = 7, I = 6 and L = 5."""
    sizes = ("d_model=7", "n_heads=1", "rg_lru.d_inner=6", "rg_lru.n_blocks=2", "rg_lru.kernel_size=5")
    return make(*sizes, *overrides)


X = SavedTensor("x", "residual", 99, "sequence")


@pytest.mark.parametrize(("dtype", "element_bytes"), [("float32", 4), ("bfloat16", 2)])
def test_saved_tensors(dtype: str, element_bytes: int) -> None:
    """Of 2 sequences of 3 tokens."""
    run = ForwardPass(small(), TrainingSetup(2, 3, dtype=dtype))
    first, *rest = RgLru().saved(run, X)
    vectors = 2 * 3 * 6
    outside = {
        "gate_proj output": vectors * element_bytes,
        "GELU output": vectors * element_bytes,
        "convolution input": 2 * (4 + 3) * 6 * element_bytes,  # 4 positions before the first
        "convolution output": vectors * element_bytes,
        "out_proj input": vectors * element_bytes,
    }
    names = ("input gate", "decay gate", "decay", "square", "square root", "scale", "gated x", "states")
    recurrence = dict.fromkeys(names, vectors * 4) | {"rate": 6 * 4, "stacked states": vectors * element_bytes}
    if dtype == "bfloat16":
        recurrence |= {"x in float32": vectors * 4, "decay parameter in float32": 6 * 4}
    assert first == X
    assert {tensor.name: tensor.nbytes for tensor in rest if not tensor.is_core_attention} == outside
    assert {tensor.name: tensor.nbytes for tensor in rest if tensor.is_core_attention} == recurrence
    assert {tensor.sharding for tensor in rest} == {"tensor"}
    # both branches; the gates, the decays and the added inputs
    assert RgLru().gradient_bytes(run) == vectors * (2 * element_bytes + 4 * 4)


@pytest.mark.parametrize("element_bytes", [4, 2, 8])
def test_prefill(element_bytes: int) -> None:
    """Two sequences of 3 tokens: x and norm(x), the branch of the gate, and the terms of each peak candidate."""
    wide = max(element_bytes, 4)
    held = 2 * 3 * (2 * 7 + 6) * element_bytes
    convolution = 2 * (3 * (1 + 1 + 1) + 4) * 6 * element_bytes  # the input, also padded, and the output
    rate = 6 * wide
    # the convolved x; the gate of the input, the decays, their scale, the added inputs, each state, all stacked
    recurrence = 2 * 3 * 6 * (element_bytes + 6 * wide) + rate
    # the convolved x, the gated states, the projection; the same in float32, the states once
    output = 2 * 3 * ((6 + 6 + 7) * element_bytes + 5 * 6 * wide) + rate
    found = RgLru().prefill_bytes(small(), InferencePass(2, 3, 3, element_bytes, "fused"))
    assert list(found) == [held + each for each in (convolution, recurrence, output)]


@pytest.mark.parametrize("element_bytes", [4, 2, 8])
def test_decoding(element_bytes: int) -> None:
    """x and norm(x), the branch of the gate, the convolution's input or output, and the terms of each candidate."""
    wide = max(element_bytes, 4)
    held = (2 * 7 + 2 * 6) * element_bytes
    window = (5 + 5 + 1) * 6 * element_bytes  # inputs, products, their sum
    recurrence = 7 * 6 * wide  # the gate of the input, the rate, the decay, its scale, the added input, the state twice
    output = 6 * 6 * wide + (6 + 7) * element_bytes  # the state once; it gated, and projected
    found = RgLru().decode_bytes(small(), InferencePass(1, 1, 9, element_bytes, "fused"))
    assert found == (0, (held + window, held + recurrence, held + output))

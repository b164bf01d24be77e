"""The costs of RWKV's time mixing, by hand, with sizes as of RWKV-4 of 3 billion parameters: D = I = 2,560."""

from __future__ import annotations

import pytest

from tests.training_peak import measured_peak, step_setup
from tinylm_cli.analysis.flops import analyze_flops, decode_flops
from tinylm_cli.analysis.kv_cache import cache_shape
from tinylm_cli.analysis.mixers.mixer import InferencePass
from tinylm_cli.analysis.mixers.rwkv import Rwkv
from tinylm_cli.analysis.parallel.layouts import layout_mismatches
from tinylm_cli.analysis.parallel.sharding import stage_table
from tinylm_cli.analysis.params import component_params
from tinylm_cli.analysis.saved_tensors.saved_tensor import ForwardPass, SavedTensor
from tinylm_cli.analysis.setups import TrainingSetup
from tinylm_cli.analysis.tensor_table import tensor_table
from tinylm_cli.analysis.training_memory import training_memory
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop.load import load_config
from tinylm_cli.reports.plan import Layout

D, LAYERS = 2560, 3
WEIGHTS = 4 * D * D


def make(*overrides: str) -> ModelConfig:
    sizes = (f"d_model={D}", f"n_layers={LAYERS}", "vocab_size=1000", "max_len=4096", "dropout=0")
    mixer = ("position.kind=none", "block.mixer=rwkv", "block.feed_forward=false")
    return load_config("tiny", [*sizes, *mixer, *overrides]).config


def test_params() -> None:
    assert component_params(tensor_table(make()), "rwkv") == LAYERS * (WEIGHTS + 2 * D + 3 * D)
    wide = component_params(tensor_table(make("rwkv.d_inner=3000")), "rwkv")
    assert wide == LAYERS * (4 * D * 3000 + 2 * 3000 + 3 * D)


def test_flops() -> None:
    found = {part.name: part.forward_flops for part in analyze_flops(make(), TrainingSetup(1, 300)).components}
    assert found["rwkv"] == LAYERS * 2 * 300 * WEIGHTS
    assert decode_flops(make(), context_len=9) == LAYERS * 2 * WEIGHTS + 2 * 1000 * D


def test_state() -> None:
    assert cache_shape(make(), "bfloat16").state_bytes == LAYERS * (D * 2 + 3 * D * 4)
    assert cache_shape(make("rwkv.d_inner=3000"), "float64").state_bytes == LAYERS * (D + 3 * 3000) * 8


def test_tensor_parallel() -> None:
    """Inner dimensions; every GPU mixes all dimensions of the input."""
    table = stage_table(make(), Layout(tensor=2), 0)
    shapes = {tensor.name: tensor.shape for section in table for tensor in section.tensors}
    for name in "rkv":
        assert shapes[f"rwkv.{name}_proj.weight"] == (D // 2, D)
        assert shapes[f"rwkv.mix_{name}"] == (D,)
    assert shapes["rwkv.decay"] == shapes["rwkv.bonus"] == (D // 2,)
    assert shapes["rwkv.o_proj.weight"] == (D, D // 2)
    (mismatch,) = layout_mismatches(make("rwkv.d_inner=2562"), TrainingSetup(n_gpus=4), Layout(tensor=4))
    assert mismatch.config_field == "rwkv.d_inner"


def small(*overrides: str) -> ModelConfig:
    """Return a config with D = 7 and I = 6."""
    return make("d_model=7", "n_heads=1", "rwkv.d_inner=6", *overrides)


X = SavedTensor("x", "residual", 99, "sequence")


@pytest.mark.parametrize(("dtype", "element_bytes"), [("float32", 4), ("bfloat16", 2)])
def test_saved_tensors(dtype: str, element_bytes: int) -> None:
    """Of 2 sequences of 3 tokens."""
    run = ForwardPass(small(), TrainingSetup(2, 3, dtype=dtype))
    first, *rest = Rwkv().saved(run, X)
    inputs = ("shifted input", "r_proj input", "k_proj input", "v_proj input")
    outside = dict.fromkeys(inputs, 2 * 3 * 7 * element_bytes)
    outside |= dict.fromkeys(("receptance", "average", "o_proj input"), 2 * 3 * 6 * element_bytes)
    names = ("decay", "weight", "numerators", "denominators", "earlier", "own", "numerator", "denominator")
    averages = dict.fromkeys(names, 2 * 3 * 6 * 4) | {"rate": 6 * 4}
    (averages if dtype == "bfloat16" else outside)["value"] = 2 * 3 * 6 * 4
    assert first == X
    assert {tensor.name: tensor.nbytes for tensor in rest if not tensor.is_core_attention} == outside
    assert {tensor.name: tensor.nbytes for tensor in rest if tensor.is_core_attention} == averages
    assert {tensor.name for tensor in rest if tensor.sharding == "none"} == set(inputs)
    assert {tensor.sharding for tensor in rest} == {"tensor", "none"}
    # receptances; values, own weights, both sums
    assert Rwkv().gradient_bytes(run) == 2 * 3 * 6 * (element_bytes + 4 * 4)
    narrow = ForwardPass(small("rwkv.d_inner=1"), TrainingSetup(2, 3, dtype=dtype))
    assert Rwkv().gradient_bytes(narrow) == 2 * 3 * (5 * 7 * element_bytes - 8 * 4)


@pytest.mark.parametrize("d_inner", [1, 16, 64, 128])
def test_peak_of_a_training_step(d_inner: int) -> None:
    config = make("d_model=64", "n_heads=2", "vocab_size=16", "n_layers=2", f"rwkv.d_inner={d_inner}")
    setup = step_setup(2, 256, "none")
    measured = measured_peak(config, setup)
    assert 0.999 * measured <= training_memory(config, setup).peak_bytes <= 1.04 * measured


@pytest.mark.parametrize("element_bytes", [4, 2, 8])
def test_prefill_and_decoding(element_bytes: int) -> None:
    """Two sequences of 3 tokens, and one token: x, norm(x), receptances, keys, values, and each candidate's terms."""
    wide, is_cast = max(element_bytes, 4), element_bytes == 2

    def points(tokens: int, sequences: int) -> list[int]:
        held = tokens * (2 * 7 + 3 * 6) * element_bytes
        mixing = tokens * 2 * 7 * element_bytes  # the shifted input, and a mix
        # exponents, decays, weights, weighted values, a sum at each position, all stacked; casts of keys and values
        averages = tokens * 6 * wide * (8 if is_cast else 6)
        constants = 6 * wide * (1 + is_cast + sequences)  # rate, bonus; a sum of each sequence
        return [held + mixing, held + averages + constants]

    assert list(Rwkv().prefill_bytes(small(), InferencePass(2, 3, 3, element_bytes, "fused"))) == points(6, 2)
    found = Rwkv().decode_bytes(small(), InferencePass(1, 1, 9, element_bytes, "fused"))
    assert found == (0, tuple(points(1, 1)))

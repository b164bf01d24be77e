"""The costs of a gated short convolution, by hand, with the sizes of LFM2-350M: D = 1,024, L = 3."""

from __future__ import annotations

import pytest

from tinylm_cli.analysis.flops import analyze_flops, decode_flops, matmul_groups
from tinylm_cli.analysis.inference_memory import inference_memory, largest_batch, longest_context
from tinylm_cli.analysis.kv_cache import cache_shape, kv_cache_bytes
from tinylm_cli.analysis.mixers.mixer import InferencePass
from tinylm_cli.analysis.mixers.short_conv import ShortConv
from tinylm_cli.analysis.parallel.layouts import layout_mismatches, layouts
from tinylm_cli.analysis.parallel.sharding import stage_table
from tinylm_cli.analysis.params import component_params
from tinylm_cli.analysis.saved_tensors.saved_tensor import ForwardPass, SavedTensor
from tinylm_cli.analysis.setups import ServingSetup, TrainingSetup
from tinylm_cli.analysis.tensor_table import tensor_table
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop.load import load_config
from tinylm_cli.reports.plan import Layout

D, L, N = 1024, 3, 4


def make(*overrides: str) -> ModelConfig:
    sizes = (f"d_model={D}", f"n_layers={N}", "position.kind=none", "block.mixer=short_conv", "max_len=4096")
    return load_config("tiny", [*sizes, *overrides]).config


def test_params() -> None:
    per_layer = 3 * D * D + D * L + D * D
    assert component_params(tensor_table(make()), "short_conv") == N * per_layer
    biases = 3 * D + D + D
    assert component_params(tensor_table(make("short_conv.bias=true")), "short_conv") == N * (per_layer + biases)


def test_flops() -> None:
    """Two for each weight and token, of the convolution as well; the gates are elementwise and not counted."""
    config = make()
    per_token = 2 * (3 * D * D + D * L + D * D)
    found = analyze_flops(config, TrainingSetup(2, 100))
    by_name = {part.name: part.forward_flops for part in found.components}
    assert by_name["short_conv"] == N * 2 * 100 * per_token
    assert "attention_scores" not in by_name
    assert decode_flops(config, context_len=1) == decode_flops(config, context_len=4096)
    recomputed = analyze_flops(config, TrainingSetup(1, 100, recompute="full")).recompute_flops
    layers = [group for group in matmul_groups(config, seq_len=100) if group.is_layer]
    assert recomputed == sum(group.flops for group in layers)
    assert analyze_flops(config, TrainingSetup(1, 100, recompute="selective")).recompute_flops == 0


@pytest.mark.parametrize(("dtype", "element_bytes"), [("bfloat16", 2), ("float32", 4), ("float8", 2), ("int8", 2)])
def test_state(dtype: str, element_bytes: int) -> None:
    """The last two inputs of each channel, however long the sequence; an 8-bit cache keeps them in 16 bits."""
    state = N * (L - 1) * D * element_bytes
    for seq_len in (1, 4096):
        assert kv_cache_bytes(make(), batch_size=3, seq_len=seq_len, dtype=dtype) == 3 * state
    shape = cache_shape(make(), dtype)
    assert [(each.kind, each.n_layers, each.state_bytes) for each in shape.layers] == [("state", N, state)]
    assert (shape.state_bytes, shape.token_bytes, shape.multi_head_ratio) == (state, 0, None)


def test_serving_limits() -> None:
    """Lengths share one state, so that the longest context is max_len as soon as one sequence fits."""
    config, setup = make(), ServingSetup()
    needed = inference_memory(config, setup._replace(seq_len=4096)).total_bytes
    assert longest_context(config, setup, available_bytes=needed) == 4096
    short, long = (largest_batch(config, setup._replace(seq_len=n), available_bytes=10**9) for n in (2048, 4096))
    assert short == long > 0


def test_no_mixer_keeps_nothing() -> None:
    config = make("block.mixer=none")
    assert kv_cache_bytes(config, batch_size=3, seq_len=100, dtype="bfloat16") == 0
    assert [each.kind for each in cache_shape(config, "bfloat16").layers] == ["none"]


def test_context_parallel_is_refused() -> None:
    (mismatch,) = layout_mismatches(make(), TrainingSetup(n_gpus=2), Layout(context=2))
    searched = list(layouts(make(), TrainingSetup(n_gpus=8), 8))
    assert {layout.context for layout in searched} == {1}
    assert {layout.tensor for layout in searched} == {1, 2, 4, 8}
    assert (mismatch.field, mismatch.config_field) == ("context", "block.mixer")


def test_tensor_parallel() -> None:
    table = stage_table(make("short_conv.bias=true"), Layout(tensor=4), 0)
    shapes = {tensor.name: tensor.shape for section in table for tensor in section.tensors}
    assert shapes["short_conv.in_proj.weight"] == (3 * D // 4, D)
    assert shapes["short_conv.conv.weight"] == (D // 4, 1, L)
    assert shapes["short_conv.conv.bias"] == (D // 4,)
    assert shapes["short_conv.out_proj.weight"] == (D, D // 4)
    assert shapes["short_conv.out_proj.bias"] == (D,)


def small(*overrides: str) -> ModelConfig:
    """Return a config with D = 7 and L = 4."""
    return make("d_model=7", "n_heads=1", "short_conv.kernel_size=4", *overrides)


X = SavedTensor("x", "residual", 99, "sequence")


def test_saved_tensors() -> None:
    """Of 2 sequences of 5 tokens, in bfloat16."""
    run = ForwardPass(small(), TrainingSetup(2, 5, dtype="bfloat16"))
    first, *rest = ShortConv().saved(run, X)
    assert first == X
    assert [(tensor.name, tensor.nbytes, tensor.sharding) for tensor in rest] == [
        ("in_proj output", 2 * 5 * 3 * 7 * 2, "tensor"),
        ("convolution input", 2 * (3 + 5) * 7 * 2, "tensor"),  # 3 positions before the first
        ("convolution output", 2 * 5 * 7 * 2, "tensor"),
        ("out_proj input", 2 * 5 * 7 * 2, "tensor"),
    ]
    # both gates and the values; input and output of the convolution
    assert ShortConv().gradient_bytes(run) == 2 * 5 * (3 + 2) * 7 * 2


def test_working_memory() -> None:
    """x and norm(x), both gates and the values, the input of the convolution, also padded, and its output."""
    prefill = ShortConv().prefill_bytes(small(), InferencePass(2, 5, 5, 4, "fused"))
    assert list(prefill) == [2 * (5 * (2 + 3 + 1 + 1 + 1) + 3) * 7 * 4]
    # in a step, the window of 4 inputs and their products in place of the padded input
    held, points = ShortConv().decode_bytes(small(), InferencePass(1, 1, 9, 2, "fused"))
    assert (held, points) == (0, ((2 + 3 + 1 + 4 + 4 + 1) * 7 * 2,))

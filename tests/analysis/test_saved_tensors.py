"""What autograd keeps of the real model, against the closed form: equal to the byte, for every architecture."""

from __future__ import annotations

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from benchmarks.scaled import architectures, scaled_down
from benchmarks.torch_memory import saved_bytes
from tests.random_configs import drawn, has_zero_experts, mtp_configs, small_configs
from tinylm_cli.analysis.activations import activation_bytes
from tinylm_cli.analysis.attention_kernels import attention_backend
from tinylm_cli.analysis.setups import TrainingSetup
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop.load import load_config
from tinylm_cli.model import TinyTransformerLM
from tinylm_cli.model.sdpa import FUSED_GQA_ON_CPU

SAVED_BY_TORCH_2_9 = pytest.mark.skipif(
    not FUSED_GQA_ON_CPU, reason="before torch 2.9, attention and norms save other tensors than the closed form counts"
)
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float64": torch.float64}


def both(config: ModelConfig, *, batch_size: int, seq_len: int, dtype: str, math: bool) -> tuple[int, int]:
    """Return the bytes predicted and measured."""
    predicted = activation_bytes(
        config,
        TrainingSetup(
            batch_size=batch_size,
            seq_len=seq_len,
            dtype=dtype,
            attention_kernel="math" if math else "sdpa",
            device="cpu",
        ),
    )
    model = TinyTransformerLM.from_config(config, dtype=DTYPES[dtype])
    return predicted.saved_bytes, saved_bytes(model, batch_size, seq_len, math=math)


@SAVED_BY_TORCH_2_9
@given(small_configs(), st.sampled_from([1, 2]), st.sampled_from(["float64", "bfloat16"]), st.booleans(), st.booleans())
@settings(max_examples=drawn(80))
def test_any_architecture(config: ModelConfig, batch_size: int, dtype: str, math: bool, drops: bool) -> None:
    """In types in which no activation takes another way for small sizes.

    Heads of one dimension are left out: torch may lay out their norms in either order, and copies accordingly.
    """
    assume(config.attention.qk_norm != "per_head" or config.d_head > 1)
    config = config.model_copy(update={"dropout": 0.1 if drops else 0.0})
    predicted, measured = both(config, batch_size=batch_size, seq_len=8, dtype=dtype, math=math)
    assert predicted == measured or (has_zero_experts(config) and predicted > measured)


@SAVED_BY_TORCH_2_9
@given(mtp_configs(), st.sampled_from([1, 2]), st.sampled_from(["float64", "bfloat16"]), st.booleans(), st.booleans())
@settings(max_examples=40)
def test_multi_token_prediction(config: ModelConfig, batch_size: int, dtype: str, math: bool, drops: bool) -> None:
    """Each module saves the tensors of a layer, of the head and of the loss, and what its projection reads."""
    assume(config.attention.qk_norm != "per_head" or config.d_head > 1)
    config = config.model_copy(update={"dropout": 0.1 if drops else 0.0})
    predicted, measured = both(config, batch_size=batch_size, seq_len=8, dtype=dtype, math=math)
    assert predicted == measured or (has_zero_experts(config) and predicted > measured)


@SAVED_BY_TORCH_2_9
@pytest.mark.parametrize("math", [False, True])
@pytest.mark.parametrize("batch_size", [1, 2])
@pytest.mark.parametrize(
    "fields",
    [
        "n_kv_heads=4",
        "n_kv_heads=4 qk_norm=per_head v_norm=true",
        "n_kv_heads=2 v_norm=true sinks=true",
        "n_kv_heads=4 sinks=true",
        "n_kv_heads=4 sinks=true qk_norm=per_head",
        "n_kv_heads=4 differential=true",
        "n_kv_heads=1 clip_qkv=1.0 qk_norm=full",
    ],
)
def test_shared_keys_and_values(fields: str, batch_size: int, math: bool) -> None:
    """Saved once for all layers that attend to them, wherever the kernel reads them in place."""
    kinds = "{own: {}, reuse: {d_ff: 64, attention: {kv_from: own}}}"
    layers = ("n_layers=4", f"layers.kinds={kinds}", "layers.pattern='own, 2 reuse, own'", "dropout=0")
    config = load_config("tiny", [*layers, *(f"attention.{each}" for each in fields.split())]).config
    for dtype in ("float64", "bfloat16"):
        predicted, measured = both(config, batch_size=batch_size, seq_len=8, dtype=dtype, math=math)
        assert predicted == measured


@SAVED_BY_TORCH_2_9
@pytest.mark.parametrize(("math", "dtype"), [(False, "bfloat16"), (True, "float32")])
@pytest.mark.parametrize("name", architectures())
def test_the_gallery_scaled_down(name: str, math: bool, dtype: str) -> None:
    predicted, measured = both(scaled_down(architectures()[name]), batch_size=2, seq_len=48, dtype=dtype, math=math)
    assert predicted == measured


@pytest.mark.parametrize("dropout", [0.0, 0.1])
@pytest.mark.parametrize("name", ["tiny", "small", "medium", "base"])
def test_the_presets(name: str, dropout: float) -> None:
    config = load_config(name, ["n_layers=2", f"dropout={dropout}"]).config
    predicted, measured = both(config, batch_size=2, seq_len=33, dtype="float32", math=False)
    assert predicted == measured


@pytest.mark.parametrize("batch_size", [1, 2])
def test_latent_fused_kernel(batch_size: int) -> None:
    config = load_config("tiny", ["dropout=0.0", "position.kind=rope"]).config
    latent = {"kind": "latent", "kv_rank": 24, "d_nope": 12, "d_rope": 4, "d_value": 16}
    config = ModelConfig.model_validate(config.model_dump(exclude_defaults=True) | {"attention": latent})
    assert attention_backend(config, "sdpa", device="cpu", banded=False) == "fused"
    predicted, measured = both(config, batch_size=batch_size, seq_len=40, dtype="float32", math=False)
    assert predicted == measured


def test_partial_rotation_and_single_token() -> None:
    changes = ["dropout=0.0", "feed_forward.activation=relu", "position.kind=rope", "position.rotary_fraction=0.5"]
    for gated in ("true", "false"):
        config = load_config("tiny", [*changes, f"feed_forward.gated={gated}"]).config
        for seq_len in (1, 17):
            predicted, measured = both(config, batch_size=3, seq_len=seq_len, dtype="float32", math=False)
            assert predicted == measured


@SAVED_BY_TORCH_2_9
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("gated", ["true", "false"])
def test_normalized_relu(gated: str, dtype: str) -> None:
    changes = ["norm.kind=rmsnorm", "feed_forward.activation=relu", "feed_forward.sub_norm=true"]
    config = load_config("tiny", ["dropout=0.0", *changes, f"feed_forward.gated={gated}"]).config
    predicted, measured = both(config, batch_size=3, seq_len=17, dtype=dtype, math=False)
    assert predicted == measured


@SAVED_BY_TORCH_2_9
def test_expert_load_changes_nothing() -> None:
    """Most tokens to one expert, or evenly: each choice of an expert costs the same."""
    config = scaled_down(load_config("qwen3-30b-a3b").config)
    predicted, measured = both(config, batch_size=2, seq_len=48, dtype="float32", math=False)
    model = TinyTransformerLM.from_config(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("router.weight"):
                parameter.zero_()  # ties go to the first experts
    assert predicted == measured == saved_bytes(model, 2, 48)

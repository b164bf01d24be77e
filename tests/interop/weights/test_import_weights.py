"""Imported weights are exact, or the folder is rejected before anything is written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.errors import WeightsError
from tinylm_cli.interop.export_config import export_config
from tinylm_cli.interop.load import import_config
from tinylm_cli.interop.weights.checkpoint import Checkpoint
from tinylm_cli.interop.weights.export_weights import export_model
from tinylm_cli.interop.weights.import_weights import import_weights
from tinylm_cli.model import TinyTransformerLM
from tinylm_cli.model.checkpoint import load_model, save_model

STORED = "model.layers.1.mlp.gate.e_score_correction_bias"
OURS = "blocks.1.feed_forward.router.score_correction"

SIGMOID = ModelConfig.model_validate(
    {
        "vocab_size": 11, "d_model": 8, "n_heads": 2, "n_layers": 2, "d_ff": 12, "max_len": 16, "dropout": 0.0,
        "tie_weights": False, "embedding": {"multiplier": 1.0}, "norm": {"kind": "rmsnorm", "eps": 1e-6},
        "position": {"kind": "rope", "pairing": "adjacent"},
        "attention": {"kind": "latent", "bias": False, "kv_rank": 6, "d_nope": 4, "d_rope": 2, "d_value": 4},
        "feed_forward": {
            "activation": "silu", "gated": True, "bias": False, "n_experts": 4, "top_k": 2, "d_expert": 6,
            "n_shared_experts": 1, "n_dense_layers": 1, "router": "sigmoid", "score_correction": True,
        },
    }
)  # fmt: skip
"""A model that DeepSeek V3 has the words for."""

GPT2 = ModelConfig.model_validate(
    {
        "vocab_size": 11, "d_model": 8, "n_heads": 2, "n_layers": 1, "d_ff": 12, "max_len": 16,
        "embedding": {"multiplier": 1.0}, "position": {"kind": "learned"},
        "feed_forward": {"activation": "gelu_tanh"},
    }
)  # fmt: skip
"""A model that GPT-2 has the words for; its head is tied."""


def exported(folder: Path, dtype: torch.dtype, correction: Tensor) -> dict[str, Tensor]:
    """Export a model with a correction, and return the tensors of the file."""
    model = TinyTransformerLM.from_config(SIGMOID, dtype=dtype)
    model.get_buffer(OURS).copy_(correction)
    export_model(model, export_config(SIGMOID), folder)
    return load_file(folder / "model.safetensors")


def converted(folder: Path) -> Path:
    found = import_config(str(folder))
    target = folder.with_name("ours")
    import_weights(found.loaded.config, found.family, folder, target, config_text="")
    return target


FINE = torch.tensor([0.1, 1 / 3, -2e-9, 7.0])
"""Values that half precision does not have."""


def test_float32_score_correction(tmp_path: Path) -> None:
    held = exported(tmp_path / "hub", torch.bfloat16, FINE)
    assert held[STORED].dtype == torch.float32
    assert {tensor.dtype for name, tensor in held.items() if name != STORED} == {torch.bfloat16}
    assert torch.equal(held[STORED], FINE)
    ours = load_model(SIGMOID, converted(tmp_path / "hub"))
    assert ours.dtype == torch.bfloat16
    assert torch.equal(ours.get_buffer(OURS), FINE)
    save_model(ours, tmp_path / "saved", config_text="")
    assert torch.equal(load_model(SIGMOID, tmp_path / "saved").get_buffer(OURS), FINE)
    export_model(ours, export_config(SIGMOID), tmp_path / "again")
    assert (tmp_path / "hub/model.safetensors").read_bytes() == (tmp_path / "again/model.safetensors").read_bytes()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_score_correction(tmp_path: Path, dtype: torch.dtype) -> None:
    held = exported(tmp_path / "hub", torch.bfloat16, FINE)
    held[STORED] = held[STORED].to(dtype)
    save_file(held, tmp_path / "hub/model.safetensors")
    ours = load_model(SIGMOID, converted(tmp_path / "hub"))
    assert torch.equal(ours.get_buffer(OURS), FINE.to(dtype).float())


def test_double_precision_score_correction(tmp_path: Path) -> None:
    held = exported(tmp_path / "hub", torch.float64, FINE)
    held[STORED] = held[STORED].double()
    save_file(held, tmp_path / "hub/model.safetensors")
    with pytest.raises(WeightsError, match=r"e_score_correction_bias is F64, .* stored in F32"):
        converted(tmp_path / "hub")
    assert not (tmp_path / "ours").exists()


XIELU = ModelConfig.model_validate(
    {
        "vocab_size": 11, "d_model": 8, "n_heads": 2, "n_layers": 2, "d_ff": 12, "max_len": 16, "dropout": 0.0,
        "tie_weights": False, "embedding": {"multiplier": 1.0}, "norm": {"kind": "rmsnorm"},
        "position": {"kind": "rope"}, "attention": {"bias": False, "qk_norm": "per_head"},
        "feed_forward": {"activation": "xielu", "bias": False},
    }
)  # fmt: skip
"""A model that Apertus has the words for."""

BETA = "model.layers.1.mlp.act_fn.beta"


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_constants_of_xielu(tmp_path: Path, dtype: torch.dtype) -> None:
    """Checkpoints store them, and the model has them in its code: another value is an error."""
    model = TinyTransformerLM.from_config(XIELU, dtype=dtype)
    export_model(model, export_config(XIELU), tmp_path / "hub")
    held = load_file(tmp_path / "hub/model.safetensors")
    constants = {name: tensor for name, tensor in held.items() if name.endswith((".beta", ".eps"))}
    assert len(constants) == 4
    assert {(tensor.shape, tensor.dtype) for tensor in constants.values()} == {(torch.Size([]), dtype)}
    ours = load_model(XIELU, converted(tmp_path / "hub"))
    assert all(map(torch.equal, ours.state_dict().values(), model.state_dict().values()))
    others = {name: tensor for name, tensor in held.items() if name not in constants}
    save_file(others, tmp_path / "hub/model.safetensors")
    Checkpoint(XIELU, "apertus", tmp_path / "hub")
    save_file(held | {BETA: torch.tensor(0.25, dtype=dtype)}, tmp_path / "hub/model.safetensors")
    with pytest.raises(WeightsError, match=rf"{BETA} is 0.25, but tinylm has the constant 0.5"):
        converted(tmp_path / "hub")
    save_file(held | {BETA: torch.tensor([0.5], dtype=dtype)}, tmp_path / "hub/model.safetensors")
    with pytest.raises(WeightsError, match=rf"{BETA} has shape \(1,\)"):
        converted(tmp_path / "hub")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda head: head.to(torch.float8_e4m3fn), "lm_head.weight is F8_E4M3 and transformer.wte.weight is F32"),
        (lambda head: head.bfloat16(), "lm_head.weight is BF16 and transformer.wte.weight is F32"),
        (lambda head: head.int(), "lm_head.weight is I32 and transformer.wte.weight is F32"),
        (lambda head: head + 1, "lm_head.weight differs from transformer.wte.weight"),
        (lambda head: head[:-1], "lm_head.weight differs from transformer.wte.weight"),
        (lambda head: head.clone(), ""),
    ],
)
def test_stored_tied_head(tmp_path: Path, change: Callable[[Tensor], Tensor], told: str) -> None:
    folder = tmp_path / "hub"
    export_model(TinyTransformerLM.from_config(GPT2), export_config(GPT2), folder)
    held = load_file(folder / "model.safetensors")
    held["lm_head.weight"] = change(held["transformer.wte.weight"]).clone()
    save_file(held, folder / "model.safetensors")
    if not told:
        assert load_model(GPT2, converted(folder)).config.tie_weights
        return
    with pytest.raises(WeightsError, match=told):
        converted(folder)
    assert not (tmp_path / "ours").exists()


def test_stored_masks(tmp_path: Path) -> None:
    model = TinyTransformerLM.from_config(GPT2)
    export_model(model, export_config(GPT2), tmp_path / "hub")
    held = load_file(tmp_path / "hub/model.safetensors")
    held |= {"transformer.h.0.attn.bias": torch.ones(1, 1, 16, 16), "transformer.h.0.attn.masked_bias": torch.ones(())}
    save_file(held, tmp_path / "hub/model.safetensors")
    ours = load_model(GPT2, converted(tmp_path / "hub"))
    assert all(map(torch.equal, ours.state_dict().values(), model.state_dict().values()))
    save_file(held | {"transformer.h.0.mask": torch.ones(())}, tmp_path / "hub/model.safetensors")
    with pytest.raises(WeightsError, match=r"transformer\.h\.0\.mask is not a tensor of this model"):
        converted(tmp_path / "hub")


GEMMA_4 = ModelConfig.model_validate(
    {
        "vocab_size": 11, "d_model": 8, "n_heads": 2, "n_layers": 3, "d_ff": 12, "max_len": 16, "dropout": 0.0,
        "embedding": {"d_per_layer": 4}, "position": {"kind": "rope"},
        "norm": {"kind": "rmsnorm", "placement": "sandwich"},
        "attention": {"bias": False, "qk_norm": "per_head", "v_norm": True, "scale": 1.0},
        "feed_forward": {"activation": "gelu_tanh", "gated": True, "bias": False},
        "block": {"layer_scalar": True},
        "layers": {"first": "own, 2 shared", "kinds": {"own": {}, "shared": {"attention": {"kv_from": "own"}}}},
    }
)  # fmt: skip
"""A model that Gemma 4 has the words for, whose last layers share keys and values."""


def test_stored_shared_kv(tmp_path: Path) -> None:
    """Published checkpoints of Gemma 4 store some that no layer reads."""
    model = TinyTransformerLM.from_config(GEMMA_4)
    export_model(model, export_config(GEMMA_4), tmp_path / "hub")
    held = load_file(tmp_path / "hub/model.safetensors")
    assert not any("layers.1.self_attn.k_" in name or "layers.2.self_attn.v_" in name for name in held)
    held |= {
        f"model.layers.{layer}.self_attn.{part}_proj.weight": torch.ones(8, 8) for layer in (1, 2) for part in "kv"
    }
    held["model.layers.1.self_attn.k_norm.weight"] = torch.ones(4)
    save_file(held, tmp_path / "hub/model.safetensors")
    ours = load_model(GEMMA_4, converted(tmp_path / "hub"))
    assert all(map(torch.equal, ours.state_dict().values(), model.state_dict().values()))
    save_file(held | {"model.layers.0.self_attn.v_norm.weight": torch.ones(4)}, tmp_path / "hub/model.safetensors")
    with pytest.raises(WeightsError, match=r"layers\.0\.self_attn\.v_norm\.weight is not a tensor of this model"):
        converted(tmp_path / "hub")


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2, torch.int8, torch.bool])
def test_unsupported_dtype(tmp_path: Path, dtype: torch.dtype) -> None:
    held = exported(tmp_path / "hub", torch.float32, FINE)
    held["lm_head.weight"] = held["lm_head.weight"].to(dtype)
    save_file(held, tmp_path / "hub/model.safetensors")
    with pytest.raises(WeightsError, match=r"lm_head.weight is \w+; supported dtypes are F64, F32, F16, BF16"):
        converted(tmp_path / "hub")
    assert not (tmp_path / "ours").exists()


def test_unused_tensors(tmp_path: Path) -> None:
    """Projections of zero-computation experts are exported as zeros, and not needed; prediction modules are skipped."""
    experts = {
        **SIGMOID.feed_forward.model_dump(exclude_unset=True), "router": "softmax", "n_zero_experts": 2,
        "d_shared_expert": 12,
    }  # fmt: skip
    fields = SIGMOID.model_dump(exclude_unset=True)
    config = ModelConfig.model_validate(
        {
            **fields, "feed_forward": {name: value for name, value in experts.items() if name != "n_dense_layers"},
            "attention": {**fields["attention"], "q_rank": 5, "scale_latents": True},
            "layers": {
                "pattern": "experts, dense",
                "kinds": {
                    "experts": {"feed_forward": {"shortcut": True}},
                    "dense": {"feed_forward": {"n_experts": None}},
                },
            },
        }
    )  # fmt: skip
    model, folder = TinyTransformerLM.from_config(config), tmp_path / "hub"
    exported_config = export_config(config)
    assert exported_config.family == "longcat_flash"
    export_model(model, exported_config, folder)
    tensors = load_file(folder / "model.safetensors")
    unused = [name for name in tensors if ".experts.4." in name or ".experts.5." in name]
    assert sorted(name.split(".")[-2] for name in unused) == ["gate_proj"] * 2 + ["up_proj"] * 2
    assert not any(tensors.pop(name).any() for name in unused)
    save_file({**tensors, "model.mtp.norm.weight": torch.ones(8)}, folder / "model.safetensors")
    found = import_weights(config, "longcat_flash", folder, tmp_path / "ours", config_text="")
    assert found.skipped == ("model.mtp.norm.weight",)
    again = load_model(config, tmp_path / "ours").state_dict()
    assert all(torch.equal(again[name], tensor) for name, tensor in model.state_dict().items())

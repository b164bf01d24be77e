"""Checkpoints that transformers and tinylm save equal their configs; each fault in names and shapes is reported."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.interop.families import FAMILIES, configs
from tests.interop.test_parity import random_model
from tests.interop.verification.conftest import Copied, Tensors, only_difference, verified
from tests.small_models import build
from tinylm_cli.config.yaml_writer import to_yaml
from tinylm_cli.errors import InputError, WeightsError
from tinylm_cli.model.checkpoint import save_model
from tinylm_cli.reports.verify import VerifyReport

LAYER = "model.layers.1.self_attn"


@pytest.mark.parametrize("size", ["5GB", "2KB"], ids=["one file", "several files"])
@pytest.mark.parametrize("family", FAMILIES)
def test_every_family(family: str, size: str, tmp_path: Path) -> None:
    """Every tensor that transformers writes is checked, in one file or in several."""
    for number, keys in enumerate(configs(family, 2)):
        folder = tmp_path / str(number)
        random_model(family, keys).save_pretrained(folder, max_shard_size=size)
        report = verified(folder)
        assert report.status == "equal", report.diagnostics
        tensors = {name: tensor for path in folder.glob("*.safetensors") for name, tensor in load_file(path).items()}
        assert report.checked_tensors == report.expected_tensors
        assert report.checked_tensors + sum(each.tensors for each in report.apart) == len(tensors)
        assert report.stored_tensors == len(tensors)
        assert report.stored_bytes == sum(tensor.nbytes for tensor in tensors.values())
        assert len(report.files) == len(list(folder.glob("*.safetensors")))


@pytest.mark.parametrize("tied", [False, True])
def test_tinylm_folder(tied: bool, tmp_path: Path) -> None:
    model = build(tie_weights=tied)
    save_model(model, tmp_path / "saved", config_text=to_yaml(model.config))
    report = verified(tmp_path / "saved")
    assert (report.status, report.family, report.name) == ("equal", None, "saved")
    assert report.stored_bytes == sum(parameter.nbytes for parameter in model.parameters())
    (difference,) = verified(tmp_path / "saved", f"tie_weights={str(not tied).lower()}").differences
    assert (difference.field, difference.value) == ("tie_weights", tied)
    assert difference.names == ("lm_head.weight",)


def _rename(tensors: Tensors) -> None:
    tensors["model.layers.1.mlp.upproj.weight"] = tensors.pop("model.layers.1.mlp.up_proj.weight")


def test_renamed_tensor(copied: Copied) -> None:
    missing, unexpected = verified(copied(_rename)).diagnostics
    assert (missing.code, missing.message) == (
        "missing-tensor",
        "model.layers.1.mlp.up_proj.weight, of shape (24, 16), is missing",
    )
    assert (unexpected.code, unexpected.message) == (
        "unknown-tensor",
        "model.layers.1.mlp.upproj.weight, of shape (24, 16), is not in the model",
    )
    assert unexpected.source.endswith("model.safetensors")


def test_shape_without_a_cause(copied: Copied) -> None:
    def change(tensors: Tensors) -> None:
        tensors["model.layers.2.input_layernorm.weight"] = torch.ones(17)

    found = only_difference(copied(change))
    assert (found.diagnostic.code, found.field, found.expected, found.found) == ("tensor-shape", "", (16,), (17,))
    assert found.diagnostic.message == "model.layers.2.input_layernorm.weight has shape (17,), not (16,)"


def _pad(tensors: Tensors) -> None:
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        tensors[name] = torch.zeros(64, 16)


def _drop_head(tensors: Tensors) -> None:
    del tensors["lm_head.weight"]


def _add_biases(tensors: Tensors) -> None:
    for name in [name for name in tensors if name.endswith("_proj.weight") and "self_attn" in name]:
        tensors[name.replace("weight", "bias")] = torch.zeros(len(tensors[name]))


def _double_kv_heads(tensors: Tensors) -> None:
    for layer in range(4):
        for part in "kv":
            tensors[f"model.layers.{layer}.self_attn.{part}_proj.weight"] = torch.zeros(16, 16)


@pytest.mark.parametrize(
    ("change", "keys", "code", "field", "value", "key", "count"),
    [
        (_pad, {}, "tensor-shape", "vocab_size", 64, '"vocab_size": 64', 2),
        (_drop_head, {}, "missing-tensor", "tie_weights", True, '"tie_word_embeddings": true', 1),
        (_add_biases, {}, "unknown-tensor", "attention.bias", True, '"attention_bias": true', 16),
        (_double_kv_heads, {}, "tensor-shape", "attention.n_kv_heads", 4, '"num_key_value_heads": 4', 8),
        (None, {"num_key_value_heads": 4}, "tensor-shape", "attention.n_kv_heads", 2, '"num_key_value_heads": 2', 8),
        (None, {"num_hidden_layers": 3}, "unknown-tensor", "n_layers", 4, '"num_hidden_layers": 4', 9),
        (None, {"num_hidden_layers": 6}, "missing-tensor", "n_layers", 4, '"num_hidden_layers": 4', 18),
        (None, {"intermediate_size": 20}, "tensor-shape", "d_ff", 24, '"intermediate_size": 24', 12),
        (None, {"attention_bias": True}, "missing-tensor", "attention.bias", False, '"attention_bias": false', 16),
        (None, {"num_attention_heads": 8, "head_dim": 4}, "tensor-shape", "n_heads", 4, '"num_attention_heads": 4', 8),
    ],
)
def test_cause(
    change: Callable[[Tensors], None] | None,
    keys: dict[str, Any],
    code: str,
    field: str,
    value: int,
    key: str,
    count: int,
    copied: Copied,
) -> None:
    """One field explains all differences; the error points at its key and says what to write."""
    found = only_difference(copied(change, **keys))
    error = found.diagnostic
    assert (error.code, found.field, found.value, found.tensors) == (code, field, value, count)
    assert error.field == field
    assert key in error.help
    assert error.span is not None
    assert key.partition(":")[0] in error.span.text
    assert error.source.endswith("config.json")


@pytest.mark.parametrize(
    ("family", "key", "factor"),
    [
        ("mamba", "hidden_size", 2),  # also sets the inner dimensions
        ("gpt2", "n_embd", 2),  # also sets d_ff
        ("deepseek_v3", "qk_nope_head_dim", 2),  # one of several terms of a dimension
        ("starcoder2", "use_bias", 0),  # sets several fields
        ("zamba2", "mamba_d_state", 2),
        ("gemma4_unified_text", "use_double_wide_mlp", 0),  # changes shapes only
        ("qwen3_next", "linear_value_head_dim", 2),
    ],
)
def test_keys_from_which_others_follow(family: str, key: str, factor: int, tmp_path: Path) -> None:
    """A key is tried in the config.json itself, so that all that follows from it changes too."""
    folder = tmp_path / family
    (keys,) = configs(family, 1)
    random_model(family, keys | ({"n_inner": None} if family == "gpt2" else {})).save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    value = config[key]
    config[key] = value * factor if factor else not value
    (folder / "config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")
    report = verified(folder)
    assert report.status == "different"
    for each in report.diagnostics:
        assert f'fit "{key}": {json.dumps(value)}' in each.help or f'fits "{key}": {json.dumps(value)}' in each.help
        assert each.span is not None
        assert f'"{key}"' in each.span.text


def test_several_causes(copied: Copied) -> None:
    found = verified(copied(_pad, intermediate_size=20, num_hidden_layers=3))
    assert {(each.field, each.value) for each in found.differences} == {
        ("vocab_size", 64),
        ("d_ff", 24),
        ("n_layers", 4),
    }


def test_changes(copied: Copied) -> None:
    """A change of the config that explains a difference removes it."""
    assert verified(copied(_pad), "vocab_size=64").status == "equal"


def test_learned_positions(tmp_path: Path) -> None:
    folder = tmp_path / "opt"
    (keys,) = configs("opt", 1)
    random_model("opt", keys).save_pretrained(folder)
    _change(folder, lambda tensors: _grow(tensors, "model.decoder.embed_positions.weight", 8))
    found = only_difference(folder)
    assert (found.field, found.value) == ("max_len", 32 + 8)


def test_experts(tmp_path: Path) -> None:
    folder = tmp_path / "qwen3_moe"
    keys = next(each for each in configs("qwen3_moe", 20) if not each.get("mlp_only_layers"))
    random_model("qwen3_moe", keys).save_pretrained(folder)
    n_experts, path = keys["num_experts"], folder / "config.json"
    config = path.read_text(encoding="utf-8")
    path.write_text(re.sub(r'(?<="num_local_experts": )\d+', f"{n_experts + 1}", config), encoding="utf-8")
    found = verified(folder).differences
    assert {(each.field, each.value) for each in found} == {("feed_forward.n_experts", n_experts)}


def _change(folder: Path, change: Callable[[Tensors], None]) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")


def _grow(tensors: Tensors, name: str, rows: int) -> None:
    tensors[name] = torch.cat((tensors[name], tensors[name][:rows]))


def _apart(report: VerifyReport) -> dict[str, tuple[str, ...]]:
    return {each.kind: each.names for each in report.apart}


def test_recomputed_buffers(copied: Copied) -> None:
    def change(tensors: Tensors) -> None:
        tensors |= {f"model.layers.{layer}.self_attn.rotary_emb.inv_freq": torch.ones(2) for layer in range(4)}

    report = verified(copied(change))
    assert report.status == "equal"
    assert _apart(report) == {"recomputed": ("model.layers.{0..3}.self_attn.rotary_emb.inv_freq",)}
    assert report.apart[0].stored_bytes == 4 * 2 * 4


def test_stored_tied_head(copied: Copied) -> None:
    report = verified(copied(tie_word_embeddings=True))
    assert report.status == "equal"
    assert _apart(report) == {"tied_head": ("lm_head.weight",)}
    assert report.expected_tensors == 38


def test_tied_head_of_another_shape(copied: Copied) -> None:
    def change(tensors: Tensors) -> None:
        tensors["lm_head.weight"] = torch.zeros(38, 16)

    found = only_difference(copied(change, tie_word_embeddings=True))
    assert (found.names, found.expected, found.found) == (("lm_head.weight",), (37, 16), (38, 16))


@pytest.mark.parametrize("named", [True, False])
def test_multi_token_prediction(named: bool, tmp_path: Path) -> None:
    """The layer after the last one, as DeepSeek V3 stores its module, whether the config names it or not."""
    folder = tmp_path / "deepseek"
    (keys,) = configs("deepseek_v3", 1)
    model = random_model("deepseek_v3", keys)
    model.config.num_nextn_predict_layers = 1 if named else 0
    model.save_pretrained(folder)
    last = keys["num_hidden_layers"]

    def change(tensors: Tensors) -> None:
        for name in [name for name in tensors if name.startswith(f"model.layers.{last - 1}.")]:
            tensors[name.replace(f".{last - 1}.", f".{last}.", 1)] = tensors[name].clone()
        for name in ("eh_proj", "enorm", "hnorm"):
            tensors[f"model.layers.{last}.{name}.weight"] = torch.ones(4)

    _change(folder, change)
    report = verified(folder)
    assert report.status == "equal", report.diagnostics
    assert _apart(report).keys() == {"multi_token_prediction"}
    assert all(name.startswith(f"model.layers.{last}.") for name in report.apart[0].names)


def test_modules_named_mtp(copied: Copied) -> None:
    def change(tensors: Tensors) -> None:
        tensors |= {"mtp.fc.weight": torch.ones(2), "model.mtp_block.0.norm.weight": torch.ones(2)}

    assert _apart(verified(copied(change))).keys() == {"multi_token_prediction"}


def test_other_dtype(copied: Copied) -> None:
    def change(tensors: Tensors) -> None:
        name = f"{LAYER}.q_proj.weight"
        tensors[name] = tensors[name].bfloat16()

    found = only_difference(copied(change)).diagnostic
    assert (found.code, found.message) == ("tensor-dtype", f"{LAYER}.q_proj.weight is BF16, not F32 as in other layers")


def test_dtype_of_every_norm(copied: Copied) -> None:
    """Norms that are kept in float32 in all layers are no difference."""

    def change(tensors: Tensors) -> None:
        for name in tensors:
            if "norm" not in name:
                tensors[name] = tensors[name].bfloat16()

    report = verified(copied(change, dtype="bfloat16"))
    assert report.status == "equal"
    assert [(each.dtype, each.tensors) for each in report.dtypes] == [("BF16", 30), ("F32", 9)]


@pytest.mark.parametrize("key", ["dtype", "torch_dtype"])
def test_dtype_of_the_config(key: str, copied: Copied) -> None:
    keys = {"dtype": "bfloat16"} if key == "dtype" else {"dtype": "float32", "torch_dtype": "float32"}
    folder = copied(**keys)
    if key == "torch_dtype":
        text = (folder / "config.json").read_text(encoding="utf-8")
        text = text.replace('"dtype": "float32",', "", 1).replace(
            '"torch_dtype": "float32"', '"torch_dtype": "bfloat16"'
        )
        (folder / "config.json").write_text(text, encoding="utf-8")
    found = only_difference(folder).diagnostic
    assert (found.code, found.help) == ("tensor-dtype", f'the weights fit "{key}": "float32"')
    assert found.span is not None
    assert found.span.text.strip().startswith(f'"{key}"')


def test_integer_weights(copied: Copied) -> None:
    def change(tensors: Tensors) -> None:
        for layer in range(4):
            name = f"model.layers.{layer}.mlp.up_proj.weight"
            tensors[name] = tensors[name].to(torch.int8)

    found = only_difference(copied(change)).diagnostic
    assert found.code == "tensor-dtype"
    assert found.help == "the tensors look quantized, but the config has no quantization_config"


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("absent", "absent does not exist"),
        ("one/config.json", "is not a folder"),
        ("empty", "contains neither config.yaml nor config.json"),
    ],
)
def test_not_a_checkpoint(path: str, message: str, saved: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    folder = saved["one"].parent / path if path.startswith("one") else tmp_path / path
    with pytest.raises(InputError, match=message):
        verified(folder)


def test_without_weights(copied: Copied) -> None:
    folder = copied()
    (folder / "model.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"contains neither model.safetensors nor model.safetensors.index.json"):
        verified(folder)

"""A Hugging Face folder opened as a model: its logits are transformers', in one file or several, in any dtype."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"

import pytest
import torch
from safetensors.torch import load_file, save_file

import tinylm_cli
from tests.interop.test_parity import assert_near, ids, random_model
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.config.yaml_writer import to_yaml
from tinylm_cli.errors import ConfigError, InputError, WeightsError
from tinylm_cli.interop.load import load_config
from tinylm_cli.interop.weights.checkpoint import MAX_PROBLEMS
from tinylm_cli.interop.weights.import_weights import import_weights
from tinylm_cli.interop.weights.load_model import open_model
from tinylm_cli.model.checkpoint import load_model

KEYS: dict[str, Any] = {
    "vocab_size": 37, "hidden_size": 16, "num_attention_heads": 4, "num_key_value_heads": 2, "num_hidden_layers": 2,
    "intermediate_size": 24, "max_position_embeddings": 32, "attention_bias": True, "mlp_bias": True,
    "bos_token_id": None, "eos_token_id": None,
}  # fmt: skip


@pytest.fixture
def theirs() -> Any:
    return random_model("llama", KEYS)


@pytest.fixture
def saved(theirs: Any, tmp_path: Path) -> Path:
    theirs.save_pretrained(tmp_path / "llama")
    return tmp_path / "llama"


@torch.no_grad()
def test_logits(theirs: Any, saved: Path) -> None:
    model = open_model(saved).eval()
    assert_near(model(ids()), theirs(ids()).logits)
    assert all(parameter.requires_grad for parameter in model.parameters())


@torch.no_grad()
def test_several_files(theirs: Any, tmp_path: Path) -> None:
    theirs.save_pretrained(tmp_path / "sharded", max_shard_size="4KB")
    assert len(list((tmp_path / "sharded").glob("*.safetensors"))) > 1
    assert_near(open_model(str(tmp_path / "sharded")).eval()(ids()), theirs(ids()).logits)


@torch.no_grad()
def test_same_as_an_imported_folder(saved: Path, tmp_path: Path) -> None:
    config = load_config(str(saved)).config
    import_weights(config, "llama", saved, tmp_path / "ours", config_text="")
    ours, opened = load_model(config, tmp_path / "ours"), open_model(saved)
    for (name, expected), (found, tensor) in zip(ours.state_dict().items(), opened.state_dict().items(), strict=True):
        assert name == found
        assert torch.equal(expected, tensor), name


@torch.no_grad()
def test_tinylm_folder(saved: Path, tmp_path: Path) -> None:
    config = load_config(str(saved)).config
    import_weights(config, "llama", saved, tmp_path / "ours", config_text=to_yaml(config))
    assert_near(open_model(tmp_path / "ours").eval()(ids()), open_model(saved).eval()(ids()))
    (tmp_path / "ours" / "config.yaml").unlink()
    assert open_model(tmp_path / "ours", config=config).config == config
    with pytest.raises(InputError):
        open_model(tmp_path / "ours")


@torch.no_grad()
def test_from_the_api(theirs: Any, saved: Path) -> None:
    assert_near(tinylm_cli.load(saved).build(weights=saved).eval()(ids()), theirs(ids()).logits)


def test_on_meta(saved: Path) -> None:
    assert all(parameter.is_meta for parameter in open_model(saved, device="meta").parameters())


def test_dtypes(theirs: Any, tmp_path: Path) -> None:
    theirs.to(torch.bfloat16).save_pretrained(tmp_path / "half")
    assert open_model(tmp_path / "half").dtype == torch.bfloat16
    model = open_model(tmp_path / "half", dtype=torch.float32)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert torch.equal(model.lm_head.weight.bfloat16(), theirs.lm_head.weight)


@torch.no_grad()
def test_a_config_with_a_longer_max_len(theirs: Any, saved: Path) -> None:
    longer = load_config(str(saved), ["max_len=64"]).config
    assert_near(open_model(saved, config=longer).eval()(ids(40)), theirs(ids(40)).logits)


def test_config_of_another_model(saved: Path) -> None:
    other: ModelConfig = load_config(str(saved), ["n_layers=3"]).config
    with pytest.raises(WeightsError, match=r"layers\.2\.\S+ is missing"):
        open_model(saved, config=other)


@pytest.mark.parametrize(("missing", "more"), [(MAX_PROBLEMS, ""), (MAX_PROBLEMS + 1, "; and 1 more")])
def test_several_problems(saved: Path, missing: int, more: str) -> None:
    file = saved / "model.safetensors"
    names = [f"model.layers.0.self_attn.{part}_proj.{kind}" for part in "qkvo" for kind in ("weight", "bias")][:missing]
    save_file({name: tensor for name, tensor in load_file(file).items() if name not in names}, file)
    with pytest.raises(WeightsError) as raised:
        open_model(saved)
    assert raised.value.message.count(" is missing") == MAX_PROBLEMS
    assert raised.value.message.endswith(f" is missing{more}")


def test_missing_tensor_of_a_larger_model(tmp_path: Path) -> None:
    """Names are matched under the larger model's prefix, also if a tensor after the embedding is missing."""
    keys = {
        "vocab_size": 37, "hidden_size": 16, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 8,
        "num_hidden_layers": 1, "intermediate_size": 24, "max_position_embeddings": 32, "pad_token_id": 0,
    }  # fmt: skip
    random_model("gemma3_text", keys).save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "gemma3", "text_config": keys}), encoding="utf-8")
    file = tmp_path / "model.safetensors"
    tensors = {f"language_model.{name}": tensor for name, tensor in load_file(file).items()}
    others = [name for name in tensors if "embed_tokens" not in name]
    assert len(others) == 14
    for missing in others:
        save_file({name: tensor for name, tensor in tensors.items() if name != missing}, file)
        with pytest.raises(WeightsError) as raised:
            open_model(tmp_path)
        assert raised.value.message == f"{tmp_path} does not match this model: {missing} is missing"


def test_mixed_types(saved: Path) -> None:
    file = saved / "model.safetensors"
    tensors = load_file(file)
    save_file({**tensors, "model.norm.weight": tensors["model.norm.weight"].half()}, file)
    with pytest.raises(WeightsError, match="contains mixed dtypes"):
        open_model(saved)
    assert open_model(saved, dtype=torch.float32).ln_f.weight.dtype == torch.float32


def test_no_code_or_pickle_is_read(theirs: Any, saved: Path) -> None:
    """A folder's own Python files, and weights that would have to be unpickled, are left alone."""
    document = json.loads((saved / "config.json").read_text(encoding="utf-8"))
    document["auto_map"] = {"AutoModelForCausalLM": "evil.Model"}
    (saved / "config.json").write_text(json.dumps(document), encoding="utf-8")
    (saved / "evil.py").write_text("raise SystemExit('run')", encoding="utf-8")
    open_model(saved)
    (saved / "model.safetensors").unlink()
    torch.save(theirs.state_dict(), saved / "pytorch_model.bin")
    with pytest.raises(WeightsError) as raised:
        open_model(saved)
    assert raised.value.help == "pickled weights are not supported; convert them to safetensors"


def test_a_folder_without_a_config(saved: Path) -> None:
    (saved / "config.json").unlink()
    with pytest.raises(InputError):
        open_model(saved)


def test_a_wrong_config(saved: Path) -> None:
    document = json.loads((saved / "config.json").read_text(encoding="utf-8"))
    (saved / "config.json").write_text(json.dumps(document | {"hidden_size": "16"}), encoding="utf-8")
    with pytest.raises(ConfigError):
        open_model(saved)


@torch.no_grad()
def test_without_a_key(theirs: Any, saved: Path) -> None:
    """A key that stops loading is left out of the config, and of the folder that holds the weights."""
    file = saved / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "use_qk_norm": True}))
    with pytest.raises(ConfigError):
        tinylm_cli.load(saved)
    model = tinylm_cli.load(saved, ignore="use_qk_norm").build(weights=saved).eval()
    assert_near(model(ids()), theirs(ids()).logits)

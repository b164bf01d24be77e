"""``tinylm import``: a config.json as YAML, its assumed sizes and ignored keys, and its weights."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tinylm_cli.config.loader import load_yaml_config
from tinylm_cli.interop.load import load_config

Here = Callable[..., Any]
CONFIGS = Path(__file__).resolve().parents[1] / "interop" / "configs"


@pytest.fixture
def model(folder: Path) -> Path:
    """Lay a model folder where commands run."""
    path = folder / "my-qwen" / "config.json"
    path.parent.mkdir()
    path.write_bytes((CONFIGS / "qwen2.json").read_bytes())
    return path


@pytest.mark.usefixtures("model")
def test_yaml_file(here: Here) -> None:
    done = here("import", "my-qwen", "-o", "qwen.yaml")
    assert (done.code, done.out) == (0, "")
    told = done.err.splitlines()
    assert told[0].startswith("ignored (no effect on the model): attention_dropout, bos_token_id,")
    assert told[-2:] == ["wrote qwen.yaml", "next: tinylm params qwen.yaml"]
    assert max(map(len, told)) <= 80
    assert load_yaml_config("qwen.yaml").config == load_config("my-qwen").config


@pytest.mark.usefixtures("model")
def test_title(here: Here) -> None:
    done = here("import", "my-qwen/config.json")
    assert done.out.splitlines()[2] == (
        "# my-qwen: Qwen2 and Qwen2.5, from a Hugging Face config.json of model_type qwen2."
    )
    assert done.err.endswith("next: tinylm params my-qwen/config.json\n")


@pytest.mark.usefixtures("model")
def test_json(here: Here) -> None:
    done = here("import", "my-qwen", "--format", "json", "--set", "n_layers=2")
    document = json.loads(done.out)
    assert (document["name"], document["family"], document["source"]) == ("my-qwen", "qwen2", "my-qwen/config.json")
    assert document["config"]["n_layers"] == 2
    assert "use_cache" in document["ignored"]
    assert document["yaml"].startswith("# yaml-language-server")
    assert "ignored" not in done.err


def test_line_break_in_a_name(here: Here, folder: Path) -> None:
    path = folder / "a\nvocab_size: 1" / "config.json"
    path.parent.mkdir()
    path.write_bytes((CONFIGS / "gpt2.json").read_bytes())
    done = here("import", str(path.parent))
    assert "\nvocab_size: 1\n" not in done.out
    assert done.out.count("vocab_size: ") == 2


def test_errors_in_every_command(here: Here, model: Path) -> None:
    model.write_text('{"model_type": "qwen2", "hidden_sise": 3}', encoding="utf-8")
    said = {command: here(command, *words) for command, words in COMMANDS.items()}
    for done in said.values():
        assert done.code == 1
        assert "unknown-setting" in done.out + done.err


COMMANDS = {
    "import": ["my-qwen"],
    "params": ["--config", "my-qwen"],
    "show": ["--config", "my-qwen/config.json"],
    "validate": ["my-qwen"],
    "new": ["mine", "--config", "my-qwen"],
    "forward": ["--config", "my-qwen", "--tokens", "1"],
    "build": ["--config", "my-qwen", "--meta"],
    "check": ["--config", "my-qwen"],
    "generate": ["--config", "my-qwen", "--tokens", "1"],
}


def test_folder_in_every_command(here: Here, model: Path) -> None:
    counted = json.loads(here("params", "--config", "my-qwen", "--format", "json").out)["models"]
    assert [(each["name"], each["total_params"]) for each in counted] == [("my-qwen", 494_032_768)]
    checked = json.loads(here("validate", "my-qwen", "--format", "json").out)
    assert [(each["path"], each["status"]) for each in checked["files"]] == [("my-qwen/config.json", "valid")]
    assert here("new", "mine", "--config", "my-qwen").code == 0
    assert load_yaml_config("mine.yaml").config == load_config("my-qwen").config
    piped = here("params", "--config", "-", "--format", "json", stdin=model.read_text(encoding="utf-8"))
    assert json.loads(piped.out)["models"][0]["total_params"] == 494_032_768


def test_tinylm_config(here: Here) -> None:
    done = here("import", "tiny")
    assert (done.code, done.out) == (2, "")
    assert "tiny is already a tinylm config" in done.err


def test_assumed_sizes(here: Here, folder: Path) -> None:
    (folder / "bare.json").write_text('{"model_type": "mistral", "hidden_size": 512}', encoding="utf-8")
    told = "family defaults of mistral used for: vocab_size 32,000, n_heads 32, n_layers 32, "
    assert here("import", "bare.json", columns=200).err.startswith(told)
    less = here("import", "bare.json", "--set", "n_heads=16", columns=200)
    assert less.err.startswith(told.replace("n_heads 32, ", ""))
    document = json.loads(here("import", "bare.json", "--format", "json").out)
    assert document["assumed"]["n_layers"] == 32
    assert "d_model" not in document["assumed"]
    assert "\nFamily defaults of mistral used for" in here("import", "bare.json", "--format", "markdown").out


def test_skipped_weights(here: Here, folder: Path) -> None:
    gemma = {
        "vocab_size": 11, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "head_dim": 4,
        "num_key_value_heads": 1, "intermediate_size": 12, "max_position_embeddings": 16, "sliding_window": 4,
    }  # fmt: skip
    (folder / "plain").mkdir()
    (folder / "plain/config.json").write_text(json.dumps({"model_type": "gemma3_text", **gemma}), encoding="utf-8")
    assert here("export", "plain", "-o", "both").code == 0
    document = {"model_type": "gemma3", "text_config": gemma, "vision_config": {}}
    (folder / "both/config.json").write_text(json.dumps(document), encoding="utf-8")
    held = {f"language_model.{name}": tensor for name, tensor in load_file("both/model.safetensors").items()}
    seeing = {f"vision_tower.{i}": torch.zeros(1) for i in range(3)} | {"multi_modal_projector.w": torch.zeros(1)}
    save_file(held | seeing, "both/model.safetensors")
    done = here("import", "both", "--weights", "-o", "ours")
    assert done.code == 0, done.err
    assert "only the language model of gemma3 is read, without its vision encoder (92,884,224 parameters)" in " ".join(
        done.err.split()
    )
    told = "skipped 4 tensors of multi_modal_projector and vision_tower: not part of the language model\n"
    assert " ".join(f"{told}wrote 15 stored tensors and config.yaml to ours".split()) in " ".join(done.err.split())
    save_file(held | seeing | {"audio_tower.w": torch.zeros(1)}, "both/model.safetensors")
    refused = here("import", "both", "--weights", "-o", "other").err
    assert "audio_tower.w is not a tensor of this model" in " ".join(refused.split())
    assert not Path("other").exists()


class TestOverridesOfWeights:
    """What ``--set`` makes of a model whose weights are converted."""

    @pytest.fixture
    def exported(self, here: Here, folder: Path) -> Path:
        assert here("export", "toy.yaml", "-o", "theirs").code == 0
        return folder / "theirs"

    @pytest.mark.usefixtures("exported")
    def test_override_that_does_not_fit(self, here: Here) -> None:
        done = here("import", "theirs", "--weights", "-o", "ours", "--set", "n_layers=4", "--set", "norm.eps= 1e-6")
        assert done.code == 2
        assert "theirs does not match this model: " in done.err
        blamed = "the weights match config.json without overrides: remove --set n_layers=4 --set 'norm.eps= 1e-6'"
        assert f"help: {blamed}" in " ".join(done.err.split())
        assert not Path("ours").exists()

    def test_wrong_file(self, here: Here, exported: Path) -> None:
        path = exported / "config.json"
        document = json.loads(path.read_text(encoding="utf-8"))
        path.write_text(json.dumps(document | {"n_layer": 9}), encoding="utf-8")
        done = here("import", "theirs", "--weights", "-o", "ours", "--set", "norm.eps=1e-6")
        assert done.code == 2
        assert "check that config.json belongs to these weights" in done.err
        path.write_text(json.dumps(document | {"n_layer": 0}), encoding="utf-8")  # no config but by an override
        done = here("import", "theirs", "--weights", "-o", "ours", "--set", "n_layers=2")
        assert "check that config.json belongs to these weights" in done.err

    @pytest.mark.usefixtures("exported")
    def test_override_that_fits(self, here: Here) -> None:
        assert here("import", "theirs", "--weights", "-o", "ours", "--set", "norm.eps=1e-6").code == 0
        assert load_yaml_config("ours/config.yaml").config.norm.eps == 1e-6


def test_notes_are_wrapped(here: Here, folder: Path) -> None:
    (folder / "bare.json").write_text((CONFIGS / "qwen2.json").read_text(encoding="utf-8"), encoding="utf-8")
    for columns in (40, 60, 120):
        told = here("import", "bare.json", columns=columns).err.split("next: ")[0].splitlines()
        assert len(told) > 1
        assert max(map(len, told)) <= columns


@pytest.mark.parametrize(
    ("number", "told"), [(0, ""), (1, "1 multi-token prediction module of the file is left out"), (3, "are left out")]
)
def test_multi_token_prediction_modules(here: Here, folder: Path, number: int, told: str) -> None:
    keys = json.loads((CONFIGS / "deepseek_v3.json").read_text()) | {"num_nextn_predict_layers": number}
    (folder / "config.json").write_text(json.dumps(keys), encoding="utf-8")
    done = here("import", "config.json", "-o", "model.yaml")
    assert ("left out" in done.err) == bool(told)
    assert told in done.err
    document = json.loads(here("import", "config.json", "--format", "json").out)
    assert document["unread_mtp_layers"] == number
    assert document["config"]["head"]["n_mtp_layers"] == 0


def test_missing_file(here: Here) -> None:
    """Presets, which other commands would suggest, are not for import."""
    result = here("import", "nope")
    assert (result.code, result.out) == (2, "")
    assert result.err == "error: no such file or folder: nope\n  = help: name a config.json, or its folder\n"

"""A config passed with --weights must match them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Here = Callable[..., Any]

COMMANDS = ["build", "forward", "generate", "check"]


@pytest.fixture(autouse=True)
def saved(here: Here, folder: Path) -> Path:
    assert here("build", "--config", "toy.yaml", "--save", "model").code == 0
    return folder / "model"


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("n_heads=4", "n_heads is 2 in its config, not 4"),
        ("feed_forward.activation=relu", "feed_forward.activation is gelu in its config, not relu"),
        ("position.kind=none", "position.kind is sinusoidal in its config, not none"),
        ("norm.eps=1e-6", "norm.eps is 1.0e-5 in its config, not 1.0e-6"),
        ("n_layers=2", "n_layers is 3 in its config, not 2"),
    ],
    ids=lambda value: value.partition("=")[0],
)
def test_other_model_of_equal_shapes(command: str, change: str, told: str, here: Here) -> None:
    for config, remedy in (([], "--set"), (["--config", "toy.yaml"], "the config and --set")):
        result = here(command, *config, "--weights", "model", "--set", change, columns=400)
        assert (result.code, result.out) == (2, "")
        assert result.err.startswith(
            f"error: the weights in model belong to another model: {told}\n"
            f"  = help: remove {remedy} of these fields, or name other weights\n"
        )


def test_other_config(here: Here) -> None:
    assert "= help: remove the config, or name other weights\n" in here("build", "tiny", "--weights", "model").err


def test_differing_fields(here: Here) -> None:
    changes = ("--set", "n_heads=4", "--set", "norm.eps=0.1", "--set", "attention.bias=false")
    result = here("forward", "--weights", "model", *changes, columns=400)
    for difference in ("n_heads is 2", "norm.eps is 1.0e-5", "attention.bias is true"):
        assert f"{difference} in its config, not" in result.err


@pytest.mark.parametrize(
    "change", ["dropout=0.3", "nominal_params=9K", "budget.max_params=1K", "max_len=64", "n_heads=2"]
)
@pytest.mark.parametrize("command", COMMANDS)
def test_irrelevant_fields_may_differ(command: str, change: str, here: Here) -> None:
    assert here(command, "--weights", "model", "--set", change).code == 0


def test_longer_max_len(here: Here) -> None:
    words = ("--random", "1x40", "--set", "max_len=40")
    assert here("forward", "--weights", "model", *words).code == 0
    here("build", "--config", "toy.yaml", "--set", "position.kind=learned", "--save", "learned")
    result = here("forward", "--weights", "learned", *words, columns=200)
    assert "max_len is 32 in its config, not 40" in result.err


def test_folder_without_config(here: Here, saved: Path) -> None:
    (saved / "config.yaml").unlink()
    assert here("forward", "--config", "toy.yaml", "--weights", "model", "--set", "norm.eps=1e-6").code == 0


class TestHuggingFaceFolder:
    """``--weights`` takes a Hugging Face folder as it takes one of ``build --save``."""

    @pytest.fixture(autouse=True)
    def exported(self, here: Here, saved: Path) -> Path:
        assert here("export", "toy.yaml", "-o", "theirs", "--weights", "model").code == 0
        return saved.parent / "theirs"

    def test_forward(self, here: Here) -> None:
        words = ("--tokens", "1,2,3", "--format", "json")
        ours, theirs = (json.loads(here("forward", "--weights", f, *words).out) for f in ("model", "theirs"))
        assert theirs["name"] == "theirs"
        assert ours["stages"][-1]["name"] == "lm_head"
        assert ours["stages"][-1]["std"] == pytest.approx(theirs["stages"][-1]["std"], rel=1e-4)
        assert ours["loss"] == pytest.approx(theirs["loss"], rel=1e-4)

    def test_generate(self, here: Here) -> None:
        words = ("--tokens", "1,2,3", "--temperature", "0", "--format", "json")
        ours, theirs = (json.loads(here("generate", "--weights", f, *words).out) for f in ("model", "theirs"))
        assert ours["generated"] == theirs["generated"]

    def test_check(self, here: Here) -> None:
        assert here("check", "--weights", "theirs").code == 0

    def test_build_saves_a_tinylm_folder(self, here: Here, exported: Path) -> None:
        assert here("build", "--weights", "theirs", "--save", "back").code == 0
        assert (exported.parent / "back" / "config.yaml").is_file()
        assert here("check", "--weights", "back").code == 0

    def test_converted_dtype(self, here: Here) -> None:
        done = here("forward", "--weights", "theirs", "--tokens", "1", "--dtype", "bfloat16", "--format", "json")
        assert json.loads(done.out)["dtype"] == "bfloat16"

    def test_weights_of_another_model(self, here: Here) -> None:
        result = here("forward", "--weights", "theirs", "--tokens", "1", "--set", "n_heads=4", columns=400)
        assert "the weights in theirs belong to another model: n_heads is 2 in its config, not 4" in result.err

    def test_wrong_config_json(self, here: Here, exported: Path) -> None:
        (exported / "config.json").write_text('{"model_type": "gpt2", "n_layr": 1}', encoding="utf-8")
        result = here("generate", "--weights", "theirs", "--tokens", "1")
        assert result.code == 1
        assert 'unknown key "n_layr"' in result.err

    def test_damaged_file(self, here: Here, exported: Path) -> None:
        (exported / "model.safetensors").write_bytes(b"nothing")
        result = here("generate", "--weights", "theirs", "--tokens", "1", columns=400)
        assert result.code == 2
        assert "is damaged or not a safetensors file" in result.err

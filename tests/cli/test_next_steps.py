"""The ``next:`` lines lead from a list of models to a training loop, without cycles."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import pytest

from tinylm_cli.analysis.design.families import FAMILIES, DesignFamily
from tinylm_cli.cli.app import COMMANDS
from tinylm_cli.cli.next_steps import (
    NEXT_STEPS,
    TRAINING,
    TRAINING_SCRIPT,
    config_arguments,
    design_arguments,
    model_arguments,
    next_step,
)
from tinylm_cli.interop.load import load_config

Here = Callable[..., Any]


def test_no_cycles() -> None:
    order = list(TopologicalSorter(NEXT_STEPS).static_order())
    assert set(order) == NEXT_STEPS.keys()
    assert {step.split()[0].rstrip(",") for step in NEXT_STEPS if step != TRAINING} == set(COMMANDS)


def test_every_step_leads_to_training() -> None:
    for step in NEXT_STEPS.keys() - {"schema", "estimate --full", TRAINING}:
        while NEXT_STEPS[step]:
            step = NEXT_STEPS[step][-1]
        assert step == TRAINING


def test_following_the_lines(here: Here) -> None:
    """Each line is run as it is printed."""
    script_here = Path(TRAINING_SCRIPT)
    script_here.parent.mkdir()
    script_here.touch()
    command, seen = "tinylm list", []
    while not command.startswith("python "):
        seen.append(command.split()[1])
        result = here(*shlex.split(command)[1:])
        assert result.code == 0, result.err
        command = result.err.splitlines()[-1].removeprefix("next: ")
    assert seen == ["list", "show", "params", "build", "estimate", "estimate", "export"]
    script, folder = shlex.split(command)[1:]
    assert (Path(__file__).parents[2] / script).is_file()
    assert load_config(folder).config.n_layers == load_config("small").config.n_layers


@pytest.mark.parametrize(
    ("words", "following"),
    [
        ("tiny --seq-len 1k", "tinylm estimate tiny --seq-len 1k --gpu h100-sxm"),
        ("tiny --set n_layers=2 --gpu h100", "tinylm export tiny --set n_layers=2 --output tiny-hf"),
        (
            "tiny --set layers.pattern=a --set layers.kinds.a.d_ff=64 --gpu h100",
            "tinylm estimate tiny --set layers.pattern=a --set layers.kinds.a.d_ff=64 --gpu h100 --full",
        ),
        ("llama-3-8b --gpu h100 --gpus 16", "tinylm estimate llama-3-8b --gpu h100 --gpus 16 --full"),
        (
            "llama-3-8b --gpu rtx-4090 --batch-size 2 --no-master-weights",
            "tinylm estimate llama-3-8b --batch-size 2 --no-master-weights --gpu rtx-4090 --gpus 8",
        ),
        (
            "llama-3-8b --gpu rtx-4090 --for serving --set n_layers=10000",
            "tinylm design --gpu rtx-4090 --for serving --family llama --vocab-size 128256",
        ),
    ],
)
def test_estimate_leads_on_by_its_verdict(words: str, following: str, here: Here) -> None:
    assert here("estimate", *words.split()).err.splitlines()[-1] == f"next: {following}"


@pytest.mark.parametrize(
    ("words", "following"),
    [
        ("tiny", "tinylm params tiny --set d_ff=192"),
        (
            "tiny --set d_ff=220 --set nominal_params=500K",
            "tinylm params tiny --set nominal_params=500K --set d_ff=196",
        ),
        ("gpt2", "tinylm build gpt2"),
    ],
)
def test_an_explanation_leads_to_the_nominal_size(words: str, following: str, here: Here) -> None:
    assert here("params", "--explain", *words.split()).err == f"next: {following}\n"


def test_written_files_are_named(here: Here) -> None:
    assert here("show", "tiny", "--set", "n_layers=2", "-o", "mine.yaml").err.endswith(
        "next: tinylm params mine.yaml\n"
    )
    said = here("design", "--params", "5M", "-o", "five.yaml").err
    assert re.fullmatch(
        r"wrote five\.yaml: rank 1 of \d+, [\d,]+ parameters\nnext: tinylm export five\.yaml --output five-hf\n", said
    )


def test_large_models_are_not_built(here: Here) -> None:
    assert here("params", "llama-3-8b").err == "next: tinylm build llama-3-8b --meta\n"
    assert here("params", "gpt2").err == "next: tinylm build gpt2\n"
    said = here("design", "--params", "1B", "--family", "llama", "-o", "one.yaml").err
    assert here("estimate", "llama-3-8b", "--gpu", "h100", "--gpus", "16", "--full").err == ""
    assert said.endswith("next: tinylm estimate one.yaml\n")


def test_training_script(here: Here) -> None:
    """Outside a checkout, the script of the package is named."""
    command = here("export", "tiny", "-o", "out").err.removeprefix("next: ")
    assert shlex.split(command) == ["python", str(Path(__file__).parents[2] / "examples" / "train.py"), "out"]


@pytest.mark.parametrize(
    ("words", "following"),
    [
        ("tiny n_layers=2..8:2", "tinylm estimate tiny --set n_layers=8"),
        (
            "tiny n_heads=2,3 --seq-len 1k --set d_ff=64",
            "tinylm estimate tiny --set d_ff=64 --set n_heads=2 --seq-len 1k",
        ),
        ("tiny n_heads=3,5", "tinylm validate tiny --set n_heads=3"),
    ],
)
def test_a_sweep_leads_to_one_of_its_configs(words: str, following: str, here: Here) -> None:
    result = here("sweep", *words.split())
    assert result.err == f"next: {following}\n"
    assert here(*shlex.split(following)[1:]).code == result.code


@pytest.mark.parametrize(
    ("words", "following"),
    [
        ("--params 500K --top 3", "tinylm design --top 3 --params 1.61M"),
        (
            "--params 1M --max-weights-bytes 1KiB --tie",
            "tinylm design --tie --params 1.61M --max-weights-bytes 3.33MiB",
        ),
    ],
)
def test_a_search_without_a_match_leads_to_one_with(words: str, following: str, here: Here) -> None:
    result = here("design", *words.split())
    assert (result.code, result.err) == (1, f"next: {following}\n")
    assert here(*shlex.split(following)[1:]).code == 0


def test_invalid_step() -> None:
    with pytest.raises(AssertionError, match="estimate does not lead to params"):
        next_step("estimate", "params", "tiny")


def test_standard_input_cannot_be_named() -> None:
    assert next_step("params CONFIG", "build", model_arguments("-", ["n_layers=2"])) == ""


def test_arguments_are_quoted() -> None:
    assert model_arguments("my model.yaml", ["norm.kind=rmsnorm"]) == "'my model.yaml' --set norm.kind=rmsnorm"
    assert model_arguments("-x.yaml", None) == "--config -x.yaml"
    assert model_arguments(None, None) == "tiny"


def test_config_of_weights(tmp_path: Path) -> None:
    assert config_arguments(None, None, tmp_path) == str(tmp_path)
    assert config_arguments(None, None, Path("tiny")) == "./tiny", "not the preset"
    assert model_arguments(None, None, tmp_path) == f"--weights {tmp_path}"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("tiny", "--vocab-size 256"),
        ("gpt2", "--family gpt2 --vocab-size 50257"),
        ("llama-3-8b", "--family llama --vocab-size 128256"),
        ("mixtral-8x7b", "--family mixtral --vocab-size 32000"),
        ("nemotron-nano-9b-v2", "--family nemotron-h --vocab-size 131072"),
        ("qwen3-next-80b-a3b", "--family qwen3.5-moe --vocab-size 151936"),
    ],
)
def test_design_arguments(name: str, words: str) -> None:
    assert design_arguments(load_config(name).config) == words


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_family_of_its_members(family: DesignFamily) -> None:
    words = shlex.split(design_arguments(family.config))
    assert words[: words.index("--vocab-size")] == ([] if family.name == "course" else ["--family", family.name])

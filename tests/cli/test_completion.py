"""Completion, as bash, zsh and fish ask for it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tinylm_cli.config.presets import gallery

BIN = Path(sys.executable).parent

# pieces as bash breaks them: at spaces, and at "=" and "@"
QUESTIONS = [
    (["pa"], ["params"]),
    (["s"], ["show", "schema"]),
    (["params", "--config", ""], ["tiny", "small", "medium", "base", *gallery(), "there/", "toy.yaml"]),
    (["params", "--config", "s"], ["small"]),
    (["params", "--config", "llama-3"], ["llama-3-8b", "llama-3.1-8b"]),
    (["params", "--config", "=", "s"], ["small"]),
    (["build", "--config", "there/"], ["there/mine.yml"]),
    (["params", "--b"], ["--by"]),
    (["params", "--by", "=", ""], ["component", "layer", "tensor"]),
    (["build", "--dtype", "bf"], ["bfloat16"]),
    (["validate", "--format", "g"], ["github"]),
    (["params", "--format", ""], ["text", "json", "markdown", "csv", "latex"]),
    (["generate", "--format", ""], ["text", "json", "markdown"]),
    (["validate", "ti"], ["tiny"]),
    (["compare", "tiny", "sm"], ["small"]),
    (["compare", "tiny", "@", "n_l"], ["n_layers="]),
    (["compare", "tiny", "@", "norm.kind", "=", "r"], ["rmsnorm"]),
    (["params", "--set", "n_"], ["n_heads=", "n_layers="]),
    (["params", "--set", "norm.k"], ["norm.kind=layernorm", "norm.kind=rmsnorm"]),
    (["params", "--set", "norm.kind", "="], ["layernorm", "rmsnorm"]),
    (["params", "--set", "tie_weights", "=", "t"], ["true"]),
    (["params", "--set", "d_model", "=", "1"], []),
    (["params", "--set", "d_model=8", "--by", "la"], ["layer"]),
]


@pytest.fixture
def files(folder: Path) -> Path:
    (folder / "there").mkdir()
    (folder / "there" / "mine.yml").touch()
    (folder / "there" / "notes.txt").touch()
    return folder


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_bash_gets_what_takes_the_place_of_its_last_piece(files: Path) -> None:
    """The script that ``--show-completion`` prints, run by bash itself with the pieces that it would pass."""
    script = ['source <(_TINYLM_COMPLETE=source_bash "$0")']
    for pieces, _ in QUESTIONS:
        words = " ".join(f"'{piece}'" for piece in ("tinylm", *pieces))
        script.append(f'COMP_WORDS=({words}); COMP_CWORD={len(pieces)}; COMPREPLY=(); _tinylm_completion "$0"')
        script.append('echo "${COMPREPLY[@]}"')
    done = subprocess.run(
        ["bash", "-c", "\n".join(script), str(BIN / "tinylm")],
        cwd=files,
        env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stderr == ""
    answers = [line.split() for line in done.stdout.splitlines()]
    for (pieces, expected), answer in zip(QUESTIONS, answers, strict=True):
        assert answer == expected, pieces


@pytest.mark.usefixtures("files")
def test_zsh_and_fish_get_whole_words(tinylm: Callable[..., Any]) -> None:
    def zsh(line: str) -> str:
        return str(tinylm(env={"_TINYLM_COMPLETE": "complete_zsh", "_TYPER_COMPLETE_ARGS": line}).out)

    assert '"norm.kind=rmsnorm"' in zsh("tinylm params --set norm.kind=r")
    assert '"small"' in zsh("tinylm build --config ")
    assert '"params":"Count parameters in closed form, by component, layer or tensor."' in zsh("tinylm pa")

    fish = {"_TINYLM_COMPLETE": "complete_fish", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    asked = tinylm(env={**fish, "_TYPER_COMPLETE_ARGS": "tinylm params --set norm.kind="})
    assert asked.out.split() == ["norm.kind=layernorm", "norm.kind=rmsnorm"]


def test_a_strange_question_is_no_traceback(tinylm: Callable[..., Any]) -> None:
    for words, index in (("", ""), ("tinylm", "x"), ("tinylm\n'", "1"), ("tinylm\nparams\n--config", "99")):
        asked = tinylm(env={"_TINYLM_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": index})
        assert "Traceback" not in asked.err
        assert asked.code in (0, 1, 2)

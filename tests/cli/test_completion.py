"""Completion in bash, zsh and fish."""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tinylm_cli.cli.completion import SHELLS
from tinylm_cli.config.presets import gallery

BIN = Path(sys.executable).parent

# pieces as bash breaks them: at spaces, and at "=" and "@"
QUESTIONS = [
    (["pa"], ["params"]),
    (["s"], ["show", "sweep", "schema"]),
    (["params", "--config", ""], ["tiny", "small", "medium", "base", *gallery(), "there/", "toy.yaml"]),
    (["params", "--config", "s"], ["small", "smollm3-3b"]),
    (["params", "--config", "llama-3.2"], ["llama-3.2-1b", "llama-3.2-3b"]),
    (["params", "--config", "=", "s"], ["small", "smollm3-3b"]),
    (["build", "--config", "there/"], ["there/mine.yml"]),
    (["params", "--b"], ["--by"]),
    (["params", "--by", "=", ""], ["component", "layer", "tensor"]),
    (["build", "--dtype", "bf"], ["bfloat16"]),
    (["validate", "--format", "g"], ["github"]),
    (["params", "--format", ""], ["text", "json", "markdown", "csv", "latex"]),
    (["generate", "--format", ""], ["text", "json", "markdown"]),
    (["validate", "ti"], ["tiny"]),
    (["ver"], ["verify"]),
    (["verify", "--format", "s"], ["sarif"]),
    (["verify", "--par"], ["--partial"]),
    (["lint", "--for", "v"], ["vllm"]),
    (["lint", "--for", "vllm,"], ["vllm,hf", "vllm,gguf", "vllm,litgpt", "vllm,megatron", "vllm,torchtitan"]),
    (["lint", "--gpu", "gb2"], ["gb200"]),
    (["export", "ti"], ["tiny"]),
    (["compare", "tiny", "sm"], ["small", "smollm3-3b"]),
    (["compare", "tiny", "@", "n_l"], ["@n_layers="]),
    (["compare", "tiny", "@", "norm.kind", "=", "r"], ["rmsnorm"]),
    (["params", "--set", "n_"], ["n_heads=", "n_layers="]),
    (["params", "--set", "norm.k"], ["norm.kind=layernorm", "norm.kind=rmsnorm"]),
    (["params", "--set", "norm.kind", "="], ["layernorm", "rmsnorm"]),
    (["params", "--set", "tie_weights", "=", "t"], ["true"]),
    (["params", "--set", "d_model", "=", "1"], []),
    (["params", "--set", "d_model=8", "--by", "la"], ["layer"]),
    (["estimate", "--gpu", "gb2"], ["gb200"]),
    (["design", "--gpu", "gb2"], ["gb200"]),
    (["estimate", "--optimizer", "adamw_"], ["adamw_8bit"]),
    (["estimate", "--plan", "a"], ["auto"]),
    (["design", "--plan", "a"], []),
    (["estimate", "--section", "tr"], ["training_memory", "training_time"]),
    (["estimate", "--table", "su"], ["summary"]),
    (["build", "--device", ""], ["cpu", "cuda", "mps"]),
    (["sweep", "--figure", "tot"], ["total_params"]),
    (["compare", "--table", "fi"], ["figures", "fields"]),
    (["design", "--family", "qwen3"], ["qwen3", "qwen3-moe", "qwen3.5", "qwen3.5-moe"]),
    (["estimate", "--plan", "tp", "=", "8,z"], ["8,zero="]),
    (["estimate", "--plan", "tp", "=", "8,schedule", "="], ["1f1b", "gpipe"]),
]


@pytest.fixture
def files(folder: Path) -> Path:
    (folder / "there").mkdir()
    (folder / "there" / "mine.yml").touch()
    (folder / "there" / "notes.txt").touch()
    return folder


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize(("pieces", "expected"), QUESTIONS, ids=lambda words: " ".join(words))
def test_candidates(
    pieces: list[str], expected: list[str], here: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """For the pieces as the script passes them from bash."""
    monkeypatch.setenv("_TINYLM_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", "\n".join(["tinylm", *pieces]))
    monkeypatch.setenv("COMP_CWORD", str(len(pieces)))
    assert here().out.split() == expected


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_bash_pieces(files: Path) -> None:
    """The script that ``--show-completion`` prints, run by bash itself with the pieces that it would pass."""
    some = QUESTIONS[::8]
    script = ['source <("$0" --show-completion bash)']
    for pieces, _ in some:
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
    for (pieces, expected), answer in zip(some, answers, strict=True):
        assert answer == expected, pieces


@pytest.mark.usefixtures("files")
def test_hostile_names(files: Path) -> None:
    """Bash inserts candidates verbatim, so shell syntax is escaped, and names with invisible characters are omitted."""
    for name in ("$(touch ran).yaml", "two words.yaml", "bidi\u202e.yaml", "nl\nx.yaml", "üni.yaml"):
        (files / name).write_text("", encoding="utf-8")
    question = {"_TINYLM_COMPLETE": "complete_bash", "COMP_WORDS": "tinylm\nvalidate\n", "COMP_CWORD": "2"}
    command = [str(BIN / "tinylm")]
    environment = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", **question}
    done = subprocess.run(command, cwd=files, env=environment, capture_output=True, text=True, timeout=60, check=True)
    found = done.stdout.splitlines()
    assert {r"\$\(touch\ ran\).yaml", r"two\ words.yaml", "üni.yaml"} <= set(found)
    assert not [name for name in found if name.startswith(("bidi", "nl", "x.yaml"))]


def test_zsh_and_fish_complete_full_words(tinylm: Callable[..., Any]) -> None:
    def zsh(line: str) -> str:
        return str(tinylm(env={"_TINYLM_COMPLETE": "complete_zsh", "_TYPER_COMPLETE_ARGS": line}).out)

    assert '"norm.kind=rmsnorm"' in zsh("tinylm params --set norm.kind=r")
    assert '"small"' in zsh("tinylm build --config ")
    assert '"params":"Count parameters in closed form, by component, layer or tensor."' in zsh("tinylm pa")

    fish = {"_TINYLM_COMPLETE": "complete_fish", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    asked = tinylm(env={**fish, "_TYPER_COMPLETE_ARGS": "tinylm params --set norm.kind="})
    assert asked.out.split() == ["norm.kind=layernorm", "norm.kind=rmsnorm"]


def test_malformed_completion_request(tinylm: Callable[..., Any]) -> None:
    for words, index in (("", ""), ("tinylm", "x"), ("tinylm\n'", "1"), ("tinylm\nparams\n--config", "99")):
        asked = tinylm(env={"_TINYLM_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": index})
        assert "Traceback" not in asked.err
        assert asked.code in (0, 1, 2)


TYPED = {
    "compare small @n_l": ["compare", "small", "@n_layers="],
    "compare small@n_l": ["compare", "small@n_layers="],
    "compare tiny @norm.kind=r": ["compare", "tiny", "@norm.kind=rmsnorm"],
    "params --set norm.kind=r": ["params", "--set", "norm.kind=rmsnorm"],
    "estimate --gpu gb2": ["estimate", "--gpu", "gb200"],
    "estimate --plan tp=8,ze": ["estimate", "--plan", "tp=8,zero="],
    "build there/m": ["build", "there/mine.yml"],
}


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_interactive_bash(files: Path) -> None:
    """A person at a terminal types, presses Tab, and runs what stands there."""
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(files)
        environment = {"PATH": f"{BIN}:{os.environ['PATH']}", "PS1": "", "TERM": "dumb", "INPUTRC": os.devnull}
        os.execvpe("bash", ["bash", "--norc", "--noprofile", "-i"], environment)
    try:
        os.write(terminal, b"source <(tinylm --show-completion bash); echo read''y\n")
        _read_until(terminal, "ready\r\n")
        for typed, words in TYPED.items():
            os.write(terminal, f"tinylm {typed}\t\x01printf '[%s]' \x05; echo don''e\n".encode())
            shown = _read_until(terminal, "done\r\n")
            assert re.findall(r"\[([^\[\]]*)\]", shown)[-len(words) - 1 :] == ["tinylm", *words], typed
    finally:
        os.kill(child, signal.SIGKILL)
        os.close(terminal)
        os.waitpid(child, 0)


def _read_until(terminal: int, end: str) -> str:
    shown = ""
    while end not in shown:
        assert select.select([terminal], [], [], 60)[0], shown
        shown += os.read(terminal, 65536).decode("utf-8", "replace")
    return shown


def test_scripts_by_name(tinylm: Callable[..., Any], tmp_path: Path) -> None:
    """``--show-completion`` prints each script, and ``--install-completion`` writes the same text."""
    scripts = {shell: tinylm("--show-completion", shell, env={"SHELL": "/bin/bash"}).out for shell in SHELLS}
    assert scripts["zsh"].startswith("#compdef tinylm\n")
    assert "_TINYLM_COMPLETE=complete_zsh tinylm" in scripts["zsh"]
    assert scripts["zsh"].rstrip().endswith("compdef _tinylm_completion tinylm")
    assert scripts["fish"].startswith("complete --command tinylm ")
    assert "_TINYLM_COMPLETE=complete_fish" in scripts["fish"]
    assert "complete -o default -F _tinylm_completion tinylm" in scripts["bash"]
    assert scripts["pwsh"].startswith("Import-Module PSReadLine")
    assert tinylm("--show-completion=zsh").out == scripts["zsh"]
    for shell in ("bash", "zsh", "fish"):
        if shutil.which(shell):
            subprocess.run([shell, "-n"], input=scripts[shell], text=True, check=True, timeout=60)
    refused = tinylm("--show-completion", "csh")
    assert (refused.code, refused.out) == (2, "")
    assert "--show-completion csh: no such shell" in refused.err
    home = {"HOME": str(tmp_path), "SHELL": "/bin/bash"}
    for shell, path in (
        ("bash", ".bash_completions/tinylm.sh"),
        ("zsh", ".zfunc/_tinylm"),
        ("fish", ".config/fish/completions/tinylm.fish"),
    ):
        done = tinylm("--install-completion", shell, env=home)
        assert (done.code, done.out) == (0, "")
        assert done.err == f"wrote {tmp_path / path}; start a new shell to use it\n"
        written = (tmp_path / path).read_text(encoding="utf-8")
        assert written == scripts[shell].rstrip("\n") + ("" if shell == "zsh" else "\n")

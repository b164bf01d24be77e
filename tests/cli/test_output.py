"""Where a report goes: standard output, or a file that is written whole or not at all."""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Here = Callable[..., Any]


@pytest.mark.parametrize("format_", ["text", "json", "markdown"])
def test_file_equals_stdout(format_: str, here: Here, folder: Path) -> None:
    shown = here("params", "--config", "toy.yaml", "--format", format_)
    written = here("params", "--config", "toy.yaml", "--format", format_, "--output", "out")
    assert (written.code, written.out) == (0, "")
    assert (folder / "out").read_text(encoding="utf-8") == shown.out
    assert written.err.startswith("wrote out\n")


@pytest.mark.parametrize(
    "arguments",
    [
        ["build", "--config", "toy.yaml"],
        ["params", "--config", "toy.yaml"],
        ["forward", "--config", "toy.yaml"],
        ["generate", "--config", "toy.yaml"],
        ["check", "--config", "toy.yaml"],
        ["validate", "toy.yaml"],
        ["validate", "toy.yaml", "absent", "--format", "github"],
        ["list"],
        ["show", "--config", "toy.yaml"],
        ["schema"],
    ],
    ids=" ".join,
)
def test_every_report_to_a_file(arguments: list[str], here: Here, folder: Path) -> None:
    formats = ["text", "json", "markdown"] if "github" not in arguments else ["github"]
    for option, format_ in itertools.product(("--output", "-o"), formats):
        result = here(*arguments, "--format", format_, option, f"out.{format_}", "--force")
        assert result.code == (2 if "absent" in arguments else 0)
        assert result.out == ""
        assert re.match(rf"wrote out\.{format_}(: \d errors? in \d files?)?\n", result.err)
        written = (folder / f"out.{format_}").read_text(encoding="utf-8")
        assert written
        assert written.endswith("\n")
        if format_ == "json":
            assert json.loads(written)


@pytest.mark.parametrize("command", ["build", "params", "forward", "generate", "check", "show", "validate"])
def test_set(command: str, here: Here) -> None:
    named = ["toy.yaml"] if command == "validate" else ["--config", "toy.yaml"]
    usual = here(command, *named, "--format", "json")
    changed = here(command, *named, "--set", "vocab_size=200", "--set", "norm.kind=rmsnorm", "--format", "json")
    assert (usual.code, changed.code) == (0, 0)
    assert without_timings(changed.out) != without_timings(usual.out)


def without_timings(text: str) -> str:
    return re.sub(r'"(milliseconds|tokens_per_second)": [\d.e+]+', "", text)


def test_width_of_a_file(here: Here, folder: Path) -> None:
    usual = here("params", columns=80).out
    here("params", "--output", "out", columns=200)
    assert (folder / "out").read_text(encoding="utf-8") == usual


def test_next_step_only_in_text(here: Here) -> None:
    for words in ("--format text", ""):
        assert here("params", "--config", "toy.yaml", *words.split()).err == "next: tinylm build toy.yaml\n"
    for format_ in ("json", "markdown"):
        assert here("params", "--config", "toy.yaml", "--format", format_).err == ""


def test_next_step_is_quoted(here: Here, folder: Path) -> None:
    (folder / "toy.yaml").rename(folder / "$(my toy).yaml")
    said = here("params", "--config", "$(my toy).yaml", "--set", "n_layers=2", "--set", "norm.kind=rmsnorm", columns=40)
    assert said.err == ("next: tinylm build '$(my toy).yaml' --set n_layers=2 --set norm.kind=rmsnorm\n"), (
        "in one line, quoted for the shell"
    )


def test_no_next_step_after_stdin(here: Here, folder: Path) -> None:
    text = (folder / "toy.yaml").read_text(encoding="utf-8")
    assert here("params", "--config", "-", stdin=text).err == ""


def test_dash_is_stdout(here: Here, folder: Path) -> None:
    assert here("list", "--output", "-").out == here("list").out
    assert "wrote" not in here("list", "--output", "-").err
    assert [path.name for path in folder.iterdir()] == ["toy.yaml"]


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        ("there", "error: there is a folder\n  = help: name a file in it\n"),
        ("", "error: the name of a file or folder is empty\n"),
        (".", "error: . is a folder\n  = help: name a file in it\n"),
        ("absent/out", "error: cannot write absent/out: No such file or directory\n  = help: create its folder first"),
        ("toy.yaml/out", "error: cannot write toy.yaml/out: Not a directory\n"),
        ("/proc/version", "error: cannot write /proc/version: No such file or directory\n"),
        ("/dev/full", "error: cannot write /dev/full: No space left on device\n"),
        ("/dev/fd/999", "error: cannot write /dev/fd/999: Bad file descriptor\n"),
        ("x" * 300, "error: cannot write"),
    ],
    ids=["folder", "empty", "here", "missing-folder", "under-a-file", "read-only", "full", "closed", "long"],
)
def test_unwritable(output: str, reason: str, here: Here, folder: Path) -> None:
    (folder / "there").mkdir()
    result = here("list", "--output", output, "--force")
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith(reason)
    assert sorted(path.name for path in folder.iterdir()) == ["there", "toy.yaml"]


class TestStreamsByName:
    """``/dev/stdout`` may be a regular file, which must not be replaced behind the back of the shell that opened it."""

    def test_dev_stdout(self, start: Callable[..., subprocess.Popen[bytes]], folder: Path) -> None:
        with (folder / "log").open("wb") as log:
            log.write(b"first line\n")
            log.flush()
            for name in ("/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"):
                assert start("list", "--output", name, stdout=log).wait(timeout=60) == 0
            log.write(b"last line\n")
        lines = (folder / "log").read_text(encoding="utf-8").splitlines()
        assert (lines[0], lines[-1]) == ("first line", "last line")
        assert sum(line.startswith("small") for line in lines) == 3

    def test_named_pipe(self, start: Callable[..., subprocess.Popen[bytes]], folder: Path) -> None:
        os.mkfifo(folder / "pipe")
        process = start("list", "--output", "pipe")
        assert "small" in (folder / "pipe").read_text(encoding="utf-8")
        assert process.wait(timeout=60) == 0

"""Where a report goes: standard output, or a file that is written whole or not at all."""

from __future__ import annotations

import errno
import itertools
import json
import os
import re
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from tinylm_cli.cli.app import run as run_command
from tinylm_cli.cli.output import StreamError, write_file
from tinylm_cli.errors import OutputError

Here = Callable[..., Any]

NOBODY = 65534


@contextmanager
def no_more_than_anybody() -> Iterator[None]:
    """Give up what root alone may do, where the tests are run by root: it may write everywhere."""
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)


@pytest.mark.parametrize("format_", ["text", "json", "markdown"])
def test_a_file_gets_what_the_screen_would_show(format_: str, here: Here, folder: Path) -> None:
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
def test_every_report_can_go_to_a_file(arguments: list[str], here: Here, folder: Path) -> None:
    formats = ["text", "json", "markdown"] if "github" not in arguments else ["github"]
    for option, format_ in itertools.product(("--output", "-o"), formats):
        result = here(*arguments, "--format", format_, option, f"out.{format_}", "--force")
        assert result.code == (2 if "absent" in arguments else 0)
        assert result.out == ""
        assert result.err.startswith(f"wrote out.{format_}\n")
        written = (folder / f"out.{format_}").read_text(encoding="utf-8")
        assert written
        assert written.endswith("\n")
        if format_ == "json":
            assert json.loads(written)


@pytest.mark.parametrize("command", ["build", "params", "forward", "generate", "check", "show", "validate"])
def test_every_command_that_takes_a_config_takes_changes(command: str, here: Here) -> None:
    named = ["toy.yaml"] if command == "validate" else ["--config", "toy.yaml"]
    usual = here(command, *named, "--format", "json")
    changed = here(command, *named, "--set", "vocab_size=200", "--set", "norm.kind=rmsnorm", "--format", "json")
    assert (usual.code, changed.code) == (0, 0)
    assert without_timings(changed.out) != without_timings(usual.out)


def without_timings(text: str) -> str:
    return re.sub(r'"(milliseconds|tokens_per_second)": [\d.e+]+', "", text)


def test_a_file_is_as_wide_as_a_page_whatever_the_terminal(here: Here, folder: Path) -> None:
    usual = here("params", columns=80).out
    here("params", "--output", "out", columns=200)
    assert (folder / "out").read_text(encoding="utf-8") == usual


def test_the_next_step_is_for_people_only(here: Here) -> None:
    for words in ("--format text", ""):
        assert here("params", "--config", "toy.yaml", *words.split()).err == "next: tinylm build toy.yaml\n"
    for format_ in ("json", "markdown"):
        assert here("params", "--config", "toy.yaml", "--format", format_).err == ""


def test_the_next_step_is_about_the_same_model_and_can_be_pasted(here: Here, folder: Path) -> None:
    (folder / "toy.yaml").rename(folder / "$(my toy).yaml")
    said = here("params", "--config", "$(my toy).yaml", "--set", "n_layers=2", "--set", "norm.kind=rmsnorm", columns=40)
    assert said.err == ("next: tinylm build '$(my toy).yaml' --set n_layers=2 --set norm.kind=rmsnorm\n"), (
        "in one line, quoted for the shell"
    )


def test_what_came_from_standard_input_cannot_be_asked_again(here: Here, folder: Path) -> None:
    text = (folder / "toy.yaml").read_text(encoding="utf-8")
    assert here("params", "--config", "-", stdin=text).err == ""


def test_a_dash_is_standard_output(here: Here, folder: Path) -> None:
    assert here("list", "--output", "-").out == here("list").out
    assert "wrote" not in here("list", "--output", "-").err
    assert [path.name for path in folder.iterdir()] == ["toy.yaml"]


class TestWholeOrNotAtAll:
    def test_what_was_there_is_replaced_by_a_finished_file(self, folder: Path) -> None:
        target = folder / "out"
        target.write_text("before", encoding="utf-8")
        before = target.stat().st_ino
        with target.open(encoding="utf-8") as reader:
            write_file(target, "after\n")
            assert reader.read() == "before", "a reader keeps what it opened"
        assert target.read_text(encoding="utf-8") == "after\n"
        assert target.stat().st_ino != before

    def test_mode_of_the_old_file_is_kept_and_a_new_one_follows_the_umask(self, folder: Path) -> None:
        (folder / "old").touch(mode=0o600)
        before = os.umask(0o027)
        try:
            write_file(folder / "old", "x")
            write_file(folder / "new", "x")
        finally:
            os.umask(before)
        assert stat.S_IMODE((folder / "old").stat().st_mode) == 0o600
        assert stat.S_IMODE((folder / "new").stat().st_mode) == 0o640

    def test_a_link_stays_a_link(self, folder: Path) -> None:
        (folder / "there").mkdir()
        (folder / "link").symlink_to("there/real")
        for text in ("first", "second"):
            write_file(folder / "link", text)
            assert (folder / "link").is_symlink()
            assert (folder / "there" / "real").read_text(encoding="utf-8") == text

    def test_a_failure_on_the_way_leaves_the_old_file_alone(
        self, here: Here, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (folder / "out").write_text("before", encoding="utf-8")

        def full(_descriptor: int) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(os, "fsync", full)
        result = here("params", "--output", "out", "--force")
        assert result.code == 2
        assert result.err == "error: cannot write out: No space left on device\n"
        assert (folder / "out").read_text(encoding="utf-8") == "before"
        assert sorted(path.name for path in folder.iterdir()) == ["out", "toy.yaml"]

    def test_a_name_that_is_taken_meanwhile_is_not_overwritten(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The file appears after every look at it, the moment before ours gets its name."""
        link = os.link

        def too_late(source: Path, target: Path) -> None:
            Path(target).write_text("theirs", encoding="utf-8")
            link(source, target)

        monkeypatch.setattr(os, "link", too_late)
        with pytest.raises(OutputError, match="out exists"):
            write_file(Path("out"), "ours", overwrite=False)
        assert (folder / "out").read_text(encoding="utf-8") == "theirs"
        assert sorted(path.name for path in folder.iterdir()) == ["out", "toy.yaml"]

    def test_a_file_system_without_hard_links_does(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def refused(_source: Path, _target: Path) -> None:
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

        monkeypatch.setattr(os, "link", refused)
        write_file(Path("out"), "first", overwrite=False)
        with pytest.raises(OutputError, match="out exists"):
            write_file(Path("out"), "second", overwrite=False)
        assert (folder / "out").read_text(encoding="utf-8") == "first"

    def test_a_file_its_owner_made_read_only_is_not_replaced(self) -> None:
        with TemporaryDirectory() as folder:
            Path(folder).chmod(0o777)
            out = Path(folder) / "out"
            with no_more_than_anybody():
                out.touch(mode=0o400)
                with pytest.raises(OutputError, match="Permission denied"):
                    write_file(out, "x")
            assert out.read_bytes() == b""


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        ("there", "error: there is a folder\n  = help: name a file in it\n"),
        ("", "error: an empty word names no file or folder\n"),
        (".", "error: . is a folder\n  = help: name a file in it\n"),
        ("absent/out", "error: cannot write absent/out: No such file or directory\n"),
        ("toy.yaml/out", "error: cannot write toy.yaml/out: Not a directory\n"),
        ("/proc/version", "error: cannot write /proc/version: No such file or directory\n"),
        ("/dev/full", "error: cannot write /dev/full: No space left on device\n"),
        ("/dev/fd/999", "error: cannot write /dev/fd/999: Bad file descriptor\n"),
        ("x" * 300, "error: cannot write"),
    ],
    ids=["folder", "empty", "here", "missing-folder", "under-a-file", "read-only", "full", "closed", "long"],
)
def test_what_cannot_be_written_is_refused(output: str, reason: str, here: Here, folder: Path) -> None:
    (folder / "there").mkdir()
    result = here("list", "--output", output, "--force")
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith(reason)
    assert sorted(path.name for path in folder.iterdir()) == ["there", "toy.yaml"]


class TestStreamsByName:
    """``/dev/stdout`` may be a regular file, which must not be replaced behind the back of the shell that opened it."""

    def test_output_by_its_name_goes_where_the_shell_sent_it(
        self, start: Callable[..., subprocess.Popen[bytes]], folder: Path
    ) -> None:
        with (folder / "log").open("wb") as log:
            log.write(b"first line\n")
            log.flush()
            for name in ("/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"):
                assert start("list", "--output", name, stdout=log).wait(timeout=60) == 0
            log.write(b"last line\n")
        lines = (folder / "log").read_text(encoding="utf-8").splitlines()
        assert (lines[0], lines[-1]) == ("first line", "last line")
        assert sum(line.startswith("small") for line in lines) == 3

    def test_a_pipe_with_a_name_is_written_to(
        self, start: Callable[..., subprocess.Popen[bytes]], folder: Path
    ) -> None:
        os.mkfifo(folder / "pipe")
        process = start("list", "--output", "pipe")
        assert "small" in (folder / "pipe").read_text(encoding="utf-8")
        assert process.wait(timeout=60) == 0


class TestWhoFailed:
    """An error of the system is about standard output only where it came from writing to it."""

    @pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EBADF, errno.EDQUOT])
    def test_what_fails_elsewhere_is_not_blamed_on_the_output(
        self, number: int, here: Here, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*_: object, **__: object) -> None:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr("tinylm_cli.analysis.params.analyze_params", fail)
        result = here("build", "--config", "toy.yaml")
        assert (result.code, result.out) == (2, "")
        assert result.err.startswith("error: unexpected OSError: ")

    @pytest.mark.parametrize(
        "arguments", [["list"], ["--version"], ["--help"], ["list", "--help"], ["list", "--output", "-"]], ids=" ".join
    )
    def test_what_standard_output_refuses_goes_to_main(
        self, arguments: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(_text: str) -> int:
            raise OSError(errno.ENOTCONN, os.strerror(errno.ENOTCONN))

        monkeypatch.setattr(sys.stdout, "write", fail)
        with pytest.raises(StreamError, match="not connected"):
            run_command(arguments)

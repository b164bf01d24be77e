"""Real processes with pipes, signals, closed streams and resource limits: exit codes and error output."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Start = Callable[..., subprocess.Popen[bytes]]

TINYLM = Path(sys.executable).parent / "tinylm"
MANY_ROWS = ("params", "--config", "tiny", "--by", "tensor", "--expand", "--set", "n_layers=300")
WRONG = "vocab_size: 256\nd_model: 8\nn_heads: 3\nn_layers: 1\nd_ff: 16\n"


def ended(process: subprocess.Popen[bytes]) -> tuple[int, str]:
    """Return the exit status and the standard error of a process."""
    _, said = process.communicate(timeout=60)
    return process.returncode, (said or b"").decode()


def gone() -> int:
    """Return the writing end of a pipe whose reader has gone."""
    reader, writer = os.pipe()
    os.close(reader)
    return writer


def catches_hangups(process: subprocess.Popen[bytes]) -> bool:
    """Return whether our own code runs in a process: before it does, Ctrl-C is Python's business."""
    status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
    caught = next(line for line in status.splitlines() if line.startswith("SigCgt:"))
    return bool(int(caught.split()[1], 16) & 1 << (signal.SIGHUP - 1))


@pytest.mark.parametrize(
    ("code", "arguments"),
    [
        (0, ["params", "--config", "toy.yaml"]),
        (0, []),
        (1, ["params", "--config", "wrong.yaml"]),
        (2, ["nonsense"]),
    ],
)
def test_exit_codes(code: int, arguments: list[str], folder: Path, tinylm: Callable[..., Any]) -> None:
    (folder / "wrong.yaml").write_text(WRONG, encoding="utf-8")
    result = tinylm(*arguments)
    assert result.code == code
    assert bool(result.out) == (code == 0)
    assert ("error" in result.err) == (code != 0)


class TestClosedPipe:
    def test_head(self, start: Start) -> None:
        for arguments in (["params"], ["--help"], MANY_ROWS, [*MANY_ROWS, "--format", "json"]):
            process = start(*arguments)
            assert process.stdout is not None
            assert process.stdout.readline()
            process.stdout.close()
            assert process.stderr is not None
            said = process.stderr.read().decode()
            assert process.wait(timeout=60) in ((141,) if "--expand" in arguments else (0, 141)), arguments
            assert all(line.startswith("next: ") for line in said.splitlines()), said

    @pytest.mark.parametrize(
        "arguments",
        [["params"], ["--help"], ["list", "--help"], ["--version"], ["show"], ["list", "--format", "json"], MANY_ROWS],
        ids=" ".join,
    )
    def test_closed_pipe(self, arguments: list[str], start: Start) -> None:
        assert ended(start(*arguments, stdout=gone())) == (141, "")

    def test_failure_with_a_closed_pipe(self, start: Start) -> None:
        assert ended(start("params", "--config", "absent", stderr=gone()))[0] == 2
        assert ended(start("params", stdout=subprocess.DEVNULL, stderr=gone()))[0] == 0

    def test_pipe_as_output_file(self, start: Start) -> None:
        writer = gone()
        process = start(*MANY_ROWS, "--output", f"/dev/fd/{writer}", pass_fds=(writer,))
        assert ended(process) == (141, "")


class TestFullDisk:
    @pytest.mark.parametrize(
        "arguments",
        [["params"], ["--help"], ["--version"], ["show"], ["list", "--format", "json"]],
        ids=" ".join,
    )
    def test_full_disk(self, arguments: list[str], start: Start) -> None:
        with Path("/dev/full").open("wb") as full:
            process = start(*arguments, stdout=full)
        assert ended(process) == (2, "error: cannot write the output: No space left on device\n")

    def test_full_disk_with_a_model(self, start: Start) -> None:
        with Path("/dev/full").open("wb") as full:
            process = start("generate", "--config", "toy.yaml", stdout=full)
        assert ended(process) == (2, "error: cannot write the output: No space left on device\n")

    def test_full_stderr(self, start: Start) -> None:
        with Path("/dev/full").open("wb") as full:
            assert start("params", stdout=subprocess.DEVNULL, stderr=full).wait(timeout=60) == 0
            assert start("params", "--config", "absent", stderr=full).wait(timeout=60) == 2


class TestClosedStreams:
    """Streams closed with ``<&-``, ``>&-`` and ``2>&-``."""

    @staticmethod
    def run(redirections: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        shell = ["bash", "-c", f'exec "$0" "$@" {redirections}', str(TINYLM), *arguments]
        environment = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "OMP_NUM_THREADS": "1"}
        return subprocess.run(shell, capture_output=True, text=True, timeout=60, env=environment, check=False)

    @pytest.mark.parametrize("arguments", [["params"], ["--help"], ["--version"], ["show", "--format", "json"]])
    @pytest.mark.usefixtures("folder")
    def test_closed_stdout(self, arguments: list[str]) -> None:
        done = self.run(">&-", *arguments)
        assert (done.returncode, done.stderr) == (2, "error: cannot write the output: Bad file descriptor\n")

    @pytest.mark.usefixtures("folder")
    def test_closed_stdout_and_stderr(self) -> None:
        assert self.run(">&- 2>&-", "params").returncode == 2

    @pytest.mark.usefixtures("folder")
    def test_closed_stdin(self) -> None:
        assert self.run("<&-", "params").returncode == 0
        for arguments in (["params", "--config", "-"], ["forward", "--meta", "--tokens", "-"]):
            done = self.run("<&-", *arguments)
            assert done.returncode == 2
            assert "standard input is closed" in done.stderr
        done = self.run("<&-", "validate", "-", "tiny")
        assert done.returncode == 2
        assert "standard input is closed" in done.stdout

    @pytest.mark.usefixtures("folder")
    def test_closed_stderr(self) -> None:
        assert self.run("2>&-", "params").stdout == self.run("", "params").stdout
        assert self.run("2>&-", "params", "--config", "absent").returncode == 2
        assert self.run("2>&-", "nonsense").returncode == 2

    def test_closed_stdout_of_a_silent_command(self, folder: Path) -> None:
        assert self.run("<&- >&- 2>&-", "new", "mine").returncode == 0
        assert (folder / "mine.yaml").is_file()

    def test_descriptors_of_closed_streams(self, folder: Path, here: Callable[..., Any]) -> None:
        """A warning written to number 2 must not end up in the weights."""
        done = self.run("<&- 2>&-", "build", "--config", "toy.yaml", "--save", "model")
        assert done.returncode == 0
        assert here("forward", "--weights", "model").code == 0
        assert sorted(path.name for path in folder.iterdir()) == ["model", "toy.yaml"]


class TestInterrupt:
    def test_at_any_moment(self, start: Start, folder: Path) -> None:
        """While rows are written, torch is imported, a model is built or checked, and tokens are generated."""
        rows = ("params", "--config", "tiny", "--by", "tensor", "--expand", "--set", "n_layers=3000")
        endless = ("generate", "--config", "toy.yaml", "--max-new-tokens", "1000000")
        waiting = [
            (0.0, signal.SIGINT, start(*rows, "--output", "rows.txt")),
            (0.0, signal.SIGHUP, start(*rows, "--output", "rows.txt")),
            (0.1, signal.SIGINT, start("build", "--config", "base", "--set", "n_layers=24", "--save", "saved")),
            (0.5, signal.SIGINT, start("build", "--config", "tiny", "--meta", "--set", "n_layers=30000", "-f", "json")),
            (0.6, signal.SIGINT, start("check", "--config", "base")),
            (2.5, signal.SIGINT, start(*endless, "--output", "ids.txt")),
        ]
        expected = [(process, 128 + number) for _, number, process in waiting]
        begun: dict[int, float] = {}
        while waiting:
            time.sleep(0.01)
            for moment, number, process in tuple(waiting):
                assert process.poll() is None, process.args
                if process.pid not in begun and catches_hangups(process):
                    begun[process.pid] = time.monotonic()
                if process.pid in begun and time.monotonic() >= begun[process.pid] + moment:
                    process.send_signal(number)
                    waiting.remove((moment, number, process))
        for process, status in expected:
            out, said = process.communicate(timeout=60)
            assert (process.returncode, out) == (status, b""), process.args
            noted = "generate" in str(process.args) and said.startswith(b"Beyond max_len 32,") and said.endswith(b".\n")
            assert said == b"" or noted, process.args
        assert sorted(path.name for path in folder.iterdir()) == ["toy.yaml"]

    @pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
    def test_while_weights_are_written(self, number: signal.Signals, status: int, start: Start, folder: Path) -> None:
        process = start("build", "--config", "small", "--set", "n_layers=16", "--save", "model")
        while not any(path.name.startswith(".model.") for path in folder.iterdir()) and process.poll() is None:
            time.sleep(0.002)
        process.send_signal(number)
        code, said = ended(process)
        left = sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))
        whole = ["model", "model/config.yaml", "model/model.safetensors", "toy.yaml"]
        assert (code, said, left) in [(status, "", ["toy.yaml"]), (status, "", whole)] or (code, left) == (0, whole)

    @pytest.mark.parametrize(("number", "status"), [("SIGINT", 130), ("SIGTERM", 143)])
    def test_termination_sent_twice(self, number: str, status: int) -> None:
        program = f"""
import os, signal, sys
import tinylm_cli.__main__ as command
import tinylm_cli.cli.app as app
def interrupted(_):
    os.kill(os.getpid(), signal.{number})
leave = command._leave
def hurried(code):
    os.kill(os.getpid(), signal.{number})
    leave(code)
app.run, command._leave = interrupted, hurried
command.main()
"""
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (status, "", "")

    def test_nohup(self, start: Start) -> None:
        rows = ("params", "--config", "tiny", "--by", "tensor", "--expand", "--set", "n_layers=1000")
        process = start(
            *rows, stdout=subprocess.DEVNULL, preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)
        )
        time.sleep(0.3)
        process.send_signal(signal.SIGHUP)
        assert ended(process)[0] == 0


class TestUnexpectedError:
    """An error of ours: told as such, in a line, with a way to see more."""

    BROKEN = """
import sys
import tinylm_cli.analysis.params as broken
def fail(*_, **__):
    raise ZeroDivisionError("a \\x1b[31mred\\x1b[0m herring")
broken.analyze_params = fail
sys.argv = ["tinylm", *sys.argv[1:]]
from tinylm_cli.__main__ import main
main()
"""

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", self.BROKEN, "params", "--config", "tiny", *arguments]
        environment = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "COLUMNS": "80"}
        return subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment, check=False)

    def test_message(self) -> None:
        done = self.run()
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr == (
            "error: unexpected ZeroDivisionError: a \\x1b[31mred\\x1b[0m herring\n"
            "  = help: add --debug to see where; please report it\n"
        )

    @pytest.mark.parametrize("place", [["--debug"], ["--format", "json", "--debug"]])
    def test_debug(self, place: list[str]) -> None:
        done = self.run(*place)
        assert done.returncode == 2
        assert done.stderr.startswith("Traceback (most recent call last):\n")
        assert 'File "<string>", line 5, in fail\n' in done.stderr
        assert "\x1b" not in done.stderr
        assert done.stderr.endswith("herring\n  = help: please report it\n")
        assert bool(done.stdout) == ("json" in place)

    def test_debug_before_the_command(self) -> None:
        before = [sys.executable, "-c", self.BROKEN, "--debug", "params", "--config", "tiny"]
        done = subprocess.run(before, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 2
        assert "Traceback" in done.stderr

    def test_removed_folder(self, tmp_path: Path) -> None:
        command = f'mkdir "{tmp_path}/nowhere" && cd "{tmp_path}/nowhere" && rmdir "$PWD" && exec "{TINYLM}" '
        assert subprocess.run(["bash", "-c", f"{command} params"], capture_output=True, check=False).returncode == 0
        done = subprocess.run(
            ["bash", "-c", f"{command} list --output out.txt"], capture_output=True, text=True, check=False
        )
        assert done.returncode == 2
        assert "cannot write out.txt" in done.stderr
        done = subprocess.run(["bash", "-c", f"{command} validate ."], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (2, "")
        assert "the current folder no longer exists" in done.stderr

    @pytest.mark.parametrize("command", ["validate", "params", "show", "compare", "forward --weights", "import"])
    def test_long_name(self, command: str, here: Callable[..., Any]) -> None:
        done = here(*command.split(), "a" * 300)
        assert done.code == 2
        assert "unexpected" not in done.err
        assert "error: " in done.out + done.err

    def test_without_torch(self, tmp_path: Path) -> None:
        missing = "raise ModuleNotFoundError(\"No module named 'torch'\", name='torch')"
        (tmp_path / "torch.py").write_text(missing, encoding="utf-8")
        environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
        done = subprocess.run([TINYLM, "build"], capture_output=True, text=True, env=environment, check=False)
        assert done.returncode == 2
        assert done.stderr.startswith("error: torch is not installed")
        assert "pip install 'torch" in done.stderr

    @pytest.mark.parametrize("limit", [26_000, 30_000, 34_000, 38_000, 42_000])
    def test_memory_limit(self, limit: int) -> None:
        """If memory runs out at any point after the first import: one line, exit code 2; else the command succeeds."""
        words = ["bash", "-c", f'ulimit -v {limit} && exec "{TINYLM}" params']
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if "Fatal Python error" in done.stderr or "error while loading shared libraries" in done.stderr:
            pytest.skip("Python itself cannot start in so little memory")
        if "memory allocation of" in done.stderr:
            pytest.skip("the compiled part of pydantic aborts, which Python cannot catch")
        assert "Traceback" not in done.stderr
        assert done.returncode == 0 or (done.returncode, done.stdout) == (2, "")
        assert done.returncode == 0 or done.stderr.startswith("error: out of memory")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
@pytest.mark.parametrize("command", ["params w", "show w", "validate w", "import w", "build --weights w"])
def test_config_that_is_a_pipe(command: str, folder: Path, tinylm: Callable[..., Any]) -> None:
    """The error says that it is a pipe, and opening it does not wait for a writer."""
    (folder / "w").mkdir()
    os.mkfifo(folder / "w" / "config.json")
    done = tinylm(*command.split())
    assert done.code == 2
    assert "w/config.json: not a regular file" in done.out + done.err


ODD_NAMES = (b"$(touch here)\x1b[31m's.yaml", b"a\n::error::x.yaml", "\u202e é.yaml".encode(), b"##[x.yaml")


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@pytest.mark.parametrize(
    ("command", "name"),
    [
        *((command, b"m\xff.yaml") for command in ("params", "estimate --gpu h100", "compare @n_layers=1")),
        *(("show", name) for name in ODD_NAMES),
    ],
)
def test_suggested_command_is_for_bash(
    command: str, name: bytes, folder: Path, here: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The line after ``next:`` is a shell command for any file name; bash passes the name unchanged."""
    (folder / "toy.yaml").rename(folder / os.fsdecode(name))
    verb, *words = command.split()
    said = here(verb, os.fsdecode(name), *words, columns=40).err
    assert said.isascii() or "é" in os.fsdecode(name)
    assert said.startswith("next: tinylm ")
    assert said.count("\n") == 1
    (folder / "bin").mkdir()
    (folder / "bin" / "tinylm").write_text("#!/bin/bash\nprintf '%s\\0' \"$@\"\n", encoding="utf-8")
    (folder / "bin" / "tinylm").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder / 'bin'}:{os.environ['PATH']}")
    shell = ["bash", "-c", said.removeprefix("next: ")]
    passed = subprocess.run(shell, capture_output=True, timeout=120, check=True).stdout.split(b"\0")
    assert any(word in (name, b"./" + name) for word in passed), passed
    assert here(*map(os.fsdecode, passed[:-1])).code == 0
    assert not (folder / "here").exists()

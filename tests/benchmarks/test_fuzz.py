"""The fuzzer's script runs its cases, repeats one by its number, and fails only on new findings."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import pytest

from benchmarks import fuzz
from benchmarks.fuzz import Result, Worker, main
from tests.fuzzing import known_gaps
from tests.fuzzing.checks import Finding, Outcome
from tests.fuzzing.inputs import Case
from tests.fuzzing.known_gaps import Gap

FUZZ = Path(__file__).resolve().parents[2] / "benchmarks" / "fuzz.py"


def test_script(tmp_path: Path) -> None:
    command = [sys.executable, str(FUZZ), "--seed", "1", "--cases", "12", "--kinds", "set", "assertion"]
    done = subprocess.run(command, capture_output=True, cwd=tmp_path, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "12 inputs in" in done.stdout
    assert "by kind: set" in done.stdout
    assert "exit codes:" in done.stdout
    assert "nothing new" in done.stdout
    assert not list(tmp_path.iterdir())


def test_one_case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert main(["--seed", "1", "--case", "3", "--kinds", "set"]) == 0
    said = capsys.readouterr().out
    assert "kind: set" in said
    assert "command: tinylm " in said
    assert f"files: {tmp_path}" in said
    assert list(tmp_path.glob("*/run/case/m.yaml"))


def test_time_budget(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seconds", "0"]) == 0
    assert "0 inputs" in capsys.readouterr().out


def test_interrupt(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The totals are of the cases that ended; the next run begins with the first one that did not."""
    rounds = iter(range(3))

    def interrupted(pipes: Any, **timeout: float) -> Any:
        if next(rounds, None) is None:
            raise KeyboardInterrupt
        return wait(pipes, **timeout)

    monkeypatch.setattr(fuzz, "wait", interrupted)
    assert main(["--seed", "1", "--first", "7", "--workers", "1", "--kinds", "assertion"]) == 0
    said = capsys.readouterr().out
    assert "interrupted; to continue, add --first 10\n" in said
    assert "3 inputs in" in said


def test_findings(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A new finding is printed with its number and decides the exit code; a known one is only counted."""

    def found(case: Case, _outcome: Outcome) -> list[Finding]:
        return [Finding("crash", "KeyError: 'x'"), Finding("word", "an unexpected argument")] if case else []

    monkeypatch.setattr(fuzz, "findings", found)
    monkeypatch.setattr(known_gaps, "KNOWN_GAPS", (Gap("word", "an unexpected argument", "a reason", None),))
    assert main(["--cases", "3", "--first", "5", "--kinds", "set", "--workers", "1"]) == 1
    said = capsys.readouterr().out
    assert said.count('crash: "KeyError') == 1
    assert "case 5  set  crash" in said
    assert "found 3 times: crash of set, cases 5, 6, 7" in said
    assert "word" not in said


def test_workers(capsys: pytest.CaptureFixture[str]) -> None:
    """Several processes run the same cases as one."""
    said = []
    for workers in ("1", "3"):
        assert main(["--cases", "14", "--workers", workers, "--kinds", "set", "assertion"]) == 0
        lines = capsys.readouterr().out.splitlines()
        said.append([line for line in lines if line.startswith(("by kind", "exit codes"))])
    assert said[0] == said[1]


def ended(worker: Worker, number: int) -> Result:
    worker.begin(number)
    while (result := worker.result()) is None:
        wait([worker.pipe], timeout=1)
    assert worker.number is None
    return result


def test_worker_that_dies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def die(*_: Any) -> Outcome:
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr(fuzz, "run_here", die)
        worker = Worker(0, ["set"], tmp_path / "run")
    result = ended(worker, 1)
    assert result.code == -9
    assert {finding.check for finding in result.found} >= {"exit code", "crash"}
    assert ended(worker, 2).code in (0, 1, 2)
    worker.end()


def test_worker_that_does_not_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(fuzz, "run_here", lambda *_: time.sleep(100))
        worker = Worker(0, ["set"], tmp_path / "run")
    with monkeypatch.context() as patch:
        patch.setattr(fuzz, "TIMEOUT", 0.05)
        result = ended(worker, 1)
    assert result.code is None
    assert [finding.check for finding in result.found] == ["exit code"]
    assert ended(worker, 2).code in (0, 1, 2)
    worker.end()

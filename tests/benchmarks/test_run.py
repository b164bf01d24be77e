"""The benchmark script runs and writes its measurements; speeds are not checked."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.measure import Figures, Options, Row, Target, alternate, call
from benchmarks.run import GROUPS, main

RUN = Path(__file__).resolve().parents[2] / "benchmarks" / "run.py"


def test_startup(tmp_path: Path) -> None:
    output = tmp_path / "results.json"
    command = [sys.executable, str(RUN), "--only", "startup", "--quick", "--rounds", "1", "--output", str(output)]
    done = subprocess.run(
        command, capture_output=True, stdin=subprocess.DEVNULL, cwd=tmp_path, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    document = json.loads(output.read_text(encoding="utf-8"))
    assert document["schema_version"] == 1
    assert document["quick"] is True
    assert 0 <= (document["machine"]["others_share"] or 0) <= 1
    rows = {(row["name"], row["against"]): row for row in document["rows"]}
    for command_line in ("tinylm --help", "tinylm params", "tinylm validate configs/tiny.yaml", "tinylm list"):
        row = rows[command_line, "imports"]
        assert row["rounds"] == 1
        assert row["target"] == {"limit": 1.3, "at_least": False}
        assert row["ratio"] == pytest.approx(row["measured"]["median"] / row["baseline"]["median"])
        assert row["met"] == (row["ratio"] <= 1.3)
        assert command_line in done.stdout
    assert rows["commands that import torch", ""]["measured"]["median"] == 0


def test_unknown_group(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["--only", "nonsense"])
    assert "nonsense" in capsys.readouterr().err


def test_strict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    missed = Row("slow", "fast", "s", 1, Figures(2.0, 2.0), Figures(1.0, 1.0), Target(1.0))
    monkeypatch.setitem(GROUPS, "depth", lambda _: iter([missed]))
    arguments = ["--only", "depth", "--output", str(tmp_path / "results.json")]
    assert main(arguments) == 0
    assert main([*arguments, "--strict"]) == 1


def test_ratios() -> None:
    ours, theirs = Figures(median=2.0, min=1.0), Figures(median=6.0, min=4.0)
    slower = Row("", "", "s", 1, ours, theirs, Target(1.0))
    faster = Row("", "", "s", 1, ours, theirs, Target(3.0, at_least=True))
    assert slower.ratio == pytest.approx(1 / 3)
    assert (slower.ratio_of_mins, slower.met) == (0.25, True)
    assert (faster.ratio, faster.ratio_of_mins, faster.met) == (3.0, 4.0, True)
    assert Row("", "", "s", 1, ours, theirs, None).met is None


def test_alternate() -> None:
    turns: list[str] = []

    def program(name: str) -> float:
        turns.append(name)
        return float(len(turns))

    figures = alternate({"a": lambda: program("a"), "b": lambda: program("b")}, rounds=3)
    assert "".join(turns) == "ab" + "ab" + "ba" + "ab"
    assert figures["a"] == Figures(median=6.0, min=3.0)


def test_repeats() -> None:
    calls: list[None] = []
    sample = call(lambda: calls.append(None), at_least_seconds=0.001)
    sample()
    assert len(calls) > 3


def test_rounds() -> None:
    assert Options().rounds_or(9) == 9
    assert Options(quick=True).rounds_or(9) == 3
    assert Options(rounds=5, quick=True).rounds_or(9) == 5

"""The training example runs as a script, and its loss falls."""

from __future__ import annotations

import re
import runpy
import sys
from pathlib import Path

import pytest

from tests.examples.run_example import run_example

TRAIN = Path(__file__).resolve().parents[2] / "examples" / "train.py"
TOY = "vocab_size: 100\nd_model: 32\nn_heads: 2\nn_layers: 2\nd_ff: 64\nmax_len: 64\n"


def assert_loss_falls(printed: str) -> None:
    losses = [float(loss) for loss in re.findall(r"^step +\d+  loss ([\d.]+)$", printed, re.MULTILINE)]
    assert len(losses) == len(printed.splitlines()) == 7
    assert losses[-1] < 0.8 * losses[0]


def test_tiny_as_a_person_runs_it(tmp_path: Path) -> None:
    assert_loss_falls(run_example(TRAIN, tmp_path))


def test_fewer_tokens_than_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "toy.yaml").write_text(TOY, encoding="utf-8")
    monkeypatch.setattr(sys, "argv", [str(TRAIN), str(tmp_path / "toy.yaml")])
    runpy.run_path(str(TRAIN))
    assert_loss_falls(capsys.readouterr().out)


def test_fits_on_a_screen() -> None:
    assert len(TRAIN.read_text(encoding="utf-8").splitlines()) <= 30

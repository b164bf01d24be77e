"""The training example runs as a person would run it, and its loss falls."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

TRAIN = Path(__file__).resolve().parents[2] / "examples" / "train.py"
TOY = "vocab_size: 100\nd_model: 32\nn_heads: 2\nn_layers: 2\nd_ff: 64\nmax_len: 64\n"


@pytest.mark.parametrize("config", [[], ["toy.yaml"]], ids=["tiny", "a config with fewer tokens than bytes"])
def test_loss_falls(config: list[str], tmp_path: Path) -> None:
    (tmp_path / "toy.yaml").write_text(TOY, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-W", "error", TRAIN, *config],
        capture_output=True,
        stdin=subprocess.DEVNULL,
        cwd=tmp_path,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    losses = [float(loss) for loss in re.findall(r"^step +\d+  loss ([\d.]+)$", done.stdout, re.MULTILINE)]
    assert len(losses) == len(done.stdout.splitlines()) == 7
    assert losses[-1] < 0.8 * losses[0]


def test_fits_on_a_screen() -> None:
    assert len(TRAIN.read_text(encoding="utf-8").splitlines()) <= 30

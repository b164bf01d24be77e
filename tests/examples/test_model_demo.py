"""The example is run as a person would run it, and what it says must be true."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

DEMO = Path(__file__).resolve().parents[2] / "examples" / "model_demo.py"


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return what it prints: each line's text by the word before its first colon."""
    done = subprocess.run(
        [sys.executable, "-W", "error", DEMO],
        capture_output=True,
        stdin=subprocess.DEVNULL,
        cwd=tmp_path_factory.mktemp("elsewhere"),
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return dict(line.split(": ", 1) for line in done.stdout.splitlines())


def test_closed_form_and_model_agree(lines: dict[str, str]) -> None:
    assert lines["tiny"] == "826,112 parameters in closed form, 826,112 instantiated"
    in_custom = 500 * 96 + 1024 * 96 + 3 * (4 * (96 * 96 + 96) + (96 * 384 + 384) + (384 * 96 + 96) + 2 * 96) + 96
    assert lines["custom"] == f"{in_custom:,} parameters in closed form, {in_custom:,} instantiated"


def test_forward_shapes(lines: dict[str, str]) -> None:
    assert lines["forward"] == "tokens (1, 3) give logits (1, 3, 256)"


def test_only_the_changed_position_moves(lines: dict[str, str]) -> None:
    assert lines["causality"] == "positions whose logits changed: [2]"


def test_tying_savings(lines: dict[str, str]) -> None:
    assert lines["tying"] == f"one tensor: True, saving {256 * 128 * 4:,} bytes"


@pytest.mark.parametrize("way", ["greedy", "sampled"])
def test_generation_continues_the_prompt(lines: dict[str, str], way: str) -> None:
    ids = [int(word) for word in re.findall(r"\d+", lines[way])]
    assert ids[:3] == [5, 12, 8]
    assert len(ids) == 8
    assert all(token < 256 for token in ids)


def test_save_and_load(lines: dict[str, str]) -> None:
    size, rest = lines["saved"].split(" bytes, ")
    header = int(size.replace(",", "")) - 4 * 826_112
    assert 0 < header < 16_384
    assert rest == "and the loaded model predicts the same: True"


def test_it_stays_short_enough_to_read() -> None:
    assert len(DEMO.read_text(encoding="utf-8").splitlines()) < 120

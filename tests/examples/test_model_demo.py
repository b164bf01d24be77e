"""The example runs as a script, and its claims hold."""

from __future__ import annotations

import re
from pathlib import Path

from tests.examples.run_example import run_example

DEMO = Path(__file__).resolve().parents[2] / "examples" / "model_demo.py"


def test_what_it_prints(tmp_path: Path) -> None:
    printed = run_example(DEMO, tmp_path)
    lines = dict(line.split(": ", 1) for line in printed.splitlines())
    assert lines["tiny"] == "826,112 parameters in closed form, 826,112 instantiated"
    in_custom = 500 * 96 + 1024 * 96 + 3 * (4 * (96 * 96 + 96) + (96 * 384 + 384) + (384 * 96 + 96) + 2 * 96) + 96
    assert lines["custom"] == f"{in_custom:,} parameters in closed form, {in_custom:,} instantiated"
    assert lines["forward"] == "tokens (1, 3) give logits (1, 3, 256)"
    assert lines["causality"] == "positions whose logits changed: [2]"
    assert lines["tying"] == f"one tensor: True, saving {256 * 128 * 4:,} bytes"
    for way in ("greedy", "sampled"):
        ids = [int(word) for word in re.findall(r"\d+", lines[way])]
        assert ids[:3] == [5, 12, 8]
        assert len(ids) == 8
        assert all(token < 256 for token in ids)
    size, rest = lines["saved"].split(" bytes, ")
    header = int(size.replace(",", "")) - 4 * 826_112
    assert 0 < header < 16_384
    assert rest == "and the loaded model predicts the same: True"


def test_it_stays_short_enough_to_read() -> None:
    assert len(DEMO.read_text(encoding="utf-8").splitlines()) < 120

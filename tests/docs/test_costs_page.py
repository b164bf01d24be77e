"""The worked examples of docs/costs.md are what is computed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from tinylm_cli.analysis.training import training_memory
from tinylm_cli.config.loader import load_config
from tinylm_cli.reports.memory import TrainingMemory

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "costs.md").read_text(encoding="utf-8")


def figures() -> dict[str, int]:
    """Return the last cell of each row of the memory example, by its first."""
    example = PAGE.partition("## Memory")[2].partition("**Worked example.**")[2]
    rows = re.findall(r"^\| \**([^|*]+?)\** \|[^|]*\| \**([\d,]+)\** \|$", example, re.MULTILINE)
    return {name: int(value.replace(",", "")) for name, value in rows}


def gpt2(**asked: Any) -> TrainingMemory:
    return training_memory(load_config("gpt2").config, batch_size=8, seq_len=1024, dtype="bfloat16", **asked)


def test_the_memory_of_gpt2() -> None:
    found = gpt2()
    kept = found.activations
    outside = {part.name: part.kept_bytes for part in kept.outside}
    (layer,) = kept.layers
    assert figures() == {
        "one layer": layer.layer_bytes,
        "all layers": layer.count * layer.layer_bytes,
        "embedding": outside["embedding"],
        "final norm and head": outside["ln_f"] + outside["lm_head"],
        "loss": outside["loss"],
        "activations": kept.kept_bytes,
        "weights": found.weights_bytes,
        "master weights, AdamW": found.master_bytes + found.optimizer_bytes,
        "the logits' derivatives": found.moments[0].working_bytes,
        "peak, at the loss": found.peak_bytes,
    }
    assert found.peak_moment == "loss"
    full = gpt2(recompute="full")
    assert f"{full.activations.kept_bytes:,} bytes and the peak to {full.peak_bytes:,}" in " ".join(PAGE.split())

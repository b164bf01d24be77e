"""Bounds on the number of modules that typical commands import; none imports a heavy one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.checkpoints import write

MISSPELLED = "vocab_size: 256\nd_modl: 8\nn_heads: 2\nn_layers: 3\nd_ff: 16\n"

NOT_FOR_A_MISSPELLING = [
    *("analysis", "atomic_write", "cli.report_value", "cli.requested_config", "config.hardware"),
    *("config.syntax_errors", "config.yaml_writer", "interop.config_json", "render.stacked_bars"),
    *("render.table_layout", "render.units", "render.views.record_table", "reports.figures"),
]

PROBE = """
import json, os, sys
def leave(code):
    open("loaded.json", "w").write(json.dumps(list(sys.modules)))
    end(code)
end, os._exit = os._exit, leave
from tinylm_cli.__main__ import main
main()
"""


@pytest.mark.parametrize(
    ("words", "code", "most", "unused"),
    [
        (["validate", "misspelled.yaml"], 1, 85, NOT_FOR_A_MISSPELLING),
        (["validate", "toy.yaml"], 0, 105, ["config.suggestions", "render.diagnostics", "analysis.budget_check"]),
        (["params", "toy.yaml"], 0, 110, ["config.fields", "config.suggestions", "reports.memory", "atomic_write"]),
        (["list"], 0, 112, ["config.fields", "config.yaml_writer", "config.hardware", "reports.memory"]),
        (
            ["estimate", "toy.yaml", "--gpu", "h100"],
            0,
            159,
            ["analysis.mixers.mamba2", "analysis.design", "config.fixes"],
        ),
        (
            ["import", "hub"],
            0,
            96,
            ["config.validation_errors", "config.hardware", "analysis"],
        ),
        (
            ["verify", "hub"],
            0,
            135,
            ["config.validation_errors", "config.fixes", "config.yaml_writer", "render.diagnostics"],
        ),
        (
            ["lint", "toy.yaml", "--for", "hf"],
            0,
            252,
            ["config.validation_errors", "config.fixes", "analysis.parallel.plan", "analysis.design"],
        ),
        (["design", "--params", "100M"], 0, 167, ["config.fixes", "config.syntax_errors"]),
    ],
    ids=lambda value: " ".join(value[:2]) if isinstance(value, list) else "",
)
def test_modules(words: list[str], code: int, most: int, unused: list[str], folder: Path) -> None:
    (folder / "misspelled.yaml").write_text(MISSPELLED, encoding="utf-8")
    write(folder / "hub")
    environment = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}
    command = [sys.executable, "-c", PROBE, *words]
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == code, done.stderr
    modules = set(json.loads((folder / "loaded.json").read_text(encoding="utf-8")))
    assert not {"torch", "numpy", "safetensors", "transformers"} & modules
    loaded = {name for name in modules if name.startswith("tinylm_cli.")}
    assert 20 < len(loaded) <= most, sorted(loaded)
    assert not {f"tinylm_cli.{name}" for name in unused} & loaded

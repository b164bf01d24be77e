"""Formulas that follow the module by hand name its functions: each of those exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[2] / "tinylm_cli"
REFERENCE = re.compile(r"(model/\w+\.py):(\w+(?:\.\w+)?)")


def defined(path: Path) -> set[str]:
    """Return the functions, classes and methods of a file, methods as ``Class.method``."""
    names = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        if isinstance(node, ast.ClassDef):
            names |= {f"{node.name}.{inner.name}" for inner in node.body if isinstance(inner, ast.FunctionDef)}
    return names


def test_every_reference_names_a_function_of_the_model() -> None:
    texts = {path: path.read_text(encoding="utf-8") for path in (PACKAGE / "analysis").rglob("*.py")}
    found = {(path.name, *match.groups()) for path, text in texts.items() for match in REFERENCE.finditer(text)}
    assert {file for file, _, _ in found} >= {
        *("inference_peak.py", "training_peak.py", "attention_kernels.py", "kv_cache.py", "flops.py"),
        *("attention.py", "feed_forward.py", "model.py", "norm.py"),  # of saved_tensors
    }
    missing = [each for each in found if each[2] not in defined(PACKAGE / each[1])]
    assert missing == []

"""The analysis names the functions of the model that its formulas follow; those functions exist."""

from __future__ import annotations

import importlib
import re
from functools import reduce
from pathlib import Path

import pytest

ANALYSIS = Path(__file__).resolve().parents[2] / "tinylm_cli" / "analysis"
REFERENCES = sorted({
    reference
    for path in ANALYSIS.rglob("*.py")
    for reference in re.findall(r"model/(\w+\.py:\w+(?:\.\w+)*)", path.read_text(encoding="utf-8"))
})  # fmt: skip


@pytest.mark.parametrize("reference", REFERENCES)
def test_function_exists(reference: str) -> None:
    file, names = reference.split(".py:")
    assert reduce(getattr, names.split("."), importlib.import_module(f"tinylm_cli.model.{file}"))


def test_there_are_references() -> None:
    assert len(REFERENCES) > 10

"""docs/reliability.md names tests that exist, and covers every rule of SECURITY.md."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
SECURITY = (ROOT / "SECURITY.md").read_text(encoding="utf-8")

PROMISES = re.findall(
    r"^\| (?!---|promise )(.+) \| (`.+`) \|$", PAGE.partition("\n## ")[2].partition("\n## ")[0], re.MULTILINE
)


@cache
def functions(path: Path) -> set[str]:
    """Return the names of the functions and methods of a file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize(("promise", "tests"), PROMISES, ids=[promise[:40] for promise, _ in PROMISES])
def test_every_promise_is_tested(promise: str, tests: str) -> None:
    named = re.findall(r"`([\w/]+\.py)::(test_\w+)`", tests)
    assert len(named) == tests.count("::") > 0, promise
    for file, function in named:
        assert function in functions(ROOT / "tests" / file), f"tests/{file} has no {function}"


def test_every_rule_is_promised() -> None:
    rules = re.findall(r"^- \*\*(.+?)\.\*\*", SECURITY, re.MULTILINE)
    assert len(rules) > 6
    promised = {words.lower() for promise, _ in PROMISES for words in re.findall(r"\*\*(.+?)\*\*", promise)}
    assert {rule.lower() for rule in rules} == promised

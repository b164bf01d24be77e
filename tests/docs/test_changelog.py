"""Every new name in the changelog exists, and no old one does."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CHANGELOG = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
CLI, JSON = ((ROOT / "docs" / name).read_text(encoding="utf-8") for name in ("cli.md", "json.md"))


def _rows(title: str) -> list[list[str]]:
    """Return the cells of the table under a heading, without its head."""
    section = CHANGELOG.partition(f"### {title}\n")[2].partition("\n### ")[0]
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| ")]
    assert len(rows) > 2, title
    return rows[2:]


def _options(text: str) -> set[str]:
    return set(re.findall(r"--[a-z][a-z-]+", text))


def test_options() -> None:
    known = _options(CLI)
    for old, new in _rows("Renamed commands and options"):
        assert _options(new) <= known, new
        if len(_options(old) - _options(new)) == 1 and "tinylm" not in old:
            assert not (_options(old) - _options(new)) & known, old


def test_tables() -> None:
    tables = [name for _, new in _rows("Renamed tables and CSV columns") for name in re.findall(r"--table (\w+)", new)]
    assert tables
    for table in tables:
        assert f"`{table}`" in CLI, table


def test_no_wildcards() -> None:
    """A reader finds an old name by searching for it."""
    for title in ("Renamed JSON names", "Renamed Python names", "Renamed tables and CSV columns"):
        for row in _rows(title):
            assert "*" not in "".join(row), row
            assert "`, …" not in "".join(row), row


def test_python_names() -> None:
    """Every new class is defined, and every old one is gone."""
    package = ROOT / "tinylm_cli"
    defined = {
        name
        for path in package.rglob("*.py")
        for name in re.findall(r"^(?:class|def) (\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    classes = r"`([A-Z]\w+)`"
    for old, new in _rows("Renamed Python names"):
        assert set(re.findall(classes, new)) <= defined, new
        assert not set(re.findall(classes, old)) & defined, old


def test_json_names() -> None:
    known = set(re.findall(r"^\| `(\w+)` \|", JSON, re.MULTILINE))
    for _, _, new in _rows("Renamed JSON names"):
        for path in re.findall(r"`([\w.]+)`", new):
            last = path.rpartition(".")[2]
            assert last in known or f"`{last}`" in JSON or last == "sweep", path

"""The README is short, its picture is a real run, its Python runs, and every link in the documentation resolves."""

from __future__ import annotations

import ast
import html
import re
from pathlib import Path

import pytest
from rich.text import Text

from scripts.terminal_svg import COMMAND, PICTURE, draw, run

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
README = (ROOT / "README.md").read_text(encoding="utf-8")

_FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(?<!!)\[[^\]]+\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")


def test_it_is_short() -> None:
    assert len(README.splitlines()) <= 210


def test_the_picture_is_a_real_run(request: pytest.FixtureRequest) -> None:
    printed = run(COMMAND)
    if request.config.getoption("--update-golden"):
        PICTURE.write_text(draw(COMMAND, printed), encoding="utf-8")
    svg = PICTURE.read_text(encoding="utf-8")
    assert not re.findall(r"url\((?!#)|href", svg), "it fetches nothing"
    assert _lines(svg) == [f"$ {COMMAND}", *(line.rstrip() for line in Text.from_ansi(printed).plain.splitlines())]


def _lines(svg: str) -> list[str]:
    """Return the text of each line of a picture."""
    lines: dict[float, list[tuple[float, str]]] = {}
    for x, y, text in re.findall(r'<text class="tinylm-r\d+" x="([\d.]+)" y="([\d.]+)"[^>]*>([^<]*)</text>', svg):
        lines.setdefault(float(y), []).append((float(x), html.unescape(text)))
    drawn = []
    for y in sorted(lines):
        row = ""
        for x, text in sorted(lines[y]):
            row = row.ljust(round(x / 12.2)) + text
        drawn.append(row.replace("\N{NO-BREAK SPACE}", " ").rstrip())
    return drawn


def test_its_python_runs() -> None:
    (block,) = re.findall(r"^```python\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    names: dict[str, object] = {}
    shown = []
    for statement in ast.parse(block).body:
        source = ast.get_source_segment(block, statement)
        assert source is not None
        if not isinstance(statement, ast.Expr):
            exec(source, names)
            continue
        value = eval(source, names)
        comment = block.splitlines()[statement.lineno - 1].partition("# ")[2]
        if re.fullmatch(r"\d+|\".*\"", comment):
            assert value == ast.literal_eval(comment), source
            shown.append(source)
    assert len(shown) >= 3


def test_links_exist() -> None:
    assert len(_LINK.findall(README)) > 10


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links(page: Path) -> None:
    for links in _LINK.findall(_FENCE.sub("", page.read_text(encoding="utf-8"))):
        target, _, anchor = "".join(links).partition("#")
        if target.startswith(("https://", "http://")):
            continue
        linked = (page.parent / target).resolve() if target else page
        assert linked.exists(), f"{page.name} links to {target}"
        assert linked.is_relative_to(ROOT)
        if anchor:
            assert anchor in _anchors(linked), f"{page.name} links to {target}#{anchor}"


def test_contributing_names_files_that_exist() -> None:
    text = _FENCE.sub("", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"))
    named = re.findall(r"`([\w.-]+(?:/[\w.*-]+)*/?)`", text)
    paths = [name for name in named if "/" in name or name.endswith((".py", ".md"))]
    assert len(paths) > 30
    for path in paths:
        subpackages = (ROOT, ROOT / "tinylm_cli", *(ROOT / "tinylm_cli").iterdir())
        assert any(True for subpackage in subpackages if subpackage.is_dir() for _ in subpackage.glob(path)), path


def _anchors(page: Path) -> set[str]:
    """Return what GitHub names the headings of a page."""
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}

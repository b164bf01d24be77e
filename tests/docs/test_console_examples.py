"""Every ``$ tinylm …`` in the README and in docs/ is run, and must print what stands under it."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))

FAILING = {
    "tinylm validate wrong.yaml": 1,
    "tinylm validate grown.yaml --assert 'train_flops_per_token < 1G'": 1,
}
"""Examples that show what is wrong, with the exit code they end with; all others must end with 0."""

_EXAMPLE = re.compile(
    r"(?<=^```console\n)\$ (?P<command>tinylm [^\n]*)\n(?P<output>.*?)(?=^```$)", re.MULTILINE | re.DOTALL
)
_TIMING = re.compile(r"^[\d.,e+]+ ms a pass, [\d,]+ tokens per second$|(?<=, )[\d,]+ per second$", re.MULTILINE)


def _examples() -> list[tuple[Path, str, str]]:
    found = []
    for page in PAGES:
        if page.is_file():
            text = page.read_text(encoding="utf-8")
            found += [(page, match["command"], match["output"]) for match in _EXAMPLE.finditer(text)]
    return found


def _stable(text: str) -> str:
    return _TIMING.sub("<timing>", text)


@pytest.mark.parametrize(
    ("page", "command", "output"),
    [pytest.param(*example, id=f"{example[0].stem}: {example[1]}") for example in _examples()],
)
def test_example_prints_what_the_page_shows(
    page: Path,
    command: str,
    output: str,
    tinylm: Callable[..., Any],
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    shutil.copytree(ROOT / "tests" / "docs" / "qwen", tmp_path / "qwen")
    for config in (ROOT / "tests" / "docs").glob("*.yaml"):
        shutil.copy(config, tmp_path)
    result = tinylm(*shlex.split(command)[1:])
    printed = result.out or result.err
    assert result.code == FAILING.get(command, 0), result.err
    if request.config.getoption("--update-golden"):
        text = page.read_text(encoding="utf-8")
        page.write_text(text.replace(f"$ {command}\n{output}```", f"$ {command}\n{printed}```"), encoding="utf-8")
        return
    assert _stable(printed) == _stable(output)


@pytest.mark.parametrize("name", ["wrong.yaml", "grown.yaml"])
def test_the_readme_shows_the_configs_it_finds_fault_with(name: str) -> None:
    config = (ROOT / "tests" / "docs" / name).read_text(encoding="utf-8")
    assert f"```yaml\n{config}```" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_readme_shows_the_three_commands_a_person_came_for() -> None:
    shown = {command for page, command, _ in _examples() if page.name == "README.md"}
    assert {"tinylm build --config small", "tinylm params", "tinylm forward --tokens"} <= shown

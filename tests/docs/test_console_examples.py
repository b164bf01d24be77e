"""Every ``$ tinylm …`` in the README and in docs/ is run, in this process, and must print what stands under it."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.checkpoints import write_padded

ROOT = Path(__file__).resolve().parents[2]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))

FAILING = {
    "tinylm design --params 500K": 1,
    "tinylm validate wrong.yaml": 1,
    "tinylm validate wrong.yaml --diff": 1,
    "tinylm validate grown.yaml --assert 'train_flops_per_token < 1G'": 1,
    "tinylm validate tiny --set d_modle=512": 1,
    "tinylm verify padded": 1,
}
"""Examples that show what is wrong, with the exit code they end with; all others must end with 0."""

_EXAMPLE = re.compile(
    r"(?<=^```console\n)\$ (?P<command>tinylm [^\n]*)\n(?P<output>.*?)(?=^```$)", re.MULTILINE | re.DOTALL
)
_PIPE = re.compile(r"(?P<command>.*) \| (?P<end>head|tail) -(?P<lines>\d+)")
_TIMING = re.compile(r"^[\d.,e+]+ ms per pass, [\d,]+ tokens/s$|(?<=reached, )[\d,]+ tokens/s$", re.MULTILINE)


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
def test_example(
    page: Path,
    command: str,
    output: str,
    here: Callable[..., Any],
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    shutil.copytree(ROOT / "tests" / "docs" / "qwen", tmp_path / "qwen")
    write_padded(tmp_path / "padded")
    for config in (ROOT / "tests" / "docs").glob("*.yaml"):
        shutil.copy(config, tmp_path)
    pipe = _PIPE.fullmatch(command)
    run = pipe["command"] if pipe else command
    result = here(*shlex.split(run)[1:])
    assert result.code == FAILING.get(run, 0), result.err
    lines = (result.out or result.err).splitlines(keepends=True)
    if pipe:
        lines = lines[: int(pipe["lines"])] if pipe["end"] == "head" else lines[-int(pipe["lines"]) :]
    printed = "".join(lines)
    if request.config.getoption("--update-golden") and _stable(printed) != _stable(output):
        text = page.read_text(encoding="utf-8")
        page.write_text(text.replace(f"$ {command}\n{output}```", f"$ {command}\n{printed}```"), encoding="utf-8")
        return
    assert _stable(printed) == _stable(output)


@pytest.mark.parametrize("name", ["wrong.yaml", "grown.yaml"])
def test_the_tour_shows_the_configs_it_validates(name: str) -> None:
    config = (ROOT / "tests" / "docs" / name).read_text(encoding="utf-8")
    assert f"```yaml\n{config}```" in (ROOT / "docs" / "tour.md").read_text(encoding="utf-8")

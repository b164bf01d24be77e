"""docs/ci.md and the pre-commit hook: commands on the page run and exit as documented."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.conftest import TINYLM, clean_environment
from tinylm_cli.analysis.budget_check import ASSERTABLE
from tinylm_cli.analysis.figures import FIGURES
from tinylm_cli.config.budget import Budget

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "ci.md").read_text(encoding="utf-8")

_FILES = dict(re.findall(r"<!-- file: (.+?) -->\n```yaml\n(.*?)```", PAGE, re.DOTALL))

# https://pre-commit.com/#new-hooks
HOOK_KEYS = {
    *("id", "name", "entry", "language", "files", "exclude", "types", "types_or", "exclude_types", "always_run"),
    *("fail_fast", "verbose", "pass_filenames", "require_serial", "description", "language_version"),
    *("minimum_pre_commit_version", "args", "stages"),
}


def _read(text: str) -> Any:
    return YAML(typ="safe", pure=True).load(text)


def _hook() -> dict[str, Any]:
    (hook,) = _read((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
    return dict(hook)


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    """Return a repository that holds the page's config."""
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "agreed.yaml").write_text(_FILES["agreed.yaml"], encoding="utf-8")
    return tmp_path


def _break(scratch: Path) -> None:
    path = scratch / "configs" / "agreed.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace("n_layers: 12", "n_layers: 20"), encoding="utf-8")


def test_files_of_the_page() -> None:
    assert list(_FILES) == [
        "agreed.yaml",
        ".github/workflows/configs.yml",
        ".github/workflows/compare.yml",
        ".pre-commit-config.yaml",
        ".pre-commit-config.yaml, local",
    ]
    assert _FILES["agreed.yaml"] == (ROOT / "tests" / "docs" / "agreed.yaml").read_text(encoding="utf-8")


def test_workflow_annotates_exceeded_budgets(scratch: Path, tinylm: Callable[..., Any]) -> None:
    workflow = YAML(pure=True).load(_FILES[".github/workflows/configs.yml"])
    steps = workflow["jobs"]["validate"]["steps"]
    assert [step["uses"].partition("@")[0] for step in steps if "uses" in step] == [
        "actions/checkout",
        "actions/setup-python",
    ]
    commands = [shlex.split(step["run"]) for step in steps if "run" in step]
    assert [command[0] for command in commands] == ["pip", "pip", "tinylm"]
    good = tinylm(*commands[-1][1:], cwd=scratch)
    assert (good.code, good.out) == (0, "1 config: 1 valid.\n")
    _break(scratch)
    bad = tinylm(*commands[-1][1:], cwd=scratch)
    assert bad.code == 1
    titles = re.findall(r"^::error file=configs/agreed\.yaml,.*?title=([a-z-]+)::", bad.out, re.MULTILINE)
    assert sorted(titles) == sorted(["over-budget"] * 4 + ["failed-assertion"])
    assert "::error file=configs/agreed.yaml,line=9,col=15,endColumn=18,title=over-budget::total_params" in bad.out


def test_compare_job_writes_the_summary(scratch: Path, tmp_path: Path) -> None:
    """In a clone as actions/checkout leaves it: the commit alone is checked out, and branches are the remote's."""
    workflow = YAML(pure=True).load(_FILES[".github/workflows/compare.yml"])
    checkout, *_, compared = workflow["jobs"]["compare"]["steps"]
    assert (checkout["uses"].partition("@")[0], checkout["with"]["fetch-depth"]) == ("actions/checkout", 0)
    path = f"{TINYLM.parent}{os.pathsep}{os.environ['PATH']}"
    environment = clean_environment({"PATH": path, "GIT_CONFIG_GLOBAL": os.devnull})
    environment |= {"GITHUB_BASE_REF": "main", "GITHUB_STEP_SUMMARY": "summary.md"}

    def run(command: str, cwd: Path) -> None:
        subprocess.run(["bash", "-euc", command], cwd=cwd, env=environment, check=True, capture_output=True)

    commit = "git add . && git -c user.name=x -c user.email=x@example.com commit -qm x"
    run(f"git init -q -b main && {commit} && git checkout -qb branch", scratch)
    _break(scratch)
    run(commit, scratch)
    job = tmp_path / "job"
    run(f"git clone -q -b branch . {job} && cd {job} && git checkout -q --detach", scratch)
    run(compared["run"], job)
    summary = (job / "summary.md").read_text(encoding="utf-8")
    assert "### Configs changed since origin/main (1 modified)\n" in summary
    assert "### configs/agreed.yaml (1 field and 13 figures differ)\n" in summary
    assert "\n| n\\_layers | 12 | 20 |\n" in summary
    assert "Figures are for 64 sequences of 1,024 tokens in bfloat16.\n" in summary


def test_documented_exit_codes(scratch: Path, tinylm: Callable[..., Any]) -> None:
    documented = [int(code) for code in re.findall(r"^\| ([0-9]) \| ", PAGE, re.MULTILINE)]
    _break(scratch)
    runs: dict[int, list[list[str]]] = {
        0: [["validate", "tiny"], ["compare", "tiny", "tiny", "--exit-code"]],
        1: [["validate", "configs"], ["validate", "tiny", "--assert", "total_params < 1"]],
        2: [["validate", "absent.yaml"], ["validate", ""], ["validate", "tiny", "--assert", "params < 1"]],
    }
    assert documented == list(runs)
    for code, commands in runs.items():
        assert [tinylm(*words, cwd=scratch).code for words in commands] == [code] * len(commands)


def test_hook_runs_only_on_configs(scratch: Path, tinylm: Callable[..., Any]) -> None:
    hook = _hook()
    assert set(hook) <= HOOK_KEYS
    assert {"id", "name", "entry", "language"} <= set(hook)
    (used,) = _read(_FILES[".pre-commit-config.yaml"])["repos"][0]["hooks"]
    assert used["id"] == hook["id"]
    names = ["configs/agreed.yaml", "models/configs/big.yml", "docs/configs.yaml", "myconfigs/other.yaml"]
    chosen = [name for name in names if re.search(hook["files"], name)]
    assert (chosen, hook["types"]) == (names[:2], ["yaml"])
    command = [*shlex.split(hook["entry"]), *used["args"], "configs/agreed.yaml"]
    assert command[0] == "tinylm"
    assert tinylm(*command[1:], cwd=scratch).code == 0
    _break(scratch)
    assert tinylm(*command[1:], cwd=scratch).code == 1


def test_local_hook_equals_hook() -> None:
    (local,) = _read(_FILES[".pre-commit-config.yaml, local"])["repos"][0]["hooks"]
    assert local == {name: value for name, value in _hook().items() if name != "description"} | {"language": "system"}


def test_page_lists_all_limits_and_figures() -> None:
    assert set(_read(_FILES["agreed.yaml"])["budget"]) == set(Budget.model_fields)
    told = dict(re.findall(r"^\| `(\w+)` \| (.+) \|$", PAGE, re.MULTILINE))
    assert list(told) == list(ASSERTABLE)
    assert {name: known.meaning for name, known in FIGURES.items()}.items() <= told.items()

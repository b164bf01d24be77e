"""Configs among the files that have changed since a git revision."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.git_repository import git, isolate_git
from tinylm_cli.errors import UsageError
from tinylm_cli.interop.changed_configs import MAX_CHANGED_FILES, changed_configs

TOY = "vocab_size: 256\nd_model: 8\nn_heads: 2\nn_layers: 3\nd_ff: 16\n"
HUB = Path(__file__).parent / "configs" / "phi3.json"


@pytest.fixture(autouse=True)
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the current folder: a repository with one commit of a config and of files that are none."""
    isolate_git(monkeypatch)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "toy.yaml").write_text(TOY, encoding="utf-8")
    (tmp_path / "hub").mkdir()
    (tmp_path / "hub" / "config.json").write_bytes(HUB.read_bytes())
    (tmp_path / "package.json").write_text('{"name": "x"}\n', encoding="utf-8")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00d_model: 8")
    git("init", "--quiet")
    git("add", ".")
    git("commit", "--quiet", "-m", "one")
    return tmp_path


def test_yaml_and_hub_configs_are_found(repository: Path) -> None:
    assert changed_configs("HEAD")[1] == []
    for name in ("toy.yaml", "hub/config.json", "package.json", "binary.yaml"):
        file = repository / name
        file.write_bytes(file.read_bytes().replace(b"8", b"16").replace(b'"x"', b'"y"') + b"\n")
    base, found = changed_configs("HEAD")
    assert [(each.file.path, each.file.status) for each in found] == [
        ("hub/config.json", "modified"),
        ("toy.yaml", "modified"),
    ]
    toy = found[1]
    assert toy.before is not None
    assert toy.after is not None
    assert (toy.before.config.d_model, toy.after.config.d_model) == (8, 16)
    assert toy.before.source == f"{base}:toy.yaml"
    assert [each.file.path for each in changed_configs("HEAD", ["hub"])[1]] == ["hub/config.json"]


def test_file_becomes_or_stops_being_a_config(repository: Path) -> None:
    (repository / "package.json").write_text('{"d_model": 8}\n', encoding="utf-8")
    ((_, _, after, error),) = changed_configs("HEAD")[1]
    assert after is None
    assert "model_type is missing" in error
    git("checkout", "--quiet", ".")
    git("rm", "--quiet", "toy.yaml")
    ((file, before, after, _),) = changed_configs("HEAD")[1]
    assert (file.status, before is None, after) == ("removed", False, None)


def test_invalid_config_in_the_revision(repository: Path) -> None:
    (repository / "toy.yaml").write_text("d_model: 3\n", encoding="utf-8")
    git("commit", "--quiet", "-a", "-m", "two")
    (repository / "toy.yaml").write_text(TOY, encoding="utf-8")
    ((_, before, after, _),) = changed_configs("HEAD")[1]
    assert before is None
    assert after is not None


@pytest.mark.parametrize(("text", "number", "what"), [("a: 1\n", MAX_CHANGED_FILES, "YAML"), (TOY, 100, "configs")])
def test_too_many_files(text: str, number: int, what: str, repository: Path) -> None:
    """The files are counted before they are read, and the configs before they are checked."""
    (repository / "new").mkdir()
    for each in range(number):
        (repository / "new" / f"{each}.yaml").write_text(text, encoding="utf-8")
    assert len(changed_configs("HEAD")[1]) == (0 if what == "YAML" else number)
    (repository / "new" / "more.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=f'{number + 1} {what}.* changed since "HEAD"; at most {number} are compared'):
        changed_configs("HEAD")
    assert changed_configs("HEAD", ["toy.yaml"])[1] == []

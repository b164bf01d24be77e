"""A config as git has it: revisions, what is staged, folders; and everything that can be wrong with one."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tinylm_cli.config.revision import names_revision
from tinylm_cli.config.source import MAX_BYTES
from tinylm_cli.errors import ConfigError, InputError
from tinylm_cli.interop.load import load_config

CONFIG = "vocab_size: 256\nd_model: 8\nn_heads: 2\nn_layers: {}\nd_ff: 16\n"
HUB = Path(__file__).resolve().parents[1] / "docs" / "qwen" / "config.json"


def git(*words: str) -> None:
    identity = ("-c", "user.name=x", "-c", "user.email=x@example.com", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *identity, *words], check=True, capture_output=True)


@pytest.fixture(autouse=True)
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the current folder: a repository of two revisions, with something staged and something not."""
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    folder = tmp_path / "repository"
    (folder / "configs").mkdir(parents=True)
    monkeypatch.chdir(folder)
    git("init", "--quiet")
    file = folder / "configs" / "mine.yaml"
    (folder / "hub").mkdir()
    (folder / "hub" / "config.json").write_bytes(HUB.read_bytes())
    (folder / "wrong.yaml").write_text("d_model: 3\n", encoding="utf-8")
    (folder / "large.yaml").write_text("x" * (MAX_BYTES + 1), encoding="utf-8")
    for layers, then in ((1, ("commit", "--quiet", "-m", "one")), (2, ("commit", "--quiet", "-m", "two")), (3, ())):
        file.write_text(CONFIG.format(layers), encoding="utf-8")
        git("add", ".")
        if then:
            git(*then)
    file.write_text(CONFIG.format(4), encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("reference", "n_layers"),
    [
        ("HEAD~1:configs/mine.yaml", 1),
        ("HEAD:configs/mine.yaml", 2),
        ("@:configs/mine.yaml", 2),
        ("HEAD^{/one}:configs/mine.yaml", 1),
        (":configs/mine.yaml", 3),
        (":0:configs/mine.yaml", 3),
        ("HEAD:./configs/mine.yaml", 2),
        ("configs/mine.yaml", 4),
    ],
)
def test_a_revision_of_a_file(reference: str, n_layers: int) -> None:
    loaded = load_config(reference)
    assert loaded.config.n_layers == n_layers
    assert (loaded.name, loaded.source) == ("mine", reference)


def test_paths_are_from_the_top_or_from_here(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(repository / "configs")
    assert load_config("HEAD:configs/mine.yaml").config.n_layers == 2
    assert load_config("HEAD:./mine.yaml").config.n_layers == 2
    with pytest.raises(InputError, match=r"'mine\.yaml' does not exist in 'HEAD'") as caught:
        load_config("HEAD:mine.yaml")
    assert "begin with ./" in caught.value.help


@pytest.mark.parametrize("reference", ["HEAD:hub/config.json", "HEAD:hub", "HEAD:hub/"])
def test_a_hub_config_and_its_folder(reference: str) -> None:
    loaded = load_config(reference, ["n_layers=2"])
    assert (loaded.name, loaded.config.d_model, loaded.config.n_layers) == ("hub", 1024, 2)


def test_a_file_with_a_colon_in_its_name_comes_first(repository: Path) -> None:
    (repository / "HEAD:configs").mkdir()
    (repository / "HEAD:configs" / "mine.yaml").write_text(CONFIG.format(9), encoding="utf-8")
    assert load_config("HEAD:configs/mine.yaml").config.n_layers == 9
    assert not names_revision("HEAD:configs/mine.yaml")


@pytest.mark.parametrize("reference", ["small", "/a:b", "./a:b", "../a:b", "-o:b", "--output=x:y", "~/a:b"])
def test_what_is_no_revision(reference: str) -> None:
    assert not names_revision(reference)


@pytest.mark.parametrize(
    ("reference", "reason"),
    [
        ("HEAD~9:configs/mine.yaml", "invalid object name 'HEAD~9'"),
        ("nowhere:configs/mine.yaml", "invalid object name 'nowhere'"),
        ("HEAD:absent.yaml", r"path 'absent\.yaml' does not exist in 'HEAD'"),
        ("HEAD:configs", r"path 'configs/config\.json' does not exist"),
        ("HEAD:", r"path 'config\.json' does not exist"),
        ("HEAD:large.yaml", "larger than 256 KiB"),
        ("a\nb:c", "cannot read a\nb:c from git"),
        ("a\ud800:c", "not a path"),
    ],
)
def test_what_cannot_be_read_is_said(reference: str, reason: str) -> None:
    with pytest.raises(InputError, match=reason) as caught:
        load_config(reference)
    assert caught.value.help or "path" in reason


def test_a_wrong_config_is_placed_in_its_revision() -> None:
    with pytest.raises(ConfigError) as caught:
        load_config("HEAD:wrong.yaml")
    assert {found.source for found in caught.value.diagnostics} == {"HEAD:wrong.yaml"}


def test_outside_a_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="not a git repository"):
        load_config("HEAD:x.yaml")


def test_without_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match=r"no such file: HEAD:x\.yaml") as caught:
        load_config("HEAD:x.yaml")
    assert "git must be installed" in caught.value.help


def test_nothing_is_run_that_the_repository_names(repository: Path) -> None:
    """Filters and viewers of a repository are programs of whoever wrote it."""
    (repository / ".gitattributes").write_text("*.yaml filter=x diff=x\n", encoding="utf-8")
    for key in ("filter.x.smudge", "diff.x.textconv", "core.pager", "core.fsmonitor"):
        git("config", key, "touch ran")
    assert load_config("HEAD:configs/mine.yaml").config.n_layers == 2
    assert not (repository / "ran").exists()

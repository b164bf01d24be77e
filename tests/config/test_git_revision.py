"""Configs read from git: revisions, the index, folders; and the errors of each."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.git_repository import git, isolate_git
from tinylm_cli.config.git_revision import (
    ChangedFile,
    _Output,
    _text,
    changed_files,
    names_revision,
    split_revision,
)
from tinylm_cli.config.source import MAX_BYTES
from tinylm_cli.errors import ConfigError, InputError
from tinylm_cli.interop.load import load_config

CONFIG = "vocab_size: 256\nd_model: 8\nn_heads: 2\nn_layers: {}\nd_ff: 16\n"
HUB = Path(__file__).resolve().parents[1] / "docs" / "qwen" / "config.json"


@pytest.fixture(autouse=True)
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the current folder: a repository of two revisions, with something staged and something not."""
    isolate_git(monkeypatch)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    folder = tmp_path / "repository"
    (folder / "configs").mkdir(parents=True)
    monkeypatch.chdir(folder)
    git("init", "--quiet")
    file = folder / "configs" / "mine.yaml"
    (folder / "hub").mkdir()
    (folder / "hub" / "config.json").write_bytes(HUB.read_bytes())
    (folder / "wrong.yaml").write_text("d_model: 3\n", encoding="utf-8")
    for link, target in (("link", "configs/mine.yaml"), ("dangling", "nowhere"), ("outside", "../outside")):
        (folder / f"{link}.yaml").symlink_to(target)
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


def test_path_forms(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(repository / "configs")
    assert load_config("HEAD:configs/mine.yaml").config.n_layers == 2
    assert load_config("HEAD:./mine.yaml").config.n_layers == 2
    with pytest.raises(InputError, match=r"'mine\.yaml' does not exist in 'HEAD'") as caught:
        load_config("HEAD:mine.yaml")
    assert caught.value.help == "paths are from the top of the repository: did you mean HEAD:./mine.yaml?"


@pytest.mark.parametrize("reference", ["HEAD:hub/config.json", "HEAD:hub", "HEAD:hub/"])
def test_a_hub_config_and_its_folder(reference: str) -> None:
    loaded = load_config(reference, ["n_layers=2"])
    assert (loaded.name, loaded.config.d_model, loaded.config.n_layers) == ("hub", 1024, 2)


def test_colon_in_file_name(repository: Path) -> None:
    (repository / "HEAD:configs").mkdir()
    (repository / "HEAD:configs" / "mine.yaml").write_text(CONFIG.format(9), encoding="utf-8")
    assert load_config("HEAD:configs/mine.yaml").config.n_layers == 9
    assert not names_revision("HEAD:configs/mine.yaml")


@pytest.mark.parametrize("reference", ["small", "/a:b", "./a:b", "../a:b", "-o:b", "--output=x:y", "~/a:b"])
def test_not_a_revision(reference: str) -> None:
    assert not names_revision(reference)


@pytest.mark.parametrize(
    ("reference", "reason", "remedy"),
    [
        ("HEAD~9:configs/mine.yaml", "invalid object name 'HEAD~9'", "no file has this name either"),
        ("nowhere:configs/mine.yaml", "invalid object name 'nowhere'", "no file has this name either"),
        (
            "HEAD:absent.yaml",
            r"path 'absent\.yaml' does not exist in 'HEAD'",
            "paths are from the top of the repository",
        ),
        (
            "HEAD:new.yaml",
            r"path 'new\.yaml' exists on disk, but not in 'HEAD'",
            "see git log --follow -- new.yaml",
        ),
        (":new.yaml", r"path 'new\.yaml' exists on disk, but not in the index", "it was added or renamed later"),
        ("HEAD:inner/a.yaml", "exists on disk, but not in 'HEAD'", "inner is a separate repository"),
        ("HEAD:configs", "HEAD:configs is a folder without a config.json", "name a file in it"),
        ("HEAD:", "HEAD: is a folder without a config.json", "name a file in it"),
        ("HEAD:dangling.yaml", "is a broken symbolic link", "name a file in it"),
        ("HEAD:outside.yaml", "is a broken symbolic link", "name a file in it"),
        (":link.yaml", ":link.yaml is a symbolic link", "name its target"),
        ("HEAD:large.yaml", "larger than 256 KiB", "a model config is about a page of YAML"),
        ("a\nb:c", "cannot read a\nb:c from git", "no file has this name either"),
        ("a\ud800:c", "not a path", ""),
    ],
)
def test_unreadable_revisions(reference: str, reason: str, remedy: str, repository: Path) -> None:
    (repository / "new.yaml").write_text(CONFIG.format(1), encoding="utf-8")
    (repository / "inner" / ".git").mkdir(parents=True)
    (repository / "inner" / "a.yaml").write_text(CONFIG.format(1), encoding="utf-8")
    with pytest.raises(InputError, match=reason) as caught:
        load_config(reference)
    assert remedy in caught.value.help
    assert bool(remedy) == bool(caught.value.help)


def test_symbolic_link() -> None:
    loaded = load_config("HEAD:link.yaml")
    assert (loaded.name, loaded.config.n_layers) == ("link", 2)


@pytest.mark.parametrize(
    ("reference", "parts"),
    [
        ("HEAD:a:b.yaml", ("HEAD", "a:b.yaml")),
        ("HEAD@{12:00}:a.yaml", ("HEAD@{12:00}", "a.yaml")),
        ("HEAD:{a:b}.yaml", ("HEAD", "{a:b}.yaml")),
        (":a.yaml", ("", "a.yaml")),
        (":1:a.yaml", (":1", "a.yaml")),
    ],
)
def test_split_revision(reference: str, parts: tuple[str, str]) -> None:
    assert split_revision(reference) == parts


def test_missing_branch(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As checked out by a job: one commit, and no branch but its own."""
    git("branch", "release/one")
    here = f"file://{repository}"
    git("clone", "--quiet", here, str(tmp_path / "whole"))
    git("clone", "--quiet", "--depth=1", here, str(tmp_path / "shallow"))
    for clone, remedy in (
        ("whole", "did you mean origin/release/one:configs/mine.yaml?"),
        ("shallow", "this clone is shallow: fetch its history with git fetch --unshallow"),
    ):
        monkeypatch.chdir(tmp_path / clone)
        with pytest.raises(InputError, match="invalid object name 'release/one'") as caught:
            load_config("release/one:configs/mine.yaml")
        assert caught.value.help.startswith(remedy)


def test_error_in_revision() -> None:
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


PROGRAMS = (
    "core.fsmonitor",
    "core.pager",
    "core.sshCommand",
    "core.alternateRefsCommand",
    "diff.external",
    "diff.x.command",
    "diff.x.textconv",
    "filter.x.clean",
    "filter.x.smudge",
    "filter.x=y.clean",
    "filter.process.process",
    "merge.x.driver",
)
"""Settings of a repository that name a program."""


@pytest.mark.parametrize("attributes", [".gitattributes", ".git/info/attributes"])
def test_repository_runs_nothing(attributes: str, repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Filters, viewers and hooks of a repository are programs of whoever wrote it."""
    (repository / attributes).write_text(
        "*.yaml filter=x diff=x\nconfigs/*.yaml filter=x=y\nlarge.yaml filter=process\n", encoding="utf-8"
    )
    for hook in ("post-index-change", "post-checkout", "pre-commit"):
        (repository / ".git" / "hooks" / hook).write_text("#!/bin/sh\ntouch ran\n", encoding="utf-8")
        (repository / ".git" / "hooks" / hook).chmod(0o755)
    for key in PROGRAMS:
        git("config", key, "touch ran; cat")
    git("config", "filter.x.required", "true")
    for file in (repository / "large.yaml", repository / "wrong.yaml", repository / "configs" / "mine.yaml"):
        os.utime(file, (1, 1))  # git compares the content of a file that it does not know to be unchanged
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "safe.directory")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "*")
    assert load_config("HEAD:configs/mine.yaml").config.n_layers == 2
    assert load_config(":configs/mine.yaml").config.n_layers == 3
    assert "configs/mine.yaml" in {file.path for file in changed_files("HEAD")[1]}
    assert not list(repository.rglob("ran"))


def test_promised_object_is_not_fetched(repository: Path) -> None:
    """A partial clone would fetch missing objects with a program named in its config."""
    (blob,) = Path(repository, ".git", "objects").glob(_object_path("HEAD:configs/mine.yaml"))
    blob.unlink()
    for key, value in {
        "core.repositoryFormatVersion": "1",
        "extensions.partialClone": "origin",
        "remote.origin.url": "ext::sh -c 'touch ran'",
        "remote.origin.promisor": "true",
        "protocol.ext.allow": "always",
    }.items():
        git("config", key, value)
    with pytest.raises(InputError, match=r"cannot read HEAD:configs/mine\.yaml from git"):
        load_config("HEAD:configs/mine.yaml")
    assert not list(repository.rglob("ran"))


def _object_path(reference: str) -> str:
    done = subprocess.run(["git", "rev-parse", reference], check=True, capture_output=True, text=True)
    return f"{done.stdout[:2]}/{done.stdout[2:].strip()}"


def test_changed_files(repository: Path) -> None:
    git("checkout", "--quiet", "--", ".")
    git("commit", "--quiet", "-m", "three")
    git("checkout", "--quiet", "-b", "feature")
    (repository / "configs" / "mine.yaml").write_text(CONFIG.format(9), encoding="utf-8")
    (repository / "new name.yaml").write_text(CONFIG.format(7) + "max_len: 99\n", encoding="utf-8")
    git("mv", "hub/config.json", "hub/moved.json")
    git("rm", "--quiet", "wrong.yaml")
    git("add", ".")
    git("commit", "--quiet", "-m", "four")
    (repository / "configs" / "mine.yaml").write_text(CONFIG.format(10), encoding="utf-8")
    git("stash", "--quiet")
    git("checkout", "--quiet", "-")  # the branch that it began from
    (repository / "later.yaml").write_text("a: 1\n", encoding="utf-8")
    git("add", ".")
    git("commit", "--quiet", "-m", "five")
    git("checkout", "--quiet", "feature")
    git("stash", "pop", "--quiet")
    base, files = changed_files("feature@{0}~1")
    assert len(base) == 40
    assert files == [
        ChangedFile("modified", "configs/mine.yaml", f"{base}:configs/mine.yaml"),
        ChangedFile("renamed", "hub/moved.json", f"{base}:hub/config.json"),
        ChangedFile("added", "new name.yaml", None),
        ChangedFile("removed", "wrong.yaml", f"{base}:wrong.yaml"),
    ]
    main = subprocess.run(["git", "branch", "--format=%(refname:short)"], capture_output=True, text=True, check=True)
    branch = next(name for name in main.stdout.split() if name != "feature")
    assert changed_files(branch) == (base, files), "later.yaml is a change of the other branch"
    assert changed_files(branch, ["configs", "wrong.yaml"])[1] == [files[0], files[3]]
    os.chdir("configs")
    assert [file.path for file in changed_files(branch)[1]][:2] == ["mine.yaml", "../hub/moved.json"]
    assert changed_files(branch, ["mine.yaml"])[1] == [files[0]._replace(path="mine.yaml")]
    assert changed_files("HEAD")[1] == [
        ChangedFile("modified", "mine.yaml", f"{changed_files('HEAD')[0]}:configs/mine.yaml")
    ]


@pytest.mark.parametrize(
    ("revision", "paths", "says"),
    [
        ("nope", [], "git has no revision nope"),
        ("--output=x", [], "git has no revision --output=x"),
        ("HEAD:configs", [], "git has no revision HEAD:configs"),
        ("HEAD", ["absent"], "no such file or folder: absent"),
        ("HEAD", ["--output=x"], "no such file or folder: --output=x"),
    ],
)
def test_changed_files_of_nothing(revision: str, paths: list[str], says: str) -> None:
    with pytest.raises(InputError, match=says):
        changed_files(revision, paths)
    assert not Path("x").exists()


def test_changed_files_outside_a_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "outside").mkdir()
    monkeypatch.chdir(tmp_path / "outside")
    with pytest.raises(InputError, match="not in a git repository"):
        changed_files("HEAD")


def test_longest_list_of_files() -> None:
    """16 MiB of names are decoded."""
    names = b"x" * 16 * 1024**2
    assert len(_text(_Output(True, names, ""))) == len(names)
    with pytest.raises(InputError, match="too many files have changed"):
        _text(_Output(True, names + b"x", ""))

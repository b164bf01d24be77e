from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tinylm_cli.errors import OutputError
from tinylm_cli.model.folder_writer import write_folder

FILES = ("a", "b")


def write(folder: Path) -> None:
    for name in FILES:
        (folder / name).write_text("new")


def put(directory: Path, *, overwrite: bool = False, writer: Callable[[Path], None] = write) -> None:
    write_folder(directory, FILES, writer, overwrite=overwrite, needed_bytes=6)


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def contents(directory: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in directory.iterdir()}


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    directory = tmp_path / "saved"
    directory.mkdir()
    (directory / "a").write_text("old")
    return directory


def test_a_new_folder_appears_and_nothing_else(tmp_path: Path) -> None:
    put(tmp_path / "fresh")
    assert contents(tmp_path / "fresh") == {"a": "new", "b": "new"}
    assert names(tmp_path) == ["fresh"]


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    put(tmp_path / "empty")
    assert contents(tmp_path / "empty") == {"a": "new", "b": "new"}


def test_permissions_are_those_of_any_new_folder(tmp_path: Path) -> None:
    put(tmp_path / "fresh")
    (tmp_path / "usual").mkdir()
    assert (tmp_path / "fresh").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_an_occupied_folder_is_replaced_only_on_request(saved: Path) -> None:
    with pytest.raises(OutputError, match="is not empty") as caught:
        put(saved)
    assert caught.value.help == "name another folder, or allow this one to be replaced"
    assert contents(saved) == {"a": "old"}
    put(saved, overwrite=True)
    assert contents(saved) == {"a": "new", "b": "new"}
    assert names(saved.parent) == ["saved"]


@pytest.mark.parametrize("other", ["notes.txt", ".git"])
def test_a_folder_with_anything_else_in_it_is_never_replaced(saved: Path, other: str) -> None:
    (saved / other).write_text("mine")
    with pytest.raises(OutputError, match=f"holds {other}"):
        put(saved, overwrite=True)
    assert contents(saved) == {"a": "old", other: "mine"}


def test_a_folder_by_the_name_of_a_file_is_something_else(saved: Path) -> None:
    (saved / "b").mkdir()
    with pytest.raises(OutputError, match="holds b"):
        put(saved, overwrite=True)


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OutputError, match="is a file"):
        put(tmp_path / "file", overwrite=True)


def test_a_missing_parent_is_named(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"cannot write .*No such file or directory"):
        put(tmp_path / "absent" / "fresh")


def test_a_link_keeps_pointing_at_the_folder(saved: Path) -> None:
    link = saved.with_name("link")
    link.symlink_to(saved)
    put(link, overwrite=True)
    assert link.is_symlink()
    assert contents(saved) == {"a": "new", "b": "new"}


class Failure(NamedTuple):
    """A call that fails, and on which time it is made."""

    target: str
    call: int


@pytest.mark.parametrize(
    "failure",
    [
        Failure("os.fsync", 1),
        Failure("os.fsync", 3),
        Failure("pathlib.Path.rename", 1),
        Failure("pathlib.Path.rename", 2),
    ],
)
def test_after_a_failure_the_old_folder_is_intact(
    saved: Path, failure: Failure, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, _, name = failure.target.rpartition(".")
    owner = os if module == "os" else Path
    original = getattr(owner, name)
    calls = 0

    def fail(*args: object) -> object:
        nonlocal calls
        calls += 1
        if calls == failure.call:
            raise OSError(28, "No space left on device")
        return original(*args)

    monkeypatch.setattr(owner, name, fail)
    with pytest.raises(OutputError, match=r"cannot write .*: No space left on device"):
        put(saved, overwrite=True)
    assert contents(saved) == {"a": "old"}
    assert names(saved.parent) == ["saved"]


@pytest.mark.parametrize(
    ("owner", "name"),
    [(Path, "mkdir"), (Path, "rename"), (os, "fsync"), (shutil, "rmtree"), (os, "unlink")],
    ids=lambda value: getattr(value, "__name__", value),
)
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("fails", [False, True])
def test_an_interrupt_at_any_step_leaves_one_whole_folder(
    owner: object, name: str, when: str, fails: bool, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one after another: while it is written, put in place, and cleaned up after."""
    original = getattr(owner, name)

    def interrupted(*arguments: Any, **how: Any) -> Any:
        if when == "before":
            os.kill(os.getpid(), signal.SIGINT)
        result = original(*arguments, **how)
        if when == "after":
            os.kill(os.getpid(), signal.SIGINT)
        return result

    def writer(folder: Path) -> None:
        write(folder)
        if fails:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(owner, name, interrupted)
    with pytest.raises(KeyboardInterrupt):
        put(saved, overwrite=True, writer=writer)
    monkeypatch.undo()
    assert names(saved.parent) == ["saved"]
    assert contents(saved) in ({"a": "old"}, {"a": "new", "b": "new"})
    assert (contents(saved) == {"a": "old"}) == (fails or name in ("mkdir", "fsync"))


@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), KeyboardInterrupt()])
def test_a_writer_that_fails_leaves_nothing(tmp_path: Path, error: BaseException) -> None:
    def fail(folder: Path) -> None:
        write(folder)
        raise error

    with pytest.raises((OutputError, KeyboardInterrupt)):
        put(tmp_path / "fresh", writer=fail)
    assert names(tmp_path) == []


def test_a_disk_without_room_is_seen_beforehand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=5))
    with pytest.raises(OutputError, match="6 bytes do not fit in 5 free ones"):
        put(tmp_path / "fresh")
    assert names(tmp_path) == []

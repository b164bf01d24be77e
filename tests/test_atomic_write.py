"""A file or a folder is written whole or not at all."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import pytest

from tinylm_cli import atomic_write
from tinylm_cli.atomic_write import write_file, write_folder, write_large_file
from tinylm_cli.errors import OutputError

NOBODY = 65534


@contextmanager
def without_root() -> Iterator[None]:
    """Act as an unprivileged user where the tests run as root, who may write everywhere."""
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)


class TestFile:
    def test_replaces_by_rename(self, tmp_path: Path) -> None:
        target = tmp_path / "out"
        target.write_text("before", encoding="utf-8")
        before = target.stat().st_ino
        with target.open(encoding="utf-8") as reader:
            write_file(target, "after\n", overwrite=True)
            assert reader.read() == "before", "a reader keeps what it opened"
        assert target.read_text(encoding="utf-8") == "after\n"
        assert target.stat().st_ino != before

    def test_permissions(self, tmp_path: Path) -> None:
        (tmp_path / "old").touch(mode=0o600)
        (tmp_path / "shared").touch()
        (tmp_path / "shared").chmod(0o664)
        before = os.umask(0o027)
        try:
            write_file(tmp_path / "old", "x", overwrite=True)
            write_file(tmp_path / "shared", "x", overwrite=True)
            write_file(tmp_path / "new", "x", overwrite=False)
        finally:
            os.umask(before)
        assert stat.S_IMODE((tmp_path / "old").stat().st_mode) == 0o600
        assert stat.S_IMODE((tmp_path / "shared").stat().st_mode) == 0o664
        assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o640

    def test_symlink_is_kept(self, tmp_path: Path) -> None:
        (tmp_path / "there").mkdir()
        (tmp_path / "link").symlink_to("there/real")
        for text in ("first", "second"):
            write_file(tmp_path / "link", text, overwrite=True)
            assert (tmp_path / "link").is_symlink()
            assert (tmp_path / "there" / "real").read_text(encoding="utf-8") == text

    def test_full_disk(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "out").write_text("before", encoding="utf-8")

        def full(_descriptor: int) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(OutputError, match=r"cannot write .*out: No space left on device"):
            write_file(tmp_path / "out", "after", overwrite=True)
        assert (tmp_path / "out").read_text(encoding="utf-8") == "before"
        assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]

    @pytest.mark.parametrize("flags", [True, False], ids=["renameat2", "link"])
    def test_name_taken_meanwhile(self, flags: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The file appears after every look at it, the moment before ours gets its name."""
        rename = atomic_write._rename_without_replacing

        def too_late(finished: Path, target: Path) -> None:
            target.write_text("theirs", encoding="utf-8")
            rename(finished, target)

        monkeypatch.setattr(atomic_write, "_rename_without_replacing", too_late)
        if not flags:
            monkeypatch.setattr(atomic_write, "_rename_with", unsupported)
        with pytest.raises(OutputError, match="out exists"):
            write_file(tmp_path / "out", "ours", overwrite=False)
        assert (tmp_path / "out").read_text(encoding="utf-8") == "theirs"
        assert names(tmp_path) == ["out"]

    def test_without_hard_links(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def refused(_source: Path, _target: Path) -> None:
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

        monkeypatch.setattr(atomic_write, "_rename_with", unsupported)
        monkeypatch.setattr(os, "link", refused)
        write_file(tmp_path / "out", "first", overwrite=False)
        with pytest.raises(OutputError, match="out exists"):
            write_file(tmp_path / "out", "second", overwrite=False)
        assert (tmp_path / "out").read_text(encoding="utf-8") == "first"

    def test_owner_is_kept(self, tmp_path: Path) -> None:
        if os.geteuid() != 0:
            pytest.skip("only root may give files away")
        (tmp_path / "out").write_text("old")
        os.chown(tmp_path / "out", NOBODY, NOBODY)
        write_file(tmp_path / "out", "new", overwrite=True)
        assert ((tmp_path / "out").stat().st_uid, (tmp_path / "out").stat().st_gid) == (NOBODY, NOBODY)

    def test_hard_link_keeps_the_old_content(self, tmp_path: Path) -> None:
        (tmp_path / "out").write_text("old")
        os.link(tmp_path / "out", tmp_path / "other")
        write_file(tmp_path / "out", "new", overwrite=True)
        assert contents(tmp_path) == {"other": "old", "out": "new"}

    @pytest.mark.parametrize("name", ["n" * 250, "ñ" * 125, "\udcffm"])
    def test_names_at_the_limit(self, name: str, tmp_path: Path) -> None:
        for text in ("first", "second"):
            write_file(tmp_path / name, text, overwrite=True)
            assert contents(tmp_path) == {name: text}

    def test_read_only_file(self) -> None:
        with TemporaryDirectory() as folder:
            Path(folder).chmod(0o777)
            out = Path(folder) / "out"
            with without_root():
                out.touch(mode=0o400)
                with pytest.raises(OutputError, match="Permission denied"):
                    write_file(out, "x", overwrite=True)
            assert out.read_bytes() == b""


FILES = ("a", "b")


def unsupported(_flag: int, _old: Path, _new: Path) -> bool:
    """Stand in for ``renameat2`` on a file system without it."""
    return False


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


def test_new_folder(tmp_path: Path) -> None:
    put(tmp_path / "fresh")
    assert contents(tmp_path / "fresh") == {"a": "new", "b": "new"}
    assert names(tmp_path) == ["fresh"]


def test_rename_is_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files and their folder before the rename, and the parent, which holds the new name, after it."""
    fsync = os.fsync
    early, late = set[int](), set[int]()

    def record(descriptor: int) -> None:
        (late if (tmp_path / "fresh").exists() else early).add(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", record)
    put(tmp_path / "fresh")
    assert early == {path.stat().st_ino for path in (tmp_path / "fresh", *(tmp_path / "fresh").iterdir())}
    assert late == {tmp_path.stat().st_ino}


def test_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    put(tmp_path / "empty")
    assert contents(tmp_path / "empty") == {"a": "new", "b": "new"}


def test_new_folder_has_the_usual_permissions(tmp_path: Path) -> None:
    put(tmp_path / "fresh")
    (tmp_path / "usual").mkdir()
    assert (tmp_path / "fresh").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_permissions_are_kept(saved: Path) -> None:
    """Of the folder and of each replaced file; the files are never open to others meanwhile."""
    saved.chmod(0o751)
    (saved / "a").chmod(0o640)
    during = set[int]()

    def writer(folder: Path) -> None:
        write(folder)
        during.add(stat.S_IMODE(folder.stat().st_mode))

    put(saved, overwrite=True, writer=writer)
    assert during == {0o700}
    assert stat.S_IMODE(saved.stat().st_mode) == 0o751
    assert stat.S_IMODE((saved / "a").stat().st_mode) == 0o640


def test_empty_folder_keeps_its_permissions(tmp_path: Path) -> None:
    (tmp_path / "private").mkdir(mode=0o700)
    put(tmp_path / "private")
    assert stat.S_IMODE((tmp_path / "private").stat().st_mode) == 0o700


def test_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files are moved into it: a shell in the folder must not stay in a removed one."""
    monkeypatch.chdir(tmp_path)
    inode = tmp_path.stat().st_ino
    put(Path())
    assert contents(tmp_path) == {"a": "new", "b": "new"}
    assert tmp_path.stat().st_ino == inode
    with pytest.raises(OutputError, match="is the current folder") as caught:
        put(Path(), overwrite=True)
    assert caught.value.help == "run the command from its parent folder"


def test_failure_in_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rename = atomic_write._rename_without_replacing

    def fail(finished: Path, target: Path) -> None:
        if target.name == FILES[-1]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        rename(finished, target)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(atomic_write, "_rename_without_replacing", fail)
    with pytest.raises(OutputError, match="No space left"):
        put(Path())
    assert names(tmp_path) == []


@pytest.mark.parametrize("name", ["n" * 250, "ñ" * 125, "\udcffm"])
def test_folder_names_at_the_limit(name: str, tmp_path: Path) -> None:
    for _ in range(2):
        put(tmp_path / name, overwrite=True)
        assert names(tmp_path) == [name]


@pytest.mark.parametrize("exchange", [True, False])
def test_file_added_meanwhile_is_kept(saved: Path, exchange: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def writer(folder: Path) -> None:
        write(folder)
        (saved / "notes.txt").write_text("mine")

    if not exchange:
        monkeypatch.setattr(atomic_write, "_rename_with", unsupported)
    with pytest.raises(OutputError, match=r"saved contains notes\.txt"):
        put(saved, overwrite=True, writer=writer)
    assert contents(saved) == {"a": "old", "notes.txt": "mine"}
    assert names(saved.parent) == ["saved"]


def test_folder_taken_meanwhile(tmp_path: Path) -> None:
    def writer(folder: Path) -> None:
        write(folder)
        put(tmp_path / "fresh")

    with pytest.raises(OutputError, match="was written by another process meanwhile"):
        put(tmp_path / "fresh", writer=writer)
    assert names(tmp_path) == ["fresh"]


def test_second_rename_fails_twice(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an exchange of names, the message says where the old folder is."""
    rename = Path.rename

    def fail(self: Path, target: Path) -> Path:
        if target == saved:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return rename(self, target)

    monkeypatch.setattr(atomic_write, "_rename_with", unsupported)
    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(OutputError) as caught:
        put(saved, overwrite=True)
    (left,) = saved.parent.iterdir()
    assert caught.value.help == f"its old content is in {left}"
    assert contents(left) == {"a": "old"}


def test_unsynced_name_is_reported(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_path: Path) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    sync = atomic_write._sync
    monkeypatch.setattr(atomic_write, "_sync", lambda path: fail(path) if path == saved.parent else sync(path))
    told = "is in place, but may be lost in a power failure"
    with pytest.raises(OutputError, match=told):
        put(saved, overwrite=True)
    with pytest.raises(OutputError, match=told):
        write_file(saved.parent / "out", "new", overwrite=True)
    assert contents(saved) == {"a": "new", "b": "new"}
    assert (saved.parent / "out").read_text() == "new"


def test_occupied_folder_needs_overwrite(saved: Path) -> None:
    with pytest.raises(OutputError, match="is not empty") as caught:
        put(saved)
    assert caught.value.help == "choose another folder, or allow this one to be replaced"
    assert contents(saved) == {"a": "old"}
    put(saved, overwrite=True)
    assert contents(saved) == {"a": "new", "b": "new"}
    assert names(saved.parent) == ["saved"]


@pytest.mark.parametrize("other", ["notes.txt", ".git"])
def test_foreign_file_is_never_removed(saved: Path, other: str) -> None:
    (saved / other).write_text("mine")
    with pytest.raises(OutputError, match=f"contains {other}"):
        put(saved, overwrite=True)
    assert contents(saved) == {"a": "old", other: "mine"}


def test_foreign_folder_is_never_removed(saved: Path) -> None:
    (saved / "b").mkdir()
    with pytest.raises(OutputError, match="contains b"):
        put(saved, overwrite=True)


def test_file_instead_of_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OutputError, match="is a file"):
        put(tmp_path / "file", overwrite=True)


def test_missing_parent(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"cannot write .*No such file or directory"):
        put(tmp_path / "absent" / "fresh")


def test_symlink_to_folder_is_kept(saved: Path) -> None:
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
def test_failure_keeps_the_old_folder(saved: Path, failure: Failure, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an exchange of names; tests/test_atomic_write_faults.py fails each call of the exchange."""
    monkeypatch.setattr(atomic_write, "_rename_with", unsupported)
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
    ("owner", "name", "fails"),
    [
        (Path, "mkdir", False),
        (Path, "mkdir", True),
        (Path, "rename", False),
        (os, "fsync", False),
        (Path, "unlink", False),
        (atomic_write, "_rename_with", False),
        (shutil, "rmtree", True),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
@pytest.mark.parametrize("when", ["before", "after"])
def test_interrupt_at_any_step(
    owner: object, name: str, fails: bool, when: str, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one after another: while it is written, put in place, and cleaned up after."""
    if name == "rename":
        monkeypatch.setattr(atomic_write, "_rename_with", unsupported)
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
def test_failed_writer_leaves_nothing(tmp_path: Path, error: BaseException) -> None:
    def fail(folder: Path) -> None:
        write(folder)
        raise error

    with pytest.raises((OutputError, KeyboardInterrupt)):
        put(tmp_path / "fresh", writer=fail)
    assert names(tmp_path) == []


def test_disk_space_is_checked_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=5))
    with pytest.raises(OutputError, match="it needs 6 bytes, but only 5 bytes are free"):
        put(tmp_path / "fresh")
    assert names(tmp_path) == []
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=6))
    put(tmp_path / "fresh")
    assert names(tmp_path) == ["fresh"]


class TestLargeFile:
    def test_replaces_by_rename(self, tmp_path: Path) -> None:
        target = tmp_path / "out"
        put_large(target, b"before")
        target.chmod(0o640)
        with target.open("rb") as reader:
            put_large(target, b"after", overwrite=True)
            assert reader.read() == b"before", "a reader keeps what it opened"
        assert target.read_bytes() == b"after"
        assert stat.S_IMODE(target.stat().st_mode) == 0o640
        assert names(tmp_path) == ["out"]

    def test_existing_file(self, tmp_path: Path) -> None:
        put_large(tmp_path / "out", b"before")
        with pytest.raises(OutputError, match="out exists"):
            put_large(tmp_path / "out", b"after")
        assert (tmp_path / "out").read_bytes() == b"before"

    @pytest.mark.parametrize("error", [OSError(5, "Input/output error"), KeyboardInterrupt()])
    def test_failure_keeps_the_old_file(self, error: BaseException, tmp_path: Path) -> None:
        def fail(path: Path) -> None:
            path.write_bytes(b"half")
            raise error

        put_large(tmp_path / "out", b"before")
        with pytest.raises(OutputError if isinstance(error, OSError) else KeyboardInterrupt):
            write_large_file(tmp_path / "out", fail, overwrite=True, needed_bytes=0)
        assert names(tmp_path) == ["out"]
        assert (tmp_path / "out").read_bytes() == b"before"

    @pytest.mark.parametrize(("path", "message"), [("/dev/null", "is not a regular file"), (".", "is a folder")])
    def test_no_regular_file(self, path: str, message: str) -> None:
        with pytest.raises(OutputError, match=message):
            put_large(Path(path), b"x", overwrite=True)

    def test_disk_space_is_checked_first(self, tmp_path: Path) -> None:
        with pytest.raises(OutputError, match=r"it needs 1,[0,]+ bytes, but only [0-9,]+ bytes are free"):
            put_large(tmp_path / "out", b"x", needed_bytes=10**18)
        assert names(tmp_path) == []


def put_large(path: Path, data: bytes, *, overwrite: bool = False, needed_bytes: int = 0) -> None:
    write_large_file(path, lambda fresh: fresh.write_bytes(data), overwrite=overwrite, needed_bytes=needed_bytes)

"""Write a folder atomically: complete and synced to disk, or not at all."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

from tinylm_cli.errors import OccupiedError, OutputError
from tinylm_cli.interrupts import interrupts_deferred


def require_writable(directory: Path, files: Iterable[str], *, overwrite: bool) -> None:
    """Refuse early a folder that :func:`write_folder` would refuse; takes its arguments.

    Raises:
        OccupiedError: If the folder could be replaced with ``overwrite``.
        OutputError: If it may not be replaced at all, or cannot be made.
    """
    target = Path(os.path.realpath(directory))
    try:
        _refuse_to_destroy(target, frozenset(files), overwrite=overwrite)
        if not target.parent.is_dir():
            number = errno.ENOTDIR if target.parent.exists() else errno.ENOENT
            raise OSError(number, os.strerror(number))
    except OSError as error:
        raise OutputError(f"cannot write {directory}: {error.strerror or error}") from error


def write_folder(
    directory: Path, files: Iterable[str], write: Callable[[Path], None], *, overwrite: bool, needed_bytes: int
) -> None:
    """Write a hidden folder beside ``directory``, then rename it to that.

    An interrupt ends the writing of files; creating, renaming and removing the folder are not interrupted halfway.

    Args:
        directory: The folder to write; its parent exists.
        files: Names of the files that ``write`` writes. A folder with any other content is never replaced.
        write: Writes the files into the folder that it is given.
        overwrite: Whether a folder of such files is replaced.
        needed_bytes: Estimated size of the files.

    Raises:
        OccupiedError: If the folder could be replaced with ``overwrite``.
        OutputError: If it may not be replaced at all, or writing fails; an existing folder stays intact.
    """
    target = Path(os.path.realpath(directory))
    names = frozenset(files)
    try:
        occupied = _refuse_to_destroy(target, names, overwrite=overwrite)
        free_bytes = shutil.disk_usage(target.parent).free
        if needed_bytes > free_bytes:
            raise OutputError(
                f"cannot write {directory}: {needed_bytes:,} bytes do not fit in {free_bytes:,} free ones"
            )
        fresh = _sibling(target)
        with interrupts_deferred() as heeded:
            fresh.mkdir()
            try:
                with heeded():
                    write(fresh)
                    for path in (*(fresh / name for name in names), fresh):
                        _sync(path)
                _put_in_place(fresh, target, occupied=occupied)
            finally:
                shutil.rmtree(fresh, ignore_errors=True)  # already gone if all went well
    except OSError as error:
        raise OutputError(f"cannot write {directory}: {error.strerror or error}") from error


def _refuse_to_destroy(target: Path, names: frozenset[str], *, overwrite: bool) -> bool:
    """Return whether ``target`` holds files that may be replaced; raise if it holds anything else."""
    if not target.exists():
        return False
    if not target.is_dir():
        raise OutputError(f"{target} is a file", help="name a folder, new or empty")
    found = sorted(target.iterdir())
    for path in found:
        if path.name not in names or not path.is_file():
            raise OutputError(f"{target} holds {path.name}, so it is not replaced", help="name another folder")
    if found and not overwrite:
        raise OccupiedError(f"{target} is not empty", help="name another folder, or allow this one to be replaced")
    return bool(found)


def _put_in_place(fresh: Path, target: Path, *, occupied: bool) -> None:
    """Rename ``fresh`` to ``target``, which is absent or empty; if ``occupied``, it is moved aside and removed."""
    if not occupied:
        fresh.rename(target)
    else:
        old = _sibling(target)
        target.rename(old)
        try:
            fresh.rename(target)
        except BaseException:
            old.rename(target)
            raise
        shutil.rmtree(old, ignore_errors=True)
    _sync(target.parent)


def _sibling(target: Path) -> Path:
    return target.with_name(f".{target.name}.{secrets.token_hex(4)}")


def _sync(path: Path) -> None:
    """Wait until the file or folder ``path`` is on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""Write a file or folder atomically: completely and synced to disk, or not at all."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Callable, Iterable
from pathlib import Path

from tinylm_cli.errors import OccupiedError, OutputError
from tinylm_cli.interrupts import interrupts_deferred

_STREAMS = {"/dev/stdout": 1, "/dev/stderr": 2}
_DESCRIPTOR = re.compile(r"/(?:dev|proc/self)/fd/([0-9]{1,4})")
_MAX_STEM = 40
"""Characters of the target's name kept in a temporary name, so that it does not exceed the file system's limit."""


def require_free_file(path: Path) -> None:
    """Raise if a regular file exists; a device, a pipe or an open stream is written to, not replaced.

    Raises:
        OccupiedError: If the file exists.
    """
    try:
        exists = _descriptor(path) is None and path.is_file()
    except OSError:  # not a valid file name; write_file reports it
        return
    if exists:
        raise OccupiedError(f"{path} exists", help="choose another name, or allow it to be replaced")


def write_file(path: Path, text: str, *, overwrite: bool) -> None:
    """Write a UTF-8 file atomically, through a temporary file in the same directory.

    A device, a pipe or an open stream such as ``/dev/stdout`` is written to directly.

    Args:
        path: The file; its folder exists.
        text: The content.
        overwrite: Whether to replace an existing file; its mode is kept.

    Raises:
        OccupiedError: If the file exists and ``overwrite`` is False.
        OutputError: If it cannot be written; an existing file stays intact.
        BrokenPipeError: If it is a pipe whose reader has closed it.
    """
    data = text.encode("utf-8", "backslashreplace")
    try:
        stream = _descriptor(path)
        target = Path(os.path.realpath(path))
        mode = target.stat().st_mode if target.exists() else None
        if mode is not None and stat.S_ISDIR(mode):
            raise OutputError(f"{path} is a folder", help="name a file in it")
        if stream is not None or (mode is not None and not stat.S_ISREG(mode)):
            with open(os.dup(stream) if stream is not None else target, "wb") as file:  # noqa: PTH123 - it may be a number
                file.write(data)
            return
        if mode is not None and overwrite and not _is_writable(target):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        with interrupts_deferred():
            _rename_into_place(target, data, mode, overwrite=overwrite)
    except BrokenPipeError:
        raise
    except FileExistsError as error:
        raise OccupiedError(f"{path} exists", help="choose another name, or allow it to be replaced") from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise OutputError(f"cannot write {path}: {reason}") from error


def require_free_folder(directory: Path, files: Iterable[str], *, overwrite: bool) -> None:
    """Raise the errors that :func:`write_folder` would raise for the same arguments, before the work is done.

    Raises:
        OccupiedError: If the folder could be replaced with ``overwrite``.
        OutputError: If it may not be replaced at all, or cannot be created.
    """
    target = Path(os.path.realpath(directory))
    try:
        _is_occupied(target, frozenset(files), overwrite=overwrite)
        if not target.parent.is_dir():
            number = errno.ENOTDIR if target.parent.exists() else errno.ENOENT
            raise OSError(number, os.strerror(number))
    except OSError as error:
        raise OutputError(f"cannot write {directory}: {error.strerror or error}") from error


def write_folder(
    directory: Path, files: Iterable[str], write: Callable[[Path], None], *, overwrite: bool, needed_bytes: int
) -> None:
    """Write a folder atomically, through a hidden temporary folder in the same parent.

    An interrupt may end the writing of files, but not interrupt creating, renaming or removing the folder.

    Args:
        directory: The folder to write; its parent exists.
        files: Names of the files that ``write`` writes. A folder with any other content is never replaced.
        write: Writes the files into the temporary folder, its argument.
        overwrite: Whether to replace a folder that holds only these files.
        needed_bytes: Estimated size of the files.

    Raises:
        OccupiedError: If the folder could be replaced with ``overwrite``.
        OutputError: If it may not be replaced at all, or writing fails; an existing folder stays intact.
    """
    import shutil  # imports compression libraries, which write_file does not need

    target = Path(os.path.realpath(directory))
    names = frozenset(files)
    try:
        occupied = _is_occupied(target, names, overwrite=overwrite)
        free_bytes = shutil.disk_usage(target.parent).free
        if needed_bytes > free_bytes:
            raise OutputError(
                f"cannot write {directory}: it needs {needed_bytes:,} bytes, but only {free_bytes:,} bytes are free"
            )
        fresh = _temporary_path(target)
        with interrupts_deferred() as interrupts_allowed:
            fresh.mkdir()
            try:
                with interrupts_allowed():
                    write(fresh)
                    for path in (*(fresh / name for name in names), fresh):
                        _sync(path)
                _put_in_place(fresh, target, occupied=occupied)
            finally:
                shutil.rmtree(fresh, ignore_errors=True)  # does nothing after a successful rename
    except OSError as error:
        raise OutputError(f"cannot write {directory}: {error.strerror or error}") from error


def _is_writable(target: Path) -> bool:
    """Return whether this process may write a file, by its effective user id where supported."""
    return os.access(target, os.W_OK, effective_ids=os.access in os.supports_effective_ids)


def _descriptor(path: Path) -> int | None:
    """Return the descriptor of the open stream that a path names, or None; its file must not be replaced."""
    name = os.path.abspath(path)  # noqa: PTH100 - resolving would follow the link to the file behind
    numbered = _DESCRIPTOR.fullmatch(name)
    return int(numbered[1]) if numbered else _STREAMS.get(name)


def _rename_into_place(target: Path, data: bytes, mode: int | None, *, overwrite: bool) -> None:
    finished = _temporary_path(target)
    permissions = 0o666 if mode is None else stat.S_IMODE(mode)  # never more permissive than the replaced file
    descriptor = os.open(finished, os.O_CREAT | os.O_EXCL | os.O_WRONLY, permissions)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if mode is not None:
            finished.chmod(permissions)  # the umask may have reduced the mode
        if overwrite:
            finished.replace(target)
        else:
            _claim(finished, target)
    finally:
        finished.unlink(missing_ok=True)


def _claim(finished: Path, target: Path) -> None:
    """Rename ``finished`` to ``target``; raise FileExistsError if a file of that name exists by now."""
    try:
        os.link(finished, target)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        finished.replace(target)


def _is_occupied(target: Path, names: frozenset[str], *, overwrite: bool) -> bool:
    """Return whether ``target`` holds files that may be replaced; raise if it holds anything else."""
    if not target.exists():
        return False
    if not target.is_dir():
        raise OutputError(f"{target} is a file", help="choose a new or empty folder")
    found = sorted(target.iterdir())
    for path in found:
        if path.name not in names or not path.is_file():
            raise OutputError(f"{target} holds {path.name}, so it is not replaced", help="choose another folder")
    if found and not overwrite:
        raise OccupiedError(f"{target} is not empty", help="choose another folder, or allow this one to be replaced")
    return bool(found)


def _put_in_place(fresh: Path, target: Path, *, occupied: bool) -> None:
    """Rename ``fresh`` to ``target``, which is absent or empty; if ``occupied``, the old folder is removed."""
    if not occupied:
        fresh.rename(target)
    else:
        import shutil

        old = _temporary_path(target)
        target.rename(old)
        try:
            fresh.rename(target)
        except BaseException:
            old.rename(target)
            raise
        shutil.rmtree(old, ignore_errors=True)
    _sync(target.parent)


def _temporary_path(target: Path) -> Path:
    """Return an unused hidden name in the folder of ``target``."""
    return target.with_name(f".{target.name[:_MAX_STEM]}.{os.urandom(6).hex()}")


def _sync(path: Path) -> None:
    """Sync the file or folder ``path`` to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

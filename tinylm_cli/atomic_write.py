"""Write a file or a folder atomically: complete and synced to disk, or not at all."""

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
_LONGEST_STEM = 40
"""Characters of a name that its temporary neighbor keeps: a name may be as long as the file system allows."""


def require_free_file(path: Path) -> None:
    """Refuse early a file that exists; a device, a pipe or an open stream is written to, not replaced.

    Raises:
        OccupiedError: If the file exists.
    """
    try:
        exists = _descriptor(path) is None and path.is_file()
    except OSError:  # a name that no file can have, which write_file reports
        return
    if exists:
        raise OccupiedError(f"{path} exists", help="choose another name, or allow it to be replaced")


def write_file(path: Path, text: str, *, overwrite: bool) -> None:
    """Write a UTF-8 file: a finished neighbor is renamed to it.

    A device, a pipe or an open stream such as ``/dev/stdout`` is written to directly.

    Args:
        path: The file; its folder exists.
        text: The whole content.
        overwrite: Whether an existing file is replaced; its mode is kept.

    Raises:
        OccupiedError: If the file exists and ``overwrite`` is False.
        OutputError: If it cannot be written; an existing file stays intact.
        BrokenPipeError: If it is a pipe whose reader has gone.
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
    """Refuse early a folder that :func:`write_folder` would refuse; takes its arguments.

    Raises:
        OccupiedError: If the folder could be replaced with ``overwrite``.
        OutputError: If it may not be replaced at all, or cannot be made.
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
    import shutil  # loads compression libraries, which writing a file does without

    target = Path(os.path.realpath(directory))
    names = frozenset(files)
    try:
        occupied = _is_occupied(target, names, overwrite=overwrite)
        free_bytes = shutil.disk_usage(target.parent).free
        if needed_bytes > free_bytes:
            raise OutputError(
                f"cannot write {directory}: {needed_bytes:,} bytes do not fit in {free_bytes:,} free ones"
            )
        fresh = _neighbor(target)
        with interrupts_deferred() as heeded:
            fresh.mkdir()
            try:
                with heeded():
                    write(fresh)
                    for path in (*(fresh / name for name in names), fresh):
                        _sync(path)
                _put_in_place(fresh, target, occupied=occupied)
            finally:
                shutil.rmtree(fresh, ignore_errors=True)  # already renamed if all went well
    except OSError as error:
        raise OutputError(f"cannot write {directory}: {error.strerror or error}") from error


def _is_writable(target: Path) -> bool:
    """Return whether this process may write a file, by the user it acts as where the system can tell."""
    return os.access(target, os.W_OK, effective_ids=os.access in os.supports_effective_ids)


def _descriptor(path: Path) -> int | None:
    """Return which open stream a path names: the regular file behind it belongs to whoever opened the stream."""
    name = os.path.abspath(path)  # noqa: PTH100 - resolving would follow the link to the file behind
    numbered = _DESCRIPTOR.fullmatch(name)
    return int(numbered[1]) if numbered else _STREAMS.get(name)


def _rename_into_place(target: Path, data: bytes, mode: int | None, *, overwrite: bool) -> None:
    finished = _neighbor(target)
    permissions = 0o666 if mode is None else stat.S_IMODE(mode)  # never more open than the file it replaces
    descriptor = os.open(finished, os.O_CREAT | os.O_EXCL | os.O_WRONLY, permissions)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if mode is not None:
            finished.chmod(permissions)  # which the umask may have reduced
        if overwrite:
            finished.replace(target)
        else:
            _claim(finished, target)
    finally:
        finished.unlink(missing_ok=True)


def _claim(finished: Path, target: Path) -> None:
    """Give ``finished`` the name ``target``; fails if a file took the name meanwhile."""
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
        import shutil

        old = _neighbor(target)
        target.rename(old)
        try:
            fresh.rename(target)
        except BaseException:
            old.rename(target)
            raise
        shutil.rmtree(old, ignore_errors=True)
    _sync(target.parent)


def _neighbor(target: Path) -> Path:
    """Return an unused hidden name in the folder of ``target``."""
    return target.with_name(f".{target.name[:_LONGEST_STEM]}.{os.urandom(6).hex()}")


def _sync(path: Path) -> None:
    """Wait until the file or folder ``path`` is on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

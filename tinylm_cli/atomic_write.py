"""Write a file or folder atomically: completely and synced to disk, or not at all."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from tinylm_cli.errors import OccupiedError, OutputError
from tinylm_cli.interrupts import interrupts_deferred
from tinylm_cli.shell_quoting import shell_quote

_STREAMS = {"/dev/stdout": 1, "/dev/stderr": 2}
_DESCRIPTOR = r"/(?:dev|proc/self)/fd/([0-9]{1,4})"
_MAX_STEM = 40
"""Characters of the target's name kept in a temporary name, so that it does not exceed the file system's limit."""

_NO_REPLACE, _EXCHANGE = 1, 2
"""Flags of Linux's ``renameat2``: fail if the new name exists; swap the two names atomically."""
_AT_FDCWD = -100
_UNSUPPORTED = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP)
"""Error numbers of a kernel or file system without such a rename."""


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
        raise _file_exists(path)


def write_file(path: Path, text: str, *, overwrite: bool) -> None:
    """Write a UTF-8 file atomically, through a temporary file in the same directory.

    A replaced file keeps its mode, and its owner and group if the system permits it; other hard links to it keep the
    old content. A symbolic link is followed. A device, a pipe or an open stream such as ``/dev/stdout`` is written to
    directly.

    Args:
        path: The file; its folder exists.
        text: The content.
        overwrite: Whether to replace an existing file.

    Raises:
        OccupiedError: If the file exists and ``overwrite`` is False.
        OutputError: If it cannot be written; an existing file stays intact. The message says so if the file is in
            place, but not yet synced.
        BrokenPipeError: If it is a pipe whose reader has closed it.
    """
    data = text.encode("utf-8", "backslashreplace")
    with _write_errors(path):
        stream = _descriptor(path)
        target, replaced = _existing(path)
        if stream is not None or (replaced is not None and not stat.S_ISREG(replaced.st_mode)):
            with open(os.dup(stream) if stream is not None else target, "wb") as file:  # noqa: PTH123 - it may be a number
                file.write(data)
            return
        _require_writable(target, replaced, overwrite=overwrite)
        with interrupts_deferred():
            _write_and_rename(target, lambda fresh: fresh.write_bytes(data), replaced, overwrite=overwrite)
            _sync_names(target)


def write_large_file(path: Path, write: Callable[[Path], object], *, overwrite: bool, needed_bytes: int) -> None:
    """Write a file atomically, as :func:`write_file` does, whose content is not in memory at once.

    Interrupts take effect while the file is written, not while it is created, renamed or removed.

    Args:
        path: The file; its folder exists.
        write: Writes to the path of an empty file, its argument.
        overwrite: Whether to replace an existing file.
        needed_bytes: Estimated size of the file.

    Raises:
        OccupiedError: If the file exists and ``overwrite`` is False.
        OutputError: If it is no regular file, or as :func:`write_file`.
    """
    with _write_errors(path):
        target, replaced = _existing(path)
        if _descriptor(path) is not None or (replaced is not None and not stat.S_ISREG(replaced.st_mode)):
            raise OutputError(f"{path} is not a regular file", help="name a file to write")
        _require_writable(target, replaced, overwrite=overwrite)
        _require_space(path, target.parent, needed_bytes)
        with interrupts_deferred() as interrupts_allowed:

            def write_interruptibly(fresh: Path) -> None:
                with interrupts_allowed():
                    write(fresh)

            _write_and_rename(target, write_interruptibly, replaced, overwrite=overwrite)
            _sync_names(target)


def require_free_folder(directory: Path, files: Sequence[str], *, overwrite: bool) -> None:
    """Raise the errors that :func:`write_folder` would raise for the same arguments, before the work is done.

    Raises:
        OccupiedError: If the folder could be replaced with ``overwrite``.
        OutputError: If it may not be replaced at all, or cannot be created.
    """
    target = Path(os.path.realpath(directory))
    try:
        _is_occupied(target, files, overwrite=overwrite)
        if not target.parent.is_dir():
            number = errno.ENOTDIR if target.parent.exists() else errno.ENOENT
            raise OSError(number, os.strerror(number))
    except (OSError, ValueError) as error:
        raise _cannot_write(directory, error) from error


def write_folder(
    directory: Path, files: Sequence[str], write: Callable[[Path], None], *, overwrite: bool, needed_bytes: int
) -> None:
    """Write a folder atomically, through a hidden temporary folder in the same parent.

    At every moment the name refers to the complete old folder or the complete new one, if the system can exchange two
    names (Linux, macOS). Elsewhere the old folder is renamed first, and renamed back if the second rename fails.
    A replaced folder and its files keep their modes, and their owner and group if the system permits it.

    The current folder of a process cannot be exchanged without moving that process out of it. If ``directory`` is the
    current folder, it must be empty; the files are then moved into it one by one, in the order of ``files``.

    Interrupts take effect while files are written, not while the folder is created, renamed or removed.

    Args:
        directory: The folder to write; its parent exists.
        files: Names of the files that ``write`` writes; the last one makes the folder a model folder. A folder with any
            other content is never replaced.
        write: Writes the files into the temporary folder, its argument.
        overwrite: Whether to replace a folder that contains only these files.
        needed_bytes: Estimated size of the files.

    Raises:
        OccupiedError: If the folder could be replaced with ``overwrite``.
        OutputError: If it may not be replaced at all, or writing fails; an existing folder stays intact. The message
            says so if the folder is in place, but not yet synced.
    """
    import shutil  # imports compression libraries, which write_file does not need

    target = Path(os.path.realpath(directory))
    try:
        occupied = _is_occupied(target, files, overwrite=overwrite)
        in_place = not occupied and (_is_current(target) or os.path.ismount(target))
        _require_space(directory, target if in_place else target.parent, needed_bytes)
        if occupied and not _is_writable(target):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        fresh = _temporary_path(target / target.name if in_place else target)
        with interrupts_deferred() as interrupts_allowed:
            fresh.mkdir()
            try:
                mode = stat.S_IMODE(fresh.stat().st_mode)
                fresh.chmod(mode & ~0o077)  # the files may get a stricter mode only after they are written
                with interrupts_allowed():
                    write(fresh)
                    _keep_permissions(target, fresh, files, mode)
                    for path in (*(fresh / name for name in files), fresh):
                        _sync(path)
                if in_place:
                    _move_into(target, fresh, files)
                elif not occupied:
                    fresh.rename(target)  # replaces an empty folder
                else:
                    old = _replace_folder(target, fresh, files)
            except BaseException:
                shutil.rmtree(fresh, ignore_errors=True)
                raise
            if in_place:
                fresh.rmdir()
            elif occupied:
                _remove_folder(old, files, target)
            _sync_names(target / files[-1] if in_place else target)
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno in (errno.EEXIST, errno.ENOTEMPTY):
            raise OccupiedError(f"{directory} was written by another process meanwhile", help="try again") from error
        raise _cannot_write(directory, error) from error


@contextmanager
def _write_errors(path: Path) -> Iterator[None]:
    """Convert the errors of writing a file."""
    try:
        yield
    except BrokenPipeError:
        raise
    except FileExistsError as error:
        raise _file_exists(path) from error
    except (OSError, ValueError) as error:
        raise _cannot_write(path, error) from error


def _existing(path: Path) -> tuple[Path, os.stat_result | None]:
    """Return the file that a path refers to, and the state of the one that exists.

    Raises:
        OutputError: If it is a folder.
    """
    target = Path(os.path.realpath(path))
    replaced = target.stat() if target.exists() else None
    if replaced is not None and stat.S_ISDIR(replaced.st_mode):
        raise OutputError(f"{path} is a folder", help="name a file in it")
    return target, replaced


def _require_writable(target: Path, replaced: os.stat_result | None, *, overwrite: bool) -> None:
    if replaced is not None and overwrite and not _is_writable(target):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def _require_space(path: Path, folder: Path, needed_bytes: int) -> None:
    import shutil  # imports compression libraries, which write_file does not need

    if needed_bytes > (free_bytes := shutil.disk_usage(folder).free):
        message = f"cannot write {path}: it needs {needed_bytes:,} bytes, but only {free_bytes:,} bytes are free"
        raise OutputError(message)


def _file_exists(path: Path) -> OccupiedError:
    return OccupiedError(f"{path} exists", help="choose another name, or pass overwrite=True to replace it")


def _cannot_write(path: Path, error: OSError | ValueError) -> OutputError:
    absent = isinstance(error, FileNotFoundError) and not path.parent.exists()
    remedy = f"create its folder first: mkdir -p {shell_quote(str(path.parent))}" if absent else ""
    return OutputError(f"cannot write {path}: {_reason(error)}", help=remedy)


def _reason(error: OSError | ValueError) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)


def _is_writable(target: Path) -> bool:
    """Return whether this process may write a file, by its effective user id where supported."""
    return os.access(target, os.W_OK, effective_ids=os.access in os.supports_effective_ids)


def _descriptor(path: Path) -> int | None:
    """Return the descriptor of the open stream that a path names, or None; its file must not be replaced."""
    name = os.path.abspath(path)  # noqa: PTH100 - resolving would follow the link to the file behind
    numbered = re.fullmatch(_DESCRIPTOR, name)
    return int(numbered[1]) if numbered else _STREAMS.get(name)


def _write_and_rename(
    target: Path, write: Callable[[Path], object], replaced: os.stat_result | None, *, overwrite: bool
) -> None:
    finished = _temporary_path(target)
    mode = 0o666 if replaced is None else stat.S_IMODE(replaced.st_mode)  # never more permissive than before
    descriptor = os.open(finished, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode)
    try:
        os.close(descriptor)
        write(finished)
        _sync(finished)
        if replaced is not None:
            _keep_permission(finished, replaced)
        if overwrite:
            finished.replace(target)
        else:
            _rename_without_replacing(finished, target)
    except BaseException:
        finished.unlink(missing_ok=True)
        raise


def _rename_without_replacing(finished: Path, target: Path) -> None:
    """Rename ``finished`` to ``target``; raise FileExistsError if a file of that name exists by now."""
    if _rename_with(_NO_REPLACE, finished, target):
        return
    try:
        os.link(finished, target)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        try:
            finished.replace(target)
        except BaseException:
            target.unlink()
            raise
    else:
        with suppress(OSError):  # the file is in place; at worst it keeps a second, hidden name
            finished.unlink()


def _rename_with(flag: int, old: Path, new: Path) -> bool:
    """Rename with a flag of ``renameat2``, and return whether the system supports it.

    Raises:
        OSError: If the system supports it, and the rename fails.
    """
    import ctypes

    if os.name != "posix":
        return False
    library = ctypes.CDLL(None, use_errno=True)
    names = os.fsencode(old), os.fsencode(new)
    if hasattr(library, "renameat2"):
        status = library.renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], flag)
    elif hasattr(library, "renamex_np"):  # macOS, with RENAME_SWAP = 2 and RENAME_EXCL = 4
        status = library.renamex_np(*names, 4 if flag == _NO_REPLACE else 2)
    else:
        return False
    number = ctypes.get_errno()
    if status and number not in _UNSUPPORTED:
        raise OSError(number, os.strerror(number), str(old), None, str(new))
    return bool(status == 0)


def _is_current(target: Path) -> bool:
    try:
        return target.samefile(os.curdir)
    except FileNotFoundError:
        return False


def _is_occupied(target: Path, names: Sequence[str], *, overwrite: bool) -> bool:
    """Return whether ``target`` contains files that may be replaced; raise if it contains anything else."""
    if not target.exists():
        return False
    if not target.is_dir():
        raise OutputError(f"{target} is a file", help="choose a new or empty folder")
    _require_only(target, names, target)
    if not any(target.iterdir()):
        return False
    if not overwrite:
        raise OccupiedError(f"{target} is not empty", help="choose another folder, or allow this one to be replaced")
    if _is_current(target):
        raise OutputError(
            f"{target} is the current folder, and replacing it would leave this shell in a removed folder",
            help="run the command from its parent folder",
        )
    return True


def _require_only(folder: Path, names: Sequence[str], target: Path) -> None:
    """Raise if ``folder``, which is or was named ``target``, contains anything but files of these names."""
    for path in sorted(folder.iterdir()):
        if path.name not in names or not path.is_file():
            raise OutputError(f"{target} contains {path.name}, so it is not replaced", help="choose another folder")


def _replace_folder(target: Path, fresh: Path, names: Sequence[str]) -> Path:
    """Replace the folder ``target`` with ``fresh``, and return the new path of the old folder.

    The content of the old folder is checked again, because another process may have added a file since the first check.
    """
    if _rename_with(_EXCHANGE, fresh, target):
        try:
            _require_only(fresh, names, target)
        except BaseException:
            _rename_with(_EXCHANGE, fresh, target)
            raise
        return fresh
    old = _temporary_path(target)
    target.rename(old)
    try:
        _require_only(old, names, target)
        fresh.rename(target)
    except BaseException as error:
        try:
            old.rename(target)
        except OSError:
            raise OutputError(f"cannot write {target}: {error}", help=f"its old content is in {old}") from error
        raise
    return old


def _remove_folder(old: Path, names: Sequence[str], target: Path) -> None:
    """Remove a replaced folder, without any file that another process adds to it meanwhile."""
    try:
        for name in names:
            (old / name).unlink(missing_ok=True)
        old.rmdir()
    except OSError as error:
        raise OutputError(
            f"{target} is in place, but its old content, now in {old}, cannot be removed: {_reason(error)}"
        ) from error


def _move_into(target: Path, fresh: Path, names: Sequence[str]) -> None:
    """Move the files of ``fresh`` into the empty folder ``target``; after an error it is empty again."""
    moved = []
    try:
        for name in names:
            _rename_without_replacing(fresh / name, target / name)
            moved.append(target / name)
    except BaseException:
        for path in moved:
            path.unlink()
        raise


def _keep_permissions(target: Path, fresh: Path, names: Sequence[str], mode: int) -> None:
    """Give a new folder and its files the mode and owner of those they replace; a new folder gets ``mode``."""
    for name in names:
        with suppress(FileNotFoundError):
            _keep_permission(fresh / name, (target / name).stat())
    if target.exists():
        _keep_permission(fresh, target.stat())
    else:
        fresh.chmod(mode)


def _keep_permission(path: Path, replaced: os.stat_result) -> None:
    """Give a file the mode of the file it replaces, and its owner and group if permitted."""
    own = path.stat()
    if hasattr(os, "chown") and (own.st_uid, own.st_gid) != (replaced.st_uid, replaced.st_gid):
        with suppress(PermissionError):
            os.chown(path, replaced.st_uid, replaced.st_gid)
    path.chmod(stat.S_IMODE(replaced.st_mode))  # after chown, which clears bits; the umask may have reduced the mode


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


def _sync_names(target: Path) -> None:
    """Sync the folder that contains ``target``, if the system supports it.

    Raises:
        OutputError: If that fails; the file or folder is in place.
    """
    try:
        _sync(target.parent)
    except OSError as error:
        if error.errno not in (*_UNSUPPORTED, errno.EACCES):  # EACCES: the folder is writable, but not readable
            raise OutputError(
                f"{target} is in place, but may be lost in a power failure: cannot sync its folder: {_reason(error)}"
            ) from error

"""Read regular files within a size limit; reject pipes, which may block, devices and folders."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO


def open_regular(path: Path | str) -> BinaryIO:
    """Open a regular file, or a symbolic link to one, for reading.

    Raises:
        OSError: If it cannot be opened, or is not a regular file; ``strerror`` gives the reason.
        ValueError: If ``path`` contains a NUL character.
    """
    # without blocking, so that opening a named pipe does not wait for a writer
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
    descriptor = os.open(path, flags)
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_regular(path: Path | str, max_bytes: int) -> bytes:
    """Read a regular file of at most ``max_bytes``.

    Raises:
        OSError: As :func:`open_regular`, and if the file is larger.
        ValueError: If ``path`` contains a NUL character.
    """
    with open_regular(path) as file:
        data = file.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise OSError(errno.EFBIG, f"larger than {max_bytes / 1024**2:g} MiB", str(path))
    return data

"""The safetensors files of a checkpoint and their headers; a file may be absent or unreadable."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path, PurePath
from typing import BinaryIO, NamedTuple

from tinylm_cli.errors import WeightsError
from tinylm_cli.interop.safetensors_index import INDEX, WEIGHTS_FILE, Index, checkpoint_index
from tinylm_cli.regular_file import open_regular
from tinylm_cli.reports.verify import StoredStatus
from tinylm_cli.safetensors_header import (
    SIZE_BYTES,
    HeaderError,
    LfsPointerError,
    TensorInfo,
    header_bytes,
    read_header,
)

MAX_STORED_TENSORS = 300_000
"""Tensors in all files of a checkpoint; a quantized one has several for each weight."""
MAX_REASON = 300
"""Maximum characters of the reason in a message."""


class File(NamedTuple):
    """A file of a checkpoint."""

    path: PurePath
    listed: frozenset[str]  # The tensors that the index maps to it; empty without an index.
    status: StoredStatus
    reason: str = ""  # Why its header is not read; empty if it is.
    tensors: Mapping[str, TensorInfo] = {}
    data_start: int = 0  # Position of the first byte after the header.
    file_bytes: int = 0


class Folder(NamedTuple):
    """The files of a checkpoint."""

    path: PurePath
    shards: Index | None  # Their index; None if ``model.safetensors`` is the only file.
    files: tuple[File, ...]
    unread: tuple[str, ...]  # Other safetensors files of the folder.

    @property
    def index_path(self) -> PurePath:
        """The path that the index has."""
        return self.path / INDEX


def read_folder(path: Path) -> Folder:
    """Read the index of a checkpoint, and the header of each file that is there.

    Raises:
        WeightsError: If there are no weights or too many tensors, or the index cannot be read.
    """
    index = checkpoint_index(path)
    names = {WEIGHTS_FILE: frozenset[str]()} if index is None else index.names_by_file
    files = (_read_file(path / name, listed) for name, listed in names.items())
    others = sorted(each.name for each in path.glob("*.safetensors") if each.name not in names)
    return folder_of(path, index, files)._replace(unread=tuple(others))


def folder_of(path: PurePath, index: Index | None, files: Iterable[File]) -> Folder:
    """Return files as a folder.

    Raises:
        WeightsError: If they contain too many tensors; the files after that are not read.
    """
    read: list[File] = []
    n_tensors = 0
    for file in files:
        read.append(file)
        n_tensors += len(file.tensors)
        if n_tensors > MAX_STORED_TENSORS:
            raise WeightsError(f"{path} contains more than {MAX_STORED_TENSORS:,} tensors, too many to compare")
    return Folder(path, index, tuple(read), ())


def _read_file(path: Path, listed: frozenset[str]) -> File:
    with ExitStack() as stack:

        def opened() -> tuple[BinaryIO, int]:
            file = stack.enter_context(open_regular(path))
            return file, os.fstat(file.fileno()).st_size

        return header_of(path, listed, opened)


def header_of(path: PurePath, listed: frozenset[str], opened: Callable[[], tuple[BinaryIO, int]]) -> File:
    """Read the header of a file, which may be absent or unreadable.

    Args:
        path: Its path.
        listed: The tensors that the index maps to it.
        opened: Returns the file, or its beginning with the header, and the size of the whole file.
    """
    try:
        file, size = opened()
        length = header_bytes(file)
        tensors = read_header(file, length)
    except (FileNotFoundError, LfsPointerError) as error:
        return File(path, listed, "absent", str(error) if isinstance(error, LfsPointerError) else "it does not exist")
    except HeaderError as error:
        return File(path, listed, "unreadable", _clipped(f"the file is damaged or not a safetensors file: {error}"))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        return File(path, listed, "unreadable", _clipped(f"the file cannot be read: {reason}"))
    return File(path, listed, "present", "", tensors, SIZE_BYTES + length, size)


def _clipped(reason: str) -> str:
    return reason if len(reason) <= MAX_REASON else f"{reason[:MAX_REASON]}…"

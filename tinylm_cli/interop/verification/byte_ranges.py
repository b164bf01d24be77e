"""Check the positions of the tensors in a safetensors file, and the index against the files."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from tinylm_cli.errors import Span
from tinylm_cli.interop.safetensors_index import INDEX
from tinylm_cli.interop.verification.stored_files import File, Folder
from tinylm_cli.quantities import counted
from tinylm_cli.wording import Setting, Text

MAX_DTYPE = 40
"""Characters of an unknown dtype in a message."""


class FileFinding(NamedTuple):
    """An inconsistency of the files."""

    code: str
    message: str  # With ``{names}`` in place of the tensors.
    source: str
    names: tuple[str, ...] = ()
    help: str = ""
    span: Span | None = None


def check_ranges(file: File) -> Iterator[FileFinding]:
    """Yield tensors with other bytes than their shape and dtype take, gaps, overlaps, and a file that is cut off."""
    source = str(file.path)
    for name, info in file.tensors.items():
        needed, has = info.expected_bytes, info.end - info.start
        if needed is None:
            message = f"{{names}} has dtype {info.dtype[:MAX_DTYPE]}, which the format does not have"
            yield FileFinding("tensor-dtype", message, source, (name,))
        elif needed != has:
            message = f"{{names}} has {has:,} bytes of data, but {info.dtype} of shape {info.shape} takes {needed:,}"
            yield FileFinding("tensor-bytes", message, source, (name,))
    ordered = sorted(file.tensors.items(), key=lambda item: item[1][2:])
    end, last = file.data_start, "the header"
    for name, info in ordered:
        if info.start < end and info.end > info.start:
            message = f"the data of {{names}} overlaps the data of {last}"
            yield FileFinding("data-overlap", message, source, (name,))
        elif info.start > end:
            yield _gap(info.start - end, f"between {last} and {name}", source)
        if info.end > end:
            end, last = info.end, name
    yield from _check_end(file, end)


def _check_end(file: File, end: int) -> Iterator[FileFinding]:
    source, size = str(file.path), file.file_bytes
    if size > end:
        yield _gap(size - end, "after the last tensor", source)
    elif size < end:
        cut = tuple(name for name, info in file.tensors.items() if info.end > size)
        message = f"the file has {size:,} bytes of {end:,}: the data of {{names}} is incomplete"
        yield FileFinding("truncated-file", message, source, cut, "copy or download the file again")


def _gap(size: int, place: str, source: str) -> FileFinding:
    return FileFinding("data-gap", f"{size:,} bytes {place} belong to no tensor", source)


def check_files(folder: Folder, *, partial: bool) -> Iterator[FileFinding]:
    """Yield absent and unreadable files, and differences between the index and the files.

    Args:
        folder: The files.
        partial: Whether files may be absent.
    """
    absent = [file for file in folder.files if file.status == "absent"]
    if absent and not partial:
        yield _absent(folder, absent)
    for file in folder.files:
        if file.status == "unreadable":
            yield FileFinding("unreadable-header", file.reason, str(file.path), help="copy or download the file again")
    homes: dict[str, File] = {}
    for file in folder.files:
        for name in file.tensors:
            if name in homes:
                message = f"{{names}} is in {homes[name].path.name} and in {file.path.name}"
                yield FileFinding("duplicate-tensor", message, str(file.path), (name,))
            homes[name] = file
    if folder.shards is not None:
        yield from _check_index(folder, homes)


def _absent(folder: Folder, absent: list[File]) -> FileFinding:
    are_pointers = all("Git LFS" in file.reason for file in absent)
    download = "git lfs pull downloads " if are_pointers else "download "
    if folder.shards is None:
        message = f"{absent[0].path.name} {'is a pointer of Git LFS' if are_pointers else 'does not exist'}"
        return FileFinding("missing-file", message, str(absent[0].path), help=f"{download}it")
    names = ", ".join(file.path.name for file in absent[:3]) + (", …" if len(absent) > 3 else "")
    verb = "is" if len(absent) == 1 else "are"
    what = "only pointers of Git LFS" if are_pointers else "missing"
    message = f"{len(absent)} of {counted(len(folder.files), 'file')} {verb} {what}: {names}"
    them = "it" if len(absent) == 1 else "them"
    help_ = Text(f"{download}{them}, or check the tensors by name only: ", Setting("partial", True))
    return FileFinding("missing-file", message, str(folder.index_path), help=help_)


def _check_index(folder: Folder, homes: dict[str, File]) -> Iterator[FileFinding]:
    assert folder.shards is not None
    source, all_present = str(folder.index_path), all(file.status == "present" for file in folder.files)
    listed = frozenset(name for file in folder.files for name in file.listed)
    for file in folder.files:
        if file.status == "present":
            for name in sorted(file.listed - file.tensors.keys()):
                home = f"it is in {homes[name].path.name}" if name in homes else "it is in no file"
                message = f"{INDEX} maps {{names}} to {file.path.name}, but {home}"
                yield FileFinding("index-mismatch", message, source, (name,))
            for name in file.tensors:
                if name not in listed:
                    message = f"{{names}} is in {file.path.name}, but {INDEX} does not list it"
                    yield FileFinding("index-mismatch", message, source, (name,))
    total = sum(info.end - info.start for file in folder.files for info in file.tensors.values())
    wanted = folder.shards.total_bytes
    if all_present and wanted is not None and wanted != total:
        message = f"metadata.total_size is {wanted:,}, but the tensors have {total:,} bytes"
        yield FileFinding("index-total-size", message, source, help=f'write "total_size": {total}')

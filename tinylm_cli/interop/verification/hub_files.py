"""The safetensors files of a repository of the Hugging Face Hub: their headers, read with ranges."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor

from tinylm_cli.errors import WeightsError
from tinylm_cli.interop.hub import Repository, read_beginning
from tinylm_cli.interop.safetensors_index import INDEX, MAX_INDEX_BYTES, WEIGHTS_FILE, Index, parse_index
from tinylm_cli.interop.verification.stored_files import File, Folder, folder_of, header_of
from tinylm_cli.safetensors_header import MAX_HEADER_BYTES, SIZE_BYTES

FIRST_BYTES = 256 * 1024
"""Bytes of a file that are read first; most headers are shorter."""

N_CONNECTIONS = 8
"""Files that are read at once."""


def read_repository(repository: Repository) -> Folder:
    """Read the index of a repository, and the header of each file.

    Raises:
        InputError: If the repository cannot be read.
        WeightsError: If it has no safetensors files or too many tensors, or the index cannot be read.
    """
    only = _read_file(repository, WEIGHTS_FILE, frozenset())
    index = _read_index(repository) if only.status == "absent" else None
    if index is None:
        return folder_of(repository.path, None, [only])
    with ThreadPoolExecutor(N_CONNECTIONS) as pool:
        files = pool.map(lambda each: _read_file(repository, *each), index.names_by_file.items())
        return folder_of(repository.path, index, files)


def _read_index(repository: Repository) -> Index:
    try:
        data = read_beginning(repository, INDEX, MAX_INDEX_BYTES + 1).data
    except FileNotFoundError as error:
        message = f"{repository.path} contains neither {WEIGHTS_FILE} nor {INDEX}"
        raise WeightsError(message, help="name a repository with safetensors files") from error
    if len(data) > MAX_INDEX_BYTES:
        raise WeightsError(f"{repository.path / INDEX} is larger than {MAX_INDEX_BYTES // 1024**2} MiB")
    return parse_index(repository.path / INDEX, data)


def _read_file(repository: Repository, name: str, listed: frozenset[str]) -> File:
    def beginning() -> tuple[io.BytesIO, int]:
        first = read_beginning(repository, name, FIRST_BYTES)
        length = min(int.from_bytes(first.data[:SIZE_BYTES], "little"), MAX_HEADER_BYTES)
        whole = first if SIZE_BYTES + length <= FIRST_BYTES else read_beginning(repository, name, SIZE_BYTES + length)
        return io.BytesIO(whole.data), len(whole.data) if first.file_bytes is None else first.file_bytes

    return header_of(repository.path / name, listed, beginning)

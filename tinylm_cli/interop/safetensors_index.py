"""The index of a Hugging Face checkpoint in several files: the file of each tensor."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePath
from typing import NamedTuple

from tinylm_cli.errors import WeightsError
from tinylm_cli.regular_file import read_regular

WEIGHTS_FILE = "model.safetensors"
"""The only file of a checkpoint without an index."""
INDEX = "model.safetensors.index.json"
MAX_INDEX_BYTES = 64 * 1024**2


class Index(NamedTuple):
    """The tensors and files that an index names."""

    names_by_file: dict[str, frozenset[str]]  # The tensors of each file, the files in order.
    total_bytes: int | None  # The bytes of all tensors as ``metadata.total_size`` gives them; None if it does not.


def checkpoint_index(folder: Path) -> Index | None:
    """Read the index of a checkpoint; return None if the checkpoint is a single file, which has precedence.

    Raises:
        WeightsError: If the folder contains neither, or the index cannot be read.
    """
    if os.path.lexists(folder / WEIGHTS_FILE):  # true for a pipe or a folder; reading it reports its type
        return None
    if os.path.lexists(folder / INDEX):
        return read_index(folder / INDEX)
    pickled = any(folder.glob("*.bin"))
    raise WeightsError(
        f"{folder} contains neither {WEIGHTS_FILE} nor {INDEX}",
        help="pickled weights are not supported; convert them to safetensors" if pickled else "name a model folder",
    )


def read_index(path: Path) -> Index:
    """Read an index; see :func:`parse_index`.

    Raises:
        WeightsError: Also if it cannot be read.
    """
    with weights_errors(path):
        data = read_regular(path, MAX_INDEX_BYTES)
    return parse_index(path, data)


def parse_index(path: PurePath, data: bytes) -> Index:
    """Return the index that a file contains.

    Raises:
        WeightsError: If it is not an index, or names a file outside its folder.
    """
    try:
        document = json.loads(data)
    except UnicodeDecodeError as error:
        raise WeightsError(f"{path} is not JSON: byte {error.start + 1:,} is not UTF-8") from error
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"{path} is not JSON: {error}") from error
    weight_map = document.get("weight_map") if isinstance(document, dict) else None
    if not isinstance(weight_map, dict) or not all(isinstance(file, str) for file in weight_map.values()):
        raise WeightsError(f"{path} has no weight_map from tensor names to files")
    names_by_file: dict[str, set[str]] = {}
    for name, file in weight_map.items():
        if Path(file).name != file or file in ("", ".", ".."):
            raise WeightsError(f"{path} names a file outside its folder: {file}")
        with weights_errors(Path(file)):
            os.fsencode(file)
        names_by_file.setdefault(file, set()).add(name)
    metadata = document.get("metadata")
    total = metadata.get("total_size") if isinstance(metadata, dict) else None
    if not isinstance(total, int | float) or isinstance(total, bool) or not 0 <= total < 2**63:
        total = None
    files = {file: frozenset(names) for file, names in sorted(names_by_file.items())}
    return Index(files, None if total is None else int(total))


@contextmanager
def weights_errors(path: Path) -> Iterator[None]:
    """Convert system errors to WeightsErrors that name the file."""
    try:
        yield
    except FileNotFoundError as error:
        raise WeightsError(f"{path} does not exist") from error
    except OSError as error:
        raise WeightsError(f"cannot read {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise WeightsError(f"{path} is not a path: {error}") from error

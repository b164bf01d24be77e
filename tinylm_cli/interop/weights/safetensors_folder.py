"""The safetensors files of a Hugging Face folder: one file, or shards with an index."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from torch import Tensor

from tinylm_cli.errors import WeightsError
from tinylm_cli.model.safetensors_file import MAX_NAME, SafetensorsFile, TensorInfo
from tinylm_cli.regular_file import read_regular

WEIGHTS_FILE = "model.safetensors"
INDEX = "model.safetensors.index.json"
MAX_INDEX_BYTES = 64 * 1024**2


class SafetensorsFolder:
    """The tensors of a folder, by name; values are read on demand.

    Args:
        folder: Holds ``model.safetensors``, or an index and its shards.

    Attributes:
        tensors: Shape and dtype of each tensor, by name.

    Raises:
        WeightsError: If the files are missing or damaged, lie outside the folder, or differ from the index.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.tensors: dict[str, TensorInfo] = {}
        self._file_of: dict[str, SafetensorsFile] = {}
        for path, expected in self._files():
            with _weights_errors(path):
                file = SafetensorsFile(path)
            missing = expected - file.tensors.keys()
            if missing:
                listed = min(missing)[:MAX_NAME]
                raise WeightsError(f"{path} does not contain {listed}, although {INDEX} maps it to this file")
            for name, info in file.tensors.items():
                if name in self.tensors:
                    raise WeightsError(f"{name} is in both {self._file_of[name].path.name} and {path.name}")
                self.tensors[name], self._file_of[name] = info, file

    def read(self, name: str) -> Tensor:
        """Read a tensor of one of the supported dtypes to the CPU.

        Raises:
            WeightsError: If its file can no longer be read.
        """
        file = self._file_of[name]
        with _weights_errors(file.path):
            return file.read(name)

    def _files(self) -> Iterator[tuple[Path, frozenset[str]]]:
        """Yield each file and the tensor names that the index lists for it."""
        index = self.folder / INDEX
        if os.path.lexists(self.folder / WEIGHTS_FILE):  # true for a pipe or a folder; reading it reports its type
            yield self.folder / WEIGHTS_FILE, frozenset()
        elif os.path.lexists(index):
            names_by_file: dict[str, set[str]] = {}
            for name, file in _weight_map(index).items():
                if Path(file).name != file or file in ("", ".", ".."):
                    raise WeightsError(f"{index} names a file outside its folder: {file}")
                names_by_file.setdefault(file, set()).add(name)
            for file, names in sorted(names_by_file.items()):
                yield self.folder / file, frozenset(names)
        else:
            pickled = any(self.folder.glob("*.bin"))
            raise WeightsError(
                f"{self.folder} contains neither {WEIGHTS_FILE} nor {INDEX}",
                help="pickled weights are not supported; convert them to safetensors"
                if pickled
                else "name a model folder",
            )


def _weight_map(index: Path) -> dict[str, str]:
    with _weights_errors(index):
        data = read_regular(index, MAX_INDEX_BYTES)
    try:
        document = json.loads(data)
    except UnicodeDecodeError as error:
        raise WeightsError(f"{index} is not JSON: byte {error.start + 1:,} is not UTF-8") from error
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"{index} is not JSON: {error}") from error
    weight_map = document.get("weight_map") if isinstance(document, dict) else None
    if not isinstance(weight_map, dict) or not all(isinstance(file, str) for file in weight_map.values()):
        raise WeightsError(f"{index} has no weight_map from tensor names to files")
    return weight_map


@contextmanager
def _weights_errors(path: Path) -> Iterator[None]:
    """Convert system errors to WeightsErrors that name the file."""
    try:
        yield
    except FileNotFoundError as error:
        raise WeightsError(f"{path} does not exist") from error
    except OSError as error:
        raise WeightsError(f"cannot read {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise WeightsError(f"{path} is not a path: {error}") from error

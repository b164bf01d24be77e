"""The safetensors files of a Hugging Face folder: one file, or shards with an index."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from torch import Tensor

from tinylm_cli.errors import WeightsError
from tinylm_cli.interop.safetensors_index import INDEX, WEIGHTS_FILE, checkpoint_index, weights_errors
from tinylm_cli.model.safetensors_file import SafetensorsFile
from tinylm_cli.safetensors_header import MAX_NAME, TensorInfo


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
            with weights_errors(path):
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
        with weights_errors(file.path):
            return file.read(name)

    def _files(self) -> Iterator[tuple[Path, frozenset[str]]]:
        """Yield each file and the tensor names that the index lists for it."""
        index = checkpoint_index(self.folder)
        names_by_file = {WEIGHTS_FILE: frozenset[str]()} if index is None else index.names_by_file
        for file, names in names_by_file.items():
            yield self.folder / file, names

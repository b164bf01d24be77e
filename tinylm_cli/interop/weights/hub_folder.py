"""The safetensors files of a Hugging Face folder: one file, or shards with an index."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tinylm_cli.errors import WeightsError

if TYPE_CHECKING:
    from torch import Tensor

WEIGHTS_FILE = "model.safetensors"
INDEX = "model.safetensors.index.json"
MAX_INDEX_BYTES = 64 * 1024**2


class StoredTensor(NamedTuple):
    """Header entry of a stored tensor.

    Attributes:
        file: The file that holds it.
        shape: Its shape.
        dtype: Its dtype as the file format names it: ``F32``, ``BF16``.
    """

    file: Path
    shape: tuple[int, ...]
    dtype: str


class HubFolder:
    """The tensors of a folder, by name; values are read on demand.

    Args:
        folder: Holds ``model.safetensors``, or an index and its shards.

    Attributes:
        tensors: Header entry of each tensor, by name.

    Raises:
        WeightsError: If the files are missing or damaged, lie outside the folder, or differ from the index.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.tensors: dict[str, StoredTensor] = {}
        self._open: dict[Path, Any] = {}
        for file, expected in self._files():
            with _refusals(file):
                names = self._read_header(file)
            missing = expected - names.keys()
            if missing:
                raise WeightsError(f"{file} does not contain {min(missing)}, although {INDEX} maps it to this file")
            for name, tensor in names.items():
                if name in self.tensors:
                    raise WeightsError(f"{name} is in both {self.tensors[name].file.name} and {file.name}")
                self.tensors[name] = tensor

    def read(self, name: str) -> Tensor:
        """Read a tensor to the CPU.

        Raises:
            WeightsError: If its file no longer holds it.
        """
        file = self.tensors[name].file
        with _refusals(file):
            tensor: Tensor = self._handle(file).get_tensor(name)
        return tensor

    def _files(self) -> Iterator[tuple[Path, frozenset[str]]]:
        """Yield each file and the tensor names that the index lists for it."""
        index = self.folder / INDEX
        if (self.folder / WEIGHTS_FILE).is_file():
            yield self.folder / WEIGHTS_FILE, frozenset()
        elif index.is_file():
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
                f"{self.folder} holds neither {WEIGHTS_FILE} nor {INDEX}",
                help="pickled weights are not supported; convert them to safetensors"
                if pickled
                else "name a model folder",
            )

    def _read_header(self, file: Path) -> dict[str, StoredTensor]:
        handle = self._handle(file)
        found = {}
        for name in handle.keys():  # noqa: SIM118 - not a mapping
            piece = handle.get_slice(name)
            found[name] = StoredTensor(file, tuple(piece.get_shape()), str(piece.get_dtype()))
        return found

    def _handle(self, file: Path) -> Any:
        from safetensors import safe_open

        if file not in self._open:
            if not _is_text(str(file)):
                raise WeightsError(f"cannot read {file}: its name is not Unicode text", help="rename it")
            if not file.is_file():  # opening a pipe would block
                raise WeightsError(f"{file} does not exist or is not a regular file")
            self._open[file] = safe_open(file, framework="pt", device="cpu")
        return self._open[file]


def _is_text(name: str) -> bool:
    """Return whether a name can be encoded as UTF-8: JSON may hold lone surrogates, and file names any bytes."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _weight_map(index: Path) -> dict[str, str]:
    try:
        if index.stat().st_size > MAX_INDEX_BYTES:
            raise WeightsError(f"{index} is larger than {MAX_INDEX_BYTES // 1024**2} MiB")
        document = json.loads(index.read_text(encoding="utf-8"))
    except OSError as error:
        raise WeightsError(f"cannot read {index}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"{index} is not JSON: {error}") from error
    found = document.get("weight_map") if isinstance(document, dict) else None
    if not isinstance(found, dict) or not all(isinstance(file, str) for file in found.values()):
        raise WeightsError(f"{index} has no weight_map from tensor names to files")
    return found


@contextmanager
def _refusals(file: Path) -> Iterator[None]:
    """Convert errors of the safetensors library to WeightsErrors that name the file."""
    from safetensors import SafetensorError

    try:
        yield
    except FileNotFoundError as error:
        raise WeightsError(f"{file} does not exist") from error
    except OSError as error:
        raise WeightsError(f"cannot read {file}: {error.strerror or error}") from error
    except SafetensorError as error:
        raise WeightsError(f"{file} is damaged or not a safetensors file: {error}") from error

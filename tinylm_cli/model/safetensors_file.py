"""Read and write safetensors files one tensor at a time, so that a model may exceed memory. Nothing is unpickled."""

from __future__ import annotations

import json
import weakref
from collections.abc import Callable, Iterable
from math import prod
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from tinylm_cli.errors import WeightsError
from tinylm_cli.regular_file import open_regular
from tinylm_cli.safetensors_header import HeaderError, TensorInfo, header_bytes, read_header

ALIGNMENT = 8

MAX_REASON = 300
"""Maximum characters of the reason in a message."""
DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
"""Floating dtypes by their names in the file format."""

_NAMES = {dtype: name for name, dtype in DTYPES.items()}


class SafetensorsFile:
    """A file whose header is valid; values are read on demand. It stays open as long as this object exists.

    A memory map is not used: its pages would add to the memory of the parameters, its alignment would change the last
    bits of matmuls, and truncation of the file would kill the process.

    Args:
        path: A regular file, or a link to one.

    Attributes:
        path: The file.
        tensors: Header entry of each tensor, by name, in file order.

    Raises:
        OSError: If it cannot be opened, or is not a regular file.
        WeightsError: If it is not a safetensors file, or its header exceeds a limit.

    References:
        https://huggingface.co/docs/safetensors#format
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = open_regular(path)
        weakref.finalize(self, self._file.close)
        self.tensors = self._read_header()

    def read(self, name: str) -> Tensor:
        """Read a tensor of one of ``DTYPES`` to the CPU.

        Raises:
            OSError: If the file cannot be read.
            WeightsError: If the file has become shorter.
        """
        info = self.tensors[name]
        values = torch.empty(info.shape, dtype=DTYPES[info.dtype], device="cpu")
        self.read_into(name, values)
        return values

    def read_into(self, name: str, values: Tensor) -> None:
        """Read a tensor into the memory of ``values``, which is on the CPU and has its shape and dtype.

        Raises:
            OSError: If the file cannot be read.
            WeightsError: If the file has become shorter.
        """
        self._file.seek(self.tensors[name].start)
        data = values.view(-1).view(torch.uint8).numpy().data
        if self._file.readinto(data) != values.nbytes:  # type: ignore[attr-defined]
            raise WeightsError(f"{self.path} was truncated while it was read", help="load it again once it is complete")

    def _read_header(self) -> dict[str, TensorInfo]:
        try:
            size = header_bytes(self._file)
            # the library checks that dtypes, shapes and offsets agree and fill the file; a descriptor's name is text
            number = self._file.fileno()
            names = (Path(folder, str(number)) for folder in ("/proc/self/fd", "/dev/fd"))
            with safe_open(next((name for name in names if name.exists()), self.path), framework="pt", device="cpu"):
                pass
            return read_header(self._file, size)
        except (HeaderError, SafetensorError) as error:
            raise self._damaged(str(error)) from error

    def _damaged(self, reason: str) -> WeightsError:
        if len(reason) > MAX_REASON:  # the library repeats tensor names
            reason = f"{reason[:MAX_REASON]}…"
        return WeightsError(
            f"{self.path} is damaged or not a safetensors file: {reason}",
            help="save the model again, or copy the file again",
        )


class LazyTensor(NamedTuple):
    """A tensor whose values are loaded only when they are written.

    Attributes:
        name: Its name in the file.
        shape: Its shape.
        dtype: Its dtype in the file.
        load: Returns its values on the CPU.
    """

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    load: Callable[[], Tensor]

    @property
    def nbytes(self) -> int:
        """Bytes of its values."""
        return prod(self.shape) * self.dtype.itemsize


def write_safetensors(path: Path, tensors: Iterable[LazyTensor]) -> None:
    """Write a safetensors file with one tensor in memory at a time.

    The output is deterministic: header entries and values are in the given order.

    Args:
        path: The file to create.
        tensors: The tensors, in file order.

    Raises:
        OSError: If the file cannot be written.

    References:
        https://huggingface.co/docs/safetensors#format
    """
    tensors = list(tensors)
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for tensor in tensors:
        start, end = end, end + tensor.nbytes
        header[tensor.name] = {
            "dtype": _NAMES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [start, end],
        }
    text = json.dumps(header, separators=(",", ":")).encode("utf-8")
    text += b" " * (-len(text) % ALIGNMENT)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little"))
        file.write(text)
        for tensor in tensors:
            values = tensor.load().detach().to(tensor.dtype).contiguous()
            assert tuple(values.shape) == tensor.shape, f"{tensor.name}: {tuple(values.shape)}, not {tensor.shape}"
            file.write(values.view(-1).view(torch.uint8).numpy().data)

"""Write a safetensors file one tensor at a time, so that the model may exceed memory."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from math import prod
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

ALIGNMENT = 8

DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
"""Floating dtypes by their names in the file format."""

_NAMES = {dtype: name for name, dtype in DTYPES.items()}


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

"""Writing a safetensors file tensor by tensor, so that a model larger than memory can be written."""

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
"""The floating types of the file format, by the names it has for them."""

_NAMES = {dtype: name for name, dtype in DTYPES.items()}


class Planned(NamedTuple):
    """A tensor that will be written.

    Attributes:
        name: Its name.
        shape: Its shape.
        dtype: Its type.
        make: Returns its values, on the CPU, when their turn has come.
    """

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    make: Callable[[], Tensor]

    @property
    def nbytes(self) -> int:
        """Bytes of its data."""
        return prod(self.shape) * self.dtype.itemsize


def write_tensors(path: Path, tensors: Iterable[Planned]) -> None:
    """Write a safetensors file, holding one tensor in memory at a time.

    The same tensors give the same bytes, whatever wrote them: a header of names in order, then the data in that order.

    Args:
        path: The file, new.
        tensors: What to write, in the order of the file.

    Raises:
        OSError: If the system refuses.

    References:
        https://huggingface.co/docs/safetensors#format
    """
    planned = list(tensors)
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for tensor in planned:
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
        for tensor in planned:
            values = tensor.make().detach().to(tensor.dtype).contiguous()
            assert tuple(values.shape) == tensor.shape, f"{tensor.name}: {tuple(values.shape)}, not {tensor.shape}"
            file.write(values.view(-1).view(torch.uint8).numpy().data)

"""Read the header of a safetensors file: the names, dtypes, shapes and positions of its tensors, without their values.

References:
    https://huggingface.co/docs/safetensors#format
"""

from __future__ import annotations

import json
from math import prod
from typing import Any, BinaryIO, NamedTuple

MAX_HEADER_BYTES = 32 * 1024**2
"""Maximum size of a header, enough for 200,000 tensors."""
MAX_NAME = 1000
"""Maximum characters of a tensor name, so that no message contains a longer one."""
MAX_DIMENSIONS = 64
"""Maximum number of dimensions of a torch tensor."""

SIZE_BYTES = 8
"""A file begins with the size of its header."""

DTYPE_BITS = {
    **dict.fromkeys(("C64", "F64", "I64", "U64"), 64),
    **dict.fromkeys(("F32", "I32", "U32"), 32),
    **dict.fromkeys(("F16", "BF16", "I16", "U16"), 16),
    **dict.fromkeys(("BOOL", "I8", "U8", "F8_E4M3", "F8_E5M2", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8),
    **dict.fromkeys(("F6_E2M3", "F6_E3M2"), 6),
    "F4": 4,
}
"""The bits of one value of each dtype of the format."""

_LFS_POINTER = b"version https://git-lfs"
_MAX_INTEGER = 2**63


class TensorInfo(NamedTuple):
    """Header entry of a stored tensor.

    Attributes:
        dtype: Its dtype as the file format names it: ``F32``, ``BF16``.
        shape: Its shape.
        start: Position in the file of the first byte of its values.
        end: Position in the file after their last byte.
    """

    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int

    @property
    def expected_bytes(self) -> int | None:
        """Bytes of a tensor of its shape and dtype; None if the format has no such dtype."""
        bits = DTYPE_BITS.get(self.dtype)
        return None if bits is None else -(-prod(self.shape) * bits // 8)


class HeaderError(ValueError):
    """A header that cannot be read; the message is the reason."""


class LfsPointerError(HeaderError):
    """A text file in place of a file that Git LFS has not downloaded."""


def header_bytes(file: BinaryIO) -> int:
    """Read the size of the header from the beginning of a file.

    Raises:
        LfsPointerError: If it is not the file itself.
        HeaderError: If the file is shorter, or the size exceeds ``MAX_HEADER_BYTES``.
    """
    require_not_pointer(file)
    beginning = file.read(SIZE_BYTES)
    if len(beginning) < SIZE_BYTES:
        raise HeaderError(f"it has only {len(beginning)} bytes")
    size = int.from_bytes(beginning, "little")
    if size > MAX_HEADER_BYTES:
        raise HeaderError(f"a header of {size:,} bytes, more than {MAX_HEADER_BYTES:,}")
    return size


def require_not_pointer(file: BinaryIO) -> None:
    """Require that a file, at its beginning, is not a pointer of Git LFS.

    Raises:
        LfsPointerError: If it is one.
    """
    if file.read(len(_LFS_POINTER)) == _LFS_POINTER:
        raise LfsPointerError("it is a pointer of Git LFS, not the file itself")
    file.seek(0)


def read_header(file: BinaryIO, size: int) -> dict[str, TensorInfo]:
    """Read the entry of each tensor, by name, in the order of the header.

    Args:
        file: A file at the position after the size of its header.
        size: The size, from :func:`header_bytes`.

    Raises:
        HeaderError: If the header is incomplete or not what the format describes, or exceeds a limit of this module.
            Whether ranges agree with shapes and fill the file is not checked.
    """
    data = file.read(size)
    if len(data) < size:
        raise HeaderError(f"a header of {size:,} bytes, but only {len(data):,} follow")
    try:
        header = json.loads(data, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise HeaderError(f"its header is not JSON: {error}") from error
    if not isinstance(header, dict):
        raise HeaderError("its header is not a JSON object")
    header.pop("__metadata__", None)
    return {name: _tensor_info(name, entry, SIZE_BYTES + size) for name, entry in header.items()}


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen = set[str]()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise ValueError(f"{twice[:MAX_NAME]} is there twice")
    return found


def _tensor_info(name: str, entry: Any, start: int) -> TensorInfo:
    if len(name) > MAX_NAME:
        raise HeaderError(f"a tensor name of {len(name):,} characters: {name[:40]}…")
    fields = entry if isinstance(entry, dict) else {}
    dtype, shape, offsets = fields.get("dtype"), _integers(fields.get("shape")), _integers(fields.get("data_offsets"))
    if not isinstance(dtype, str) or shape is None or offsets is None or len(offsets) != 2:
        raise HeaderError(f"{name} has no dtype, shape and data_offsets as the format describes them")
    if len(shape) > MAX_DIMENSIONS:
        raise HeaderError(f"{name} has {len(shape):,} dimensions")
    return TensorInfo(dtype, shape, start + offsets[0], start + offsets[1])


def _integers(values: Any) -> tuple[int, ...] | None:
    """Return a list of sizes or positions; None for anything else."""
    are = isinstance(values, list) and all(type(each) is int and 0 <= each < _MAX_INTEGER for each in values)
    return tuple(values) if are else None

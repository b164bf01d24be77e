"""Read the header of a GGUF file: its metadata and the names, types, shapes and positions of its tensors.

Lists of tokens are skipped, and values are not read. Every length is checked against the file before it is used.

References:
    https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import os
import struct
from math import prod
from typing import BinaryIO, NamedTuple

from tinylm_cli.safetensors_header import MAX_NAME, HeaderError, require_not_pointer

MAGIC = b"GGUF"
VERSIONS = (2, 3)
DEFAULT_ALIGNMENT = 32
ALIGNMENT_KEY = "general.alignment"

MAX_TENSORS = 300_000
"""Maximum number of tensors of a file."""
MAX_KEYS = 65_536
"""Maximum number of metadata keys."""
MAX_STRINGS = 4_000_000
"""Maximum number of strings in all lists; the largest vocabularies have 300,000 tokens and 600,000 merges."""
MAX_LISTED = 65_536
"""Elements of a list of numbers up to which it is read; a longer one is skipped."""
MAX_TEXT = 4096
"""Bytes of a string up to which it is read; a longer one is skipped."""
MAX_DIMENSIONS = 4
"""Maximum number of dimensions of a tensor."""
MAX_ALIGNMENT = 2**20
UNREAD_PREFIX = "tokenizer."
"""Prefix of the keys whose values are skipped."""

_CHUNK = 2**20
_STRING, _ARRAY = 8, 9
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_LENGTH = struct.Struct("<Q")
_MAX_ELEMENTS = 2**63

Scalar = int | float | bool | str
Value = Scalar | tuple[Scalar, ...]


class Skipped(NamedTuple):
    """A value that is not read."""

    length: int  # Elements of a list, or bytes of a string.


class GgufTensor(NamedTuple):
    """Header entry of a stored tensor."""

    type_id: int  # The number of its type in ``ggml``.
    shape: tuple[int, ...]  # Its shape in torch's order, the row length last.
    offset: int  # Position of its data after the first byte of all data.


class GgufHeader(NamedTuple):
    """The header of a GGUF file."""

    metadata: dict[str, Value | Skipped]  # In the order of the file.
    tensors: dict[str, GgufTensor]  # By name, in the order of the file.
    alignment: int
    data_start: int  # Position in the file of the first byte of all data.
    file_bytes: int


def read_gguf_header(file: BinaryIO) -> GgufHeader:
    """Read the header at the beginning of a regular file.

    Raises:
        LfsPointerError: If it is a pointer of Git LFS, not the file itself.
        HeaderError: If the header is incomplete or not what the format describes, or exceeds a limit of this module.
            Whether types and positions agree with shapes and with the size of the file is not checked.
    """
    require_not_pointer(file)
    reader = _Reader(file)
    n_tensors, n_keys = _read_counts(reader)
    metadata: dict[str, Value | Skipped] = {}
    for _ in range(n_keys):
        key = reader.text(MAX_NAME, "a metadata key")
        if key in metadata:
            raise HeaderError(f"the metadata key {key} is there twice")
        metadata[key] = reader.value(key, is_read=not key.startswith(UNREAD_PREFIX))
    tensors: dict[str, GgufTensor] = {}
    for _ in range(n_tensors):
        name = reader.text(MAX_NAME, "a tensor name")
        if name in tensors:
            raise HeaderError(f"the tensor {name} is there twice")
        tensors[name] = _read_tensor(reader, name)
    alignment = _alignment(metadata)
    data_start = -(-reader.position // alignment) * alignment
    return GgufHeader(metadata, tensors, alignment, data_start, reader.size)


def _read_counts(reader: _Reader) -> tuple[int, int]:
    """Read the magic bytes and the version, and return the numbers of tensors and of metadata keys."""
    magic = reader.take(len(MAGIC), "its first bytes")
    if magic != MAGIC:
        raise HeaderError(f"it begins with {magic!r}, not {MAGIC!r}")
    version = reader.integer("I")
    if not version & 0xFFFF and version:
        raise HeaderError("it is big-endian; only little-endian files are supported")
    if version not in VERSIONS:
        raise HeaderError(f"GGUF version {version:,} is not supported; versions {VERSIONS[0]} and {VERSIONS[1]} are")
    n_tensors, n_keys = reader.integer("Q"), reader.integer("Q")
    # a tensor has at least the length of its name, the number of its dimensions, its type and its position
    reader.require(n_tensors, 24, MAX_TENSORS, "tensors")
    reader.require(n_keys, 13, MAX_KEYS, "metadata keys")  # the length of the key, the type and a value
    return n_tensors, n_keys


def _read_tensor(reader: _Reader, name: str) -> GgufTensor:
    n_dimensions = reader.integer("I")
    if n_dimensions > MAX_DIMENSIONS:
        raise HeaderError(f"{name} has {n_dimensions:,} dimensions, more than {MAX_DIMENSIONS}")
    shape = tuple(reader.integer("Q") for _ in range(n_dimensions))[::-1]
    if prod(shape) >= _MAX_ELEMENTS:
        raise HeaderError(f"{name} has {prod(shape):,} elements")
    return GgufTensor(reader.integer("I"), shape, reader.integer("Q"))


def _alignment(metadata: dict[str, Value | Skipped]) -> int:
    alignment = metadata.get(ALIGNMENT_KEY, DEFAULT_ALIGNMENT)
    if type(alignment) is not int or not 1 <= alignment <= MAX_ALIGNMENT or alignment & (alignment - 1):
        raise HeaderError(f"{ALIGNMENT_KEY} is {str(alignment)[:40]}, not a power of two")
    return alignment


class _Reader:
    """Reads a file in chunks; ``position`` is that of the next byte."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._buffer = b""
        self._start = 0  # Position in the file of the buffer's first byte.
        self._n_strings = 0
        self.position = 0
        self.size = os.fstat(file.fileno()).st_size

    def take(self, n: int, what: str) -> bytes:
        """Return the next ``n`` bytes."""
        at = self.position - self._start
        if not 0 <= at <= len(self._buffer) - n:
            self._file.seek(self.position)
            self._buffer, self._start, at = self._file.read(max(n, _CHUNK)), self.position, 0
            if len(self._buffer) < n:
                raise HeaderError(f"the file ends inside {what}")
        self.position += n
        return self._buffer[at : at + n]

    def integer(self, code: str) -> int:
        """Return the next integer of a type of ``struct``."""
        return int(self._number(code))

    def text(self, longest: int, what: str) -> str:
        """Return the next string of at most ``longest`` bytes."""
        length = self.integer("Q")
        if length > longest:
            raise HeaderError(f"{what} of {length:,} bytes, more than {longest:,}")
        try:
            return self.take(length, what).decode("utf-8")
        except UnicodeDecodeError as error:
            raise HeaderError(f"{what} is not UTF-8") from error

    def value(self, key: str, *, is_read: bool) -> Value | Skipped:
        """Return the next value with its type, or its length if it is too long or not wanted."""
        kind = self.integer("I")
        if kind == _ARRAY:
            return self._array(key, is_read=is_read)
        if kind != _STRING:
            return self._number(self._code(kind, key))
        length = self.integer("Q")
        if is_read and length <= MAX_TEXT:
            return self.take(length, key).decode("utf-8", "replace")
        self._skip(length, key)
        return Skipped(length)

    def require(self, count: int, least: int, most: int, what: str) -> None:
        """Require that ``count`` elements of at least ``least`` bytes are within the limit and within the file."""
        if count > most:
            raise HeaderError(f"{count:,} {what}, more than {most:,}")
        if count * least > self.size - self.position:
            raise HeaderError(f"{count:,} {what}, but only {self.size - self.position:,} bytes follow")

    def _array(self, key: str, *, is_read: bool) -> Value | Skipped:
        kind, length = self.integer("I"), self.integer("Q")
        if kind == _STRING:
            self._n_strings += length
            self.require(self._n_strings, 0, MAX_STRINGS, "strings in lists")
            self.require(length, _LENGTH.size, MAX_STRINGS, f"strings of {key}")
            self._skip_strings(length, key)
            return Skipped(length)
        code = self._code(kind, key)
        size = struct.calcsize(f"<{code}")
        if not is_read or length > MAX_LISTED:
            self._skip(length * size, key)
            return Skipped(length)
        return struct.unpack(f"<{length}{code}", self.take(length * size, key))

    def _number(self, code: str) -> int | float | bool:
        (value,) = struct.unpack(f"<{code}", self.take(struct.calcsize(f"<{code}"), "a number"))
        return value  # type: ignore[no-any-return]

    def _code(self, kind: int, key: str) -> str:
        if kind not in _SCALARS:
            raise HeaderError(f"{key} has the value type {kind:,}, which the format does not have")
        return _SCALARS[kind]

    def _skip(self, n: int, what: str) -> None:
        if n > self.size - self.position:
            raise HeaderError(f"the file ends inside {what}")
        self.position += n

    def _skip_strings(self, n: int, key: str) -> None:
        """Skip strings; the loop is the time of reading a vocabulary."""
        buffer, at, end, unpack = self._buffer, self.position - self._start, len(self._buffer), _LENGTH.unpack_from
        for _ in range(n):
            if at + _LENGTH.size > end:
                self.position = self._start + at
                self._skip(0, key)
                self.take(_LENGTH.size, key)
                self.position -= _LENGTH.size
                buffer, at, end = self._buffer, 0, len(self._buffer)
            at += _LENGTH.size + unpack(buffer, at)[0]
        self.position = self._start + at
        self._skip(0, key)

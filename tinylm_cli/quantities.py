"""Formatted quantities: strings that keep their exact number, bytes in binary units, plurals; and shared limits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

MAX_SEED = 2**64 - 1
"""The largest seed that ``torch.Generator`` accepts."""

BYTE_VOCAB_SIZE = 256
"""Vocabulary size at which token ids are UTF-8 bytes."""

MAX_DESIGNS = 500
"""Maximum number of designs that a search returns: every figure of each is computed from its config, in 3 ms."""

_BINARY = ("KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


class Quantity(str):
    """A string such as ``19.1 MiB`` with its exact number, 19980288.

    Attributes:
        value: The exact number; a percentage is stored as a fraction of 1.
    """

    __slots__ = ("value",)
    value: float  # an int or bool is also valid

    def __new__(cls, text: str, value: float) -> Self:
        """Return ``text`` with its ``value``."""
        quantity = super().__new__(cls, text)
        quantity.value = value
        return quantity


def binary_bytes(value: int) -> Quantity:
    """Format bytes in binary units: ``19.1 MiB``."""
    if value < 1024:
        return Quantity(f"{value} B", value)
    exponent = min((value.bit_length() - 1) // 10, len(_BINARY))
    scaled = value / 1024**exponent
    digits = f"{scaled:,.{0 if scaled >= 1000 else 1 if scaled >= 10 else 2}f}"
    return Quantity(f"{digits} {_BINARY[exponent - 1]}", value)


def counted(value: int, noun: str) -> str:
    """Format a count with its noun: ``1 token``, ``1,024 tokens``."""
    return f"{value:,} {noun}" if value == 1 else f"{value:,} {noun}s"


MAX_RANGES = 3


def index_ranges(ranges: Sequence[range]) -> str:
    """Format ascending ranges of indices: ``0..5``; many are shortened to ``0..4, 6..10, …, 24..25``."""
    words = [str(one[0]) if len(one) == 1 else f"{one[0]}..{one[-1]}" for one in ranges]
    return ", ".join(words if len(words) <= MAX_RANGES else [*words[: MAX_RANGES - 1], "…", words[-1]])

"""Numbers with their words, bytes in binary units, plurals, and limits that several rooms share."""

from __future__ import annotations

from typing import Self

MAX_SEED = 2**64 - 1
"""The largest seed that ``torch.Generator`` takes."""

BYTE_VOCAB_SIZE = 256
"""Size of a byte vocabulary, which encodes any text."""

_BINARY = ("KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


class Quantity(str):
    """A string such as ``19.1 MiB`` with its exact number, 19980288.

    Attributes:
        value: The exact number; a share is a fraction of 1.
    """

    __slots__ = ("value",)
    value: float  # or int, or bool, which are floats to a type checker

    def __new__(cls, words: str, value: float) -> Self:
        """Return ``words`` with their ``value``."""
        quantity = super().__new__(cls, words)
        quantity.value = value
        return quantity


def binary_bytes(value: int) -> Quantity:
    """Return bytes in binary units: ``19.1 MiB``."""
    if value < 1024:
        return Quantity(f"{value} B", value)
    exponent = min((value.bit_length() - 1) // 10, len(_BINARY))
    scaled = value / 1024**exponent
    digits = f"{scaled:,.{0 if scaled >= 1000 else 1 if scaled >= 10 else 2}f}"
    return Quantity(f"{digits} {_BINARY[exponent - 1]}", value)


def counted(value: int, noun: str) -> str:
    """Return ``1 token`` or ``1,024 tokens``."""
    return f"{value:,} {noun}" if value == 1 else f"{value:,} {noun}s"

"""Quantities that several rooms share and that belong to none: two limits, numbers in words, bytes in words, plurals.

Imports nothing of the package.
"""

from __future__ import annotations

from typing import Self

MAX_SEED = 2**64 - 1
"""The largest seed that a torch generator takes."""

BYTE_VOCAB_SIZE = 256
"""The vocabulary whose tokens are bytes, so that text can be read and shown."""

_BINARY = ("KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


class Quantity(str):
    """A number in words that keeps the number: people are shown ``19.1 MiB``, a program is given 19980288.

    Attributes:
        value: What the words stand for, unrounded; a share is a fraction of 1.
    """

    __slots__ = ("value",)
    value: float  # or int, or bool, which are floats to a type checker

    def __new__(cls, words: str, value: float) -> Self:
        """Return ``words``, standing for ``value``."""
        quantity = super().__new__(cls, words)
        quantity.value = value
        return quantity


def binary_bytes(value: int) -> Quantity:
    """Return bytes in powers of 1024 under their own names: ``19.1 MiB``."""
    if value < 1024:
        return Quantity(f"{value} B", value)
    exponent = min((value.bit_length() - 1) // 10, len(_BINARY))
    scaled = value / 1024**exponent
    digits = f"{scaled:,.{0 if scaled >= 1000 else 1 if scaled >= 10 else 2}f}"
    return Quantity(f"{digits} {_BINARY[exponent - 1]}", value)


def counted(value: int, noun: str) -> str:
    """Return ``1 token``, ``1,024 tokens``; of several words the last is the noun."""
    return f"{value:,} {noun}" if value == 1 else f"{value:,} {noun}s"

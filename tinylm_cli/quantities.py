"""Formatted quantities: strings that keep their exact number, bytes in binary units, plurals; and shared limits."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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
"""Ranges of which none is left out."""

MAX_REGULAR = 4
"""Ranges in equal steps of which none is left out."""

MAX_LIST_CHARACTERS = 18
"""Length of a list of ranges in unequal steps."""


def consecutive_ranges(indices: Iterable[int]) -> list[range]:
    """Return ascending indices as the ranges of those that follow each other."""
    ranges: list[range] = []
    for index in indices:
        if ranges and index == ranges[-1].stop:
            ranges[-1] = range(ranges[-1].start, index + 1)
        else:
            ranges.append(range(index, index + 1))
    return ranges


def index_ranges(ranges: Sequence[range], *, are_cut: bool = False) -> str:
    """Format ascending ranges of indices: ``0..5``.

    Many are shortened: ``0, 2, …, 24`` and ``0..4, 6..10, …, 24..25`` continue in equal steps. With unequal steps, a
    list names the ranges up to the first step that differs, ``0, 2, 4, 7, …, 50``, or else only the first and the
    last, ``0..1, …, 19..20``.

    Args:
        ranges: The ranges; the last one may be shorter than the others.
        are_cut: Whether the ranges before the last are only the first ones.
    """
    words = [str(one[0]) if len(one) == 1 else f"{one[0]}..{one[-1]}" for one in ranges]
    if len(words) <= MAX_RANGES:
        return ", ".join(words)
    regular = _equal_steps(ranges, are_cut=are_cut)
    if regular == len(words):
        return ", ".join(words) if regular <= MAX_REGULAR and not are_cut else f"{words[0]}, {words[1]}, …, {words[-1]}"
    shown = words[:regular] if regular <= MAX_REGULAR else [*words[:2], "…", words[regular - 1]]
    irregular, last = words[regular:-1], words[-1]
    lists = [] if are_cut else [[*shown, *irregular, last]]
    texts = map(", ".join, [*lists, [*shown, *irregular[:1], "…", last]])
    return next((text for text in texts if len(text) <= MAX_LIST_CHARACTERS), f"{words[0]}, …, {last}")


def _equal_steps(ranges: Sequence[range], *, are_cut: bool) -> int:
    """Return how many of the first ranges have the length of the first one and follow each other in equal steps."""
    first, second, *others = ranges
    step = second.start - first.start
    if len(second) != len(first):
        return 1
    for number, one in enumerate(others, start=2):
        is_last = number == len(ranges) - 1
        steps, rest = divmod(one.start - first.start, step)
        fits = rest == 0 and (steps == number or (is_last and are_cut))
        if not fits or len(one) > len(first) or (len(one) < len(first) and not is_last):
            return number
    return len(ranges)

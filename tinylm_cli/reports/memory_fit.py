"""Whether memory is enough, and what to change where it is not."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Remedy:
    """A change, of as few things as it takes, that makes fit what does not.

    Attributes:
        options: What to add to the command, in its own words: ``--recompute full``.
        what: What that does, in a few words.
        needed_bytes: What a GPU then holds; where layouts are searched, in the one that holds least.
        capacity_bytes: What it then has room for.
    """

    options: str
    what: str
    needed_bytes: int
    capacity_bytes: int


@dataclass(frozen=True)
class Fit:
    """What a GPU holds beside what it has room for.

    Attributes:
        needed_bytes: What the one that holds most holds.
        capacity_bytes: What it has room for.
        fits: Whether that is enough.
        remedies: Changes after which it is, the smallest first; empty where it fits, and where none that was tried
            is enough.
    """

    needed_bytes: int
    capacity_bytes: int
    fits: bool
    remedies: tuple[Remedy, ...]

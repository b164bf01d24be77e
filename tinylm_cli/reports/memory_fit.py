"""Whether memory is enough, and what to change where it is not."""

from __future__ import annotations

from dataclasses import dataclass

from tinylm_cli.reports.plan import Layout

Value = int | str | Layout | None
"""What a field of a setup is changed from or to: of an accelerator its name, of a quantization its method."""


@dataclass(frozen=True)
class Change:
    """One field that is changed.

    Attributes:
        field: A field of the training or serving setup, or ``accelerator``.
        before: Its value now.
        after: Its value after the change. A layout of None is searched for.
        multiple_of: Values that were tried are multiples of this.
    """

    field: str
    before: Value
    after: Value
    multiple_of: int = 1


@dataclass(frozen=True)
class Remedy:
    """A change, of as few things as it takes, that makes fit what does not.

    Attributes:
        changes: What to change.
        needed_bytes: What a GPU then holds; where layouts are searched, in the one that holds least.
        capacity_bytes: What it then has room for.
    """

    changes: tuple[Change, ...]
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

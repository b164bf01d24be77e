"""Whether memory is sufficient, and remedies if it is not."""

from __future__ import annotations

from dataclasses import dataclass

from tinylm_cli.reports.plan import Layout

Value = int | str | Layout | None
"""A value of a field of a setup: an accelerator by its name, a quantization by its method."""


@dataclass(frozen=True)
class Change:
    """A change of one field.

    Attributes:
        field: A field of the training or serving setup, or ``accelerator``.
        before: The current value.
        after: The new value; for a layout, None searches for the fastest.
        multiple_of: The values that were tried are multiples of this.
    """

    field: str
    before: Value
    after: Value
    multiple_of: int = 1


@dataclass(frozen=True)
class Remedy:
    """The fewest changes that make it fit.

    Attributes:
        changes: The changes.
        needed_bytes: Memory needed after them; with a search for layouts, that of the fastest plan that fits.
        capacity_bytes: Memory available after them.
    """

    changes: tuple[Change, ...]
    needed_bytes: int
    capacity_bytes: int


@dataclass(frozen=True)
class Fit:
    """The memory needed on a GPU, compared with the memory available.

    Attributes:
        needed_bytes: Memory needed on the GPU that holds most.
        capacity_bytes: Memory that tensors may take on it.
        fits: Whether that is enough.
        remedies: Changes that make it fit, the smallest first; empty if it fits, or if no change that was tried is
            enough.
    """

    needed_bytes: int
    capacity_bytes: int
    fits: bool
    remedies: tuple[Remedy, ...]

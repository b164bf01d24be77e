"""Whether memory is sufficient, and remedies if it is not."""

from __future__ import annotations

from tinylm_cli.reports.plan import Layout
from tinylm_cli.reports.record import Record

Value = int | str | Layout | None
"""A value of a field of a setup: an accelerator by its name, a quantization by its method."""


class Change(Record):
    """A change of one field."""

    field: str  # A field of the training or serving setup, or ``accelerator``.
    before: Value  # The current value.
    after: Value  # The new value; for a layout, None searches for the fastest.
    multiple_of: int = 1  # The tested values are multiples of this.


class Remedy(Record):
    """The fewest changes that make it fit."""

    changes: tuple[Change, ...]  # The changes.
    needed_bytes: int  # Memory needed after them; with a search for layouts, that of the fastest plan that fits.
    capacity_bytes: int  # Memory available after them.


class Fit(Record):
    """The memory needed on a GPU, compared with the memory available."""

    needed_bytes: int  # Memory needed on the GPU that needs the most.
    capacity_bytes: int  # Memory that tensors may take on it.
    fits: bool  # Whether that is enough.
    # Changes that make it fit, the smallest first; empty if it fits, or if no tested change is enough.
    remedies: tuple[Remedy, ...]

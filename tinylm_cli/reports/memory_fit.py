"""Whether memory is sufficient, and remedies if it is not."""

from __future__ import annotations

from tinylm_cli.reports.choices import Purpose
from tinylm_cli.reports.plan import Layout
from tinylm_cli.reports.record import Record
from tinylm_cli.wording import Setting

Value = int | str | Layout | None
"""A value of a field of a setup: an accelerator by its name, a quantization by its method."""

_SETTINGS = {"quantization": "quantize", "n_gpus": "gpus", "accelerator": "gpu", "layout": "plan"}
"""The settings of fields that have another name."""


class Change(Record):
    """A change of one field."""

    field: str  # A field of the training or serving setup, or ``accelerator``.
    before: Value  # The current value.
    after: Value  # The new value; for a layout, None searches for the fastest.
    multiple_of: int = 1  # The tested values are multiples of this.

    def setting(self, purpose: Purpose) -> Setting:
        """Return the setting that makes this change to training or to serving."""
        name = _SETTINGS.get(self.field, self.field)
        if purpose == "serving" and name in ("batch_size", "seq_len"):
            name = f"serving_{name}"
        if self.field == "layout":
            return Setting(name, self.after.spec if isinstance(self.after, Layout) else "auto")
        assert isinstance(self.after, int | str)
        return Setting(name, self.after)


class Remedy(Record):
    """The fewest changes that make it fit."""

    changes: tuple[Change, ...]  # The changes.
    needed_bytes: int  # Memory needed after them; with a layout search, by the fastest plan that fits.
    capacity_bytes: int  # Memory available after them.


class Fit(Record):
    """The memory needed on a GPU, compared with the memory available."""

    needed_bytes: int  # Memory needed on the GPU that needs the most.
    capacity_bytes: int  # Memory that tensors may take on it.
    fits: bool  # Whether that is enough.
    # Changes that make it fit, the smallest first; empty if it fits, or if no tested change is enough.
    remedies: tuple[Remedy, ...]

"""The report of ``tinylm list --families``."""

from __future__ import annotations

from tinylm_cli.reports.record import Record


class FamilyEntry(Record):
    """One family of models on Hugging Face."""

    model_type: str  # Its name in config.json.
    title: str  # Display name; of a multimodal family, with the part that is imported.
    architecture: str  # Class name in ``architectures`` of config.json.


class FamiliesReport(Record):
    """The families that ``tinylm import`` reads."""

    families: tuple[FamilyEntry, ...]  # Sorted by ``model_type``.

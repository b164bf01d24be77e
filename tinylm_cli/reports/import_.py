"""The report of ``tinylm import``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Any

from tinylm_cli.reports.record import Record


class ImportReport(Record):
    """A Hugging Face config as tinylm's."""

    name: str  # The model's name.
    source: str  # Where it was read.
    family: str  # Its ``model_type``.
    ignored: tuple[str, ...]  # Keys without effect on the model, in the order of the file.
    assumed: dict[str, int]  # Sizes that the file does not give, by dotted field: the family's defaults.
    config: dict[str, Any]  # Every field, blocks as nested objects.
    yaml: str  # The config as ``tinylm import`` writes it.
    unread_mtp_layers: int = 0  # Multi-token prediction modules that the file names; neither they nor weights are read.
    weights: str | None = None  # Folder that the weights were written to, or None.
    # Keys of a Hugging Face config.json that were left out, each with the reason: ``requested``, or
    # ``no_effect_here`` for a key that is not understood and changes no figure of this report.
    ignored_keys: Mapping[str, str] = field(default_factory=dict)

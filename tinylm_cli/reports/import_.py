"""The report of ``tinylm import``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class ImportReport:
    """A Hugging Face config as tinylm's.

    Attributes:
        name: The model's name.
        source: Where it was read.
        family: Its ``model_type``.
        ignored: Keys without effect on the model, in the order of the file.
        assumed: Sizes that the file does not give, by dotted field: the family's defaults.
        config: Every field, blocks as nested objects.
        yaml: The config as ``tinylm import`` writes it.
        weights: Folder that the weights were written to, or None.
    """

    name: str
    source: str
    family: str
    ignored: tuple[str, ...]
    assumed: dict[str, int]
    config: dict[str, Any]
    yaml: str
    weights: str | None = None

"""The family and the year of each published model, from the index of the gallery."""

from __future__ import annotations

import csv
from functools import cache
from typing import NamedTuple

from tinylm_cli.config.presets import gallery_index


class Publication(NamedTuple):
    """Where a published model belongs."""

    family: str  # As its publisher names it, e.g. ``qwen``.
    year: int


@cache
def publications() -> dict[str, Publication]:
    """Return the publication of each model in the gallery, by its name."""
    with gallery_index().open(encoding="utf-8", newline="") as file:
        return {row["model"]: Publication(row["family"], int(row["year"])) for row in csv.DictReader(file)}

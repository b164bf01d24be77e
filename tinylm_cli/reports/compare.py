"""What ``tinylm compare`` reports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tinylm_cli.reports.figures import Unit


@dataclass(frozen=True)
class ComparedModel:
    """One of the models compared.

    Attributes:
        name: What it is called here, unlike any other.
        source: Where its config was read.
        changes: What was changed on top, each ``key=value``.
        max_len: The most tokens that it reads.
    """

    name: str
    source: str
    changes: tuple[str, ...]
    max_len: int


@dataclass(frozen=True)
class FieldDifference:
    """A field of the config that is not the same everywhere.

    Attributes:
        field: Dotted name.
        values: Its value in each model, a default filled in; None where it is absent or means nothing.
    """

    field: str
    values: tuple[Any, ...]


@dataclass(frozen=True)
class FigureDifference:
    """A figure that is not the same everywhere.

    Attributes:
        name: What it is, e.g. ``total_params`` or ``attention_params``.
        unit: What it counts, a word of its name.
        values: The figure of each model.
        differences: Each less that of the first model, which has 0.
        ratios: Each over that of the first model; None where that is 0.
    """

    name: str
    unit: Unit
    values: tuple[int, ...]
    differences: tuple[int, ...]
    ratios: tuple[float | None, ...]


@dataclass(frozen=True)
class CompareReport:
    """What differs between models; what is the same is left out.

    Attributes:
        models: In the order given; the others are held against the first.
        same: Whether nothing differs.
        batch_size: Sequences that figures assume, the same for all models.
        seq_len: Tokens in each.
        dtype: What weights, activations and caches are stored in.
        fields: Fields of the config that differ, in the order of the schema.
        figures: Figures that differ.
    """

    models: tuple[ComparedModel, ...]
    same: bool
    batch_size: int
    seq_len: int
    dtype: str
    fields: tuple[FieldDifference, ...]
    figures: tuple[FigureDifference, ...]

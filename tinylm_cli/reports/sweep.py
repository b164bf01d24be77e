"""The report of ``tinylm sweep``: the figures of one config while one or two of its fields change."""

from __future__ import annotations

from dataclasses import dataclass

from tinylm_cli.reports.choices import Optimizer, Recompute
from tinylm_cli.reports.figures import Unit


@dataclass(frozen=True)
class SweptField:
    """A config field and the values that it takes.

    Attributes:
        name: Its dotted name.
        values: Its values, as typed.
    """

    name: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class SweepPoint:
    """One combination of values.

    Attributes:
        values: The value of each swept field, as typed.
        figures: The figures of the config by name; null where the combination is not a valid config.
        error: Why the combination is not valid; empty where it is.
    """

    values: tuple[str, ...]
    figures: dict[str, int] | None
    error: str


@dataclass(frozen=True)
class SweepReport:
    """The figures of a config at every combination of values of one or two fields.

    Attributes:
        name: The config's name.
        source: Preset name, path as given, or ``<stdin>``.
        dtype: Storage type of weights, activations and caches.
        batch_size: Sequences per pass.
        seq_len: Tokens per sequence; null for the max_len of each config.
        optimizer: The optimizer that training memory is for.
        recompute: Activations that the backward pass recomputes.
        figure: The figure that the chart shows.
        unit: The unit of that figure.
        fields: The swept fields and their values.
        points: Every combination of values; the values of the last field change fastest.
    """

    name: str
    source: str
    dtype: str
    batch_size: int
    seq_len: int | None
    optimizer: Optimizer
    recompute: Recompute
    figure: str
    unit: Unit
    fields: tuple[SweptField, ...]
    points: tuple[SweepPoint, ...]

"""The report of ``tinylm sweep``: the figures of one config as one or two of its fields vary."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from tinylm_cli.reports.choices import Optimizer, Recompute
from tinylm_cli.reports.figures import Unit
from tinylm_cli.reports.record import Record


class SweptField(Record):
    """A config field and the values that it takes."""

    name: str  # Its dotted name.
    values: tuple[str, ...]  # Its values, as typed.


class SweepPoint(Record):
    """One combination of values."""

    values: tuple[str, ...]  # The value of each swept field, as typed.
    # The figures of the config by name; null if the combination is not a valid config.
    figures: dict[str, int] | None
    error: str  # Why the combination is not valid; empty if it is.
    help: str = ""  # The remedy; may be empty.


class SweepReport(Record):
    """The figures of a config at every combination of values of one or two fields."""

    name: str  # The config's name.
    source: str  # Preset name, path as given, or ``<stdin>``.
    dtype: str  # Data type of weights, activations and caches.
    batch_size: int  # Sequences per pass.
    seq_len: int | None  # Tokens per sequence; null for the max_len of each config.
    optimizer: Optimizer  # The optimizer that training memory is for.
    recompute: Recompute  # Activations that the backward pass recomputes.
    figure: str  # The figure that the chart shows.
    unit: Unit  # The unit of that figure.
    fields: tuple[SweptField, ...]  # The swept fields and their values.
    points: tuple[SweepPoint, ...]  # Every combination of values; the values of the last field change fastest.
    # Keys of a Hugging Face config.json that were left out, each with the reason: ``requested``, or
    # ``no_effect_here`` for a key that is not understood and changes no figure of this report.
    ignored_keys: Mapping[str, str] = field(default_factory=dict)

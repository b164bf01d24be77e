"""The views of ``tinylm list``, ``tinylm show`` and ``tinylm schema``."""

from __future__ import annotations

from tinylm_cli.config.yaml_writer import field_listings, scalar
from tinylm_cli.quantities import Quantity
from tinylm_cli.render.blocks import Cell, Heading, Listing, View
from tinylm_cli.render.units import csv_only, integer, stated_count
from tinylm_cli.render.views.record_table import computed, field, only_csv, record_table
from tinylm_cli.reports.presets import Origin, Preset, PresetsReport, ShowReport


def presets_view(report: PresetsReport, what: str = "preset") -> View:
    """Show configs as a table; ``what`` is the heading of their names."""
    columns = (
        field(what, "name", style="name"),
        field("vocab_size", "vocab_size", integer, keep=3),
        field("d_model", "d_model", integer),
        field("n_heads", "n_heads", integer, keep=2),
        field("n_layers", "n_layers", integer),
        field("d_ff", "d_ff", integer, keep=1),
        field("max_len", "max_len", integer, keep=3),
        computed("nominal", "nominal_params", _nominal, right=True, keep=4),
        field("parameters", "total_params", integer, style="strong"),
        computed("active", "active_params", _active, right=True, keep=4),
    )
    return (record_table(report.presets, columns, name="presets", caption=f"Every {what}"),)


def _nominal(preset: Preset) -> str:
    """Return the nominal size if it differs from the exact count."""
    nominal = preset.nominal_params
    if nominal is None:
        return ""
    return stated_count(nominal) if nominal != preset.total_params else csv_only(nominal)


def _active(preset: Preset) -> str:
    """Return the active parameters if they differ from the total."""
    active = preset.active_params
    return integer(active) if active != preset.total_params else csv_only(active)


def show_view(report: ShowReport, text: str, *, origin: bool) -> View:
    """Show the config as YAML, or a table of its values and their sources."""
    if not origin:
        return (Listing(text.rstrip("\n"), "yaml"),)
    columns = (
        field("field", "field", style="name", shrink=True),
        computed("value", "value", _value),
        computed("origin", None, _place, shrink=True),
        *only_csv("source", "line", "column"),
    )
    table = record_table(report.origins, columns, name="origins", caption="The config, field by field")
    return Heading(report.name, "source of each value"), table


def schema_view() -> View:
    """Show every field of a config as commented YAML, one listing for each block."""
    parts = ((Heading(block or "Fields of a config"), Listing(text, "yaml")) for block, text in field_listings())
    return tuple(part for pair in parts for part in pair)


def _value(origin: Origin) -> Cell:
    words = "" if origin.value is None else scalar(origin.value)
    value = Quantity(words, origin.value) if isinstance(origin.value, int | float) else words
    return Cell(value, "plain" if origin.line is None else "strong")


def _place(origin: Origin) -> Cell:
    if origin.line is None:
        return Cell("default", "muted")
    return Cell(origin.source if origin.source == "--set" else f"{origin.source}:{origin.line}")

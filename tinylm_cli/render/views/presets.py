"""The screens of ``tinylm list``, ``tinylm show`` and ``tinylm schema``."""

from __future__ import annotations

from tinylm_cli.config.yaml_writer import field_listings, scalar
from tinylm_cli.quantities import Quantity
from tinylm_cli.render.blocks import Cell, Column, Heading, Listing, Row, Table, View
from tinylm_cli.render.units import csv_only, integer, stated_count
from tinylm_cli.reports.presets import Origin, Preset, PresetsReport, ShowReport


def presets_view(report: PresetsReport, what: str = "preset") -> View:
    """Show configs as a table; ``what`` is the heading of their names."""
    columns = (
        Column(what, key="name"),
        Column("vocab_size", right=True, keep=3),
        Column("d_model", right=True),
        Column("n_heads", right=True, keep=2),
        Column("n_layers", right=True),
        Column("d_ff", right=True, keep=1),
        Column("max_len", right=True, keep=3),
        Column("nominal", right=True, keep=4, key="nominal_params"),
        Column("parameters", right=True, key="total_params"),
        Column("active", right=True, keep=4, key="active_params"),
    )
    rows = tuple(
        (
            Cell(preset.name, "name"),
            integer(preset.vocab_size),
            integer(preset.d_model),
            integer(preset.n_heads),
            integer(preset.n_layers),
            integer(preset.d_ff),
            integer(preset.max_len),
            _nominal(preset),
            Cell(integer(preset.total_params), "strong"),
            _active(preset),
        )
        for preset in report.presets
    )
    return (Table(columns, rows, name="presets", caption=f"Every {what}"),)


def _nominal(preset: Preset) -> str:
    """Return the advertised size if it differs from the true count."""
    nominal = preset.nominal_params
    if nominal is None:
        return ""
    return stated_count(nominal) if nominal != preset.total_params else csv_only(nominal)


def _active(preset: Preset) -> str:
    """Return the active parameters if they differ from the total."""
    words = integer(preset.active_params)
    return words if preset.active_params != preset.total_params else csv_only(preset.active_params)


def show_view(report: ShowReport, text: str, *, origin: bool) -> View:
    """Show the config as YAML, or a table of its values and their sources."""
    if not origin:
        return (Listing(text.rstrip("\n"), "yaml"),)
    columns = (
        Column("field", shrink=True),
        Column("value"),
        Column("origin", shrink=True, key=None),
        *(Column("", key=name) for name in ("source", "line", "column")),
    )
    heading = Heading(report.name, "source of each value")
    rows = tuple(_origin_row(each) for each in report.origins)
    return heading, Table(columns, rows, name="origins", caption="The config, field by field")


def schema_view() -> View:
    """Show every field of a config as commented YAML, one listing for each block."""
    parts = ((Heading(block or "Fields of a config"), Listing(text, "yaml")) for block, text in field_listings())
    return tuple(part for pair in parts for part in pair)


def _origin_row(origin: Origin) -> Row:
    words = "" if origin.value is None else scalar(origin.value)
    value = Quantity(words, origin.value) if isinstance(origin.value, int | float) else words
    if origin.line is None or origin.column is None:
        return (Cell(origin.field, "name"), value, Cell("default", "muted"), Cell("", key="default"), "", "")
    place = origin.source if origin.source == "--set" else f"{origin.source}:{origin.line}"
    written = (Cell("", key=origin.source), csv_only(origin.line), csv_only(origin.column))
    return (Cell(origin.field, "name"), Cell(value, "strong"), place, *written)

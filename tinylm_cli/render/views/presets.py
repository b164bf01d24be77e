"""The screens of ``tinylm list``, ``tinylm show`` and ``tinylm schema``."""

from __future__ import annotations

from tinylm_cli.config.dump import field_listings, scalar
from tinylm_cli.render.blocks import Cell, Column, Heading, Listing, Row, Table, View
from tinylm_cli.render.units import integer, stated_count
from tinylm_cli.reports.presets import Origin, PresetsReport, ShowReport


def presets_view(report: PresetsReport, what: str = "preset") -> View:
    """Show shipped configs as a table, headed by ``what`` they are."""
    columns = (
        Column(what, key="name"),
        Column("vocab_size", right=True, keep=3),
        Column("d_model", right=True),
        Column("n_heads", right=True, keep=2),
        Column("n_layers", right=True),
        Column("d_ff", right=True, keep=1),
        Column("nominal", right=True, keep=4, key="nominal_params"),
        Column("parameters", right=True, key="total_params"),
    )
    rows = tuple(
        (
            Cell(preset.name, "name"),
            integer(preset.vocab_size),
            integer(preset.d_model),
            integer(preset.n_heads),
            integer(preset.n_layers),
            integer(preset.d_ff),
            stated_count(preset.nominal_params) if preset.nominal_params else "",
            Cell(integer(preset.total_params), "strong"),
        )
        for preset in report.presets
    )
    return (Table(columns, rows),)


def show_view(report: ShowReport, text: str, *, origin: bool) -> View:
    """Show the config as YAML, or each value beside the place it came from."""
    if not origin:
        return (Listing(text.rstrip("\n"), "yaml"),)
    columns = (Column("field", shrink=True), Column("value"), Column("origin", shrink=True))
    heading = Heading(report.name, "where each value comes from")
    return heading, Table(columns, tuple(_origin_row(each) for each in report.origins))


def schema_view() -> View:
    """Show every field of a config as commented YAML, narrow enough for any terminal, a listing for each block."""
    parts = ((Heading(block or "Fields of a config"), Listing(text, "yaml")) for block, text in field_listings())
    return tuple(part for pair in parts for part in pair)


def _origin_row(origin: Origin) -> Row:
    value = "" if origin.value is None else scalar(origin.value)
    if origin.line is None:
        return (Cell(origin.field, "name"), value, Cell("default", "muted"))
    place = origin.source if origin.source == "--set" else f"{origin.source}:{origin.line}"
    return (Cell(origin.field, "name"), Cell(value, "strong"), place)

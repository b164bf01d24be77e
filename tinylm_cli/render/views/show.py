"""The views of ``tinylm show`` and ``tinylm schema``."""

from __future__ import annotations

from tinylm_cli.config.yaml_scalar import scalar
from tinylm_cli.config.yaml_writer import field_listings
from tinylm_cli.quantities import Quantity
from tinylm_cli.render.blocks import Cell, Heading, Listing, View
from tinylm_cli.render.views.record_table import computed, field, only_csv, record_table
from tinylm_cli.reports.presets import Origin, ShowReport
from tinylm_cli.wording import Argument


def show_view(report: ShowReport, text: str, *, origin: bool) -> View:
    """Show the config as YAML, or a table of its values and their sources."""
    if not origin:
        return (Listing(text.rstrip("\n"), "yaml"),)
    columns = (
        field("field", "field", style="name", shrink=True),
        computed("value", "value", _value, shrink=True),
        computed("origin", None, _place, shrink=True),
        *only_csv("source", "line", "column"),
    )
    table = record_table(report.origins, columns, name="origins", caption="The config, field by field")
    return Heading(report.name, "source of each value"), table


def model_view(title: str, total_params: int, text: str) -> View:
    """Show a model of the Python API: its parameters, and its config as YAML."""
    return Heading(title, f"{total_params:,} parameters"), Listing(text.rstrip("\n"), "yaml")


def schema_view() -> View:
    """Show every field of a config as commented YAML, one listing for each block."""
    parts = ((Heading(block or "Fields of a config"), Listing(text, "yaml")) for block, text in field_listings())
    return tuple(part for pair in parts for part in pair)


def _value(origin: Origin) -> Cell:
    words = scalar(origin.value)
    value = Quantity(words, origin.value) if isinstance(origin.value, int | float) else words
    return Cell(value, "plain" if origin.line is None else "strong")


def _place(origin: Origin) -> Cell:
    if origin.line is None:
        return Cell("default", "muted")
    return Cell(origin.source if isinstance(origin.source, Argument) else f"{origin.source}:{origin.line}")

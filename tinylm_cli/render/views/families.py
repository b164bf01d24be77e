"""The view of ``tinylm list --families``."""

from __future__ import annotations

from tinylm_cli.render.blocks import View
from tinylm_cli.render.views.record_table import field, only_csv, record_table
from tinylm_cli.reports.families import FamiliesReport


def families_view(report: FamiliesReport) -> View:
    """Show families as a table."""
    columns = (
        field("model_type", "model_type", style="name"),
        field("title", "title", right=False, wrap=True),
        *only_csv("architecture"),
    )
    return (record_table(report.families, columns, name="families", caption="Supported Hugging Face families"),)

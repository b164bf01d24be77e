"""The screen of ``tinylm export``."""

from __future__ import annotations

from tinylm_cli.quantities import counted
from tinylm_cli.render.blocks import Heading, Note, View
from tinylm_cli.reports.export import ExportReport


def export_view(report: ExportReport) -> View:
    """Show the family, what had to be rewritten for it, and the folder."""
    written = Note(f"Wrote {counted(report.tensors, 'tensor')} and config.json to {report.directory}.", "good")
    if not report.rewritten:
        return (Heading(report.name, f"as {report.family}"), written)
    return (
        Heading(report.name, f"as {report.family}, rewritten with equal logits"),
        *(Note(change) for change in report.rewritten),
        written,
    )

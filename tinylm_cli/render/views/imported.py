"""The screen of ``tinylm import``."""

from __future__ import annotations

from tinylm_cli.render.blocks import Heading, Listing, Note, View
from tinylm_cli.reports.imported import ImportReport


def import_view(report: ImportReport) -> View:
    """Show the config as YAML, and what of the other one changes no model."""
    ignored = f"Ignored, as no model depends on them: {', '.join(report.ignored)}." if report.ignored else ""
    blocks = (Heading(report.name, f"a config of {report.family}"), Listing(report.yaml.rstrip("\n"), "yaml"))
    return (*blocks, Note(ignored)) if ignored else blocks

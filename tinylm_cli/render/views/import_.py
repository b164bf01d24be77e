"""The screen of ``tinylm import``."""

from __future__ import annotations

from tinylm_cli.render.blocks import Heading, Listing, Note, View
from tinylm_cli.reports.import_ import ImportReport


def import_view(report: ImportReport) -> View:
    """Show the config as YAML, what of it is the family's default, and what of the other one changes no model."""
    blocks: tuple[Heading | Listing | Note, ...] = (
        Heading(report.name, f"a config of {report.family}"),
        Listing(report.yaml.rstrip("\n"), "yaml"),
    )
    for note in (assumed_note(report), ignored_note(report)):
        blocks += (Note(f"{note[0].upper()}{note[1:]}."),) if note else ()
    return blocks


def assumed_note(report: ImportReport) -> str:
    """Return which sizes the file does not say; empty where it says all."""
    sizes = ", ".join(f"{name} {size:,}" for name, size in report.assumed.items())
    return f"assumed, as {report.family} has it where the file says nothing: {sizes}" if sizes else ""


def ignored_note(report: ImportReport) -> str:
    """Return which keys change no model; empty where none is of that kind."""
    return f"ignored, as no model depends on them: {', '.join(report.ignored)}" if report.ignored else ""

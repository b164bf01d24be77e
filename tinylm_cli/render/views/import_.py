"""The view of ``tinylm import``."""

from __future__ import annotations

from tinylm_cli.quantities import counted
from tinylm_cli.render.blocks import Heading, Listing, Note, View
from tinylm_cli.reports.import_ import ImportReport


def import_view(report: ImportReport) -> View:
    """Show the config as YAML, the sizes taken from the family's defaults, and the keys without effect."""
    blocks: tuple[Heading | Listing | Note, ...] = (
        Heading(report.name, f"a config of {report.family}"),
        Listing(report.yaml.rstrip("\n"), "yaml"),
    )
    for note in (assumed_note(report), mtp_note(report), ignored_note(report)):
        blocks += (Note(f"{note[0].upper()}{note[1:]}."),) if note else ()
    return blocks


def assumed_note(report: ImportReport) -> str:
    """Return the sizes that the file does not give; empty if it gives all."""
    sizes = ", ".join(f"{name} {size:,}" for name, size in report.assumed.items())
    return f"family defaults of {report.family} used for: {sizes}" if sizes else ""


def mtp_note(report: ImportReport) -> str:
    """Return the multi-token prediction modules that are not read; empty if there are none."""
    count = report.unread_mtp_layers
    if not count:
        return ""
    read = "is" if count == 1 else "are"
    modules = counted(count, "multi-token prediction module")
    return f"{modules} of the file {read} left out; to count {'it' if count == 1 else 'them'}, set head.n_mtp_layers"


def ignored_note(report: ImportReport) -> str:
    """Return the keys without effect on the model; empty if there are none."""
    return f"ignored (no effect on the model): {', '.join(report.ignored)}" if report.ignored else ""

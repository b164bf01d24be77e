"""The screen of ``tinylm check``."""

from __future__ import annotations

from tinylm_cli.render.blocks import Cell, Column, Heading, Note, Table, View
from tinylm_cli.reports.check import CheckReport, Law

_MARKS = {
    "pass": Cell("✓ pass", "good", "pass"),
    "fail": Cell("✗ fail", "bad", "fail"),
    "skip": Cell("· skip", "muted", "skip"),
}


def check_view(report: CheckReport) -> View:
    """Show every law with its figure, and how many held."""
    weights = f"weights of {report.weights}" if report.weights else f"seed {report.seed}"
    columns = (
        Column("", key="status"),
        Column("law", key="name"),
        Column("what holds", keep=1, key="claim"),
        Column("measured", wrap=True, key="figure"),
    )
    rows = tuple((_MARKS[law.status], Cell(law.name, "name"), law.claim, _figure(law)) for law in report.laws)
    table = Table(columns, rows, name="laws", caption="Laws that the model is held to")
    skipped = f", {report.skipped} skipped" if report.skipped else ""
    verdict = (
        Note(f"{report.failed} of {report.passed + report.failed} laws broken{skipped}.", "bad")
        if report.failed
        else Note(f"All {report.passed} laws hold{skipped}.", "good")
    )
    broken = [
        Note(f"✗ {law.name}: {law.claim}; measured: {law.figure}", "bad") for law in report.laws if law.status == "fail"
    ]
    return Heading(report.name, f"{report.dtype} on {report.device}, {weights}"), table, *broken, verdict


def _figure(law: Law) -> Cell:
    return Cell(law.figure, "bad" if law.status == "fail" else "muted" if law.status == "skip" else "plain")

"""The view of ``tinylm check``."""

from __future__ import annotations

from collections.abc import Iterable

from tinylm_cli.render.blocks import Cell, Column, Heading, Note, Row, Style, Table, View
from tinylm_cli.render.views.record_table import computed, field, record_table
from tinylm_cli.reports.check import CheckReport, CheckResult

NAME_WIDTH = 22
"""Columns for the name of a check, so that results printed one by one stay aligned."""

_MARKS: dict[str, tuple[str, Style]] = {"pass": ("✓", "good"), "fail": ("✗", "bad"), "skip": ("·", "muted")}


def opening_view(name: str, *, device: str, dtype: str, seed: int | None, weights: str | None) -> View:
    """Show the model under test."""
    return (Heading(name, f"{dtype} on {device}, {f'weights of {weights}' if weights else f'seed {seed}'}"),)


def results_view(results: Iterable[CheckResult], *, full: bool) -> View:
    """Show the statement of each result and, if ``full`` or if it did not pass, its measurement on a second line."""
    rows: list[Row] = []
    for result in results:
        rows.append((Cell(*_MARKS[result.status]), Cell(result.name.ljust(NAME_WIDTH), "name"), result.statement))
        if full or result.status != "pass":
            rows.append(("", "", _measured(result, "muted")))
    return (Table((Column("", key=None), Column("", key=None), Column("", wrap=True, key=None)), tuple(rows)),)


def verdict_view(report: CheckReport) -> View:
    """Show how many checks passed, and the names of the failed checks."""
    skipped = f", {report.skipped} skipped" if report.skipped else ""
    if not report.failed:
        return (Note(f"All {report.passed} checks passed{skipped}.", "good"),)
    names = ", ".join(result.name for result in report.checks if result.status == "fail")
    return (Note(f"{report.failed} of {report.passed + report.failed} checks failed{skipped}: {names}.", "bad"),)


def check_view(report: CheckReport, *, as_table: bool, full: bool) -> View:
    """Show every result, as lines or as a table with its measurement, and the verdict."""
    opening = opening_view(
        report.name, device=report.device, dtype=report.dtype, seed=report.seed, weights=report.weights
    )
    results = _table(report) if as_table else results_view(report.checks, full=full)
    return *opening, *results, *verdict_view(report)


def _table(report: CheckReport) -> View:
    columns = (
        computed("", "status", _status),
        field("check", "name", style="name"),
        field("statement", "statement"),
        computed("measured", "measured", lambda result: _measured(result, "plain"), wrap=True),
    )
    return (record_table(report.checks, columns, name="checks", caption="Checks of the model"),)


def _status(result: CheckResult) -> Cell:
    mark, style = _MARKS[result.status]
    return Cell(f"{mark} {result.status}", style, result.status)


def _measured(result: CheckResult, passed: Style) -> Cell:
    return Cell(result.measured, "bad" if result.status == "fail" else "muted" if result.status == "skip" else passed)

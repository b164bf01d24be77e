"""The screen of ``tinylm check``."""

from __future__ import annotations

from collections.abc import Iterable

from tinylm_cli.render.blocks import Cell, Column, Heading, Note, Row, Style, Table, View
from tinylm_cli.reports.check import CheckReport, CheckResult

NAME_WIDTH = 22
"""Columns for the name of a check, so that results printed one by one stay aligned."""

_MARKS = {"pass": Cell("✓", "good"), "fail": Cell("✗", "bad"), "skip": Cell("·", "muted")}
_STATUSES = {
    "pass": Cell("✓ pass", "good", "pass"),
    "fail": Cell("✗ fail", "bad", "fail"),
    "skip": Cell("· skip", "muted", "skip"),
}


def opening_view(name: str, *, device: str, dtype: str, seed: int | None, weights: str | None) -> View:
    """Show the model under test."""
    return (Heading(name, f"{dtype} on {device}, {f'weights of {weights}' if weights else f'seed {seed}'}"),)


def results_view(results: Iterable[CheckResult]) -> View:
    """Show each result in two lines: the statement, then its measurement."""
    rows: list[Row] = []
    for result in results:
        name = Cell(result.name.ljust(NAME_WIDTH), "name")
        rows += [(_MARKS[result.status], name, result.statement), ("", "", _measured(result, "muted"))]
    return (Table((Column("", key=None), Column("", key=None), Column("", wrap=True, key=None)), tuple(rows)),)


def verdict_view(report: CheckReport) -> View:
    """Show how many checks passed, and the names of the failed checks."""
    skipped = f", {report.skipped} skipped" if report.skipped else ""
    if not report.failed:
        return (Note(f"All {report.passed} checks passed{skipped}.", "good"),)
    names = ", ".join(result.name for result in report.checks if result.status == "fail")
    return (Note(f"{report.failed} of {report.passed + report.failed} checks failed{skipped}: {names}.", "bad"),)


def check_view(report: CheckReport, *, as_table: bool = True) -> View:
    """Show every result, in two lines each or as a table with one row each, and the verdict."""
    opening = opening_view(
        report.name, device=report.device, dtype=report.dtype, seed=report.seed, weights=report.weights
    )
    return *opening, *(_table(report) if as_table else results_view(report.checks)), *verdict_view(report)


def _table(report: CheckReport) -> View:
    columns = (
        Column("", key="status"),
        Column("check", key="name"),
        Column("statement", key="statement"),
        Column("measured", wrap=True, key="measured"),
    )
    rows = tuple(
        (_STATUSES[result.status], Cell(result.name, "name"), result.statement, _measured(result, "plain"))
        for result in report.checks
    )
    return (Table(columns, rows, name="checks", caption="Checks of the model"),)


def _measured(result: CheckResult, passed: Style) -> Cell:
    return Cell(result.measured, "bad" if result.status == "fail" else "muted" if result.status == "skip" else passed)

"""The screen of ``tinylm validate``."""

from __future__ import annotations

from tinylm_cli.render.blocks import Block, Cell, Column, Mistake, Note, Row, Style, Table, View
from tinylm_cli.render.units import counted, integer
from tinylm_cli.reports.validate import FileResult, ValidateReport

_MOST_LISTED = 20
_TONES: dict[str, Style] = {"valid": "good", "wrong": "bad", "unreadable": "bad"}


def validate_view(report: ValidateReport) -> View:
    """Show every mistake, then the files (when they are few), then one line that sums up."""
    blocks: list[Block] = [Mistake(diagnostic) for file in report.files for diagnostic in file.diagnostics]
    listed = [file for file in report.files if file.status != "valid" or len(report.files) <= _MOST_LISTED]
    if listed:
        columns = (Column("config", shrink=True), Column(""), Column("parameters", right=True, keep=4))
        blocks.append(Table(columns, tuple(_row(file) for file in listed)))
    blocks += [Note(f"{file.path}: {file.reason}", "bad") for file in report.files if file.reason]
    tone: Style = "good" if report.valid == len(report.files) else "bad"
    blocks.append(Note(_summary(report), tone))
    return View(tuple(blocks))


def _row(file: FileResult) -> Row:
    count = len(file.diagnostics)
    what = counted(count, "mistake") if count else file.status
    total = integer(file.total_params) if file.total_params is not None else ""
    return (Cell(file.path, "name"), Cell(what, _TONES[file.status]), total)


def _summary(report: ValidateReport) -> str:
    counts = {"valid": report.valid, "wrong": report.wrong, "unreadable": report.unreadable}
    said = ", ".join(f"{count:,} {status}" for status, count in counts.items() if count)
    return f"{counted(len(report.files), 'config')}: {said}."

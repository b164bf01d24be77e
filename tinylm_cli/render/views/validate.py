"""The screen of ``tinylm validate``."""

from __future__ import annotations

from collections.abc import Iterator

from tinylm_cli.render.blocks import Block, Cell, Column, Failure, Mistake, Note, Row, Style, Table, View
from tinylm_cli.render.units import counted, integer
from tinylm_cli.reports.validate import FileResult, ValidateReport

_MOST_LISTED = 20
_TONES: dict[str, Style] = {"valid": "good", "wrong": "bad", "unreadable": "bad"}


def validate_view(report: ValidateReport) -> View:
    """Show every mistake, then the files (where there are several, and not too many), then one line that sums up."""
    blocks = [block for file in report.files for block in _found(file)]
    listed = [file for file in report.files if file.status != "valid" or len(report.files) <= _MOST_LISTED]
    if listed and len(report.files) > 1:
        columns = (Column("config", shrink=True), Column(""), Column("parameters", right=True, keep=4))
        blocks.append(Table(columns, tuple(_row(file) for file in listed)))
    tone: Style = "good" if report.valid == len(report.files) else "bad"
    blocks += [Note(sentence, tone) for sentence in _summary(report)]
    return tuple(blocks)


def _found(file: FileResult) -> Iterator[Block]:
    yield from map(Mistake, file.diagnostics)
    if file.reason:
        yield Failure(file.reason, file.help)


def _row(file: FileResult) -> Row:
    total = integer(file.total_params) if file.total_params is not None else ""
    return (Cell(file.path, "name"), Cell(_verdict(file), _TONES[file.status]), total)


def _verdict(file: FileResult) -> str:
    return counted(len(file.diagnostics), "mistake") if file.diagnostics else file.status


def _summary(report: ValidateReport) -> Iterator[str]:
    if len(report.files) > 1:
        counts = {"valid": report.valid, "wrong": report.wrong, "unreadable": report.unreadable}
        said = ", ".join(f"{count:,} {status}" for status, count in counts.items() if count)
        yield f"{counted(len(report.files), 'config')}: {said}."
        return
    only = report.files[0]
    if only.total_params is not None:
        yield f"{only.path} is valid: {counted(only.total_params, 'parameter')}."
    elif only.accelerators is not None:
        yield f"{only.path} is valid: {counted(only.accelerators, 'accelerator')}."
    elif only.diagnostics:
        yield f"{only.path}: {_verdict(only)}."

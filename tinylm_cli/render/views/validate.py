"""The view of ``tinylm validate``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tinylm_cli.quantities import counted
from tinylm_cli.render.blocks import Block, Cell, DiagnosticBlock, ErrorBlock, Listing, Note, Style, Table, View
from tinylm_cli.reports.validate import Assertion, FileResult, ValidateReport
from tinylm_cli.wording import Setting, Wording

_MAX_LISTED = 20
_TONES: dict[str, Style] = {"valid": "good", "failed": "bad", "invalid": "bad", "unreadable": "bad"}
_MARKS = {True: Cell("✓ pass", "good"), False: Cell("✗ fail", "bad")}


def validate_view(report: ValidateReport, wording: Wording) -> View:
    """Show every error, then the conditions on a single file or a table of several files, then a summary."""
    blocks = [block for file in report.files for block in _findings(file)]
    if len(report.files) == 1 and report.files[0].assertions:
        blocks.append(_assertions(report.files[0]))
    listed = [file for file in report.files if file.status != "valid" or len(report.files) <= _MAX_LISTED]
    if listed and len(report.files) > 1:
        blocks.append(_files(listed))
    tone: Style = "good" if report.valid == len(report.files) else "bad"
    blocks += [Note(sentence, tone) for sentence in _summary(report, wording)]
    return tuple(blocks)


def _files(files: Sequence[FileResult]) -> Table:
    from tinylm_cli.render.units import integer
    from tinylm_cli.render.views.record_table import computed, field, record_table

    columns = (
        field("config", "path", style="name", shrink=True),
        computed("", "status", lambda file: Cell(_verdict(file), _TONES[file.status])),
        field("parameters", "total_params", integer, keep=4),
    )
    return record_table(files, columns)


def _findings(file: FileResult) -> Iterator[Block]:
    if file.diff:
        yield Listing(file.diff, "diff")
    yield from map(DiagnosticBlock, file.diagnostics)
    if file.reason:
        yield ErrorBlock(file.reason, file.help)


def _assertions(file: FileResult) -> Table:
    from tinylm_cli.render.views.record_table import computed, field, record_table

    columns = (
        computed("", "holds", lambda each: _MARKS[each.holds]),
        field("condition", "text", shrink=True),
        computed("value", "value", _value, right=True),
    )
    return record_table(file.assertions, columns)


def _value(found: Assertion) -> str:
    from tinylm_cli.render.units import integer, small_percent

    if found.value is None:
        return "unknown"
    if found.unit == "share":
        return small_percent(found.value) if found.value else "0%"
    return integer(int(found.value))


def _verdict(file: FileResult) -> str:
    if file.status == "failed":
        return f"fails {len(file.diagnostics)} of {counted(len(file.assertions), 'assertion')}"
    return counted(len(file.diagnostics), "error") if file.diagnostics else file.status


def tally(report: ValidateReport) -> str:
    """Return the number of configs with each status: ``3 configs: 2 valid, 1 invalid``."""
    counts = ((getattr(report, status), status) for status in _TONES)
    said = ", ".join(f"{count:,} {status}" for count, status in counts if count)
    return f"{counted(len(report.files), 'config')}: {said}."


def _summary(report: ValidateReport, wording: Wording) -> Iterator[str]:
    fix, diff = wording(Setting("fix", True)), wording(Setting("diff", True))
    if report.fixed:
        fixed = counted(report.fixed, "error")
        yield f"Fixed {fixed}." if any(file.written for file in report.files) else f"{fix} would correct {fixed}."
    if report.fixable:
        yield f"{fix} can correct {counted(report.fixable, 'error')}; {diff} shows the change."
    if len(report.files) > 1:
        yield tally(report)
    else:
        yield from _verdict_of_one(report.files[0])


def _verdict_of_one(only: FileResult) -> Iterator[str]:
    if only.status == "failed":
        yield f"{only.path} {_verdict(only)}."
    elif only.fixed and not only.written and not only.diagnostics:
        yield f"{only.path} would be valid."
    elif only.total_params is not None:
        held = f", {counted(len(only.assertions), 'assertion')} passed" if only.assertions else ""
        yield f"{only.path} is valid: {counted(only.total_params, 'parameter')}{held}."
    elif only.accelerators is not None:
        yield f"{only.path} is valid: {counted(only.accelerators, 'accelerator')}."
    elif only.diagnostics:
        yield f"{only.path}: {_verdict(only)}."

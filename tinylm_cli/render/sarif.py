"""Errors in files as SARIF 2.1.0, which code scanning services and editors read.

References:
    https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePath
from typing import Any
from urllib.parse import quote

from tinylm_cli import __version__
from tinylm_cli.config.diagnostic_codes import meaning
from tinylm_cli.errors import Diagnostic, Fix, Span, TinylmError
from tinylm_cli.render.diagnostics import one_line
from tinylm_cli.render.json import to_document
from tinylm_cli.render.sanitize import escape_controls
from tinylm_cli.reports.validate import FileResult
from tinylm_cli.wording import Argument

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"


def to_sarif(files: Iterable[FileResult]) -> str:
    """Return one run: a result for each error, a notification for each file that could not be read."""
    checked = tuple(files)
    found = [each for file in checked for each in file.diagnostics]
    return _document(found, [_notification(file.reason, file.help) for file in checked if file.reason])


def sarif_failure(error: TinylmError) -> str:
    """Return the run that an error ended: wrong options are notifications, errors in configs are results."""
    options = [_notification(each.message, each.help, each.code) for each in error.diagnostics if each.is_usage]
    found = [each for each in error.diagnostics if not each.is_usage]
    return _document(found, options if error.diagnostics else [_notification(error.message, error.help)])


def _document(found: Iterable[Diagnostic], failures: list[dict[str, Any]]) -> str:
    errors = tuple(found)
    rules = sorted({each.code for each in errors})
    invocation: dict[str, Any] = {"executionSuccessful": not failures}
    if failures:
        invocation["toolExecutionNotifications"] = failures
    driver = {"name": "tinylm", "version": __version__, "rules": [_rule(code) for code in rules]}
    run = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "invocations": [invocation],
        "results": [_result(each, rules.index(each.code)) for each in errors],
    }
    return to_document({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]})


def _notification(message: str, remedy: str, code: str = "") -> dict[str, Any]:
    descriptor = {"descriptor": {"id": code}} if code else {}
    return {**descriptor, "level": "error", "message": {"text": one_line(message, remedy)}}


def _rule(code: str) -> dict[str, Any]:
    return {"id": code, "shortDescription": {"text": meaning(code).replace("`", "'")}}


def _result(error: Diagnostic, rule: int) -> dict[str, Any]:
    result: dict[str, Any] = {
        "ruleId": error.code,
        "ruleIndex": rule,
        "level": error.severity,
        "message": {"text": one_line(error.message, error.help)},
        "locations": [place] if (place := _location(error)) else [],
    }
    if error.labels:
        result["relatedLocations"] = [
            {**_place(label.span.source, label.span), "message": {"text": escape_controls(label.text)}}
            for label in error.labels
        ]
    if error.fix is not None:
        result["fixes"] = [_fix(error.fix)]
    return result


def _location(error: Diagnostic) -> dict[str, Any]:
    named = {"logicalLocations": [{"fullyQualifiedName": escape_controls(error.field)}]} if error.field else {}
    return {**_place(error.source, error.span), **named}


def _place(source: str, span: Span | None) -> dict[str, Any]:
    """Return the physical location of a span in a file; an argument has none."""
    if isinstance(source, Argument) or (span is not None and isinstance(span.source, Argument)):
        return {}
    where: dict[str, Any] = {"artifactLocation": {"uri": _uri(source)}}
    if span is not None:
        where["region"] = _region(span)
    return {"physicalLocation": where}


def _region(span: Span) -> dict[str, int]:
    return {"startLine": span.line, "startColumn": span.column, "endColumn": span.end_column}


def _fix(fix: Fix) -> dict[str, Any]:
    replacement = {"deletedRegion": _region(fix.span), "insertedContent": {"text": fix.replacement}}
    change = {"artifactLocation": {"uri": _uri(fix.span.source)}, "replacements": [replacement]}
    return {"description": {"text": f"Write {escape_controls(fix.replacement.strip())}"}, "artifactChanges": [change]}


def _uri(source: str) -> str:
    """Return the URI reference of a path as given; a relative one is relative to the folder of the run."""
    path = PurePath(source)
    return path.as_uri() if path.is_absolute() else quote(path.as_posix(), errors="surrogateescape")

"""Errors in files as JUnit XML, which CI servers show as test results.

References:
    https://github.com/testmoapp/junitxml
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple
from xml.sax.saxutils import escape, quoteattr

from tinylm_cli.errors import Diagnostic, TinylmError
from tinylm_cli.render.diagnostics import diagnostics_text
from tinylm_cli.render.sanitize import escape_controls
from tinylm_cli.render.terminal import Terminal
from tinylm_cli.reports.validate import FileResult
from tinylm_cli.wording import Argument


class _Case(NamedTuple):
    """One test: a file, an error in it, or a figure compared with its bound; ``outcome`` is empty if it passes.

    A test that passes may have a text: a warning or a note.
    """

    name: str
    outcome: str = ""
    kind: str = ""
    message: str = ""
    text: str = ""
    line: int | None = None


def to_junit(files: Iterable[FileResult], command: str) -> str:
    """Return a test suite for each file: a test for each error and each assertion, or one that passes.

    Args:
        files: The results by file.
        command: The command, which names all suites, and the suite of errors that are in no file.
    """
    return _document([(file.path, list(_cases(file))) for file in files], command)


def junit_failure(error: TinylmError, command: str) -> str:
    """Return the error that ended the run: a suite for the command line, and one for each invalid config."""
    if not error.diagnostics:
        return _document([(command, [_unreadable(command, error.message, error.help)])], command)
    suites: dict[str, list[_Case]] = {}
    for each in error.diagnostics:
        suite = command if isinstance(each.source, Argument) else each.source
        suites.setdefault(suite, []).append(_error(each, "error"))
    return _document(list(suites.items()), command)


def _cases(file: FileResult) -> Iterator[_Case]:
    if file.reason:
        yield _unreadable(file.path, file.reason, file.help)
    elif not file.assertions:
        outcome = "error" if file.status == "unreadable" else "failure"
        outcomes = (outcome if each.severity == "error" else "" for each in file.diagnostics)
        yield from [*map(_error, file.diagnostics, outcomes)] or [_Case("valid")]
    failed = iter(file.diagnostics)
    for each in file.assertions:
        yield _Case(each.text) if each.holds else _error(next(failed))._replace(name=each.text)


def _error(error: Diagnostic, outcome: str = "failure") -> _Case:
    span = error.span
    place = f" at {span.line}:{span.column}" if span is not None else ""
    text = diagnostics_text([error], Terminal())
    return _Case(f"{error.code}{place}", outcome, error.code, error.message, text, span.line if span else None)


def _unreadable(name: str, message: str, remedy: str) -> _Case:
    return _Case(name, "error", "unreadable", message, remedy)


def _document(suites: list[tuple[str, list[_Case]]], command: str) -> str:
    every = [case for _, cases in suites for case in cases]
    lines = ['<?xml version="1.0" encoding="UTF-8"?>', f"<testsuites name={_quoted(command)} {_counts(every)}>"]
    for name, cases in suites:
        lines.append(f"  <testsuite name={_quoted(name)} {_counts(cases)}>")
        for case in cases:
            lines += _element("" if name == command else name, name, case)
        lines.append("  </testsuite>")
    return "".join(f"{line}\n" for line in [*lines, "</testsuites>"])


def _element(file: str, suite: str, case: _Case) -> Iterator[str]:
    line = f' line="{case.line}"' if case.line is not None else ""
    place = f" file={_quoted(file)}{line}" if file else ""
    test = f"testcase name={_quoted(case.name)} classname={_quoted(suite)}{place}"
    if not case.outcome and not case.text:
        yield f"    <{test}/>"
        return
    yield f"    <{test}>"
    details = f" type={_quoted(case.kind)} message={_quoted(case.message)}" if case.outcome else ""
    element = case.outcome or "system-out"
    yield f"      <{element}{details}>{escape(_lines(case.text))}</{element}>"
    yield "    </testcase>"


def _counts(cases: list[_Case]) -> str:
    outcomes = [case.outcome for case in cases]
    return f'tests="{len(cases)}" failures="{outcomes.count("failure")}" errors="{outcomes.count("error")}"'


def _quoted(text: str) -> str:
    return quoteattr(escape_controls(text))


def _lines(text: str) -> str:
    return "\n".join(escape_controls(line) for line in text.splitlines())

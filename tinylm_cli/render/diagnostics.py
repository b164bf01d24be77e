"""Format diagnostics as a compiler does, and as GitHub workflow commands."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from tinylm_cli.errors import Diagnostic, Label, Severity, Span, TinylmError
from tinylm_cli.render.blocks import Cell, Style
from tinylm_cli.render.sanitize import escape_controls, for_terminal, without_workflow_commands
from tinylm_cli.render.styled_lines import Line, cell_len, line, paint, wrap
from tinylm_cli.render.terminal import Terminal
from tinylm_cli.reports.validate import FileResult
from tinylm_cli.wording import Argument

SEVERITY_STYLES: dict[Severity, Style] = {"error": "bad", "warning": "warn", "note": "muted"}
_GITHUB_COMMANDS: dict[Severity, str] = {"error": "error", "warning": "warning", "note": "notice"}


def diagnostics_text(diagnostics: Iterable[Diagnostic], terminal: Terminal) -> str:
    """Return each diagnostic with its place, source lines, carets and remedy, separated by blank lines."""
    lines: list[Line] = []
    for diagnostic in diagnostics:
        if lines:
            lines.append([])
        lines.extend(diagnostic_lines(diagnostic, terminal))
    return paint(lines, terminal)


def error_text(message: str, remedy: str, terminal: Terminal) -> str:
    """Return ``error: message`` and the remedy under it."""
    return paint(error_lines(message, remedy, terminal), terminal)


def github_text(files: Iterable[FileResult], summary: str) -> str:
    """Return a workflow command, such as ``::error``, per diagnostic and per unreadable file, and a summary.

    Args:
        files: The results by file.
        summary: A last line for the log; it must not begin with text from outside, which could pass for a command.

    References:
        https://docs.github.com/actions/reference/workflow-commands-for-github-actions
    """
    lines: list[str] = []
    for file in files:
        lines += [_github(diagnostic) for diagnostic in file.diagnostics]
        if file.reason:
            lines.append(_github(Diagnostic("unreadable", file.reason, file.path, help=file.help)))
    return "".join(f"{line}\n" for line in [*lines, summary])


def github_failure(error: TinylmError) -> str:
    """Return ``::error`` commands for an error that ended the command before it read any file."""
    if error.diagnostics:
        return "".join(f"{_github(each)}\n" for each in error.diagnostics)
    return f"::error::{_escape(one_line(error.message, error.help))}\n"


def error_lines(message: str, remedy: str, terminal: Terminal) -> Iterator[Line]:
    """Yield the lines of an error without a place in a source."""
    yield from _headline("error", message, terminal)
    yield from _remedy("  ", remedy, terminal)


def diagnostic_lines(diagnostic: Diagnostic, terminal: Terminal) -> Iterator[Line]:
    """Yield the lines of one diagnostic."""
    kind = f"{diagnostic.severity}[{diagnostic.code}]"
    yield from _headline(kind, diagnostic.message, terminal, SEVERITY_STYLES[diagnostic.severity])
    span = diagnostic.span
    place = f"{diagnostic.source}:{span.line}:{span.column}" if span else diagnostic.source
    marks = [Label(span, ""), *diagnostic.labels] if span and span.text else []
    margin = " " * max((len(str(mark.span.line)) for mark in marks), default=1)
    yield line(Cell(f"{margin}--> ", "muted"), Cell(for_terminal(place, terminal), "name"))
    yield from _excerpt(marks, diagnostic.source, margin, terminal)
    yield from _remedy(f"{margin} ", diagnostic.help, terminal)


def _headline(kind: str, message: str, terminal: Terminal, style: Style = "bad") -> Iterator[Line]:
    first, *others = wrap(f"{kind}: {for_terminal(message, terminal)}", terminal.width, indent="  ")
    yield line(Cell(first[: len(kind)], style), Cell(first[len(kind) :], "strong"))
    for words in others:
        yield line(Cell(words, "strong"))


def _remedy(margin: str, remedy: str, terminal: Terminal) -> Iterator[Line]:
    if remedy:
        lead = f"{margin}= help: "
        for words in wrap(for_terminal(remedy, terminal), terminal.width, indent=" " * len(lead), first=lead):
            yield line(Cell(words, "good"))


def _excerpt(marks: Iterable[Label], source: str, margin: str, terminal: Terminal) -> Iterator[Line]:
    """Yield each source line once with its marks under it, and again if a mark needs another part of the line."""
    above: tuple[str, int, str] | None = None  # source, line number, text as shown
    for mark in sorted(marks, key=lambda mark: (mark.span.source != source, mark.span.line)):
        window = _window(mark.span, terminal.width - len(margin) - 3, terminal)
        here = (mark.span.source, mark.span.line, window.text)
        if here != above:
            if above is not None and here[0] != above[0]:
                yield line(Cell(f"{margin}--> ", "muted"), Cell(for_terminal(here[0], terminal), "name"))
            yield line(Cell(f"{mark.span.line:>{len(margin)}} | ", "muted"), window.text)
        yield line(Cell(f"{margin} | ", "muted"), *_underline(mark, window, terminal))
        above = here


class _Window(NamedTuple):
    """The part of a source line that fits, and the cells of a span in it."""

    text: str
    start: int
    width: int
    room: int


def _underline(mark: Label, window: _Window, terminal: Terminal) -> Iterator[Cell]:
    """Draw carets under a span; for a label, dashes and its text after them, or before them if there is more room."""
    if not mark.text:
        yield Cell(" " * window.start)
        yield Cell("^" * window.width, "bad")
        return
    text, dashes = for_terminal(mark.text, terminal), "-" * window.width
    after = window.room - window.start - window.width - 1
    if cell_len(text) > after and cell_len(text) < window.start:
        yield Cell(" " * (window.start - cell_len(text) - 1))
        yield Cell(f"{text} {dashes}", "name")
    else:
        yield Cell(" " * window.start)
        yield Cell(f"{dashes} {_beginning(_characters(text, terminal), after)}", "name")


def _window(span: Span, room: int, terminal: Terminal) -> _Window:
    """Return the part of a span's line that fits in ``room`` cells, including some text before the span."""
    offset = span.column - span.text_column
    length = span.end_column - span.column
    before, inside, after = span.text[:offset], span.text[offset : offset + length], span.text[offset + length :]
    mark = "…" if terminal.unicode else "..."
    head = for_terminal(before, terminal)
    if span.text_column > 1 or cell_len(head) > room * 2 // 3:
        head = mark + _end(_characters(before, terminal), room // 3)
    middle = _cut(inside, room - cell_len(head), mark, terminal)
    tail = (
        _cut(after, room - cell_len(head + middle), mark, terminal) if middle == for_terminal(inside, terminal) else ""
    )
    return _Window(head + middle + tail, cell_len(head), max(cell_len(middle), 1), room)


def _cut(text: str, room: int, mark: str, terminal: Terminal) -> str:
    """Return sanitized text, cut at its end with ``mark`` if it does not fit in ``room`` cells."""
    safe = for_terminal(text, terminal)
    if cell_len(safe) <= room:
        return safe
    return _beginning(_characters(text, terminal), room - len(mark)) + mark if room >= len(mark) else ""


def _characters(text: str, terminal: Terminal) -> list[str]:
    """Return each character sanitized, so that a cut never splits an escape."""
    return [for_terminal(character, terminal) for character in text]


def _beginning(characters: list[str], room: int) -> str:
    """Return the longest beginning that takes at most ``room`` cells."""
    kept = characters[: max(room, 0)]
    while kept and cell_len("".join(kept)) > room:
        kept.pop()
    return "".join(kept)


def _end(characters: list[str], room: int) -> str:
    """Return the longest end that takes at most ``room`` cells."""
    kept = characters[-room:]
    while kept and cell_len("".join(kept)) > room:
        kept.pop(0)
    return "".join(kept)


def _github(diagnostic: Diagnostic) -> str:
    span = diagnostic.span
    place = {} if isinstance(diagnostic.source, Argument) else {"file": diagnostic.source}
    if place and span and span.source == diagnostic.source:
        place |= {"line": str(span.line), "col": str(span.column), "endColumn": str(span.end_column - 1)}
    place["title"] = diagnostic.code
    properties = ",".join(f"{key}={_escape(escape_controls(value), in_property=True)}" for key, value in place.items())
    command = _GITHUB_COMMANDS[diagnostic.severity]
    return f"::{command} {properties}::{_escape(one_line(diagnostic.message, diagnostic.help))}"


def one_line(message: str, remedy: str) -> str:
    """Return a message and its remedy, which may be empty, on one line with visible control characters."""
    return escape_controls(f"{message}; {remedy}" if remedy else message)


def _escape(text: str, *, in_property: bool = False) -> str:
    text = without_workflow_commands(text).replace("%", "%25")
    return text.replace(":", "%3A").replace(",", "%2C") if in_property else text

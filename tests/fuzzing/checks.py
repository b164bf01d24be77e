"""Checks that every outcome must pass."""

from __future__ import annotations

import csv
import io
import json
import os
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from xml.etree import ElementTree

from tests.fuzzing.inputs import Case
from tests.fuzzing.mutate import COMMAND

MAX_SECONDS = 2.0
"""Processor seconds of a command that does not import torch."""

MAX_DESIGN_SECONDS = 6.0
"""Processor seconds of a search for designs, which tries what to relax if it finds none."""

MAX_MODEL_SECONDS = 20.0
"""Processor seconds of a command that may import torch, which alone takes two."""

MAX_BYTES = 300 * 1024**2
MAX_MODEL_BYTES = 1200 * 1024**2
"""Growth of the process while a command runs, with the import of torch."""

MAX_LINE = 10_000
"""Characters of a line on standard error."""

FAILING = (1, 2)


class Outcome(NamedTuple):
    """The outcome of one command.

    Attributes:
        code: Exit status; negative for a signal, None for a process that did not end in time.
        out: Standard output.
        err: Standard error.
        seconds: Processor seconds.
        peak_bytes: Growth of memory over its size before the command.
        raised: The traceback of an exception that left the program; empty without one.
    """

    code: int | None
    out: str
    err: str
    seconds: float = 0.0
    peak_bytes: int = 0
    raised: str = ""


class Finding(NamedTuple):
    """A check that an outcome fails.

    Attributes:
        check: A key of ``CHECKS``.
        detail: What was seen.
    """

    check: str
    detail: str


def findings(case: Case, outcome: Outcome) -> list[Finding]:
    """Return every check that the outcome of a case fails, known gaps included."""
    return [Finding(name, detail) for name, check in CHECKS.items() for detail in check(case, outcome)]


def _exit_code(_case: Case, outcome: Outcome) -> Iterator[str]:
    if outcome.code is None:
        yield "no end within the time limit"
    elif outcome.code not in (0, *FAILING):
        yield f"exit code {outcome.code}"


def _crash(_case: Case, outcome: Outcome) -> Iterator[str]:
    if outcome.raised:
        yield outcome.raised.strip().splitlines()[-1]
    for stream in (outcome.out, outcome.err):
        words = " ".join(stream.split())
        if "Traceback (most recent call last)" in words:
            yield "a traceback is printed"
        internal = re.search(r"unexpected (\w+: .{0,200})", words)
        if "please report it" in words:
            yield internal[1] if internal else "an internal error is reported"


_LIBRARY_MESSAGE = re.compile(r"invalid JSON in header: [a-z ]+")
"""What the safetensors library says about a header, in its own words."""


def _word(case: Case, outcome: Outcome) -> Iterator[str]:
    """``unexpected`` is the word of internal errors, and of no other message."""
    given = any("unexpected" in text for text in (*case.arguments, *map(_text, case.files.values())))
    for stream in (outcome.out, outcome.err):
        words = _LIBRARY_MESSAGE.sub("", " ".join(stream.split()))
        at = words.find("unexpected")
        if at >= 0 and not given and "please report it" not in words:
            yield words[max(at - 80, 0) : at + 80]


REPORT_ERRORS = ("validate", "verify", "lint")
"""Commands whose report lists the files that cannot be read."""


def _streams(case: Case, outcome: Outcome) -> Iterator[str]:
    """Errors go to standard error, and an error leaves standard output to machine-readable reports."""
    if outcome.code is None or case.environment:
        return
    if outcome.code in FAILING and not (outcome.out.strip() or outcome.err.strip()):
        yield "failed without a word"
    machine_readable = outcome.out.startswith(("{", "::error", "<?xml")) and re.search(
        "json|github|sarif|junit", " ".join(case.arguments)
    )
    if outcome.code == 2 and outcome.out and case.command not in REPORT_ERRORS and not machine_readable:
        yield f"exit code 2 with text on standard output: {outcome.out[:120]!r}"
    if outcome.code == 2 and not outcome.err and case.command not in REPORT_ERRORS:
        yield "exit code 2 and nothing on standard error"


def requested_format(case: Case) -> str:
    """Return the machine-readable format that the command line names before any ``--``; empty without one."""
    words = case.arguments[: case.arguments.index("--")] if "--" in case.arguments else case.arguments
    found = ""
    for word, after in zip(words, (*words, "")[1:], strict=True):
        if word in ("--format", "-f"):
            found = after
        elif word.startswith("--format="):
            found = word.partition("=")[2]
    return found if found in ("json", "github", "sarif", "junit", "csv") else ""


def _is_plain(case: Case) -> bool:
    """Return whether a command line states its format once, at its end, and no other option decides the output."""
    words = case.arguments
    if len(words) > 2 and words[-3].startswith("-") and case.kind.endswith("command line"):
        return False  # an option that takes --format as its value
    others = {"--help", "-h", "--version", "--get", "--output", "-o", "-f", "--show-completion"}
    named = [word for word in words if word.startswith("--format")]
    # a misspelled field may begin as an option does
    fixed = case.kind != "set" and not case.kind.endswith("command line")
    return (
        named == ["--format"]
        and words[-2:-1] == ("--format",)
        and (fixed or not any(_is_option(w, others) for w in words))
    )


def _is_option(word: str, options: set[str]) -> bool:
    """Return whether a word is one of some options, shortened or with its value joined to it."""
    name = word.partition("=")[0]
    return any(name == each or (word.startswith(each) and len(each) == 2) for each in options)


def _documents(case: Case, outcome: Outcome) -> Iterator[str]:
    """A machine-readable format is one document of that format, for failures too."""
    format_ = requested_format(case)
    if not _is_plain(case) or outcome.code is None:
        return
    if format_ in ("json", "sarif"):
        try:
            document = json.loads(outcome.out, parse_constant=_refuse)
        except ValueError as error:
            yield f"not a JSON document: {error}: {outcome.out[:80]!r}"
            return
        if format_ == "json" and outcome.code == 2 and case.command not in REPORT_ERRORS and "error" not in document:
            yield "exit code 2, but the JSON document is not a failure"
        if format_ == "json" and "error" in document and document["error"]["exit_code"] != outcome.code:
            yield f"exit code {outcome.code}, but the document says {document['error']['exit_code']}"
        if not outcome.out.isascii():
            yield "JSON that is not ASCII"
    elif format_ == "junit":
        try:
            ElementTree.fromstring(outcome.out)
        except ElementTree.ParseError as error:
            yield f"not XML: {error}"
    elif format_ == "csv" and outcome.code == 0:
        lengths = {len(row) for row in csv.reader(io.StringIO(outcome.out)) if row}
        if len(lengths) != 1:
            yield f"CSV rows of {sorted(lengths)} cells"


def _refuse(word: str) -> float:
    raise ValueError(f"{word} is not JSON")


def _places(case: Case, outcome: Outcome) -> Iterator[str]:
    """Every line and column that is reported exists in its source."""
    if {"--fix", "--diff"} & set(case.arguments):
        return
    if requested_format(case) == "json" and outcome.out.startswith("{"):
        try:
            spans = list(_spans(json.loads(outcome.out)))
        except ValueError:
            return  # reported by _documents
        for span in spans:
            yield from _misplaced(case, span)
    else:
        for source, line, column in re.findall(r"^ *--> (.+):(\d+):(\d+)$", outcome.err + outcome.out, re.MULTILINE):
            yield from _misplaced(case, {"source": source, "line": int(line), "column": int(column)})


def _spans(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        if {"source", "line", "column"} <= node.keys():
            yield node
        for child in node.values():
            yield from _spans(child)
    elif isinstance(node, list):
        for child in node:
            yield from _spans(child)


def _misplaced(case: Case, span: dict[str, Any]) -> Iterator[str]:
    line, column, end, text = span["line"], span["column"], span.get("end_column"), span.get("text", "")
    shown = f"{span['source'][:80]!r}:{line}:{column}"
    if end is not None and end <= column:
        yield f"{shown} ends at column {end}"
    lines = _lines(case, span["source"])
    if lines is None:
        if span["source"].startswith("--") and line != 1 and "--set" not in span["source"]:
            yield f"{shown}: an option has one line"
        return
    if not 1 <= line <= len(lines):
        yield f"{shown}: the file has {len(lines)} lines"
    elif not 1 <= column <= len(lines[line - 1]) + 1:
        yield f"{shown}: the line has {len(lines[line - 1])} characters"
    elif text and not lines[line - 1][span.get("text_column", 1) - 1 :].startswith(text):
        yield f"{shown}: the excerpt {text[:60]!r} is not in that line"


def _lines(case: Case, source: str) -> list[str] | None:
    """Return the lines of a file of the case or of its standard input; None for another source, or bytes."""
    data = case.stdin if source == "<stdin>" else case.files.get(os.path.normpath(source)) if source else None
    try:
        return None if data is None else re.split(r"\r\n|\r|\n", data.decode("utf-8").removeprefix("\ufeff"))
    except UnicodeDecodeError:
        return None


def _time(case: Case, outcome: Outcome) -> Iterator[str]:
    limit = MAX_DESIGN_SECONDS if case.command == "design" else MAX_SECONDS
    limit = MAX_MODEL_SECONDS if case.uses_torch else limit
    if outcome.seconds > limit:
        yield f"{outcome.seconds:.1f} s"


def _memory(case: Case, outcome: Outcome) -> Iterator[str]:
    limit = MAX_MODEL_BYTES if case.uses_torch else MAX_BYTES
    if outcome.peak_bytes > limit:
        yield f"{outcome.peak_bytes / 1024**2:.0f} MiB"


# controls but the line feed, C1, bidi marks and isolates, zero width, separators, byte-order mark, lone surrogates
_RAW = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")


def _raw(_case: Case, outcome: Outcome) -> Iterator[str]:
    for name, stream in (("standard output", outcome.out), ("standard error", outcome.err)):
        found = _RAW.search(stream)
        if found:
            yield f"raw {found[0]!a} on {name}: {stream[max(found.start() - 60, 0) : found.end() + 20]!a}"


# a runner reads a line as a command if it begins, after blanks, with two colons; a third makes an unknown command
_LOG_COMMAND = re.compile(r"^[^\S\n]*::(?!:).*", re.MULTILINE)


def _log_commands(case: Case, outcome: Outcome) -> Iterator[str]:
    """No line of text is a workflow command of a CI runner, except those that ``--format github`` writes itself."""
    for stream in (outcome.out, outcome.err):
        for line in _LOG_COMMAND.findall(stream):
            if not _is_github(case) or line.lstrip().startswith(COMMAND):
                yield f"a line begins with a workflow command: {line[:120]!r}"
                break
    yield from _holds_command(outcome.err)
    if not _is_data(case, outcome):
        yield from _holds_command(outcome.out)


def _log_commands_in_data(case: Case, outcome: Outcome) -> Iterator[str]:
    """Neither is a part of JSON, SARIF, JUnit or workflow commands, which a job may print, too."""
    if _is_data(case, outcome):
        yield from _holds_command(outcome.out)


def _is_github(case: Case) -> bool:
    return "github" in case.arguments or "--format=github" in case.arguments


def _is_data(case: Case, outcome: Outcome) -> bool:
    return _is_github(case) or outcome.out.startswith(("{", "[", "<?xml"))


def _holds_command(stream: str) -> Iterator[str]:
    at = stream.find("##[")
    if at >= 0:
        yield f"a line holds ##[: {stream[max(at - 40, 0) : at + 20]!r}"


def _length(_case: Case, outcome: Outcome) -> Iterator[str]:
    longest = max(map(len, outcome.err.splitlines()), default=0)
    if longest > MAX_LINE:
        yield f"a line of {longest} characters on standard error"


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


Check = Callable[[Case, Outcome], Iterator[str]]

CHECKS: dict[str, Check] = {
    "exit code": _exit_code,
    "crash": _crash,
    "word": _word,
    "streams": _streams,
    "document": _documents,
    "place": _places,
    "time": _time,
    "memory": _memory,
    "raw text": _raw,
    "log command": _log_commands,
    "log command in data": _log_commands_in_data,
    "line length": _length,
}
"""Every check by its name; each yields its violations."""

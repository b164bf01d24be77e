"""The exception tree, the exit codes, and the diagnostics a wrong config carries.

::

    TinylmError
    ├── ConfigError        exit 1  the config was read and is wrong; carries every diagnostic found
    │                      exit 2  where an option is what is wrong
    ├── AnalysisError      exit 1  a config is asked for what it cannot do, as a sequence over its max_len
    └── UnableError        exit 2  the command could not be carried out
        ├── UsageError             the words on the command line do not fit
        ├── InputError             something named could not be read
        ├── OutputError            something could not be written
        │   └── OccupiedError      something is there already, and may be replaced on request
        ├── CapacityError          the work does not fit in this machine
        └── WeightsError           a weights folder does not match its config

Library calls on a model raise plain ``ValueError`` for wrong arguments, as PyTorch users expect.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

SET = "--set"
"""The source of a diagnostic about an override, which is part of the config that it changes."""


class ExitCode(IntEnum):
    """What the process tells its caller."""

    DONE = 0
    FAILED = 1
    UNABLE = 2
    INTERRUPTED = 130
    CLOSED_PIPE = 141


class Span(NamedTuple):
    """A stretch of one source line.

    Attributes:
        source: What was read: a path as the user gave it, ``<stdin>``, or ``--set``.
        line: Line number, from 1.
        column: First column in characters, from 1.
        end_column: Column after the last character, > column.
        text: The source line without its line break, or the part of a very long one around the span; empty when there
            is nothing to show, as for a key that is missing.
        text_column: The column at which ``text`` begins.
    """

    source: str
    line: int
    column: int
    end_column: int
    text: str
    text_column: int = 1


class Label(NamedTuple):
    """A second place that a diagnostic points at.

    Attributes:
        span: The place.
        text: What stands there, in a few words.
    """

    span: Span
    text: str


class Fix(NamedTuple):
    """An edit that corrects a mistake with certainty, so that a program may apply it.

    Attributes:
        span: The text to replace.
        replacement: The text to write in its place.
    """

    span: Span
    replacement: str


class Diagnostic(NamedTuple):
    """One mistake, at its place, with its remedy.

    Attributes:
        code: Stable name of the kind of mistake, e.g. ``unknown-key``; listed in docs/diagnostics.md.
        message: What is wrong, in one line.
        span: Where; None when the value comes from a default or the whole input is at fault.
        field: Dotted path of the field at fault, e.g. ``norm.eps``; empty for the whole document.
        help: What to write instead; may be empty.
        labels: Other places involved.
        source: What was read, also when there is no span.
        fix: The edit that ``tinylm validate --fix`` makes; None where a person must decide.
    """

    code: str
    message: str
    source: str
    span: Span | None = None
    field: str = ""
    help: str = ""
    labels: tuple[Label, ...] = ()
    fix: Fix | None = None

    @property
    def is_usage(self) -> bool:
        """Whether an option is wrong whatever the config, of which ``--set`` is part and ``field`` would name one."""
        return self.source.startswith("--") and self.source != SET and not self.field


class TinylmError(Exception):
    """Base of every error tinylm raises on purpose.

    Attributes:
        message: What went wrong, in one line.
        help: What to do about it; may be empty.
        exit_code: The exit status of a command that ends with this error.
        diagnostics: Every mistake found, in source order; none for an error without a place.
    """

    exit_code = ExitCode.UNABLE
    diagnostics: tuple[Diagnostic, ...] = ()

    def __init__(self, message: str, *, help: str = "") -> None:  # noqa: A002 - the word the user reads
        super().__init__(message)
        self.message = message
        self.help = help


class ConfigError(TinylmError):
    """A config that was read and is wrong; or an option that is, which exits with 2 and is told the same way."""

    exit_code = ExitCode.FAILED

    def __init__(self, diagnostics: tuple[Diagnostic, ...]) -> None:
        first = diagnostics[0]
        place = f"{first.source}:{first.span.line}:{first.span.column}" if first.span else first.source
        more = f" (and {len(diagnostics) - 1} more)" if len(diagnostics) > 1 else ""
        super().__init__(f"{place}: {first.message}{more}", help=first.help)
        self.diagnostics = diagnostics
        if any(each.is_usage for each in diagnostics):
            self.exit_code = ExitCode.UNABLE


class AnalysisError(TinylmError):
    """A sound config is asked for what it cannot do: a sequence over its max_len, a split with a rest."""

    exit_code = ExitCode.FAILED


class UnableError(TinylmError):
    """The command could not be carried out."""


class UsageError(UnableError):
    """The words on the command line do not fit."""


class InputError(UnableError):
    """Something named could not be read."""


class OutputError(UnableError):
    """Something could not be written; what was there before is untouched."""


class OccupiedError(OutputError):
    """Something that may be replaced, on request, is where something is to be written."""


class CapacityError(UnableError):
    """The work does not fit in this machine."""


class WeightsError(UnableError):
    """A weights folder is unreadable or does not match its config."""

"""The exit codes, the exception tree, and the diagnostics of a wrong config.

::

    TinylmError
    ├── ConfigError        exit 1  the config was read and is wrong; carries every diagnostic
    │                      exit 2  if an option is wrong instead
    ├── AnalysisError      exit 1  the config is valid but does not allow the request: a sequence over max_len
    └── UnableError        exit 2  the command could not be carried out
        ├── UsageError             wrong options or arguments
        ├── InputError             unreadable input
        ├── OutputError            unwritable output
        │   └── OccupiedError      the output exists; --force would replace it
        ├── CapacityError          the work does not fit in this machine's memory
        └── WeightsError           a weights folder does not match its config

Library calls on a model raise plain ``ValueError`` for wrong arguments, as PyTorch users expect.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

SET = "--set"
"""The source of a diagnostic about an override, which is part of the config that it changes."""


class ExitCode(IntEnum):
    """Exit codes of the command."""

    DONE = 0
    FAILED = 1
    UNABLE = 2
    INTERRUPTED = 130
    CLOSED_PIPE = 141


class Span(NamedTuple):
    """A range of characters in one source line.

    Attributes:
        source: The input: a path as given, ``<stdin>``, or an option such as ``--set``.
        line: Line number, from 1.
        column: First column in characters, from 1.
        end_column: Column after the last character, > column.
        text: The source line without its line break, or the part of a very long line around the span; empty if there
            is none, as for a missing key.
        text_column: The column at which ``text`` begins.
    """

    source: str
    line: int
    column: int
    end_column: int
    text: str
    text_column: int = 1


class Label(NamedTuple):
    """A second place of a diagnostic.

    Attributes:
        span: The place.
        text: A few words on what is written there.
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
    """One error in a config or an option, with its place and its remedy.

    Attributes:
        code: Stable name of the kind of error, e.g. ``unknown-key``; listed in docs/diagnostics.md.
        message: The error, in one line.
        span: Its place; None for a default value or for the whole input.
        field: Dotted path of the wrong field, e.g. ``norm.eps``; empty for the whole document.
        help: The remedy; may be empty.
        labels: Other places involved.
        source: The input, also without a span.
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
        """Whether the error is in an option, not in the config or in ``--set``, which is part of it."""
        return self.source.startswith("--") and self.source != SET and not self.field


class TinylmError(Exception):
    """Base of every error tinylm raises on purpose.

    Attributes:
        message: The error, in one line.
        help: The remedy; may be empty.
        exit_code: Exit code of a command that ends with this error.
        diagnostics: Every diagnostic, in source order; empty for an error without a place.
    """

    exit_code = ExitCode.UNABLE
    diagnostics: tuple[Diagnostic, ...] = ()

    def __init__(self, message: str, *, help: str = "") -> None:  # noqa: A002 - the word the user reads
        super().__init__(message)
        self.message = message
        self.help = help


class ConfigError(TinylmError):
    """A wrong config (exit 1) or a wrong option with a place in its text (exit 2)."""

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
    """A valid config that does not allow the request: a sequence over max_len, an uneven split."""

    exit_code = ExitCode.FAILED


class UnableError(TinylmError):
    """The command could not be carried out."""


class UsageError(UnableError):
    """Wrong options or arguments."""


class InputError(UnableError):
    """Unreadable input."""


class OutputError(UnableError):
    """Unwritable output; an existing file or folder is unchanged."""


class OccupiedError(OutputError):
    """The output exists, and may be replaced on request."""


class CapacityError(UnableError):
    """The work does not fit in this machine's memory."""


class WeightsError(UnableError):
    """A weights folder is unreadable, or does not match its config."""

"""Exit codes, exceptions, and diagnostics of an invalid config.

::

    TinylmError
    ├── ConfigError        exit 1  the config is invalid; carries every diagnostic
    │                      exit 2  if an option is invalid instead, or the text of the config is not UTF-8
    ├── AnalysisError      exit 2  the config is valid but does not allow the request: a sequence longer than max_len
    └── UnableError        exit 2  the command could not be carried out
        ├── UsageError             invalid options or arguments
        ├── InputError             unreadable input
        ├── OutputError            unwritable output
        │   └── OccupiedError      the output exists; --force would replace it
        ├── CapacityError          the work exceeds this machine's memory
        └── WeightsError           a weights folder does not match its config

Methods of a model raise plain ``ValueError`` for invalid arguments, like PyTorch modules.
"""

from __future__ import annotations

import errno
from enum import IntEnum
from typing import Literal, NamedTuple

from tinylm_cli.wording import Argument, Override


class ExitCode(IntEnum):
    """Exit codes of the command."""

    DONE = 0
    FAILED = 1
    UNABLE = 2
    HUNG_UP = 129
    INTERRUPTED = 130
    CLOSED_PIPE = 141
    TERMINATED = 143


class Span(NamedTuple):
    """A range of characters in one source line.

    Attributes:
        source: The input: a path as given, ``<stdin>``, or an option such as ``--set``.
        line: Line number, from 1.
        column: First column in characters, from 1.
        end_column: Column after the last character, > column.
        text: The source line without its line break, or an excerpt of a very long line; empty if the span is not in
            the source, as for a missing key.
        text_column: The column at which ``text`` begins.
    """

    source: str
    line: int
    column: int
    end_column: int
    text: str
    text_column: int = 1


class Label(NamedTuple):
    """A secondary position of a diagnostic, and a short description of it."""

    span: Span  # The position.
    text: str  # Its description, as in ``d_model is 500``.


class Fix(NamedTuple):
    """An edit that is safe to apply automatically: the text to replace, the new text."""

    span: Span
    replacement: str


Severity = Literal["error", "warning", "note"]
"""How serious a diagnostic is."""


class Diagnostic(NamedTuple):
    """One error in a config or an option, with its position and its remedy; a linter also has warnings and notes.

    Attributes:
        code: Stable name of the kind of error, e.g. ``unknown-key``; listed in docs/diagnostics.md.
        message: The error, in one line.
        span: Its position; None for a default value or for the entire input.
        field: Dotted path of the invalid field, e.g. ``norm.eps``; empty for the entire document.
        help: The remedy; may be empty.
        labels: Related positions.
        source: The name of the input, set even without a span.
        fix: The edit that ``tinylm validate --fix`` applies; None if no safe edit exists.
        severity: ``error``; in ``tinylm lint`` also ``warning`` or ``note``.
    """

    code: str
    message: str
    source: str
    span: Span | None = None
    field: str = ""
    help: str = ""
    labels: tuple[Label, ...] = ()
    fix: Fix | None = None
    severity: Severity = "error"

    @property
    def is_usage(self) -> bool:
        """Whether the error is in an argument other than an override, not in the config."""
        return isinstance(self.source, Argument) and not isinstance(self.source, Override)

    @property
    def is_unreadable(self) -> bool:
        """Whether the config could not be read as text."""
        return self.code == "not-utf8"


class TinylmError(Exception):
    """Base class of all errors that tinylm raises deliberately.

    Attributes:
        message: The error, in one line.
        help: The remedy; may be empty.
        exit_code: Exit code of a command that ends with this error.
        diagnostics: Every diagnostic, in source order; empty for an error without a position.
    """

    exit_code = ExitCode.UNABLE
    diagnostics: tuple[Diagnostic, ...] = ()

    def __init__(self, message: str, *, help: str = "") -> None:  # noqa: A002 - the label in the output
        super().__init__(message)
        self.message = message
        self.help = help

    def __str__(self) -> str:
        """Return the message, with the remedy on a second line, for Python's traceback."""
        return f"{self.message}\n  = help: {self.help}" if self.help else self.message


class ConfigError(TinylmError):
    """An invalid config (exit 1), or a position in an invalid option or in a file that is not text (exit 2)."""

    exit_code = ExitCode.FAILED

    def __init__(self, diagnostics: tuple[Diagnostic, ...]) -> None:
        first = diagnostics[0]
        place = f"{first.source}:{first.span.line}:{first.span.column}" if first.span else first.source
        more = f" (and {len(diagnostics) - 1} more)" if len(diagnostics) > 1 else ""
        super().__init__(f"{place}: {first.message}{more}", help=first.help)
        self.diagnostics = diagnostics
        if any(each.is_usage or each.is_unreadable for each in diagnostics):
            self.exit_code = ExitCode.UNABLE


class AnalysisError(TinylmError):
    """A valid config that does not allow the request: a sequence longer than max_len, an uneven split."""


class UnableError(TinylmError):
    """The command could not be carried out."""


class UsageError(UnableError):
    """Invalid options or arguments."""


class InputError(UnableError):
    """Unreadable input."""


class OutputError(UnableError):
    """Unwritable output; an existing file or folder is unchanged."""


class OccupiedError(OutputError):
    """The output exists; it can be replaced on request."""


class CapacityError(UnableError):
    """The work exceeds this machine's memory."""


class WeightsError(UnableError):
    """A weights folder is unreadable or does not match its config."""


_MEMORY_SIGNS = (
    "annot allocate memory",
    "can't allocate memory",
    "failed to map segment",
    "out of memory",
    "without exception set",
    "without setting an exception",
)
"""Parts of messages of the dynamic linker, of torch and its allocators, and of C code whose allocation failed."""


def is_memory_error(error: BaseException) -> bool:
    """Return whether an error, or one that led to it, means that memory is exhausted."""
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return True
    if isinstance(error, OSError | ImportError | RuntimeError | SystemError) and any(
        sign in str(error) for sign in _MEMORY_SIGNS
    ):
        return True
    return error.__context__ is not None and is_memory_error(error.__context__)

"""The JSON report of a command that failed."""

from __future__ import annotations

from typing import Self

from tinylm_cli.errors import Diagnostic, TinylmError
from tinylm_cli.reports.record import Record


class Failure(Record):
    """The error that ended a command."""

    message: str  # The error, in one line.
    help: str  # The remedy; may be empty.
    exit_code: int  # The exit status of the process.
    diagnostics: tuple[Diagnostic, ...]  # Every error found in the config or in an option; empty for other errors.


class FailureReport(Record):
    """The failure, under a key that no other report has."""

    error: Failure  # Why the command ended without its report.

    @classmethod
    def of(cls, error: TinylmError) -> Self:
        """Return the report of an error."""
        return cls(Failure(error.message, error.help, int(error.exit_code), error.diagnostics))

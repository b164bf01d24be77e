"""The JSON report of a command that failed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from tinylm_cli.errors import Diagnostic, TinylmError


@dataclass(frozen=True)
class Failure:
    """The error that ended a command."""

    message: str  # The error, in one line.
    help: str  # The remedy; may be empty.
    exit_code: int  # The exit status of the process.
    diagnostics: tuple[Diagnostic, ...]  # Every error found in the config or in an option; empty for other errors.


@dataclass(frozen=True)
class FailureReport:
    """The failure, under a key that no other report has."""

    error: Failure  # Why the command ended without its report.

    @classmethod
    def of(cls, error: TinylmError) -> Self:
        """Return the report of an error."""
        return cls(Failure(error.message, error.help, int(error.exit_code), error.diagnostics))

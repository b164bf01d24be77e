"""The JSON report of a command that failed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from tinylm_cli.errors import Diagnostic, TinylmError


@dataclass(frozen=True)
class Failure:
    """Why a command ended without its report.

    Attributes:
        message: The error, in one line.
        help: The remedy; may be empty.
        exit_code: The exit status of the process.
        diagnostics: Every mistake found in the config or in an option; empty for other errors.
    """

    message: str
    help: str
    exit_code: int
    diagnostics: tuple[Diagnostic, ...]


@dataclass(frozen=True)
class FailureReport:
    """The failure, under a key that no other report has.

    Attributes:
        error: Why the command ended without its report.
    """

    error: Failure

    @classmethod
    def of(cls, error: TinylmError) -> Self:
        """Return the report of an error."""
        return cls(Failure(error.message, error.help, int(error.exit_code), error.diagnostics))

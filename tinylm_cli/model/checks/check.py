"""A check of a model: a name, a statement, and a function that measures whether the statement holds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from tinylm_cli.errors import CapacityError, OutputError
from tinylm_cli.model.checks.context import CheckContext
from tinylm_cli.model.initialization import is_out_of_memory
from tinylm_cli.reports.check import CheckResult, Status


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of a measurement; see the fields of :class:`CheckResult`."""

    status: Status
    measured: str
    value: float | None = None
    limit: float | None = None


def passed_if(holds: bool, measured: str, value: float | None = None, limit: float | None = None) -> Outcome:  # noqa: FBT001
    """Return a passed outcome if the statement holds, else a failed one."""
    return Outcome("pass" if holds else "fail", measured, value, limit)


def passed_if_at_most(value: float, limit: float, label: str) -> Outcome:
    """Return a passed outcome if ``value`` is at most ``limit``, else a failed one; nan fails."""
    return passed_if(value <= limit, f"{label} {value:.2g}", value, limit)


def skip(reason: str) -> Outcome:
    """Return the outcome of a check that does not apply."""
    return Outcome("skip", reason)


@dataclass(frozen=True, slots=True)
class Check:
    """A runnable check.

    Attributes:
        name: Stable name, e.g. ``causality-gradient``.
        statement: The property that the check verifies, in one sentence.
        measure: Measures the property; may raise any exception.
    """

    name: str
    statement: str
    measure: Callable[[CheckContext], Outcome]

    def __call__(self, context: CheckContext) -> CheckResult:
        """Run the check, with gradients enabled.

        The check is skipped if this machine lacks the memory or disk space, or if an operation does not support the
        dtype. Any other exception is a failure.
        """
        try:
            with torch.enable_grad():
                outcome = self.measure(context)
        except Exception as error:  # a broken model may raise any exception
            reason = _machine_limit(error)
            outcome = skip(reason) if reason else Outcome("fail", f"{type(error).__name__}: {_first_line(error)}")
        return CheckResult(self.name, self.statement, outcome.status, outcome.measured, outcome.value, outcome.limit)


def check(name: str, statement: str) -> Callable[[Callable[[CheckContext], Outcome]], Check]:
    """Return a decorator that turns a measuring function into a :class:`Check`."""
    return lambda measure: Check(name, statement, measure)


def _machine_limit(error: Exception) -> str | None:
    """Return the reason why this machine cannot run a check, or None if the model causes the error."""
    message = _first_line(error)
    if isinstance(error, CapacityError | OutputError):
        return message
    if is_out_of_memory(error):
        return f"out of memory: {message}"
    if "not implemented for '" in message:
        return f"missing operation: {message}"
    return None


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0]

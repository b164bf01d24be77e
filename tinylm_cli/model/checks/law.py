"""What a law is: a name, a claim, and a function that measures whether a model keeps it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from tinylm_cli.errors import CapacityError, OutputError
from tinylm_cli.model.checks.context import Context
from tinylm_cli.model.initialization import is_out_of_memory
from tinylm_cli.reports.check import Law, Status


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a law went; the fields are those of :class:`Law`."""

    status: Status
    figure: str
    value: float | None = None
    limit: float | None = None


def verdict(held: bool, figure: str, value: float | None = None, limit: float | None = None) -> Outcome:  # noqa: FBT001
    """Return a pass if the law ``held``, else a fail."""
    return Outcome("pass" if held else "fail", figure, value, limit)


def within(value: float, limit: float, what: str) -> Outcome:
    """Return a pass if ``value`` is at most ``limit``, else a fail; nan is not."""
    return verdict(value <= limit, f"{what} {value:.2g}", value, limit)


def skip(reason: str) -> Outcome:
    """Return that the law does not apply, and why."""
    return Outcome("skip", reason)


@dataclass(frozen=True, slots=True)
class Check:
    """A law that can be tried.

    Attributes:
        name: Stable name, e.g. ``causality-gradient``.
        claim: What must hold, in one line.
        measure: Tries it, and may raise anything.
    """

    name: str
    claim: str
    measure: Callable[[Context], Outcome]

    def __call__(self, context: Context) -> Law:
        """Try the law, with gradients, whatever happens.

        A machine that cannot try it, for want of memory, of disk or of an operation in this dtype, skips it; any other
        exception is a fail.
        """
        try:
            with torch.enable_grad():
                outcome = self.measure(context)
        except Exception as error:  # a law about a broken model may meet any
            reason = _beyond_machine(error)
            outcome = skip(reason) if reason else Outcome("fail", f"{type(error).__name__}: {_first_line(error)}")
        return Law(self.name, self.claim, outcome.status, outcome.figure, outcome.value, outcome.limit)


def law(name: str, claim: str) -> Callable[[Callable[[Context], Outcome]], Check]:
    """Make a :class:`Check` of the function that measures it."""
    return lambda measure: Check(name, claim, measure)


def _beyond_machine(error: Exception) -> str | None:
    """Return why this machine cannot try a law, or None when the error says something about the model."""
    message = _first_line(error)
    if isinstance(error, CapacityError | OutputError):
        return message
    if is_out_of_memory(error):
        return f"out of memory: {message}"
    if "not implemented for '" in message:
        return f"an operation is missing here: {message}"
    return None


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0]

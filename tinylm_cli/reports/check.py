"""The report of ``tinylm check``: properties of a model, each proven on the real module."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Status = Literal["pass", "fail", "skip"]


@dataclass(frozen=True)
class CheckResult:
    """One check and its result.

    Attributes:
        name: Stable name, e.g. ``causality-gradient``.
        statement: The property that the check proves, in one line.
        status: ``pass``, ``fail``, or ``skip`` where the check does not apply.
        measured: The measurement in words, e.g. ``max leak 0``; for a skip, the reason.
        value: The measurement as a number where it is one, else None.
        limit: The most that ``value`` may be, else None.
    """

    name: str
    statement: str
    status: Status
    measured: str
    value: float | None = None
    limit: float | None = None


@dataclass(frozen=True)
class CheckReport:
    """All checks of one model, in the order they ran.

    Attributes:
        name: The model's name.
        source: Source of its config.
        device: Device that ran the checks: ``cpu``, ``cuda:0``.
        dtype: Storage type of its weights.
        seed: Seed of its weights; None if they were loaded.
        weights: Folder the weights were loaded from, or None.
        passed: Number of checks that passed.
        failed: Number of checks that failed; the command exits with 1 if any did.
        skipped: Number of checks that do not apply, or that this machine cannot run.
        checks: The result of each check.
    """

    name: str
    source: str
    device: str
    dtype: str
    seed: int | None
    weights: str | None
    passed: int
    failed: int
    skipped: int
    checks: tuple[CheckResult, ...]

"""The report of ``tinylm check``: properties of a model, tested on the instantiated module."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Literal

from tinylm_cli.reports.record import Record

Status = Literal["pass", "fail", "skip"]


class CheckResult(Record):
    """One check and its result."""

    name: str  # Stable name, e.g. ``causality-gradient``.
    statement: str  # The property that the check tests, in one line.
    status: Status  # ``pass``, ``fail``, or ``skip`` if the check does not apply.
    measured: str  # The measurement as text, e.g. ``max leak 0``; for a skip, the reason.
    value: float | None = None  # The measurement, if it is a number; else None.
    limit: float | None = None  # Maximum allowed ``value``; None without a limit.


class CheckReport(Record):
    """All checks of one model, in the order they ran."""

    name: str  # The model's name.
    source: str  # Source of its config.
    device: str  # Device that ran the checks: ``cpu``, ``cuda:0``.
    dtype: str  # Data type of its weights.
    seed: int | None  # Seed of its weights; None if they were loaded.
    weights: str | None  # Folder the weights were loaded from, or None.
    passed: int  # Number of checks that passed.
    failed: int  # Number of checks that failed; the command exits with 1 if any did.
    skipped: int  # Number of checks that do not apply, or that this machine cannot run.
    checks: tuple[CheckResult, ...]  # The result of each check.
    # Keys of a Hugging Face config.json that were left out, each with the reason: ``requested``, or
    # ``no_effect_here`` for a key that is not understood and changes no figure of this report.
    ignored_keys: Mapping[str, str] = field(default_factory=dict)

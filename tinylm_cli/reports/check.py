"""What ``tinylm check`` reports: the laws of a model, each proven on the real module."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Status = Literal["pass", "fail", "skip"]


@dataclass(frozen=True)
class Law:
    """One law and how it went.

    Attributes:
        name: Stable name, e.g. ``causality-gradient``.
        claim: What must hold, in one line.
        status: ``pass``, ``fail``, or ``skip`` where the law does not apply.
        figure: The measured figure in words, e.g. ``largest leak 0``; for a skip, the reason.
        value: The figure as a number where it is one, else None.
        limit: What ``value`` is held against, else None.
    """

    name: str
    claim: str
    status: Status
    figure: str
    value: float | None = None
    limit: float | None = None


@dataclass(frozen=True)
class CheckReport:
    """All laws of one model, in the order they were tried.

    Attributes:
        name: The model's name.
        source: Where its config came from.
        device: Where it was checked: ``cpu``, ``cuda:0``.
        dtype: Storage type of its weights.
        seed: What its weights were drawn from; None when they were loaded.
        weights: Folder the weights were loaded from, or None.
        passed: Laws that hold.
        failed: Laws that are broken; the command exits with 1 when there are any.
        skipped: Laws that do not apply, or that this machine cannot try.
        laws: Each law and what was measured.
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
    laws: tuple[Law, ...]

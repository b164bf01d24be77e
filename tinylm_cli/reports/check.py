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
    """All laws of one model, in the order they were tried."""

    name: str
    source: str
    device: str
    dtype: str
    seed: int
    weights: str | None
    passed: int
    failed: int
    skipped: int
    laws: tuple[Law, ...]

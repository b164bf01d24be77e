"""What ``tinylm validate`` reports."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Self

from tinylm_cli.errors import Diagnostic

FileStatus = Literal["valid", "failed", "wrong", "unreadable"]
FigureUnit = Literal["params", "bytes", "flops", "share"]


@dataclass(frozen=True)
class Assertion:
    """What was to hold of one figure of a config.

    Attributes:
        origin: Who asked: ``--assert``, or the budget's field, e.g. ``budget.max_params``.
        text: What was asked, e.g. ``total_params < 130M``.
        figure: Name of the figure.
        unit: What the figure counts; ``share`` for nominal_error.
        value: The figure; nominal_error without its sign, and None where the config states no nominal_params.
        relation: How it was to stand to ``bound``: ``<``, ``<=``, ``>``, ``>=``, ``==`` or ``!=``.
        bound: What it was held to; None where that is a figure without a value.
        holds: Whether it does.
    """

    origin: str
    text: str
    figure: str
    unit: FigureUnit
    value: int | float | None
    relation: str
    bound: int | float | None
    holds: bool


@dataclass(frozen=True)
class FileResult:
    """One config, or one file of accelerators.

    Attributes:
        path: Path as given, or found in a folder that was; ``<stdin>`` for standard input.
        status: ``valid``; ``failed``, sound and against its budget or an assertion; ``wrong``, with mistakes; or
            ``unreadable``, with a reason.
        total_params: Parameters of a sound config, a tied tensor counted once; else None.
        reason: Why it could not be read; else empty.
        help: What to do about that; may be empty.
        diagnostics: Every mistake, in the order of the file, or every assertion that does not hold.
        assertions: What was held against a sound config: its budget, then each ``--assert``.
        accelerators: How many a valid file of accelerators holds; None for a config.
        fixed: Mistakes that ``--fix`` corrected, or that it would where ``--diff`` asks; ``diagnostics`` are the rest.
        diff: The change that corrects them, as a unified diff; empty where nothing is fixed.
        written: Whether the file was changed.
    """

    path: str
    status: FileStatus
    total_params: int | None
    reason: str
    help: str
    diagnostics: tuple[Diagnostic, ...]
    assertions: tuple[Assertion, ...] = ()
    accelerators: int | None = None
    fixed: tuple[Diagnostic, ...] = ()
    diff: str = ""
    written: bool = False

    @property
    def fixable(self) -> int:
        """How many of ``diagnostics`` have a fix."""
        return sum(each.fix is not None for each in self.diagnostics)


@dataclass(frozen=True)
class ValidateReport:
    """Every config asked about, and how many ended how.

    Attributes:
        valid: Configs without a mistake, within their budgets, of which every assertion holds.
        failed: Sound configs over their budgets, or of which an assertion does not hold.
        wrong: Configs that were read and have mistakes.
        unreadable: Configs that could not be read, or not be written with their fixes.
        fixed: Mistakes that ``--fix`` corrected, or that it would where ``--diff`` asks.
        fixable: Mistakes still there that ``--fix`` can correct.
        files: Each config, in the order given; a folder's in the order of their paths.
    """

    valid: int
    failed: int
    wrong: int
    unreadable: int
    fixed: int
    fixable: int
    files: tuple[FileResult, ...]

    @classmethod
    def of(cls, files: Sequence[FileResult]) -> Self:
        """Return the report of some files, each status counted."""
        statuses = Counter(file.status for file in files)
        return cls(
            valid=statuses["valid"],
            failed=statuses["failed"],
            wrong=statuses["wrong"],
            unreadable=statuses["unreadable"],
            fixed=sum(len(file.fixed) for file in files),
            fixable=sum(file.fixable for file in files),
            files=tuple(files),
        )

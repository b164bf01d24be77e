"""The report of ``tinylm validate``."""

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
    """A condition on one figure of a config, and its result.

    Attributes:
        origin: ``--assert``, or the field of the budget, e.g. ``budget.max_params``.
        text: The condition as written, e.g. ``total_params < 130M``.
        figure: Name of the figure.
        unit: The unit of the figure; ``share`` for nominal_error.
        value: The measured value; nominal_error without its sign, None without nominal_params.
        relation: ``<``, ``<=``, ``>``, ``>=``, ``==`` or ``!=``.
        bound: The bound; None if it is a figure without a value.
        holds: Whether the condition holds.
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
    """The result for one config or hardware file.

    Attributes:
        path: Path as given or as found in a folder; ``<stdin>`` for standard input.
        status: ``valid``; ``failed``, a valid config that fails its budget or an assertion; ``wrong``, with mistakes;
            or ``unreadable``, with a reason.
        total_params: Parameters of a valid config, tied weights counted once; else None.
        reason: Why the file could not be read or written; else empty.
        help: The remedy; may be empty.
        diagnostics: Every mistake in the order of the file, or every assertion that fails.
        assertions: The conditions on a valid config: its budget, then each ``--assert``.
        accelerators: Number of accelerators in a valid hardware file; None for a config.
        fixed: Mistakes that ``--fix`` corrected or ``--diff`` would correct; not among ``diagnostics``.
        diff: The corrections as a unified diff; empty without corrections.
        written: Whether the corrections were written to the file.
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
        """Number of ``diagnostics`` with a fix."""
        return sum(each.fix is not None for each in self.diagnostics)


@dataclass(frozen=True)
class ValidateReport:
    """The results for all files, and the number of files with each status.

    Attributes:
        valid: Valid configs within their budgets, with every assertion satisfied.
        failed: Valid configs over their budgets or with a failed assertion.
        wrong: Configs with mistakes.
        unreadable: Files that could not be read, or not be written by ``--fix``.
        fixed: Mistakes that ``--fix`` corrected or ``--diff`` would correct.
        fixable: Remaining mistakes that ``--fix`` can correct.
        files: The result for each file, in the given order; files of a folder are sorted by path.
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

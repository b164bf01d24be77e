"""The report of ``tinylm validate``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Literal, Self

from tinylm_cli.errors import Diagnostic
from tinylm_cli.reports.record import Record

FileStatus = Literal["valid", "failed", "invalid", "unreadable"]
FigureUnit = Literal["params", "bytes", "flops", "share"]


class Assertion(Record):
    """A condition on one figure of a config, and its result."""

    origin: str  # ``--assert`` (in Python ``<assert_>``), or the field of the budget, e.g. ``budget.max_params``.
    text: str  # The condition as written, e.g. ``total_params < 130M``.
    figure: str  # Name of the figure.
    unit: FigureUnit  # The unit of the figure; ``share`` for nominal_error.
    value: int | float | None  # The measured value; nominal_error without its sign, None without nominal_params.
    relation: str  # ``<``, ``<=``, ``>``, ``>=``, ``==`` or ``!=``.
    bound: int | float | None  # The bound; None if it is a figure without a value.
    holds: bool  # Whether the condition holds.


class FileResult(Record):
    """The result for one config or hardware file."""

    path: str  # Path as given or as found in a folder; ``<stdin>`` for standard input.
    # ``valid``; ``failed``, a valid config that fails its budget or an assertion; ``invalid``, with errors; or
    # ``unreadable``, with a reason, or with an error if it is not UTF-8.
    status: FileStatus
    total_params: int | None  # Parameters of a valid config, tied weights counted once; else None.
    reason: str  # Why the file could not be read or written; else empty.
    help: str  # The remedy; may be empty.
    diagnostics: tuple[Diagnostic, ...]  # Every error in the order of the file, or every assertion that fails.
    assertions: tuple[Assertion, ...] = ()  # The conditions on a valid config: its budget, then each ``--assert``.
    accelerators: int | None = None  # Number of accelerators in a valid hardware file; None for a config.
    # Errors that ``--fix`` corrected or ``--diff`` would correct; not among ``diagnostics``.
    fixed: tuple[Diagnostic, ...] = ()
    diff: str = ""  # The corrections as a unified diff; empty without corrections.
    written: bool = False  # Whether the corrections were written to the file.
    # Keys of a Hugging Face config.json that were left out, each with the reason: ``requested``, or
    # ``no_effect_here`` for a key that is not understood and changes no figure of this report.
    ignored_keys: Mapping[str, str] = field(default_factory=dict)

    @property
    def fixable(self) -> int:
        """Number of ``diagnostics`` with a fix."""
        return sum(each.fix is not None for each in self.diagnostics)


class ValidateReport(Record):
    """The results for all files, and the number of files with each status."""

    valid: int  # Valid configs within their budgets, with every assertion satisfied.
    failed: int  # Valid configs over their budgets or with a failed assertion.
    invalid: int  # Configs with errors.
    unreadable: int  # Files that could not be read, or not be written by ``--fix``.
    fixed: int  # Errors that ``--fix`` corrected or ``--diff`` would correct.
    fixable: int  # Remaining errors that ``--fix`` can correct.
    files: tuple[FileResult, ...]  # The result for each file, in the given order; files of a folder are sorted by path.

    @classmethod
    def of(cls, files: Sequence[FileResult]) -> Self:
        """Return the report of some files, each status counted."""
        statuses = Counter(file.status for file in files)
        return cls(
            valid=statuses["valid"],
            failed=statuses["failed"],
            invalid=statuses["invalid"],
            unreadable=statuses["unreadable"],
            fixed=sum(len(file.fixed) for file in files),
            fixable=sum(file.fixable for file in files),
            files=tuple(files),
        )

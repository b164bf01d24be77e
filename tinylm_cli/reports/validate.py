"""What ``tinylm validate`` reports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tinylm_cli.errors import Diagnostic

FileStatus = Literal["valid", "wrong", "unreadable"]


@dataclass(frozen=True)
class FileResult:
    """One config, or one file of accelerators.

    Attributes:
        path: Path as given, or found in a folder that was; ``<stdin>`` for standard input.
        status: ``valid``; ``wrong``, with diagnostics; or ``unreadable``, with a reason.
        total_params: Parameters of a valid config, a tied tensor counted once; else None.
        reason: Why it could not be read; else empty.
        help: What to do about that; may be empty.
        diagnostics: Every mistake, in the order of the file.
        accelerators: How many a valid file of accelerators holds; None for a config.
    """

    path: str
    status: FileStatus
    total_params: int | None
    reason: str
    help: str
    diagnostics: tuple[Diagnostic, ...]
    accelerators: int | None = None


@dataclass(frozen=True)
class ValidateReport:
    """Every config asked about, and how many ended how.

    Attributes:
        valid: Configs without a mistake.
        wrong: Configs that were read and have mistakes.
        unreadable: Configs that could not be read.
        files: Each config, in the order given; a folder's in the order of their paths.
    """

    valid: int
    wrong: int
    unreadable: int
    files: tuple[FileResult, ...]

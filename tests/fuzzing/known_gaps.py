"""Failures of the checks that are known and not mended yet: one entry for each, to be deleted with its cause.

``test_known_gaps`` fails for an entry whose example passes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from tests.fuzzing.checks import Finding
from tests.fuzzing.inputs import Case


class Gap(NamedTuple):
    """A failure that is not asserted.

    Attributes:
        check: The check that fails, a key of ``CHECKS``.
        detail: Regular expression that is searched in the detail of a finding.
        reason: The cause of the failure.
        example: An input that fails today; None if it takes too long to try.
        kinds: The only kinds of input concerned; empty for all.
    """

    check: str
    detail: str
    reason: str
    example: Case | None
    kinds: tuple[str, ...] = ()


KNOWN_GAPS: tuple[Gap, ...] = ()
"""Every failure that is not asserted."""


def gap_of(kind: str, finding: Finding) -> Gap | None:
    """Return the gap that explains a finding; None for a new one."""
    for gap in KNOWN_GAPS:
        concerned = not gap.kinds or kind in gap.kinds
        if concerned and gap.check == finding.check and re.search(gap.detail, finding.detail):
            return gap
    return None


def new_findings(kind: str, found: Iterable[Finding]) -> list[Finding]:
    """Return the findings that no known gap explains."""
    return [finding for finding in found if gap_of(kind, finding) is None]

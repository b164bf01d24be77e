"""Counts the calls of Python functions: a measure of work that does not depend on the machine."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType


def count_calls(work: Callable[[], object]) -> int:
    """Return the calls of Python functions during ``work``; each value that a generator yields counts as one."""
    n_calls = 0

    def on_event(_: FrameType, event: str, __: object) -> None:
        nonlocal n_calls
        n_calls += event == "call"

    previous = sys.getprofile()
    sys.setprofile(on_event)
    try:
        work()
    finally:
        sys.setprofile(previous)
    return n_calls

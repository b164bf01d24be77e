"""Keeping Ctrl-C and termination away from work that they would break in two."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def interrupts_deferred() -> Iterator[None]:
    """Let an interrupt or a request to terminate wait until the block ends.

    An exception in the middle of ``import torch`` may be swallowed there, or leave a module half made that the next
    import trips over; either way the command would go on, or fail in words of its own.
    """
    if threading.current_thread() is not threading.main_thread():  # where Python never delivers signals
        yield
        return
    came: list[int] = []

    def remember(number: int, _frame: FrameType | None) -> None:
        came.append(number)

    usual = {number: signal.signal(number, remember) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in usual.items():
            signal.signal(number, handler)
        if came:
            os.kill(os.getpid(), came[0])

"""Keeping Ctrl-C and termination away from work that they would break in two."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_NUMBERS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


@contextmanager
def interrupts_deferred() -> Iterator[None]:
    """Let an interrupt or a request to terminate wait until the block, which is short, ends.

    An exception in the middle of ``import torch`` may be swallowed there, or leave a module half made that the next
    import trips over; one between making a temporary file and remembering to remove it leaves the file.
    """
    if threading.current_thread() is not threading.main_thread():  # where Python never delivers signals
        yield
        return
    came: list[int] = []

    def remember(number: int, _frame: FrameType | None) -> None:
        came.append(number)

    handlers = {number: signal.getsignal(number) for number in _NUMBERS}
    heeded = {number: handler for number, handler in handlers.items() if handler not in (signal.SIG_IGN, None)}
    for number in heeded:
        signal.signal(number, remember)
    try:
        yield
    finally:
        for number, handler in heeded.items():
            signal.signal(number, handler)
        if came:
            os.kill(os.getpid(), came[0])

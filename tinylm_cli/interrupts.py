"""Keeping Ctrl-C and termination away from work that they would break in two."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import FrameType

_NUMBERS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]

Heeded = Callable[[], AbstractContextManager[None]]
"""Opens a part of a deferring block, which may be long, in which an interrupt is heeded at once."""


@contextmanager
def interrupts_deferred() -> Iterator[Heeded]:
    """Let an interrupt or a request to terminate wait until the block, which is short, ends.

    An exception in the middle of ``import torch`` may be swallowed there, or leave a module half made that the next
    import trips over; one between making a temporary file and remembering to remove it leaves the file.

    The first interrupt in a part that heeds them ends that part, and others then wait: what cleans up after it is done
    in peace.
    """
    if threading.current_thread() is not threading.main_thread():  # where Python never delivers signals
        yield nullcontext
        return
    guard = _Guard()
    try:
        for number in guard.handlers:
            signal.signal(number, guard.handle)
        yield guard.heeded
    finally:
        for number, handler in guard.handlers.items():
            signal.signal(number, handler)
        if guard.came:
            os.kill(os.getpid(), guard.came[0])


class _Guard:
    """Takes the place of the handlers of interrupts.

    Attributes:
        handlers: What it stands for: those of signals that are not ignored.
        came: Signals that wait.
    """

    def __init__(self) -> None:
        found = {number: signal.getsignal(number) for number in _NUMBERS}
        self.handlers = {number: handler for number, handler in found.items() if handler not in (signal.SIG_IGN, None)}
        self.came: list[int] = []
        self._deferring = True

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Remember a signal, or do as its own handler does; while that raises, another signal already waits."""
        if self._deferring:
            self.came.append(number)
            return
        self._deferring = True
        handler = self.handlers[number]
        if callable(handler):
            handler(number, frame)
        else:  # the system's own way, which is to end the process
            signal.signal(number, handler)
            os.kill(os.getpid(), number)
        self._deferring = False

    @contextmanager
    def heeded(self) -> Iterator[None]:
        """Heed interrupts in a block, those that already came at its start."""
        self._deferring = False
        try:
            while self.came:
                self.handle(self.came.pop(0), None)
            yield
        finally:
            self._deferring = True

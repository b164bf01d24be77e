"""Defer Ctrl-C and termination during short work that must not stop halfway."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import FrameType

_NUMBERS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]

Heeded = Callable[[], AbstractContextManager[None]]
"""Opens a long part of a deferring block in which an interrupt takes effect at once."""


@contextmanager
def interrupts_deferred() -> Iterator[Heeded]:
    """Defer SIGINT, SIGTERM and SIGHUP until the end of the block, which is short.

    An exception in the middle of ``import torch`` may be swallowed there, or leave a half-initialized module; one right
    after a temporary file was created leaves the file.

    The first interrupt in a part opened by the yielded function ends that part; later ones wait until the cleanup is
    done.
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
    """Replaces the handlers of the deferred signals.

    Attributes:
        handlers: The replaced handlers; ignored signals stay ignored.
        came: The deferred signals.
    """

    def __init__(self) -> None:
        found = {number: signal.getsignal(number) for number in _NUMBERS}
        self.handlers = {number: handler for number, handler in found.items() if handler not in (signal.SIG_IGN, None)}
        self.came: list[int] = []
        self._deferring = True

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Keep a signal for later, or call its own handler, during which further signals are deferred."""
        if self._deferring:
            self.came.append(number)
            return
        self._deferring = True
        handler = self.handlers[number]
        if callable(handler):
            handler(number, frame)
        else:  # the default action, which ends the process
            signal.signal(number, handler)
            os.kill(os.getpid(), number)
        self._deferring = False

    @contextmanager
    def heeded(self) -> Iterator[None]:
        """Let interrupts take effect in a block; deferred ones do at its start."""
        self._deferring = False
        try:
            while self.came:
                self.handle(self.came.pop(0), None)
            yield
        finally:
            self._deferring = True

"""End the command on SIGINT, SIGTERM and SIGHUP, and defer them during short work that must not be interrupted."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

_NUMBERS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
_REPEAT_SECONDS = 0.001

_received: list[int] = []


def handle_interrupts() -> None:
    """Make SIGINT raise KeyboardInterrupt, and SIGTERM and SIGHUP SystemExit, which removes temporary files.

    Signals that the caller ignores, as ``nohup`` does, stay ignored. Python discards exceptions in callbacks, such as
    those of weak references during an import; an interrupt that it discards is repeated.
    """
    for number in _NUMBERS:
        if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, _interrupt)
    sys.unraisablehook = _repeat_discarded_interrupt


def raise_if_interrupted() -> None:
    """Raise the exception of an interrupt that a library has converted to another error."""
    if _received:
        _raise_interrupt(_received[0])


def ignore_interrupts() -> None:
    """Ignore further interrupts while the process exits: Ctrl-C is often pressed twice."""
    for number in _NUMBERS:
        signal.signal(number, signal.SIG_IGN)


def _interrupt(number: int, _frame: FrameType | None) -> None:
    _received.append(number)
    _raise_interrupt(number)


def _raise_interrupt(number: int) -> NoReturn:
    raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(128 + number)


def _repeat_discarded_interrupt(discarded: UnraisableHookArgs) -> None:
    if not _received or not isinstance(discarded.exc_value, (KeyboardInterrupt, SystemExit)):
        sys.__unraisablehook__(discarded)
    elif hasattr(signal, "setitimer"):  # not now: Python would discard an exception of this function, too
        signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), _received[0]))
        signal.setitimer(signal.ITIMER_REAL, _REPEAT_SECONDS)


AllowInterrupts = Callable[[], AbstractContextManager[None]]
"""Returns a context manager, used within a deferring block, in which interrupts take effect immediately."""


@contextmanager
def interrupts_deferred() -> Iterator[AllowInterrupts]:
    """Defer SIGINT, SIGTERM and SIGHUP until the end of a short block.

    An interrupt during ``import torch`` may be swallowed or leave a partially initialized module. An interrupt right
    after the creation of a temporary file leaves the file behind.

    The yielded function allows interrupts in a part of the block. The first interrupt ends that part; later ones are
    deferred until the cleanup is done.
    """
    if threading.current_thread() is not threading.main_thread():  # Python delivers signals only to the main thread
        yield nullcontext
        return
    guard = _Guard()
    try:
        for number in guard.handlers:
            signal.signal(number, guard.handle)
        yield guard.interrupts_allowed
    finally:
        for number, handler in guard.handlers.items():
            signal.signal(number, handler)
        if guard.pending:
            os.kill(os.getpid(), guard.pending[0])


class _Guard:
    """Replaces the handlers of the deferred signals.

    Attributes:
        handlers: The replaced handlers; ignored signals stay ignored.
        pending: The deferred signals.
    """

    def __init__(self) -> None:
        current = {number: signal.getsignal(number) for number in _NUMBERS}
        self.handlers = {
            number: handler for number, handler in current.items() if handler not in (signal.SIG_IGN, None)
        }
        self.pending: list[int] = []
        self._deferring = True

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Defer a signal, or call its original handler while deferring further signals."""
        if self._deferring:
            self.pending.append(number)
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
    def interrupts_allowed(self) -> Iterator[None]:
        """Let interrupts take effect in a block, pending ones at its start."""
        self._deferring = False
        try:
            while self.pending:
                self.handle(self.pending.pop(0), None)
            yield
        finally:
            self._deferring = True

"""Progress on standard error, on a terminal, for work longer than half a second: a spinner, or a bar with an ETA."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING

from tinylm_cli.render.sanitize import for_terminal
from tinylm_cli.render.terminal import is_terminal, terminal_of

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID
    from rich.status import Status

DELAY_SECONDS = 0.5


class Spinner:
    """A spinner and a sentence; appears after ``DELAY_SECONDS`` and disappears at the end."""

    def __init__(self, sentence: str) -> None:
        self._terminal = terminal_of(sys.stderr)
        self._sentence = for_terminal(sentence, self._terminal)
        self._status: Status | None = None
        self._lock = threading.Lock()
        self._ended = False

    def _show(self) -> None:
        from rich.console import Console
        from rich.text import Text

        with self._lock:
            if not self._ended:
                signs = "dots" if self._terminal.unicode else "line"
                # a Text, in which rich reads no markup
                self._status = Console(stderr=True).status(Text(self._sentence), spinner=signs)
                self._status.start()

    def _end(self) -> None:
        with self._lock:
            self._ended = True
            if self._status is not None:
                self._status.stop()


@contextmanager
def working(sentence: str) -> Iterator[None]:
    """Show a spinner while the block runs, if standard error is a terminal."""
    if not is_terminal(sys.stderr):
        yield
        return
    spinner = Spinner(sentence)
    timer = threading.Timer(DELAY_SECONDS, spinner._show)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        spinner._end()


REFRESH_SECONDS = 0.1
"""Minimum time between two updates of a bar."""


class ProgressBar:
    """A bar with the items done and the time remaining; shows itself after ``DELAY_SECONDS``."""

    def __init__(self) -> None:
        self._terminal = terminal_of(sys.stderr)
        self._enabled = is_terminal(sys.stderr)
        self._next_update = monotonic() + DELAY_SECONDS
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._stage, self._done = "", 0

    def advance_to(self, stage: str, done: int, total: int) -> None:
        """Show that ``done`` of ``total`` items of a stage of the work are done; a stage may start again."""
        if not self._enabled or monotonic() < self._next_update:
            return
        if self._bar is None:
            self._bar = self._started()
        counts = f"{done:,} of {total:,}"
        if self._task is None or stage != self._stage or done < self._done:
            if self._task is not None:
                self._bar.remove_task(self._task)
            self._task = self._bar.add_task(for_terminal(stage, self._terminal), total=total, counts=counts)
        self._bar.update(self._task, completed=done, total=total, counts=counts)
        self._stage, self._done = stage, done
        self._next_update = monotonic() + REFRESH_SECONDS

    def _started(self) -> Progress:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        console = Console(stderr=True)
        bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=16) if self._terminal.unicode else TextColumn("{task.percentage:.0f}%"),
            TextColumn("{task.fields[counts]}", markup=False),
            TimeRemainingColumn(compact=True),
            TextColumn("left", markup=False),
            console=console,
            transient=True,
            disable=console.is_dumb_terminal,
        )
        bar.start()
        return bar

    def _end(self) -> None:
        if self._bar is not None:
            self._bar.stop()


@contextmanager
def progress_bar() -> Iterator[ProgressBar]:
    """Show a progress bar while the block runs; silent if standard error is not a terminal."""
    bar = ProgressBar()
    try:
        yield bar
    finally:
        bar._end()

"""A sign of life on standard error, for work that takes longer than about half a second on a terminal."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tinylm_cli.render.sanitize import shown
from tinylm_cli.render.terminal import is_terminal, terminal_of

if TYPE_CHECKING:
    from rich.status import Status
    from rich.text import Text

DELAY_SECONDS = 0.5


class Progress:
    """A spinner with a sentence beside it; shows itself after ``DELAY_SECONDS``, removes itself at the end."""

    def __init__(self, sentence: str) -> None:
        self._terminal = terminal_of(sys.stderr)
        self._sentence = shown(sentence, self._terminal)
        self._status: Status | None = None
        self._lock = threading.Lock()
        self._ended = False

    def say(self, sentence: str) -> None:
        """Change the sentence."""
        with self._lock:
            self._sentence = shown(sentence, self._terminal)
            if self._status is not None:
                self._status.update(_unmarked(self._sentence))

    def _show(self) -> None:
        from rich.console import Console

        with self._lock:
            if not self._ended:
                signs = "dots" if self._terminal.unicode else "line"
                self._status = Console(stderr=True).status(_unmarked(self._sentence), spinner=signs)
                self._status.start()

    def _end(self) -> None:
        with self._lock:
            self._ended = True
            if self._status is not None:
                self._status.stop()


def _unmarked(sentence: str) -> Text:
    """Return text whose square brackets rich leaves alone."""
    from rich.text import Text

    return Text(sentence)


@contextmanager
def working(sentence: str) -> Iterator[Progress]:
    """Show that work is going on while the block runs; silent where standard error is not a terminal."""
    progress = Progress(sentence)
    if not is_terminal(sys.stderr):
        yield progress
        return
    timer = threading.Timer(DELAY_SECONDS, progress._show)
    timer.daemon = True
    timer.start()
    try:
        yield progress
    finally:
        timer.cancel()
        progress._end()

"""Write to standard output and standard error in any encoding, even if they are closed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


class StdoutError(OSError):
    """Standard output cannot be written: its disk is full, or it is closed."""


def write_stdout(text: str, *, commands: bool = False) -> None:
    """Write to standard output and flush; a character that its encoding lacks is escaped.

    Args:
        text: The text.
        commands: Whether it consists of commands for a CI runner, which are disarmed otherwise.

    Raises:
        StdoutError: If it cannot be written.
        BrokenPipeError: If its reader has gone.
    """
    from tinylm_cli.render.sanitize import without_workflow_commands

    encoding = sys.stdout.encoding or "utf-8"
    if not commands:
        text = without_workflow_commands(text)
    with stdout_errors():
        sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding))
        sys.stdout.flush()


@contextmanager
def stdout_errors() -> Iterator[None]:
    """Raise :class:`StdoutError` for an OSError of a block that only writes to standard output."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise StdoutError(error.errno, error.strerror) from error


def print_line(text: str) -> None:
    """Print one muted line on standard error, never wrapped, because it may contain a command to copy."""
    from tinylm_cli.render.blocks import Cell
    from tinylm_cli.render.sanitize import for_terminal
    from tinylm_cli.render.styled_lines import line, paint
    from tinylm_cli.render.terminal import terminal_of

    terminal = terminal_of(sys.stderr)
    write_stderr(paint([line(Cell(for_terminal(text, terminal), "muted"))], terminal))


def print_note(text: str) -> None:
    """Print a muted sentence on standard error, wrapped to its width."""
    from tinylm_cli.render.blocks import Note
    from tinylm_cli.render.terminal import terminal_of
    from tinylm_cli.render.text import to_text

    write_stderr(to_text([Note(text, "muted")], terminal_of(sys.stderr)))


def write_stderr(text: str) -> None:
    """Write to standard error; if it is closed or full, the text is lost."""
    from tinylm_cli.render.sanitize import without_workflow_commands

    try:
        encoding = sys.stderr.encoding or "utf-8"
        text = without_workflow_commands(text)
        sys.stderr.write(text.encode(encoding, "backslashreplace").decode(encoding))
        sys.stderr.flush()
    except (OSError, ValueError, AttributeError):
        return

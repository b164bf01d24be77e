"""The output of a command: a report written in one of the formats, to standard output or to a file."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tinylm_cli.atomic_write import write_file
from tinylm_cli.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from tinylm_cli.render.blocks import View


class Format(StrEnum):
    """Output formats of a report with tables."""

    text = "text"
    json = "json"
    markdown = "markdown"
    csv = "csv"
    latex = "latex"


class PageFormat(StrEnum):
    """Output formats of a report without tables."""

    text = "text"
    json = "json"
    markdown = "markdown"


class CommandOutput(NamedTuple):
    """A report and how to write it.

    Attributes:
        report: The record that JSON shows.
        view: Returns the blocks of the other formats; called only for them.
        format: The format.
        output: The file; None or ``-`` for standard output.
        exit_code: Exit status of the process.
        document: The entire output in text format, for commands that write a config or a schema.
        next_step: The command to suggest next; may be empty.
        table: Name of the one table to write; None for all that the format can hold.
        get: Path of the one value of the JSON report to write; None for the entire report.
        overwrite: Whether an existing file is replaced.
    """

    report: object
    view: Callable[[], View]
    format: Format
    output: Path | None
    exit_code: ExitCode = ExitCode.DONE
    document: str | None = None
    next_step: str = ""
    table: str | None = None
    get: str | None = None
    overwrite: bool = False


class StdoutError(OSError):
    """Standard output cannot be written: its disk is full, or it is closed."""


STDOUT = Path("-")


def require_tables(format_: str | None, table: str | None) -> None:
    """Refuse ``--table`` with a format that always writes the entire report.

    Raises:
        UsageError: If both are given.
    """
    if table is not None and format_ in (Format.text, Format.json):
        raise UsageError(f"--table is for csv, latex and markdown, not for {format_}", help="add --format csv")


def write_output(outcome: CommandOutput) -> ExitCode:
    """Write a command's output, and its next step on standard error; return the exit code.

    Raises:
        OutputError: If the file cannot be written, or exists and may not be replaced.
        UsageError: If the report has no table, or no value, of the requested name.
    """
    if outcome.output == STDOUT:
        outcome = outcome._replace(output=None)
    if outcome.get is not None:
        from tinylm_cli.cli.report_value import report_value

        text = report_value(outcome.report, outcome.get)
    elif outcome.format is Format.json:
        from tinylm_cli.render.json import to_json

        text = to_json(outcome.report)
    elif outcome.document is not None and outcome.format is Format.text:
        text = outcome.document
    else:
        view = outcome.view()
        text = _render(view if outcome.table is None else _select_table(view, outcome.table), outcome)
    if outcome.output is not None:
        write_file(outcome.output, text, overwrite=outcome.overwrite)
        print_line(f"wrote {outcome.output}")
    else:
        write_stdout(text)
    if outcome.next_step and outcome.format is Format.text:
        print_line(f"next: {outcome.next_step}")
    return outcome.exit_code


def write_stdout(text: str) -> None:
    """Write to standard output and flush; a character that its encoding lacks is escaped.

    Raises:
        StdoutError: If it cannot be written.
        BrokenPipeError: If its reader has gone.
    """
    encoding = sys.stdout.encoding or "utf-8"
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
    try:
        encoding = sys.stderr.encoding or "utf-8"
        sys.stderr.write(text.encode(encoding, "backslashreplace").decode(encoding))
        sys.stderr.flush()
    except (OSError, ValueError, AttributeError):
        return


def _select_table(view: View, name: str) -> View:
    from tinylm_cli.render.blocks import single_table, tables_by_name

    names = list(tables_by_name(view))
    if name in names:
        return single_table(view, name)
    from tinylm_cli.config.suggestions import suggest

    meant = suggest(name, names)
    listed = f"the tables are {', '.join(names)}" if len(names) > 1 else f"the only table is {names[0]}"
    raise UsageError(
        f"--table {name}: no such table in this report", help=f"did you mean {meant}? {listed}" if meant else listed
    )


def _render(view: View, outcome: CommandOutput) -> str:
    from tinylm_cli.render.terminal import Terminal, terminal_of

    surface = terminal_of(sys.stdout) if outcome.output is None else Terminal()
    match outcome.format:
        case Format.markdown:
            from tinylm_cli.render.markdown import to_markdown as lower
        case Format.csv:
            from tinylm_cli.render.blocks import other_tables
            from tinylm_cli.render.csv import to_csv as lower

            if names := other_tables(view):
                print_note(f"CSV has room for one table; --table picks another: {', '.join(names)}.")
        case Format.latex:
            from tinylm_cli.render.latex import to_latex as lower
        case _:
            from tinylm_cli.render.text import to_text

            return to_text(view, surface)
    from tinylm_cli.render.sanitize import to_ascii

    text = lower(view)
    return text if surface.unicode else to_ascii(text)

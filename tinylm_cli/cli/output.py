"""What a command hands back, and its one way out: in one of the formats, to standard output or a file."""

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
    """How a report is written; csv and latex are for commands whose report is a table."""

    text = "text"
    json = "json"
    markdown = "markdown"
    csv = "csv"
    latex = "latex"


class PageFormat(StrEnum):
    """How a report is written that has no table."""

    text = "text"
    json = "json"
    markdown = "markdown"


class CommandOutput(NamedTuple):
    """A report and how to show it.

    Attributes:
        report: What JSON shows.
        view: Makes what people see; called only when they do.
        format: How to write it.
        output: File to write to; None or ``-`` for standard output.
        exit_code: What the process tells its caller.
        document: Text that stands for the whole output in text format, for commands whose output is a file's content.
        next_step: The command a person would want next; may be empty.
        table: The one table to write, by name; None for all that the format has room for.
        get: Path of the one value of the JSON report to write; None for the whole report.
        overwrite: Whether the file may be replaced.
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


class StreamError(OSError):
    """Standard output takes no more: the disk behind it is full, or it is closed."""


STDOUT = Path("-")


def require_tables(format_: str | None, table: str | None) -> None:
    """Refuse to pick one table where the format is no such thing.

    Raises:
        UsageError: If a table is named and the format writes the report whole.
    """
    if table is not None and format_ in (Format.text, Format.json):
        raise UsageError(f"--table is for csv, latex and markdown, not for {format_}", help="add --format csv")


def emit(outcome: CommandOutput) -> ExitCode:
    """Write an outcome where it belongs, and the next step on standard error.

    Raises:
        OutputError: If the file cannot be written, or may not be replaced; what it held before is untouched.
        UsageError: If the view has no table of the name that is asked for.
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
        text = _lowered(view if outcome.table is None else _one_table(view, outcome.table), outcome)
    if outcome.output is not None:
        write_file(outcome.output, text, overwrite=outcome.overwrite)
        talk(f"wrote {outcome.output}")
    else:
        write_stdout(text)
    if outcome.next_step and outcome.format is Format.text:
        talk(f"next: {outcome.next_step}")
    return outcome.exit_code


def write_stdout(text: str) -> None:
    """Write to standard output at once; its encoding never fails it.

    Raises:
        StreamError: If it takes no more.
        BrokenPipeError: If its reader has gone.
    """
    encoding = sys.stdout.encoding or "utf-8"
    with writing_to_stdout():
        sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding))
        sys.stdout.flush()


@contextmanager
def writing_to_stdout() -> Iterator[None]:
    """Tell the failures of a block that does nothing with the system but write to standard output from all others."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise StreamError(error.errno, error.strerror) from error


def talk(text: str) -> None:
    """Say one muted line on standard error, unbroken whatever its length: it may hold a command to copy."""
    from tinylm_cli.render.blocks import Cell
    from tinylm_cli.render.sanitize import shown
    from tinylm_cli.render.styled_lines import line, paint
    from tinylm_cli.render.terminal import terminal_of

    terminal = terminal_of(sys.stderr)
    say(paint([line(Cell(shown(text, terminal), "muted"))], terminal))


def note(text: str) -> None:
    """Say a muted sentence on standard error, wrapped to its width: nothing in it is to be copied as it is."""
    from tinylm_cli.render.blocks import Note
    from tinylm_cli.render.terminal import terminal_of
    from tinylm_cli.render.text import to_text

    say(to_text([Note(text, "muted")], terminal_of(sys.stderr)))


def say(text: str) -> None:
    """Write to standard error; where that is closed or full there is nobody to tell."""
    try:
        encoding = sys.stderr.encoding or "utf-8"
        sys.stderr.write(text.encode(encoding, "backslashreplace").decode(encoding))
        sys.stderr.flush()
    except (OSError, ValueError, AttributeError):
        return


def _one_table(view: View, name: str) -> View:
    from tinylm_cli.render.blocks import single_table, tables_by_name

    names = list(tables_by_name(view))
    if name in names:
        return single_table(view, name)
    from tinylm_cli.config.suggestions import suggest

    meant = suggest(name, names)
    listed = f"the tables are {', '.join(names)}" if len(names) > 1 else f"the only table is {names[0]}"
    raise UsageError(
        f"--table {name}: there is no such table here", help=f"did you mean {meant}? {listed}" if meant else listed
    )


def _lowered(view: View, outcome: CommandOutput) -> str:
    from tinylm_cli.render.terminal import Terminal, terminal_of

    surface = terminal_of(sys.stdout) if outcome.output is None else Terminal()
    match outcome.format:
        case Format.markdown:
            from tinylm_cli.render.markdown import to_markdown as lower
        case Format.csv:
            from tinylm_cli.render.blocks import other_tables
            from tinylm_cli.render.csv import to_csv as lower

            if names := other_tables(view):
                note(f"CSV has room for one table; --table picks another: {', '.join(names)}.")
        case Format.latex:
            from tinylm_cli.render.latex import to_latex as lower
        case _:
            from tinylm_cli.render.text import to_text

            return to_text(view, surface)
    from tinylm_cli.render.sanitize import to_ascii

    text = lower(view)
    return text if surface.unicode else to_ascii(text)

"""The output of a command: a report written in one of the formats, to standard output or to a file."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from tinylm_cli.cli.options import Output, wrong_value
from tinylm_cli.cli.streams import print_line, print_note, write_stdout
from tinylm_cli.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from tinylm_cli.render.blocks import View
    from tinylm_cli.reports.validate import FileResult


class CommandOutput(NamedTuple):
    """A report and how to write it.

    Attributes:
        report: The record that JSON shows.
        view: Returns the blocks of the other formats; called only for them.
        to: The format, the file, and the one value or table to write.
        exit_code: Exit code of the process.
        document: The entire output, for a config, a schema, or a format of one command.
        next_step: The command to suggest next; may be empty.
        description: Short description of the written file, printed after writing; may be empty.
    """

    report: object
    view: Callable[[], View]
    to: Output
    exit_code: ExitCode = ExitCode.DONE
    document: str | None = None
    next_step: str = ""
    description: str = ""


def write_output(outcome: CommandOutput) -> ExitCode:
    """Write a command's output, and its next step on standard error; return the exit code.

    Raises:
        OutputError: If the file cannot be written, or exists and may not be replaced.
        ConfigError: If the report has no table of the requested name.
        UsageError: If the report has no table, or no value of the requested name.
    """
    to = outcome.to
    text = _text(outcome)
    if to.file is not None:
        from tinylm_cli.atomic_write import write_file

        write_file(to.file, text, overwrite=to.force)
        print_line(f"wrote {to.file}" + (f": {outcome.description}" if outcome.description else ""))
    else:
        write_stdout(text, commands=to.format_ == "github")
    if outcome.document is not None and to.format_ == "text":  # which has no view
        print_ignored_keys(outcome.report)
    if outcome.next_step and to.format_ == "text":
        print_line(f"next: {outcome.next_step}")
    return outcome.exit_code


def print_ignored_keys(report: object) -> None:
    """State on standard error which keys of a Hugging Face config are left out of a report, or of a loaded config."""
    from tinylm_cli.render.views.ignored_keys import ignored_key_notes

    for note in ignored_key_notes(report):
        print_note(note.text)


def _text(outcome: CommandOutput) -> str:
    to = outcome.to
    if to.get is not None:
        from tinylm_cli.cli.report_value import report_value

        return report_value(outcome.report, to.get)
    if to.format_ == "json":
        from tinylm_cli.render.json import to_json

        return to_json(outcome.report)
    if outcome.document is not None and to.format_ not in ("markdown", "csv", "latex"):
        return outcome.document
    from tinylm_cli.render.views.ignored_keys import with_ignored_keys

    view = with_ignored_keys(outcome.view(), outcome.report)
    return _render(view if to.table is None else _select_table(view, to.table), to)


def _select_table(view: View, name: str) -> View:
    from tinylm_cli.render.blocks import single_table, tables_by_name

    names = list(tables_by_name(view))
    if name in names:
        return single_table(view, name)
    from tinylm_cli.config.similar_names import suggest

    if not names:
        raise UsageError(f"--table {name}: this report has no table", help="remove --table")
    suggestion = suggest(name, names)
    listed = f"the tables are {', '.join(names)}" if len(names) > 1 else f"the only table is {names[0]}"
    remedy = f"did you mean {suggestion}?" if suggestion else listed
    raise wrong_value("--table", name, "no such table in this report", remedy, "unknown-choice")


def _render(view: View, to: Output) -> str:
    from tinylm_cli.render.terminal import Terminal, terminal_of

    terminal = terminal_of(sys.stdout) if to.file is None else Terminal()
    match to.format_:
        case "markdown":
            from tinylm_cli.render.markdown import to_markdown as lower
        case "csv":
            from tinylm_cli.render.blocks import other_tables
            from tinylm_cli.render.csv import to_csv as lower

            if names := other_tables(view):
                print_note(f"CSV holds one table; --table writes another: {', '.join(names)}.")
        case "latex":
            from tinylm_cli.render.latex import to_latex as lower
        case _:
            from tinylm_cli.render.text import to_text

            return to_text(view, terminal)
    from tinylm_cli.render.sanitize import to_ascii

    text = lower(view)
    return text if terminal.unicode else to_ascii(text)


def ci_document(format_: str, files: Sequence[FileResult], summary: str, verb: str) -> str | None:
    """Return the results for some files in a format for CI services; None for the other formats.

    Args:
        format_: The format.
        files: The results by file.
        summary: A last line for a log.
        verb: The command.
    """
    match format_:
        case "github":
            from tinylm_cli.render.diagnostics import github_text

            return github_text(files, summary)
        case "sarif":
            from tinylm_cli.render.sarif import to_sarif

            return to_sarif(files)
        case "junit":
            from tinylm_cli.render.junit import to_junit

            return to_junit(files, f"tinylm {verb}")
    return None

"""The command line: its commands, and how it reports each kind of error."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer
from typer.exceptions import TyperException

from tinylm_cli import __version__
from tinylm_cli.cli.argv import normalize, requested_format
from tinylm_cli.cli.command import CommandGroup, ConfigCommand, with_option_groups
from tinylm_cli.cli.completion import VARIABLE, complete_for_bash, completes_for_bash, run_completion_option
from tinylm_cli.cli.output import CommandOutput, write_output
from tinylm_cli.cli.streams import StdoutError, write_stderr, write_stdout
from tinylm_cli.errors import (
    ExitCode,
    InputError,
    OccupiedError,
    TinylmError,
    UnableError,
    is_memory_error,
)
from tinylm_cli.interrupts import raise_if_interrupted

GROUPS = {
    "Learn": ("params", "build", "show", "list"),
    "Design": ("estimate", "compare", "sweep", "design", "new"),
    "Run": ("forward", "generate", "check"),
    "CI": ("validate", "verify", "lint", "schema"),
    "Convert": ("import", "export"),
}
"""Every command, in the groups of ``tinylm --help``."""

OUT_OF_MEMORY = "out of memory"

_MAX_PATH = 200
"""Maximum length of an inaccessible path in a message."""

COMMANDS = tuple(name for names in GROUPS.values() for name in names)

_MODULES = {"import": "import_"}
_FUNCTIONS = {"list": "list_", "import": "import_"}
_GROUP_OF = {name: group for group, names in GROUPS.items() for name in names}


def create_app(names: Sequence[str] = COMMANDS) -> typer.Typer:
    """Return the typer application with the commands in ``names``, in that order."""
    app = typer.Typer(
        name="tinylm",
        cls=CommandGroup,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["--help", "-h"], "max_content_width": 120},
    )
    app.callback(invoke_without_command=True)(_root)
    for name in names:
        module = importlib.import_module(f"tinylm_cli.cli.{_MODULES.get(name, name)}")
        function = getattr(module, _FUNCTIONS.get(name, name))
        app.command(name, cls=ConfigCommand, rich_help_panel=_GROUP_OF[name])(with_option_groups(function))
    return app


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code; errors are reported on standard error."""
    arguments = normalize(arguments)
    debug = arguments[:1] == ["--debug"]
    try:
        done = run_completion_option(arguments)
        if done is not None:
            return done
        app = create_app(_commands_to_create(arguments))
        if completes_for_bash():
            return complete_for_bash(lambda: app(arguments, prog_name="tinylm", standalone_mode=False))
        result = app(arguments, prog_name="tinylm", standalone_mode=False)
        if isinstance(result, CommandOutput):
            return write_output(result)
        return result if isinstance(result, int) else ExitCode.DONE
    except TinylmError as error:
        if debug:
            _print_traceback()
        if isinstance(error, OccupiedError):
            error.help = "choose another name, or add --force to replace it"
        _report_error(error, arguments)
        return error.exit_code
    except TyperException as error:
        from tinylm_cli.cli.usage_errors import explain_usage_error

        _report_error(explain_usage_error(error, arguments, COMMANDS, create_app), arguments)
        return ExitCode.UNABLE
    except (StdoutError, BrokenPipeError):
        raise  # main reports that standard output cannot be written
    except Exception as error:
        if debug:
            _print_traceback()
        _report_error(_explain(error, debug=debug), arguments)
        return ExitCode.UNABLE


def _explain(error: Exception, *, debug: bool) -> TinylmError:
    """Convert a system error to a TinylmError; any other error is a bug in tinylm."""
    if is_memory_error(error):
        return UnableError(OUT_OF_MEMORY, help="close other programs, raise the limit, or choose a smaller model")
    if isinstance(error, FileNotFoundError) and not _has_current_folder():
        return UnableError("the current folder no longer exists", help="change to a folder that exists")
    if isinstance(error, OSError) and error.filename is not None:
        return InputError(f"cannot access {str(error.filename)[:_MAX_PATH]}: {error.strerror}")
    remedy = "please report it" if debug else "add --debug to see where; please report it"
    return TinylmError(f"unexpected {type(error).__name__}: {error}", help=remedy)


def _has_current_folder() -> bool:
    try:
        return bool(os.getcwd())  # noqa: PTH109 - raises if the folder was removed
    except OSError:
        return False


def _commands_to_create(arguments: Sequence[str]) -> Sequence[str]:
    """Return only the named command, which saves the milliseconds of creating the others; all if none matches."""
    verb = _verb(arguments)
    return (verb,) if verb in COMMANDS and VARIABLE not in os.environ else COMMANDS


def _verb(arguments: Sequence[str]) -> str:
    """Return the first word that is no option; empty if there is none."""
    return next((argument for argument in arguments if not argument.startswith("-")), "")


def _report_error(error: TinylmError, arguments: Sequence[str]) -> None:
    """Report an error as text on standard error and, if a machine-readable format was requested, on standard output."""
    raise_if_interrupted()
    from tinylm_cli.cli.wording import worded_error
    from tinylm_cli.render.diagnostics import diagnostics_text, error_text, github_failure
    from tinylm_cli.render.terminal import terminal_of

    terminal, error = terminal_of(sys.stderr), worded_error(error)
    if error.diagnostics:
        write_stderr(diagnostics_text(error.diagnostics, terminal))
    else:
        write_stderr(error_text(error.message, error.help, terminal))
    match requested_format(arguments):
        case "json":
            from tinylm_cli.render.json import to_json
            from tinylm_cli.reports.failure import FailureReport

            write_stdout(to_json(FailureReport.of(error)))
        case "github":
            write_stdout(github_failure(error), commands=True)
        case "sarif":
            from tinylm_cli.render.sarif import sarif_failure

            write_stdout(sarif_failure(error))
        case "junit":
            from tinylm_cli.render.junit import junit_failure

            write_stdout(junit_failure(error, f"tinylm {_verb(arguments)}"))


def _print_traceback() -> None:
    import traceback

    from tinylm_cli.render.sanitize import escape_controls

    write_stderr("".join(f"{escape_controls(line)}\n" for line in traceback.format_exc().splitlines()))


def _version(requested: bool) -> None:
    if requested:
        write_stdout(f"tinylm {__version__}\n")
        raise typer.Exit


def _root(
    context: typer.Context,
    version: Annotated[  # noqa: ARG001 - its callback does the work
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,  # noqa: ARG001
) -> None:
    """Validate a transformer's config, count its parameters and FLOPs, estimate its memory, time and cost, and run it.

    \b
    Start with:
      tinylm params small         parameters by component
      tinylm estimate llama-3-8b  FLOPs, memory, KV cache
      tinylm build small          PyTorch modules
    """
    if context.invoked_subcommand is None:
        write_stdout(f"{context.get_help()}\n")

"""``tinylm validate``: every mistake of every config, at its place."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tinylm_cli.cli.error_collector import ErrorCollector
from tinylm_cli.cli.options import OutputOption, SetOption, complete_config, follow_up, naming, same_model
from tinylm_cli.cli.output import CommandOutput, Format
from tinylm_cli.errors import ConfigError, ExitCode, InputError

if TYPE_CHECKING:
    from tinylm_cli.config.assertion import Claim
    from tinylm_cli.reports.validate import FileResult


_NO_YAML = "there is no .yaml in {}"
"""What is said of a folder with nothing to check, which :func:`_expand` leaves as it is."""


class ValidateFormat(StrEnum):
    """How to write the report; github writes workflow commands that annotate a pull request."""

    text = "text"
    json = "json"
    markdown = "markdown"
    github = "github"


def complete_assert(incomplete: str) -> list[str]:
    """Complete the name of a figure."""
    from tinylm_cli.analysis.budget_check import ASSERTABLE

    return [name for name in ASSERTABLE if name.startswith(incomplete)]


def validate(
    files: Annotated[
        list[str],
        typer.Argument(metavar="FILE...", help="Files, folders, presets, or -.", autocompletion=complete_config),
    ],
    assert_: Annotated[
        list[str] | None,
        typer.Option(
            "--assert",
            metavar="FIGURE<BOUND",
            autocompletion=complete_assert,
            show_default=False,
            help="Require of each config, e.g. 'total_params < 130M'; may be repeated.",
        ),
    ] = None,
    set_: SetOption = None,
    format_: Annotated[
        ValidateFormat, typer.Option("--format", "-f", help="How to write the report.")
    ] = ValidateFormat.text,
    output: OutputOption = None,
) -> CommandOutput:
    """Show every mistake in configs, at its line; hold them to their budgets.

    Takes any number of files and folders, also files of accelerators, and ends with one summary. Exits with 1 when one
    is wrong, over its budget or against an --assert, and with 2 when one cannot be read.

    \b
    Examples:
      tinylm validate my.yaml
      tinylm validate configs/ --format github
      tinylm validate my.yaml --assert 'total_params < 130M'
      cat my.yaml | tinylm validate -
    """
    from tinylm_cli.analysis.budget_check import ASSERTABLE
    from tinylm_cli.config.assertion import read_assertions
    from tinylm_cli.render.diagnostics import github_text
    from tinylm_cli.render.views.validate import tally, validate_view
    from tinylm_cli.reports.validate import ValidateReport

    mistakes = ErrorCollector()
    asserted = mistakes.read(read_assertions, assert_ or (), ASSERTABLE) or ()
    results = tuple(_check(path, set_ or (), asserted) for path in _expand(files))
    if mistakes:
        mistakes.add(mistake for result in results if result.status == "wrong" for mistake in result.diagnostics)
        mistakes.settle()
    report = ValidateReport(
        valid=sum(result.status == "valid" for result in results),
        failed=sum(result.status == "failed" for result in results),
        wrong=sum(result.status == "wrong" for result in results),
        unreadable=sum(result.status == "unreadable" for result in results),
        files=results,
    )
    failed = report.failed or report.wrong
    exit_code = ExitCode.UNABLE if report.unreadable else ExitCode.FAILED if failed else ExitCode.DONE
    if format_ is ValidateFormat.github:
        commands = github_text(report.files, tally(report))
        return CommandOutput(report, lambda: validate_view(report), Format.text, output, exit_code, commands)
    models = [result.path for result in results if result.total_params is not None and result.path != "<stdin>"]
    model = models[0] if exit_code is ExitCode.DONE and models else "-"
    next_step = follow_up("params", same_model(model, set_))
    return CommandOutput(
        report, lambda: validate_view(report), Format(format_.value), output, exit_code, next_step=next_step
    )


def _expand(files: Iterable[str]) -> Iterator[str]:
    """Yield what to check, in order and each once: a folder that holds a config.json is one, others give their YAML.

    Raises:
        UsageError: If a word is empty.
    """
    from tinylm_cli.config.presets import shipped
    from tinylm_cli.interop.load import is_model_folder

    seen: set[str] = set()
    for name in map(naming, files):
        folder = Path(name)
        shown = name in shipped()  # a preset comes first, as for --config
        whole = shown or is_model_folder(folder) or not folder.is_dir()
        inside = [] if whole else [str(path) for path in _yaml_files(folder)]
        for path in inside or [name]:
            file = path if path == "-" or path in shipped() else os.path.realpath(path)
            if file not in seen:
                seen.add(file)
                yield path


def _yaml_files(folder: Path) -> list[Path]:
    found = (path for pattern in ("*.yaml", "*.yml") for path in folder.rglob(pattern))
    return sorted(
        path
        for path in found
        if not any(part.startswith(".") for part in path.relative_to(folder).parts) and not path.is_dir()
    )


def _check(path: str, overrides: Iterable[str], asserted: Iterable[Claim]) -> FileResult:
    from tinylm_cli.analysis.budget_check import check_budget
    from tinylm_cli.interop.load import load_config
    from tinylm_cli.reports.validate import FileResult

    try:
        loaded = load_config(path, tuple(overrides))
    except ConfigError as error:
        return _check_hardware(path) or FileResult(
            error.diagnostics[0].source, "wrong", None, "", "", error.diagnostics
        )
    except InputError as error:
        message, remedy = (_NO_YAML.format(path), "") if Path(path).is_dir() else (error.message, error.help)
        return FileResult(path, "unreadable", None, message, remedy, ())
    return check_budget(loaded, asserted)


def _check_hardware(path: str) -> FileResult | None:
    """Return how a file fares as one of accelerators; None where it is none."""
    from tinylm_cli.config.hardware import is_hardware, parse_accelerators
    from tinylm_cli.config.presets import shipped
    from tinylm_cli.config.source import read_source
    from tinylm_cli.reports.validate import FileResult

    if path == "-" or path in shipped() or not Path(path).is_file():
        return None
    try:
        source = read_source(path)
        if not is_hardware(source):
            return None
        return FileResult(path, "valid", None, "", "", (), accelerators=len(parse_accelerators(source)))
    except ConfigError as error:
        return FileResult(path, "wrong", None, "", "", error.diagnostics)

"""``tinylm validate``: every error in every config, and its corrections."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tinylm_cli.cli.completion import complete_assertion, complete_config
from tinylm_cli.cli.error_collector import ErrorCollector
from tinylm_cli.cli.next_steps import model_arguments, next_step
from tinylm_cli.cli.options import (
    TARGET_PANEL,
    CiOutput,
    IgnoreOption,
    SetOption,
    argument,
    config_option,
    option,
    require_nonempty,
)
from tinylm_cli.cli.output import CommandOutput, ci_document
from tinylm_cli.cli.streams import print_note
from tinylm_cli.cli.wording import as_options, worded
from tinylm_cli.config.presets import shipped
from tinylm_cli.config.source import MAX_JSON_BYTES, Source, source_of
from tinylm_cli.errors import ConfigError, ExitCode, InputError, OutputError, UsageError
from tinylm_cli.quantities import counted
from tinylm_cli.regular_file import read_regular
from tinylm_cli.shell_quoting import shell_join

if TYPE_CHECKING:
    from tinylm_cli.config.assertion import Condition
    from tinylm_cli.config.loader import LoadedConfig
    from tinylm_cli.interop.key_effects import KeyPolicy
    from tinylm_cli.interop.load import ConfigText
    from tinylm_cli.reports.validate import FileResult, FileStatus, ValidateReport


_NO_YAML = "no .yaml file in {}"
"""The error for a folder without YAML files."""


AssertOption = Annotated[
    list[str] | None,
    option(
        "Assertion that each config must satisfy, e.g. 'total_params < 130M'; may be repeated.",
        "--assert", panel=TARGET_PANEL, metavar="FIGURE<BOUND", complete=complete_assertion,
    ),
]  # fmt: skip


def validate(
    files: Annotated[
        list[str] | None,
        argument("Files, folders, presets, or - for standard input.", "FILE...", complete_config),
    ] = None,
    *,
    config: Annotated[str | None, config_option("Same as the first FILE.")] = None,
    set_: SetOption = None,
    ignore: IgnoreOption = None,
    assert_: AssertOption = None,
    fix: Annotated[bool, option("Apply every unambiguous correction to the files.", "--fix")] = False,
    diff: Annotated[bool, option("Preview --fix as a unified diff.", "--diff")] = False,
    to: CiOutput = CiOutput(),  # noqa: B008 - immutable
) -> CommandOutput:
    """Report every error in configs at its line; check budgets.

    Checks files, folders, presets and hardware files. Exits with 1 if a config is invalid, exceeds its budget or
    fails an --assert, and with 2 if a file cannot be read.

    --fix applies every unambiguous correction, such as of a misspelled key or a quoted number. Comments,
    order and line endings are preserved. --diff previews the change.

    \b
    Examples:
      tinylm validate my.yaml
      tinylm validate my.yaml --diff
      tinylm validate configs/ --format github
      tinylm validate my.yaml --assert 'total_params < 130M'
      cat my.yaml | tinylm validate -
    """
    from tinylm_cli.interop.key_effects import KeyPolicy
    from tinylm_cli.reports.validate import ValidateReport

    policy = KeyPolicy(tuple(ignore or ()))
    if fix and diff:
        raise UsageError("--fix cannot be combined with --diff", help="remove one of them")
    errors = ErrorCollector()
    asserted = (errors.read(_read_assertions, assert_) or ()) if assert_ else ()
    names = ([] if config is None else [config]) + (files or [])
    if not names:
        raise UsageError("FILE... is missing", help="for example tinylm validate my.yaml")
    paths = list(_expand(names))
    if fix:
        _require_writable(paths)
        if to.get is not None:
            from tinylm_cli.cli.report_value import require_value

            previews = (_check(path, set_ or (), asserted, policy, fix=False, diff=True) for path in paths)
            require_value(ValidateReport.of(tuple(previews)), to.get)
    results = tuple(_check(path, set_ or (), asserted, policy, fix=fix, diff=diff) for path in paths)
    _require_ignored(results, policy.ignored)
    if (fix or diff) and not any(each.fixed for each in results):
        print_note("there is no certain correction to apply")
    if errors:
        errors.add(each for result in results if result.status != "failed" for each in result.diagnostics)
        errors.raise_if_any()
    report = ValidateReport.of(worded(results))
    return _output(report, to, _next_step(report, names, set_, ignore))


def _output(report: ValidateReport, to: CiOutput, next_step: str) -> CommandOutput:
    from tinylm_cli.render.views.validate import tally, validate_view

    failed = report.failed or report.invalid
    exit_code = ExitCode.UNABLE if report.unreadable else ExitCode.FAILED if failed else ExitCode.DONE
    document = ci_document(to.format_, report.files, tally(report), "validate")
    errors = sum(len(each.diagnostics) or each.status == "unreadable" for each in report.files)
    description = f"{counted(errors, 'error')} in {counted(len(report.files), 'file')}"
    return CommandOutput(
        report,
        lambda: validate_view(report, as_options),
        to,
        exit_code,
        document,
        next_step=next_step,
        description=description,
    )


def _next_step(
    report: ValidateReport, files: Sequence[str], overrides: Sequence[str] | None, ignored: Sequence[str] | None
) -> str:
    """Return the command that corrects errors, or that counts the parameters of a valid config."""
    if report.fixable:
        return next_step("validate", "validate --diff", shell_join([*files, "--diff"]))
    if report.fixed and not any(each.written or each.path == "<stdin>" for each in report.files):
        return next_step("validate --diff", "validate --fix", shell_join([*files, "--fix"]))
    models = [each.path for each in report.files if each.total_params is not None and each.path != "<stdin>"]
    is_valid = models and report.valid == len(report.files)
    model = model_arguments(models[0], overrides, ignored=ignored) if is_valid else ""
    return next_step("validate --fix" if report.fixed else "validate", "params CONFIG", model)


def _read_assertions(texts: Sequence[str]) -> tuple[Condition, ...]:
    from tinylm_cli.analysis.budget_check import ASSERTABLE
    from tinylm_cli.config.assertion import read_assertions

    return read_assertions(texts, ASSERTABLE)


def _require_writable(paths: Iterable[str]) -> None:
    """Reject ``--fix`` of anything but a file.

    Raises:
        UsageError: If one is standard input or a file of a git revision.
    """
    from tinylm_cli.config.git_revision import names_revision

    for path in paths:
        if path == "-" or names_revision(path):
            name = "standard input" if path == "-" else path
            raise UsageError(f"--fix cannot write to {name}", help="--diff shows the change")


def _expand(files: Iterable[str]) -> Iterator[str]:
    """Yield each file to check once: a folder with a config.json is one model, other folders yield their YAML files.

    Raises:
        UsageError: If a name is empty.
    """
    from tinylm_cli.interop.load import is_model_folder

    seen: set[str] = set()
    for name in map(require_nonempty, files):
        folder = Path(name)
        is_preset = name in shipped()  # presets have precedence, as for --config
        is_one = is_preset or is_model_folder(folder) or not os.path.isdir(folder)  # noqa: PTH112 - false for long names
        inside = [] if is_one else [str(path) for path in _yaml_files(folder)]
        for path in inside or [name]:
            file = path if path == "-" or path in shipped() else os.path.realpath(path)
            if file not in seen:
                seen.add(file)
                yield path


def _yaml_files(folder: Path) -> list[Path]:
    """Return the YAML files below a folder, without hidden files and without links to files outside it."""
    top = os.path.realpath(folder)
    inside, outside = list[Path](), list[str]()
    for path in sorted(path for pattern in ("*.yaml", "*.yml") for path in folder.rglob(pattern)):
        if any(part.startswith(".") for part in path.relative_to(folder).parts) or path.is_dir():
            continue
        if os.path.commonpath((top, os.path.realpath(path))) == top:
            inside.append(path)
        else:
            outside.append(str(path))
    if outside:
        more = f" and {len(outside) - 1} more" if len(outside) > 1 else ""
        print_note(f"{outside[0]}{more}: not checked, a link to a file outside {folder}")
    return inside


def _require_ignored(results: Iterable[FileResult], ignored: Sequence[str]) -> None:
    """Require that a valid file has each key to ignore, unless a file is invalid, whose keys are not known."""
    from tinylm_cli.interop.key_effects import require_keys

    results = tuple(results)
    if all(each.total_params is not None for each in results):
        require_keys(ignored, results)


def _check(
    path: str,
    overrides: Sequence[str],
    asserted: Iterable[Condition],
    policy: KeyPolicy,
    *,
    fix: bool,
    diff: bool,
) -> FileResult:
    from tinylm_cli.interop.load import is_gguf, is_model_folder, read_config_text
    from tinylm_cli.reports.validate import FileResult

    try:
        written = read_config_text(path)._replace(policy=policy)
    except ConfigError as error:
        return _with_errors(error)
    except InputError as error:
        is_empty = Path(path).is_dir() and not is_model_folder(Path(path))
        message, remedy = (_NO_YAML.format(path), "") if is_empty else (error.message, error.help)
        return FileResult(path, "unreadable", None, message, remedy, ())
    result = _check_text(written, overrides, asserted)
    if not (fix or diff) or not result.fixable or is_gguf(path):
        return result
    return _fixed(written, overrides, asserted, write=fix)


def _fixed(written: ConfigText, overrides: Sequence[str], asserted: Iterable[Condition], *, write: bool) -> FileResult:
    """Fix a file, or preview the fix, and check it again."""
    from tinylm_cli.config.fixes import fix_source, unified_diff

    def check(source: Source) -> FileResult:
        return _check_text(written._replace(source=source), overrides, asserted)

    after, fixed = fix_source(written.source, lambda source: check(source).diagnostics)
    change = unified_diff(written.source, after)
    result = replace(check(after), fixed=fixed, diff=change, written=write)
    if not write:  # the file on disk is unchanged
        return replace(result, status="invalid")
    try:
        _write_fixed(written.source, after)
    except OutputError as error:
        return replace(check(written.source), status="unreadable", reason=error.message, help=error.help)
    return result


def _write_fixed(before: Source, after: Source) -> None:
    """Replace a file atomically; keep its byte-order mark.

    Raises:
        OutputError: If it cannot be written, or changed since it was read.
    """
    path = Path(before.path)
    data = read_regular(path, MAX_JSON_BYTES)
    if source_of(before.name, data).text != before.text:
        raise OutputError(f"{path} changed during the check", help="run the command again")
    from tinylm_cli.atomic_write import write_file

    mark = "\ufeff" if data.startswith(b"\xef\xbb\xbf") else ""
    write_file(path, mark + after.text, overwrite=True)


def _check_text(written: ConfigText, overrides: Sequence[str], asserted: Iterable[Condition]) -> FileResult:
    """Check the text of a config or of a hardware file."""
    from tinylm_cli.interop.load import parse_config_text

    try:
        loaded = parse_config_text(written, overrides)
        if loaded.left_out:
            print_note(loaded.left_out)
        return _measured(loaded, asserted)
    except ConfigError as error:
        return _check_hardware(written.source) or _with_errors(error)


def _measured(loaded: LoadedConfig, asserted: Iterable[Condition]) -> FileResult:
    """Check a valid config against its budget and the assertions."""
    from tinylm_cli.analysis.params import total_params
    from tinylm_cli.analysis.tensor_table import tensor_table
    from tinylm_cli.config.budget import Budget
    from tinylm_cli.reports.validate import FileResult

    asserted = tuple(asserted)
    if asserted or loaded.config.budget != Budget():
        from tinylm_cli.analysis.budget_check import check_budget

        return check_budget(loaded, asserted)
    total = total_params(tensor_table(loaded.config))
    return FileResult(loaded.source, "valid", total, "", "", (), ignored_keys=loaded.ignored_keys)


_HARDWARE_KEYS = ("memory_bytes", "_per_second", "gpus_per_node", "aliases")


def _check_hardware(source: Source) -> FileResult | None:
    """Check a hardware file; return None for any other file."""
    if not any(key in source.text for key in _HARDWARE_KEYS):  # skips the schema of accelerators for most files
        return None
    from tinylm_cli.config.hardware import is_hardware, parse_accelerators
    from tinylm_cli.reports.validate import FileResult

    try:
        if not is_hardware(source):
            return None
        return FileResult(source.name, "valid", None, "", "", (), accelerators=len(parse_accelerators(source)))
    except ConfigError as error:
        return _with_errors(error)


def _with_errors(error: ConfigError) -> FileResult:
    """Return the result for an invalid config, or for one that is not text."""
    from tinylm_cli.reports.validate import FileResult

    status: FileStatus = "unreadable" if error.exit_code == ExitCode.UNABLE else "invalid"
    return FileResult(error.diagnostics[0].source, status, None, "", "", error.diagnostics)

"""The grammar that all commands share: a positional config, option groups, and formats inferred from suffixes."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, get_type_hints

from typer.core import TyperArgument, TyperCommand, TyperGroup

from tinylm_cli.cli.completion import complete_config
from tinylm_cli.cli.options import STDOUT, explicit_options
from tinylm_cli.cli.streams import stdout_errors
from tinylm_cli.errors import UsageError

FORMAT_OF_SUFFIX = {
    "": "text",
    ".txt": "text",
    ".json": "json",
    ".md": "markdown",
    ".markdown": "markdown",
    ".csv": "csv",
    ".tex": "latex",
    ".sarif": "sarif",
    ".xml": "junit",
}
"""The format that ``--output`` infers from a file's suffix."""

YAML = (".yaml", ".yml")
WRITE_YAML = ("show", "design", "import")
"""The commands whose text is a config, which may be written to a YAML file."""

CONFIG_ARGUMENT = "config_argument"


def with_option_groups(command: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``command`` with a signature for typer: each parameter that is a dataclass is replaced by its fields.

    The fields of such an option group are annotated as options and have defaults; a field without an option keeps its
    default. The command is called with one value of each group.
    """
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, Any] = {name: hint for name, hint in hints.items() if is_dataclass(hint)}
    if not groups:
        return command
    options = {name: list(_group_options(group)) for name, group in groups.items()}
    keyword = inspect.Parameter.KEYWORD_ONLY
    parameters = [
        new
        for name, parameter in inspect.signature(command).parameters.items()
        for new in options.get(name, [parameter.replace(kind=keyword, annotation=hints[name])])
    ]

    def call_with_groups(**values: Any) -> Any:
        made = {
            name: group(**{each.name: values.pop(each.name) for each in options[name]})
            for name, group in groups.items()
        }
        return command(**values, **made)

    call_with_groups.__doc__ = command.__doc__
    call_with_groups.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    call_with_groups.__annotations__ = {each.name: each.annotation for each in parameters}
    return call_with_groups


def _group_options(group: Any) -> Iterator[inspect.Parameter]:
    types = get_type_hints(group, include_extras=True)
    for field in fields(group):
        if hasattr(types[field.name], "__metadata__"):
            yield inspect.Parameter(
                field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=types[field.name]
            )


class ConfigCommand(TyperCommand):
    """A command that takes its config as ``--config`` and as a positional argument."""

    def __init__(self, name: str | None, *, params: Sequence[Any] = (), **settings: Any) -> None:
        super().__init__(name, params=[*params, *_positional_config(params)], **settings)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments of the command, then resolve the parameters that depend on each other."""
        with stdout_errors():  # parsing prints --help; its write errors are reported like other output's
            rest = super().parse_args(ctx, args)
        if not ctx.resilient_parsing:
            _merge_config(ctx)
            if "format_" in ctx.params:
                _choose_format(ctx)
            if ctx.params.get("table") is not None and ctx.params["format_"] in ("text", "json"):
                message = f"--table works with csv, latex and markdown, not with {ctx.params['format_']}"
                raise UsageError(message, help="add --format csv")
            _check_force(ctx)
        return rest

    def get_short_help_str(self, limit: int = 0) -> str:  # noqa: ARG002 - the summary is not cut
        """Return the first paragraph of the help."""
        return " ".join((self.help or "").partition("\n\n")[0].split())

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the options in panels."""
        from tinylm_cli.cli.help_panels import write_options

        write_options(self.get_params(ctx), ctx, formatter)


class CommandGroup(TyperGroup):
    """The root of the command line."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments before the command."""
        with stdout_errors():
            return super().parse_args(ctx, args)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the commands in groups, then the options."""
        from tinylm_cli.cli.help_panels import write_commands, write_options

        write_commands([self.commands[name] for name in self.list_commands(ctx)], formatter)
        write_options(self.get_params(ctx), ctx, formatter)


def _positional_config(parameters: Sequence[Any]) -> Iterator[Any]:
    """Yield the positional form of ``--config``, with its help, if the command has no argument list."""
    option = next((parameter for parameter in parameters if "--config" in parameter.opts), None)
    if option is not None and not any(parameter.nargs == -1 for parameter in parameters):
        yield TyperArgument(
            param_decls=[CONFIG_ARGUMENT],
            metavar="CONFIG",
            help=f"{option.help}  [default: {option.default}]" if option.default else option.help,
            autocompletion=lambda _context, _arguments, incomplete: complete_config(incomplete),
        )
        option.help, option.metavar, option.show_default = "Same as CONFIG.", "CONFIG", False


def _merge_config(ctx: Any) -> None:
    """Use the positional config as the value of ``--config``.

    Raises:
        UsageError: If both are given.
    """
    positional = ctx.params.pop(CONFIG_ARGUMENT, None)
    if positional is None:
        return
    if "config" in explicit_options(ctx):
        message = f"the config is given twice: {positional} and --config {ctx.params['config']}"
        raise UsageError(message, help="remove one of them")
    ctx.params["config"] = positional
    ctx.set_parameter_source("config", ctx.get_parameter_source(CONFIG_ARGUMENT))


def _choose_format(ctx: Any) -> None:
    """Set the format that ``--get`` needs, or that the suffix of ``--output`` implies.

    Raises:
        UsageError: If the path of ``--get`` is empty, ``--get`` makes another option ineffective, or the command does
            not write the format.
    """
    if ctx.params["get"] == "":
        raise UsageError("the path of --get is empty", help="is a shell variable unset?")
    if ctx.params["get"] is not None:
        explicit = explicit_options(ctx)
        for name, option in (("format_", "--format"), ("table", "--table")):
            if name in explicit and ctx.params[name] != "json":
                raise UsageError(f"--get prints one value, so {option} has no effect", help="remove one of them")
        ctx.params["format_"] = "json"
        return
    output = ctx.params["output"]
    if output is None or output == STDOUT or _writes_folder(ctx) or "format_" in explicit_options(ctx):
        return
    known = next(parameter.type.choices for parameter in ctx.command.params if parameter.name == "format_")
    suffix, writes_yaml = output.suffix.lower(), ctx.info_name in WRITE_YAML
    if suffix in YAML and writes_yaml:
        return
    format_ = FORMAT_OF_SUFFIX.get(suffix)
    if format_ not in known:
        unwritten = "YAML" if suffix in YAML else format_
        message = f"{ctx.info_name} does not write {unwritten}" if unwritten else f"unknown suffix {suffix}"
        suffixes = [each for each, name in FORMAT_OF_SUFFIX.items() if name in known and each not in ("", ".markdown")]
        listed = ", ".join([*suffixes, *(YAML[:1] if writes_yaml else ())])
        remedy = f"the known suffixes are {listed}; with --format, any suffix is allowed"
        raise UsageError(f"--output {output}: {message}", help=remedy)
    ctx.params["format_"] = format_


def _writes_folder(ctx: Any) -> bool:
    """Return whether ``--output`` names a folder, which the command itself checks, instead of a file."""
    return ctx.info_name == "export" or ctx.params.get("weights") is True


def _check_force(ctx: Any) -> None:
    """Reject an output file that exists, before any work is done, and ``--force`` without effect.

    Raises:
        OccupiedError: If the file exists and ``--force`` is not given.
        UsageError: If ``--force`` is given and nothing is written.
    """
    output = ctx.params.get("output")
    writes = output is not None and output != STDOUT
    if not ctx.params.get("force"):
        if writes and not _writes_folder(ctx):
            from tinylm_cli.atomic_write import require_free_file

            require_free_file(output)
        return
    folder = "save" in ctx.params
    if not writes and ctx.info_name != "new" and ctx.params.get("save") is None:
        needed = "--save or --output" if folder else "--output"
        raise UsageError(f"--force needs {needed}", help=f"add {needed}, or remove --force")

"""The grammar that all commands share: a positional config, ``--get``, ``--force``, and formats inferred from suffixes.

:class:`Command` adds the parameters that follow from a command's own, so that no command states them again:

- ``CONFIG``, for a command with ``--config``: the same config as a positional argument;
- ``--get PATH``, for a command with ``--format``: print one value of the JSON report;
- ``--force``, for a command with ``--output``: replace an existing file.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption

from tinylm_cli.atomic_write import require_free_file
from tinylm_cli.cli.help_panels import write_commands, write_options
from tinylm_cli.cli.options import GET_HELP, OUTPUT_PANEL, complete_config
from tinylm_cli.cli.output import STDOUT, CommandOutput, require_tables, stdout_errors
from tinylm_cli.errors import UsageError

FORMAT_OF_SUFFIX = {
    ".json": "json",
    ".md": "markdown",
    ".markdown": "markdown",
    ".csv": "csv",
    ".tex": "latex",
    ".sarif": "sarif",
    ".xml": "junit",
    ".txt": "text",
    ".yaml": "text",
    ".yml": "text",
}
"""The format that ``--output`` infers from a file's suffix; YAML is the text of the commands that write a config."""

WRITE_YAML = ("show", "design", "import", "schema")
"""The commands whose text is a config or a schema, which may be written to a YAML file."""

CONFIG_WORD = "config_word"


class Command(TyperCommand):
    """A command with the parameters that all commands share."""

    def __init__(self, name: str | None, *, params: Sequence[Any] = (), **settings: Any) -> None:
        added = _shared_parameters(params)
        super().__init__(name, params=[*params, *added], **settings)
        self._added = {parameter.name for parameter in added}

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments of the command, then settle the parameters that depend on each other."""
        with stdout_errors():  # help, which is printed here, fails as all other output does
            rest = super().parse_args(ctx, args)
        if not ctx.resilient_parsing:
            _merge_config(ctx)
            _choose_format(ctx)
            require_tables(ctx.params.get("format_"), ctx.params.get("table"))
            _check_force(ctx, own="force" not in self._added)
        return rest

    def invoke(self, ctx: Any) -> Any:
        """Run the command; its output carries the values of ``--get`` and ``--force``."""
        get, force = ctx.params.get("get"), ctx.params.get("force", False)
        for name in self._added:
            ctx.params.pop(name, None)
        result = super().invoke(ctx)
        return result._replace(get=get, overwrite=force) if isinstance(result, CommandOutput) else result

    def get_short_help_str(self, limit: int = 0) -> str:  # noqa: ARG002 - the summary is not cut
        """Return the first paragraph of the help."""
        return " ".join((self.help or "").partition("\n\n")[0].split())

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the options in panels."""
        write_options(self.get_params(ctx), ctx, formatter)


class CommandGroup(TyperGroup):
    """The root of the command line."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments before the command."""
        with stdout_errors():
            return super().parse_args(ctx, args)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the commands in groups, then the options."""
        write_commands([self.commands[name] for name in self.list_commands(ctx)], formatter)
        write_options(self.get_params(ctx), ctx, formatter)


def _shared_parameters(own: Sequence[Any]) -> list[Any]:
    """Return the parameters to add to a command's own; gives the help of ``--config`` to the positional argument."""
    named = {name: parameter for parameter in own for name in parameter.opts}
    added: list[Any] = []
    if "--config" in named and not any(parameter.nargs == -1 for parameter in own):
        option = named["--config"]
        added.append(
            TyperArgument(
                param_decls=[CONFIG_WORD], metavar="CONFIG",
                help=f"{option.help}  [default: {option.default}]" if option.default else option.help,
                autocompletion=lambda _context, _words, incomplete: complete_config(incomplete),
            )
        )  # fmt: skip
        option.help, option.metavar, option.show_default = "The same as CONFIG.", "CONFIG", False
    if "--format" in named and "--get" not in named:
        added.append(TyperOption(param_decls=["--get"], metavar="PATH", help=GET_HELP, rich_help_panel=OUTPUT_PANEL))
    if "--output" in named and "--force" not in named:
        words = "Let --output replace an existing file."
        added.append(
            TyperOption(param_decls=["--force"], is_flag=True, default=False, help=words, rich_help_panel=OUTPUT_PANEL)
        )
    return added


def _typed(ctx: Any, name: str) -> bool:
    """Return whether a parameter is on the command line."""
    source = ctx.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _merge_config(ctx: Any) -> None:
    """Take the positional config for ``--config``.

    Raises:
        UsageError: If both are given.
    """
    word = ctx.params.pop(CONFIG_WORD, None)
    if word is None:
        return
    if _typed(ctx, "config"):
        given = ctx.params["config"]
        raise UsageError(f"the config is given twice: {word} and --config {given}", help="remove one of them")
    ctx.params["config"] = word
    source = ctx.get_parameter_source(CONFIG_WORD)
    assert source is not None
    ctx.set_parameter_source("config", source)


def _choose_format(ctx: Any) -> None:
    """Set the format that ``--get`` needs, or that the suffix of ``--output`` names.

    Raises:
        UsageError: If the path of ``--get`` is empty, ``--get`` makes another option ineffective, or the command does
            not write the format.
    """
    if "format_" not in ctx.params:
        return
    if ctx.params.get("get") == "":
        raise UsageError("the path of --get is empty", help="is a shell variable unset?")
    if ctx.params.get("get") is not None:
        for name, option in (("format_", "--format"), ("table", "--table")):
            if _typed(ctx, name):
                raise UsageError(f"--get prints one value, so {option} has no effect", help="remove one of them")
        ctx.params["format_"] = "json"
        return
    output = ctx.params.get("output")
    if output is None or output == STDOUT or _typed(ctx, "format_"):
        return
    inferred = FORMAT_OF_SUFFIX.get(output.suffix.lower(), "text")
    if output.suffix.lower() in (".yaml", ".yml") and ctx.info_name not in WRITE_YAML:
        message = f"--output {output}: {ctx.info_name} does not write YAML"
        raise UsageError(message, help="choose a suffix such as .txt, .json or .md, or add --format")
    known = next(parameter.type.choices for parameter in ctx.command.params if parameter.name == "format_")
    if inferred not in known:
        raise UsageError(
            f"--output {output}: {ctx.info_name} does not write {inferred}", help=f"it writes {', '.join(known)}"
        )
    ctx.params["format_"] = inferred


def _check_force(ctx: Any, *, own: bool) -> None:
    """Refuse an output file that exists, before any work is done, and ``--force`` without effect.

    Raises:
        OccupiedError: If the file exists and ``--force`` is not given.
        UsageError: If ``--force`` is given and no file is named; a command with its ``own`` --force judges that itself.
    """
    output: Path | None = ctx.params.get("output")
    if ctx.params.get("force"):
        if not own and (output is None or output == STDOUT):
            raise UsageError("--force needs --output", help="add --output FILE")
    elif output is not None and output != STDOUT:
        require_free_file(output)

"""Error messages for the command line: the invalid argument, and the probable correction."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import typer
from typer.exceptions import TyperException

from tinylm_cli.cli.command import CONFIG_ARGUMENT
from tinylm_cli.cli.options import wrong_value
from tinylm_cli.config.amounts import parse_amount
from tinylm_cli.config.diagnostic_codes import either
from tinylm_cli.config.fields import fields
from tinylm_cli.config.similar_names import suggest
from tinylm_cli.config.suggestions import suggest_choice
from tinylm_cli.errors import TinylmError, UsageError
from tinylm_cli.shell_quoting import shell_join, shell_quote

_INVALID_VALUE = re.compile(r"(?P<quote>['\"]?)(?P<value>.*)(?P=quote) is not ", re.DOTALL)

OPTION_ALIASES = {"--prompt": "--text"}
"""Other names of options, as in other tools."""

OVERWRITES = ("--force", "--fix")
"""Options that overwrite files; never suggested as a correction, because suggestions get pasted."""

_CONVERTING = ("import", "export")
"""Commands whose ``--output`` names what they convert to, which a second argument probably means."""

_EXTRA = re.compile(r"Got unexpected extra argument\(s\) \((?P<arguments>.*)\)", re.DOTALL)


def explain_usage_error(
    error: TyperException,
    arguments: Sequence[str],
    commands: Sequence[str],
    create_app: Callable[[], typer.Typer],
) -> TinylmError:
    """Return the error to report in place of the parser's error.

    Args:
        error: The error of the parser.
        arguments: The arguments of the command line.
        commands: The names of all commands.
        create_app: Returns the application with every command.
    """
    name = next((argument for argument in arguments if not argument.startswith("-")), None)
    command = name if name is not None and name in commands else ""
    see_help = f"see tinylm {command} --help" if command else "see tinylm --help"
    option = getattr(error, "option_name", None)
    if option is not None and hasattr(error, "possibilities"):
        options = {name: _long_options(each.params) for name, each in _commands(create_app()).items()}
        remedy = _suggested_option(option, _parameters(error), options) or see_help
        return UsageError(f"no such option: {option}", help=remedy)
    if name is not None and not command:
        suggestion = suggest(name, commands)
        if name in ("help", "version"):
            topic = next((each for each in arguments if each in commands), "") if name == "help" else ""
            suggestion = f"tinylm {topic} --help" if topic else f"--{name}"
        remedy = f"did you mean {suggestion}?" if suggestion else f"the commands are {', '.join(commands)}"
        return UsageError(f"no such command: {name or '(empty)'}", help=remedy)
    if isinstance(error, typer.BadParameter):
        return _bad_value(error, see_help)
    extra = _EXTRA.fullmatch(error.message)
    if extra:
        surplus = extra["arguments"]
        noun = "several arguments" if " " in surplus else "one argument"
        return UsageError(f"{command} got {noun} too many: {surplus}", help=_surplus_remedy(surplus, error) or see_help)
    if option is not None:  # its value is missing, or it takes none
        takes_none = "does not take" in error.message
        expected = "no value" if takes_none else f"a value: {_placeholder(option, _commands(create_app())[command])}"
        return UsageError(f"{option} takes {expected}", help=see_help)
    return UsageError(error.format_message(), help=see_help)


def _surplus_remedy(surplus: str, error: Any) -> str:
    """Return a remedy for extra arguments: an option to use, models to compare, or the rest of an unquoted name."""
    command, extra = error.ctx.command.name, surplus.split()
    named = [parameter.name for parameter in _parameters(error) if parameter.param_type_name == "argument"]
    given = [error.ctx.params[name] for name in named if error.ctx.params.get(name) is not None]
    if command in _CONVERTING and given and len(extra) == 1:
        return f"to name the output: tinylm {command} {shell_join((*given, '--output', *extra))}"
    if named == [CONFIG_ARGUMENT]:
        words = [*given, *extra]
        changes = [word for word in words if word.partition("=")[0] in fields()]
        if changes:
            config = [word for word in words if word not in changes]
            overrides = [word for change in changes for word in ("--set", change)]
            return f"to change fields: tinylm {shell_join((command, *config, *overrides))}"
        return f"to compare models: tinylm compare {shell_join(words)}"
    if given:
        return f"quote arguments that contain spaces: tinylm {command} {shell_quote(' '.join((*given, surplus)))}"
    if command == "design" and _is_count(surplus):
        return f"for a size: tinylm design --params {surplus}"
    option = _option_with(surplus, error)
    return f"did you mean {option}?" if option else _remedy_for_config(surplus, command)


def _option_with(word: str, error: Any) -> str:
    """Return the option whose name or value an extra argument is: ``--hardware``, ``--family llama``; else nothing."""
    options = [each for each in _parameters(error) if each.param_type_name == "option"]
    if f"--{word}" in _long_options(options):
        return f"--{word}"
    for each in options:
        if word in (item.value for item in each.shell_complete(error.ctx, word)):
            return shell_join((each.opts[0], word))
    return ""


def _remedy_for_config(word: str, command: str) -> str:
    """Return the command for a config, or for the built-in one of a similar name, where a command takes no config."""
    from tinylm_cli.config.presets import shipped
    from tinylm_cli.config.suggestions import suggest_config
    from tinylm_cli.interop.load import names_config

    meant = word if names_config(word) else next(iter(suggest_config(word, shipped())), None)
    if meant is None:
        return ""
    if command == "design":
        return f"design takes no config; to vary one: tinylm sweep {shell_quote(meant)} n_layers=4..24:4"
    return f"to show one config: tinylm show {shell_quote(meant)}" if command == "list" else ""


def _is_count(text: str) -> bool:
    try:
        return parse_amount(text, "count") > 0
    except ValueError:
        return False


def _suggested_option(option: str, parameters: Sequence[Any], options: Mapping[str, Sequence[str]]) -> str:
    """Return the option that was probably meant, or the commands that have it; empty if no name is similar.

    Args:
        option: The unknown option.
        parameters: The parameters of the command.
        options: The options of each command by its name.
    """
    known = _long_options(parameters)
    option = OPTION_ALIASES.get(option, option)
    if option in known:
        return f"did you mean {option}?"
    settable = fields() if "--set" in known else ()
    elsewhere = {each for names in options.values() for each in names}
    name = option.lstrip("-").replace("-", "_")
    if name not in settable and option not in elsewhere:
        if not option.startswith("--"):
            return ""
        near = suggest(option, (each for each in known if each not in OVERWRITES))
        if near is not None:
            return f"did you mean {near}?"
        by_name = {each.lstrip("-").replace("-", "_"): each for each in elsewhere if each not in OVERWRITES}
        name = suggest(name, [*by_name, *settable]) or ""
        option = by_name.get(name, "")
    if name in settable:
        return f"did you mean --set {name}=…?"
    having = [command for command, names in options.items() if option in names]
    return f"{option} is an option of {', '.join(having)}" if having else ""


def _long_options(parameters: Sequence[Any]) -> list[str]:
    return [name for parameter in parameters for name in parameter.opts if name.startswith("--")]


def _placeholder(option: str, command: Any) -> str:
    """Return the choices of an option, or the name of its value in the help."""
    parameter = next(each for each in command.params if option in each.opts)
    choices = getattr(parameter.type, "choices", ())
    return either(choices) if choices else parameter.metavar


def _bad_value(error: typer.BadParameter, see_help: str) -> TinylmError:
    parameter = error.param
    if parameter is None:
        return UsageError(error.format_message(), help=see_help)
    name = max(parameter.opts, key=len) if parameter.param_type_name == "option" else parameter.human_readable_name
    name = name.rpartition("] ")[2]  # without optional arguments before it
    invalid = _INVALID_VALUE.match(error.message)
    if invalid is None:
        return UsageError(f"{name} is missing", help=see_help)
    value, choices = invalid["value"], getattr(parameter.type, "choices", ())
    suggestion = suggest_choice(value, tuple(choices))
    remedy = f"did you mean {suggestion}?" if suggestion else see_help
    expected = f"expected {_expected_value(parameter.type, choices)}"
    return wrong_value(name, value, expected, remedy, "unknown-choice" if choices else "wrong-type")


def _expected_value(kind: Any, choices: Sequence[str]) -> str:
    if choices:
        return either(choices)
    noun = "an integer" if kind.name.startswith("int") else "a number"
    low, high = getattr(kind, "min", None), getattr(kind, "max", None)
    if low is not None and high is not None:
        return f"{noun} from {low:,} to {high:,}"
    return noun if low is None else f"{noun} >= {low}"


def _commands(app: typer.Typer) -> dict[str, Any]:
    commands: dict[str, Any] = vars(typer.main.get_command(app))["commands"]
    return commands


def _parameters(error: Any) -> Sequence[Any]:
    context = getattr(error, "ctx", None)
    return context.command.get_params(context) if context is not None else ()

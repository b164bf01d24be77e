"""Error messages for the command line: the invalid argument, and the probable correction."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from typing import Any

import typer
from typer.exceptions import TyperException

from tinylm_cli.cli.command import CONFIG_ARGUMENT
from tinylm_cli.config.diagnostic_codes import either
from tinylm_cli.config.fields import fields
from tinylm_cli.config.suggestions import suggest
from tinylm_cli.errors import UsageError

_INVALID_VALUE = re.compile(r"(?P<quote>['\"]?)(?P<value>.*)(?P=quote) is not ", re.DOTALL)
OPTION_OF_ANOTHER_COMMAND = {"--meta": "tinylm build --meta shows a model without values"}
"""Options of other commands, with a hint for the command that lacks them."""

OVERWRITES = ("--force", "--fix")
"""Options that overwrite files; never suggested as a correction, because suggestions get pasted."""

_EXTRA = re.compile(r"Got unexpected extra argument\(s\) \((?P<arguments>.*)\)", re.DOTALL)


def explain_usage_error(error: TyperException, arguments: Sequence[str], commands: Sequence[str]) -> UsageError:
    """Return the error to report in place of the parser's error.

    Args:
        error: The error of the parser.
        arguments: The arguments of the command line.
        commands: The names of all commands.
    """
    name = next((argument for argument in arguments if not argument.startswith("-")), None)
    command = name if name in commands else ""
    manual = f"see tinylm {command} --help" if command else "see tinylm --help"
    option = getattr(error, "option_name", None)
    if option is not None and hasattr(error, "possibilities"):
        return UsageError(f"no such option: {option}", help=_suggested_option(option, error, manual))
    if name is not None and not command:
        suggestion = suggest(name, commands)
        if name in ("help", "version"):
            topic = next((each for each in arguments if each in commands), "") if name == "help" else ""
            suggestion = f"tinylm {topic} --help" if topic else f"--{name}"
        remedy = f"did you mean {suggestion}?" if suggestion else f"the commands are {', '.join(commands)}"
        return UsageError(f"no such command: {name or '(empty)'}", help=remedy)
    if isinstance(error, typer.BadParameter):
        return _bad_value(error, manual)
    extra = _EXTRA.fullmatch(error.message)
    if extra:
        surplus = extra["arguments"]
        noun = "several arguments" if " " in surplus else "one argument"
        return UsageError(f"{command} got {noun} too many: {surplus}", help=_surplus_remedy(surplus, error) or manual)
    if option is not None:  # its value is missing, or it takes none
        expected = "no value" if "does not take" in error.message else "a value"
        return UsageError(f"{option} takes {expected}", help=manual)
    return UsageError(error.format_message(), help=manual)


def _surplus_remedy(surplus: str, error: Any) -> str:
    """Return a remedy for extra arguments: more models to compare, or the rest of an unquoted name."""
    named = [parameter.name for parameter in _parameters(error) if parameter.param_type_name == "argument"]
    given = [error.ctx.params[name] for name in named if error.ctx.params.get(name) is not None]
    if named == [CONFIG_ARGUMENT]:
        return f"to compare models: tinylm compare {shlex.join((*given, *surplus.split()))}"
    if not given:
        return ""
    quoted = shlex.quote(" ".join((*given, surplus)))
    return f"quote arguments that contain spaces: tinylm {error.ctx.command.name} {quoted}"


def _suggested_option(option: str, error: Any, manual: str) -> str:
    if option in OPTION_OF_ANOTHER_COMMAND:
        return OPTION_OF_ANOTHER_COMMAND[option]
    known = [name for parameter in _parameters(error) for name in parameter.opts if name.startswith("--")]
    near = suggest(option, (name for name in known if name not in OVERWRITES))
    if near is not None:
        return f"did you mean {near}?"
    field = suggest(option.lstrip("-"), fields()) if "--set" in known else None
    return f"did you mean --set {field}=…?" if field else manual


def _bad_value(error: typer.BadParameter, manual: str) -> UsageError:
    parameter = error.param
    if parameter is None:
        return UsageError(error.format_message(), help=manual)
    name = max(parameter.opts, key=len) if parameter.param_type_name == "option" else parameter.human_readable_name
    name = name.rpartition("] ")[2]  # without optional arguments before it
    invalid = _INVALID_VALUE.match(error.message)
    if invalid is None:
        return UsageError(f"{name} is missing", help=manual)
    value, choices = invalid["value"], getattr(parameter.type, "choices", ())
    suggestion = suggest(value, choices)
    return UsageError(
        f"{name} {value}: expected {_expected_value(parameter.type, choices)}",
        help=f"did you mean {suggestion}?" if suggestion else manual,
    )


def _expected_value(kind: Any, choices: Sequence[str]) -> str:
    if choices:
        return either(choices)
    noun = "an integer" if kind.name.startswith("int") else "a number"
    low, high = getattr(kind, "min", None), getattr(kind, "max", None)
    if low is not None and high is not None:
        return f"{noun} from {low:,} to {high:,}"
    return noun if low is None else f"{noun} >= {low}"


def _parameters(error: Any) -> Sequence[Any]:
    context = getattr(error, "ctx", None)
    return context.command.get_params(context) if context is not None else ()

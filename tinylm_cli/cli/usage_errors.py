"""Errors of the option parser in tinylm's own words: what was typed, and the probable meaning."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Sequence
from typing import Any

import typer
from typer.exceptions import TyperException

from tinylm_cli.cli.command import CONFIG_WORD
from tinylm_cli.config.fields import fields
from tinylm_cli.config.suggestions import suggest
from tinylm_cli.errors import UsageError

_REFUSED = re.compile(r"(?P<quote>['\"]?)(?P<value>.*)(?P=quote) is not ", re.DOTALL)
OPTION_OF_ANOTHER_COMMAND = {"--meta": "tinylm build --meta shows a model without values"}
"""Options of other commands that people look for here."""

_EXTRA = re.compile(r"Got unexpected extra argument\(s\) \((?P<words>.*)\)", re.DOTALL)


def explain_usage_error(error: TyperException, arguments: Sequence[str], commands: Sequence[str]) -> UsageError:
    """Return the error to report instead of the parser's own.

    Args:
        error: The error of the parser.
        arguments: The words of the command line.
        commands: Every command.
    """
    word = next((word for word in arguments if not word.startswith("-")), None)
    command = word if word in commands else ""
    manual = f"see tinylm {command} --help" if command else "see tinylm --help"
    option = getattr(error, "option_name", None)
    if option is not None and hasattr(error, "possibilities"):
        return UsageError(f"there is no option {option}", help=_meant_option(option, error, manual))
    if word is not None and not command:
        meant = suggest(word, commands)
        if word in ("help", "version"):
            topic = next((each for each in arguments if each in commands), "") if word == "help" else ""
            meant = f"tinylm {topic} --help" if topic else f"--{word}"
        remedy = f"did you mean {meant}?" if meant else f"the commands are {', '.join(commands)}"
        return UsageError(f"no command is called {word or 'nothing'}", help=remedy)
    if isinstance(error, typer.BadParameter):
        return _bad_value(error, manual)
    extra = _EXTRA.fullmatch(error.message)
    if extra:
        words = extra["words"]
        noun = "words" if " " in words else "word"
        return UsageError(f"{command} has no use for the {noun} {words}", help=_meant_words(words, error) or manual)
    if option is not None:  # it came without its value, or with one that it does not take
        wants = "no value" if "does not take" in error.message else "a value"
        return UsageError(f"{option} takes {wants}", help=manual)
    return UsageError(error.format_message(), help=manual)


def _meant_words(words: str, error: Any) -> str:
    """Return the probable meaning of surplus words: another model, or the rest of a name with spaces."""
    named = [parameter.name for parameter in _parameters(error) if parameter.param_type_name == "argument"]
    given = [error.ctx.params[name] for name in named if error.ctx.params.get(name) is not None]
    if named == [CONFIG_WORD]:
        return f"to hold models against each other: tinylm compare {shlex.join((*given, *words.split()))}"
    return (
        f"quote what has spaces: tinylm {error.ctx.command.name} {shlex.quote(' '.join((*given, words)))}"
        if given
        else ""
    )


def _meant_option(option: str, error: Any, manual: str) -> str:
    if option in OPTION_OF_ANOTHER_COMMAND:
        return OPTION_OF_ANOTHER_COMMAND[option]
    known = [name for parameter in _parameters(error) for name in parameter.opts if name.startswith("--")]
    near = suggest(option, known)
    if near is not None:
        return f"did you mean {near}?"
    field = suggest(option.lstrip("-"), fields()) if "--set" in known else None
    return f"did you mean --set {field}=…?" if field else manual


def _bad_value(error: typer.BadParameter, manual: str) -> UsageError:
    parameter = error.param
    if parameter is None:
        return UsageError(error.format_message(), help=manual)
    name = max(parameter.opts, key=len) if parameter.param_type_name == "option" else parameter.human_readable_name
    refused = _REFUSED.match(error.message)
    if refused is None:
        return UsageError(f"{name} is missing", help=manual)
    value, choices = refused["value"], getattr(parameter.type, "choices", ())
    meant = suggest(value, choices)
    return UsageError(
        f"{name} {value}: expected {_wanted(parameter.type, choices)}",
        help=f"did you mean {meant}?" if meant else manual,
    )


def _wanted(kind: Any, choices: Iterable[str]) -> str:
    if choices:
        *others, last = choices
        return f"{', '.join(others)} or {last}" if others else last
    noun = "an integer" if kind.name.startswith("int") else "a number"
    low, high = getattr(kind, "min", None), getattr(kind, "max", None)
    if low is not None and high is not None:
        return f"{noun} from {low:,} to {high:,}"
    return noun if low is None else f"{noun} >= {low}"


def _parameters(error: Any) -> Sequence[Any]:
    context = getattr(error, "ctx", None)
    return context.command.get_params(context) if context is not None else ()

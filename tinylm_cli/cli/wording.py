"""Settings and commands as options and command lines: the only place that words them."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

from tinylm_cli.errors import ConfigError, TinylmError
from tinylm_cli.shell_quoting import shell_join, shell_quote
from tinylm_cli.wording import Argument, Command, Reference, Setting, ShellNote, Text

T = TypeVar("T")

POSITIONAL = {"fields": "KEY=VALUES"}
"""The arguments that are not options, by their name in Python."""


def option_name(name: str) -> str:
    """Return the option of a keyword argument: ``--serving-seq-len``, or ``--for`` of ``for_``."""
    return f"--{name.rstrip('_').replace('_', '-')}"


def as_options(*references: Reference) -> str:
    """Return settings as options, and commands as command lines."""
    return " ".join(map(_words, references))


def _words(reference: Reference) -> str:
    match reference:
        case ShellNote(text):
            return text
        case Command():
            return _command(reference)
        case Setting():
            return _option(reference)


def _command(command: Command) -> str:
    words = (shell_quote(each) if isinstance(each, str) else _option(each) for each in command.arguments)
    return " ".join(("tinylm", command.verb, *words))


def _option(setting: Setting) -> str:
    option, value = option_name(setting.name), setting.value
    match value:
        case None:
            return f"{option} {setting.metavar}".rstrip()
        case bool():
            return option if value else option.replace("--", "--no-", 1)
        case range():
            return f"{option} {value[0]}..{value[-1]}" + (f":{value.step}" if value.step > 1 else "")
        case tuple() if isinstance(value[0], str):
            return shell_join(word for each in value for word in (option, str(each)))
        case tuple():
            return f"{option} {','.join(map(str, value))}"
    return f"{option} {shell_quote(str(value))}"


def worded(value: T) -> T:
    """Return a report, a diagnostic or a text with every reference in it worded as an option or a command line."""
    return _worded(value)  # type: ignore[no-any-return]


def _worded(value: Any) -> Any:
    if isinstance(value, Text):
        return value.worded(as_options)
    if isinstance(value, Argument):
        name = value.strip("<>")
        return type(value)(POSITIONAL.get(name) or option_name(name)) if value.startswith("<") else value
    if isinstance(value, tuple):
        items = [_worded(each) for each in value]
        if all(new is old for new, old in zip(items, value, strict=True)):
            return value
        return type(value)(*items) if hasattr(value, "_fields") else tuple(items)
    if isinstance(value, dict):
        entries = {key: _worded(each) for key, each in value.items()}
        return value if all(new is value[key] for key, new in entries.items()) else entries
    if is_dataclass(value) and not isinstance(value, type):
        before = {each.name: getattr(value, each.name) for each in fields(value)}
        after = {name: _worded(each) for name, each in before.items()}
        changed = {name: each for name, each in after.items() if each is not before[name]}
        return replace(value, **changed) if changed else value
    return value


def worded_error(error: TinylmError) -> TinylmError:
    """Return an error with every reference in it worded as an option or a command line."""
    if isinstance(error, ConfigError):
        again = ConfigError(worded(error.diagnostics))
        again.exit_code = error.exit_code
        return again
    error.message, error.help = worded(error.message), worded(error.help)
    return error

"""Shell quoting of arguments in suggested commands, so that bash reads back the same bytes, and a log nothing else."""

from __future__ import annotations

import re
import shlex
import unicodedata
from collections.abc import Iterable

_UNPRINTABLE = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})

_WORKFLOW_COMMAND = re.compile(r"(?:(?<=\s)|^):(?=:)|#(?=#(?:\[|vso\[|teamcity\[))")
"""The first character of a command of a CI runner; ``render/sanitize.py`` has the references."""


def shell_quote(argument: str) -> str:
    r"""Return an argument quoted for a shell.

    An argument with a character that tinylm prints as an escape is written as ``$'…'``, in which bash, zsh and ksh read
    ``\xff`` as a byte. Such characters are controls, bidi marks, bytes of a file name that are not UTF-8, and the first
    character of a command of a CI runner.
    """
    commands = {found.start() for found in _WORKFLOW_COMMAND.finditer(argument)}
    if not commands and not any(unicodedata.category(c) in _UNPRINTABLE for c in argument):
        return shlex.quote(argument)
    characters = (_escaped(c) if at in commands else _in_quotes(c) for at, c in enumerate(argument))
    return f"$'{''.join(characters)}'"


def shell_join(arguments: Iterable[str]) -> str:
    """Return arguments quoted for a shell, with blanks between them."""
    return " ".join(map(shell_quote, arguments))


def _in_quotes(character: str) -> str:
    if character in "\\'":
        return f"\\{character}"
    return _escaped(character) if unicodedata.category(character) in _UNPRINTABLE else character


def _escaped(character: str) -> str:
    """Return the bytes of a character in UTF-8, or the byte for which a lone surrogate stands in a file name."""
    errors = "surrogateescape" if "\udc80" <= character <= "\udcff" else "surrogatepass"
    return "".join(f"\\x{byte:02x}" for byte in character.encode("utf-8", errors))

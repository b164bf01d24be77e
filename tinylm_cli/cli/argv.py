"""Normalize the arguments of a command line before the option parser reads them."""

from __future__ import annotations

import re
from collections.abc import Sequence

BARE_TOKENS = "course"
"""Value of a bare ``--tokens``: the course's example."""

_FORMAT = re.compile(r"--format(=|$)|-f")
_NUMBERS = re.compile(r"-?\d[\d,]*")


def normalize(arguments: Sequence[str]) -> list[str]:
    """Return the arguments with ``--debug`` first, spaced token ids joined, and a value for a bare ``--tokens``.

    ``--tokens 5 12 8`` is accepted, although options take one argument.
    """
    prepared: list[str] = []
    waiting = list(arguments)
    while waiting:
        word = waiting.pop(0)
        if word == "--":
            prepared += [word, *waiting]
            break
        option, equals, first = word.partition("=")
        prepared.append(option if option == "--tokens" else word)
        if option != "--tokens":
            continue
        ids = [first] if equals else []
        while waiting and _NUMBERS.fullmatch(waiting[0]) and not (equals and not _NUMBERS.fullmatch(first)):
            ids.append(waiting.pop(0))
        if ids:
            prepared.append(" ".join(ids))
        elif not waiting or (waiting[0].startswith("-") and waiting[0] != "-"):
            prepared.append(BARE_TOKENS)
    options = prepared.index("--") if "--" in prepared else len(prepared)
    if "--debug" in prepared[:options]:
        prepared = ["--debug", *(word for word in prepared[:options] if word != "--debug"), *prepared[options:]]
    return prepared


def requested_format(arguments: Sequence[str]) -> str:
    """Return the value of ``--format``, even if the rest of the command line is wrong; empty without the option."""
    given = [
        next_ if word in ("--format", "-f") else _FORMAT.sub("", word)
        for word, next_ in zip(arguments, [*arguments[1:], ""], strict=True)
        if _FORMAT.match(word)
    ]
    return given[-1] if given else ""

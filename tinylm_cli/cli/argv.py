"""What a person types, put in the form that the option parser takes."""

from __future__ import annotations

import re
from collections.abc import Sequence

BARE = "course"
"""What a bare ``--tokens`` is given: the word for the tokens of the course."""

_FORMAT = re.compile(r"--format(=|$)|-f")
_NUMBERS = re.compile(r"-?\d[\d,]*")


def prepare(arguments: Sequence[str]) -> list[str]:
    """Return ``arguments`` with a bare ``--tokens`` given the course's tokens, spaced ids joined, ``--debug`` first.

    ``--tokens 5 12 8`` is what the course's own text would suggest typing, and an option takes just one word.
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
            prepared.append(BARE)
    options = prepared.index("--") if "--" in prepared else len(prepared)
    if "--debug" in prepared[:options]:
        prepared = ["--debug", *(word for word in prepared[:options] if word != "--debug"), *prepared[options:]]
    return prepared


def wanted_format(arguments: Sequence[str]) -> str:
    """Return the word given to ``--format``, also where the command line is wrong in other ways; else nothing."""
    given = [
        next_ if word in ("--format", "-f") else _FORMAT.sub("", word)
        for word, next_ in zip(arguments, [*arguments[1:], ""], strict=True)
        if _FORMAT.match(word)
    ]
    return given[-1] if given else ""

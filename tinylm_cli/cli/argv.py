"""Normalize the arguments of a command line before the option parser reads them."""

from __future__ import annotations

import re
from collections.abc import Sequence

BARE_TOKENS = "course"
"""Value of a bare ``--tokens``: the course's example."""

_FORMAT = r"--format(=|$)|-f"
_NUMBERS = r"-?\d[\d,]*"


def normalize(arguments: Sequence[str]) -> list[str]:
    """Return the arguments with ``--debug`` first, spaced token ids joined, and a value for a bare ``--tokens``.

    ``--tokens 5 12 8`` is accepted, although options take one argument.
    """
    prepared: list[str] = []
    remaining = list(arguments)
    while remaining:
        argument = remaining.pop(0)
        if argument == "--":
            prepared += [argument, *remaining]
            break
        option, equals, first = argument.partition("=")
        prepared.append(option if option == "--tokens" else argument)
        if option != "--tokens":
            continue
        ids = [first] if equals else []
        while remaining and re.fullmatch(_NUMBERS, remaining[0]) and not (equals and not re.fullmatch(_NUMBERS, first)):
            ids.append(remaining.pop(0))
        if ids:
            prepared.append(" ".join(ids))
        elif not remaining or (remaining[0].startswith("-") and remaining[0] != "-"):
            prepared.append(BARE_TOKENS)
    options = prepared.index("--") if "--" in prepared else len(prepared)
    if "--debug" in prepared[:options]:
        others = [argument for argument in prepared[:options] if argument != "--debug"]
        prepared = ["--debug", *others, *prepared[options:]]
    return prepared


def requested_format(arguments: Sequence[str]) -> str:
    """Return the value of ``--format``, even if the rest of the command line is invalid; empty without the option."""
    values = [
        following if argument in ("--format", "-f") else re.sub(_FORMAT, "", argument)
        for argument, following in zip(arguments, [*arguments[1:], ""], strict=True)
        if re.match(_FORMAT, argument)
    ]
    return values[-1] if values else ""

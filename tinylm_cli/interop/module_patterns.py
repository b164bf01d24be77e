"""Regular expressions of files that name modules: which of them match in a time that does not explode."""

from __future__ import annotations

import re

MAX_LENGTH = 4_000
"""Longest pattern; unsloth writes patterns of about 500 characters."""

MAX_REPETITIONS = 5
"""Most repetitions in a row that may match: a name of n characters then takes at most about n⁵ / 120 steps."""

_TOKEN = re.compile(
    r"(?P<open>\((?:\?(?::|=|!|<=|<!))?)"
    r"|(?P<close>\))(?P<repeated>[*+{])?"
    r"|(?P<alternative>\|)"
    r"|(?:\[\^?\]?[^\]\[]*\]|\\.|[^()\[\]|\\*+?{}])(?P<quantifier>[*+]|\{\d+,\d*\})?\??"
    r"|(?P<optional>\?)",
    re.DOTALL,
)
"""A bracket, an alternative, or a character or set with its quantifier."""


def is_safe_pattern(pattern: str) -> bool:
    """Return whether a regular expression is valid, repeats no group and has few repetitions in a row."""
    if len(pattern) > MAX_LENGTH or not pattern.isascii():
        return False
    stack = [[0, 0]]  # of each open group: the repetitions of its longest alternative, and of the last one
    position = 0
    while position < len(pattern):
        token = _TOKEN.match(pattern, position)
        if token is None or token["repeated"]:
            return False
        position = token.end()
        if token["open"]:
            stack.append([0, 0])
        elif token["close"]:
            if len(stack) == 1:
                return False
            inner = max(stack.pop())
            stack[-1][1] += inner
        elif token["alternative"]:
            stack[-1] = [max(stack[-1]), 0]
        elif token["quantifier"]:
            stack[-1][1] += 1
    if max(map(max, stack)) > MAX_REPETITIONS:
        return False
    try:
        re.compile(pattern)
    except (re.error, OverflowError):
        return False
    return True

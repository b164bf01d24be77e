"""Errors in a sequence of layer kinds, such as ``3 local full``, and their positions."""

from __future__ import annotations

import re
from typing import NamedTuple

from tinylm_cli.config.diagnostic_codes import quote

_TOKEN = re.compile(r"(?P<blank> +)|(?P<word>[A-Za-z0-9_-]+)|(?P<mark>.)", re.DOTALL)
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_JOINED = re.compile(r"([0-9]+)[xX]?([a-z][a-z0-9_-]*)?")
_MAX_DIGITS = 4

_EXAMPLE = "such as 3 local, full"
_NAME_IT = f"write the name of a kind, {_EXAMPLE}"


class SequenceError(NamedTuple):
    """The first error in a sequence.

    Attributes:
        start: The first wrong character.
        end: The character after the last wrong one; ``start + 1`` for a missing one.
        problem: The error.
        help: The remedy.
    """

    start: int
    end: int
    problem: str
    help: str


def find_sequence_error(text: str) -> SequenceError | None:
    """Return the first error in a sequence of counts, names, brackets and commas; None if there is none."""
    opened: int | None = None  # the bracket around the next item
    count_end: int | None = None  # the character after the count of the next item
    item_expected = True
    for token in _TOKEN.finditer(text):
        start, end, found = token.start(), token.end(), token[0]
        if token["blank"]:
            if start == 0 or end == len(text):
                return SequenceError(start, end, "a blank is at the edge", "omit it")
        elif found == "," or (found == ")" and opened is not None):
            if item_expected:
                before = "comma" if found == "," else "bracket"
                return SequenceError(start, end, f"a kind is missing before the {before}", _NAME_IT)
            item_expected = found == ","
            opened = opened if item_expected else None
        elif found == ")":
            return SequenceError(start, end, "no bracket is open", "write an opening bracket, or omit this one")
        elif not item_expected and (token["word"] or found == "("):
            before = quote(found) if token["word"] else "the bracket"
            help_ = f"write a comma between two kinds, {_EXAMPLE}"
            return SequenceError(start, end, f"a comma is missing before {before}", help_)
        elif count_end == start:
            return SequenceError(start, end, "a blank is missing after the count", "write for example 2 (linear, full)")
        elif found == "(":
            if opened is not None:
                return SequenceError(start, end, "a bracket is inside another", "write these layers without brackets")
            opened, count_end = start, None
        elif count_end is None and found.isdecimal():
            if found[0] == "0" or len(found) > _MAX_DIGITS:
                return SequenceError(start, end, f"{quote(found)} is not a count", "write a count from 1 to 9,999")
            count_end = end
        elif item_expected and _NAME.fullmatch(found):
            item_expected, count_end = False, None
        elif found.isdecimal():
            return SequenceError(start, end, f"{quote(found)} follows another count", "write one count before a kind")
        else:
            return SequenceError(start, end, *_wrong_name(found))
    if opened is not None and not item_expected:
        return SequenceError(opened, opened + 1, "this bracket is not closed", "write a closing bracket")
    if item_expected:
        return SequenceError(max(len(text) - 1, 0), max(len(text), 1), "a kind is missing at the end", _NAME_IT)
    return None


def _wrong_name(found: str) -> tuple[str, str]:
    """Return the error message and the remedy for a word or character that is neither a count nor a name."""
    if joined := _JOINED.fullmatch(found):
        return (
            f"{quote(found)} is neither a count nor the name of a kind",
            f"write {joined[1]} {joined[2] or ''}".rstrip(),
        )
    if _NAME.fullmatch(found.lower()):
        return f"{quote(found)} cannot be the name of a kind", f"write {found.lower()}"
    if len(found) > 1:
        rules = "write at most 32 lowercase letters, digits, _ and -, with a letter first"
        return f"{quote(found)} cannot be the name of a kind", rules
    return f"{quote(found)} has no meaning here", f"write counts, kinds, commas and brackets, {_EXAMPLE}"

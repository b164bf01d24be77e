"""Plain YAML scalars, resolved by the YAML 1.2 core schema and nothing looser.

``no`` is text, ``1:30`` is text, ``0256`` is 256, ``1e-5`` is a number: https://yaml.org/spec/1.2.2/#103-core-schema
"""

from __future__ import annotations

import re

Scalar = None | bool | int | float | str

MAX_DIGITS = 100

_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT = re.compile(r"[-+]?[0-9]+")
_OCTAL = re.compile(r"0o[0-7]+")
_HEX = re.compile(r"0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_INF = re.compile(r"[-+]?\.(inf|Inf|INF)")
_NAN = frozenset({".nan", ".NaN", ".NAN"})


class NumberTooLongError(ValueError):
    """A number written with more digits than any quantity here can have."""


def resolve_plain(text: str) -> Scalar:
    """Return the value of an unquoted scalar.

    Raises:
        NumberTooLongError: If a number has more than 100 characters.
    """
    if text in _NULL:
        return None
    if text in _BOOL:
        return _BOOL[text]
    if text[0] not in "+-.0123456789":
        return text
    if _INT.fullmatch(text):
        return int(_short(text))
    if _OCTAL.fullmatch(text):
        return int(_short(text)[2:], 8)
    if _HEX.fullmatch(text):
        return int(_short(text)[2:], 16)
    if _FLOAT.fullmatch(text):
        return float(_short(text))
    if _INF.fullmatch(text):
        return float("-inf" if text[0] == "-" else "inf")
    return float("nan") if text in _NAN else text


def _short(text: str) -> str:
    if len(text) > MAX_DIGITS:
        raise NumberTooLongError(f"a number of {len(text):,} characters is too long: {MAX_DIGITS} are the most")
    return text

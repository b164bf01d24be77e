"""Writing of one value as YAML."""

from __future__ import annotations

import re
from typing import Any

from tinylm_cli.config.yaml_reader import resolve_plain

_PLAIN = re.compile(
    r"[A-Za-z](?:[\w.+/()-]|[ :](?=[\w.+/()-]))*"
    r"|[0-9.]+ ?[A-Za-z/%]+|[0-9]{4}-[0-9]{2}"
    r"|[0-9]* ?[(a-z](?:[\w()-]|,? (?=[\w(]))*",  # a sequence of kinds of layers
    re.ASCII,
)
_YAML_1_1 = frozenset({"y", "n", "yes", "no", "on", "off"})  # booleans to older readers
_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_MAX_LISTED = 4


def scalar(value: Any) -> str:
    """Return a value as YAML; a float as ``1.0e-5``, which YAML 1.1 also reads as a number."""
    if value is None:
        return "null"
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(scalar, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}: {scalar(inner)}' for key, inner in value.items())}}}"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        plain = _PLAIN.fullmatch(value) and resolve_plain(value) == value and value.casefold() not in _YAML_1_1
        return value if plain else f'"{"".join(map(_escaped, value))}"'
    if not isinstance(value, float):
        return str(value)
    digits, e, exponent = repr(value).partition("e")
    return f"{digits}{'' if '.' in digits else '.0'}e{int(exponent):+d}" if e else digits


def _escaped(character: str) -> str:
    """Return a character of a double-quoted scalar; https://yaml.org/spec/1.2.2/#57-escaped-characters."""
    if character in _ESCAPES:
        return _ESCAPES[character]
    if character.isprintable():
        return character
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def short_scalar(value: Any) -> str:
    """Return a value as short YAML; a long list is shortened to its ends and its length."""
    if not isinstance(value, tuple | list) or len(value) <= _MAX_LISTED:
        return scalar(value)
    first, second, *_, last = map(scalar, value)
    return f"[{first}, {second}, …, {last}] ({len(value):,})"

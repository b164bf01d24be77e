"""Sanitize text from outside (YAML strings, paths, tensor names, arguments): control characters become escapes."""

from __future__ import annotations

import re
import unicodedata

from tinylm_cli.render.terminal import Terminal

# characters that move the cursor, hide or reorder text, or cannot be encoded: controls, formats (bidi marks),
# surrogates, private use, line and paragraph separators
_UNPRINTABLE = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})

_ASCII = {
    "×": "x",
    "…": "...",
    "—": "-",
    "–": "-",
    "−": "-",
    "·": "-",
    "±": "+-",
    "µ": "u",
    "²": "^2",
    "³": "^3",
    "≠": "!=",
    "≈": "~",
    "√": "sqrt",
    "→": "->",
    "↳": "->",
    "│": "|",
    "├": "|",
    "└": "`",
    "─": "-",
    "█": "#",
    "░": ".",
    "▒": "+",
    "▓": "%",
    "▚": "=",
    "▖": ":",
    "▄": "o",
    "▞": "/",
    "▀": "*",
    "▗": "x",
    "▙": "@",
    "▐": "&",
    "▘": "~",
    "▛": "$",
    "▂": "_",
    "▜": "?",
    "▝": "!",
    "▟": "^",
    "▆": "m",
    "▁": ",",
    "▇": "w",
    "▔": "'",
    "▃": "c",
    "▕": ";",
    "▅": "s",
    "┃": "|",
    "✓": "ok",
    "✗": "no",
    "Δ": "diff",
    "β": "beta",
    "λ": "lambda",
    "␣": " ",
    "\N{EM SPACE}": "-",
}
_EIGHTHS = dict.fromkeys("▏▎▍▌▋▊▉", "#")
_TO_ASCII = str.maketrans({**_ASCII, **_EIGHTHS})

OUR_SIGNS = "".join([*_ASCII, *_EIGHTHS])
"""The non-ASCII characters that tinylm itself writes; each takes one cell."""


def escape_controls(text: str) -> str:
    r"""Return ``text`` with every unprintable character written as an escape, e.g. ``\x1b`` or ``\u202e``."""
    if text.isprintable():  # then no character is in these categories
        return text
    return "".join(_escape(c) if unicodedata.category(c) in _UNPRINTABLE else c for c in text)


def for_terminal(text: str, terminal: Terminal) -> str:
    """Return ``text`` escaped, and in ASCII if the terminal shows only ASCII."""
    return escape_controls(text) if terminal.unicode else to_ascii(escape_controls(text))


_WORKFLOW_COMMAND = (
    r"(?m)"
    r"^((?:[^\S\n]|\x1b\[[0-9;]*m)*):(?=:)"  # GitHub Actions: a line that begins with ::, also after blanks or color
    r"|#(?=#(?:\[|vso\[|teamcity\[))"  # GitHub Actions, Azure Pipelines, TeamCity: anywhere in a line
)


def without_workflow_commands(text: str) -> str:
    r"""Return ``text`` with no line that a CI runner would obey, such as ``::error::…`` or ``##[error]…``.

    The first character of such a command becomes an escape, ``\x3a`` or ``\x23``, even on a wrapped line.

    References:
        https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands
        https://learn.microsoft.com/en-us/azure/devops/pipelines/scripts/logging-commands
    """
    if "::" not in text and "##" not in text:
        return text
    return re.sub(_WORKFLOW_COMMAND, lambda found: "\\x23" if found[1] is None else f"{found[1]}\\x3a", text)


def to_ascii(text: str) -> str:
    """Return ``text`` in ASCII: look-alikes for our own signs, escapes for other characters."""
    return text.translate(_TO_ASCII).encode("ascii", "backslashreplace").decode("ascii")


def _escape(character: str) -> str:
    named = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}.get(character)
    if named:
        return named
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"

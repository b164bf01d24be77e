"""Text from outside (YAML strings, paths, tensor names, arguments) made visible and inert."""

from __future__ import annotations

import unicodedata

from tinylm_cli.render.terminal import Terminal

# what only moves the cursor, hides, reorders or cannot be encoded: controls, formats (bidi marks), surrogates, line and
# paragraph separators, private use
_UNSHOWABLE = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})

_ASCII = {
    "×": "x",
    "…": "...",
    "—": "-",
    "–": "-",
    "−": "-",
    "·": "-",
    "±": "+-",
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
    "▌": "/",
    "▄": "o",
    "┃": "|",
    "✓": "ok",
    "✗": "no",
    "Δ": "diff",
    "␣": " ",
    "\N{EM SPACE}": "-",
}
_EIGHTHS = dict.fromkeys("▏▎▍▌▋▊▉", "#")
_TO_ASCII = str.maketrans({**_ASCII, **_EIGHTHS})

OUR_SIGNS = "".join([*_ASCII, *_EIGHTHS])
"""What tinylm itself writes beyond ASCII; each takes one cell."""


def visible(text: str) -> str:
    r"""Return ``text`` with every unshowable character written as its escape, e.g. ``\x1b`` or ``\u202e``."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_escape(c) if unicodedata.category(c) in _UNSHOWABLE else c for c in text)


def shown(text: str, terminal: Terminal) -> str:
    """Return ``text`` as this terminal can show it."""
    return visible(text) if terminal.unicode else to_ascii(visible(text))


def to_ascii(text: str) -> str:
    """Return ``text`` in ASCII: our own signs by their look-alikes, anything else as an escape."""
    return text.translate(_TO_ASCII).encode("ascii", "backslashreplace").decode("ascii")


def _escape(character: str) -> str:
    named = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}.get(character)
    if named:
        return named
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"

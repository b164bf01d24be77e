"""The capabilities of the terminal: width, color, character set."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import NamedTuple, TextIO

MIN_WIDTH = 40
MAX_WIDTH = 400
DEFAULT_WIDTH = 80


class Terminal(NamedTuple):
    """The capabilities of an output."""

    width: int = DEFAULT_WIDTH  # Columns, 40 to 400.
    color: bool = False  # Whether it shows color.
    unicode: bool = True  # Whether it shows more than ASCII.


def terminal_of(stream: TextIO | None, environ: Mapping[str, str] = os.environ) -> Terminal:
    """Return the capabilities of the terminal behind ``stream``; 80 columns without color if it is not a terminal."""
    return Terminal(_width(stream, environ), _color(stream, environ), _unicode(stream, environ))


def is_terminal(stream: TextIO | None) -> bool:
    """Return whether ``stream`` is a terminal."""
    try:
        return stream is not None and stream.isatty()
    except ValueError:  # closed
        return False


def _width(stream: TextIO | None, environ: Mapping[str, str]) -> int:
    columns = environ.get("COLUMNS", "")
    width = int(columns) if columns.isascii() and columns.isdigit() and len(columns) < 6 else 0
    if width == 0 and stream is not None and is_terminal(stream):
        try:
            width = os.get_terminal_size(stream.fileno()).columns
        except (OSError, ValueError):
            width = 0
    return min(max(width or DEFAULT_WIDTH, MIN_WIDTH), MAX_WIDTH)


def _color(stream: TextIO | None, environ: Mapping[str, str]) -> bool:
    """Follow https://no-color.org and https://force-color.org; NO_COLOR wins."""
    if environ.get("NO_COLOR"):
        return False
    if environ.get("FORCE_COLOR", "0") not in ("", "0", "false"):
        return True
    return is_terminal(stream) and environ.get("TERM") != "dumb"


def _unicode(stream: TextIO | None, environ: Mapping[str, str]) -> bool:
    # Python writes UTF-8 in the C locale (PEP 540), but naming that locale requests ASCII
    named = environ.get("LC_ALL") or environ.get("LC_CTYPE") or environ.get("LANG") or ""
    encoding = (getattr(stream, "encoding", None) or "utf-8").lower().replace("_", "-")
    return named not in ("C", "POSIX") and encoding.startswith("utf")

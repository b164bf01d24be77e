"""The text of a config: reading a file or standard input with limits, and spans that point into the text."""

from __future__ import annotations

import codecs
import errno
import os
import re
import sys
from bisect import bisect_right
from functools import cached_property
from itertools import islice
from pathlib import Path

from tinylm_cli.config.diagnostic_codes import config_error, diagnostic
from tinylm_cli.errors import ConfigError, InputError, Span
from tinylm_cli.regular_file import open_regular
from tinylm_cli.wording import Setting, Text

MAX_BYTES = 256 * 1024
MAX_JSON_BYTES = 8 * 1024**2
"""Maximum size of a JSON file: quantized models list each of their modules."""

STDIN = "<stdin>"
_FROM_STDIN = Setting("config", "-")

# in longer lines, a diagnostic keeps only the text around the span
_MAX_SHOWN = 240
_SHOWN_BEFORE = 60

# entries of a folder in which an error looks for a config
_MAX_ENTRIES = 1000

_START = 1024  # bytes that show whether a text is JSON
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
_LINE_BREAK = re.compile(r"\r\n|\r|\n")


class Source:
    """The text of a config and its name.

    Attributes:
        name: Path as the user gave it, ``<stdin>``, or an ``Argument``.
        text: The full text, without a byte-order mark.
        path: The path in ``name``, without its git revision.
        shift: Columns to add to every span, if the text is part of an override.
        original: The text that excerpts show, of the same length as ``text``.
    """

    def __init__(
        self,
        name: str,
        text: str,
        *,
        path: str | None = None,
        line_text: str | None = None,
        shift: int = 0,
        original: str | None = None,
    ) -> None:
        self.name = name
        self.text = text
        self.path = name if path is None else path
        self.shift = shift
        self.original = text if original is None else original
        self._line_text = line_text

    @cached_property
    def _lines(self) -> tuple[list[int], list[int]]:
        """The start and the end of each line, without its line break."""
        breaks = [match.span() for match in _LINE_BREAK.finditer(self.text)]
        return [0, *(end for _, end in breaks)], [*(start for start, _ in breaks), len(self.text)]

    def line_bounds(self, index: int) -> tuple[int, int]:
        """Return the start and the end of the line of ``text[index]``, without its line break."""
        starts, ends = self._lines
        line = bisect_right(starts, index) - 1
        return starts[line], ends[line]

    def index(self, line: int, column: int) -> int:
        """Return the index in ``text`` of a line and a column, both from 1."""
        return self._lines[0][line - 1] + column - 1

    def span(self, start: int, end: int) -> Span:
        """Return the span of ``text[start:end]`` on its first line, at least one column wide."""
        starts, ends = self._lines
        line = bisect_right(starts, start) - 1
        line_start, line_end = starts[line], ends[line]
        column = start - line_start + 1
        end_column = max(min(end, line_end) - line_start + 1, column + 1)
        if self._line_text is not None:
            return Span(self.name, line + 1, column + self.shift, end_column + self.shift, self._line_text)
        shown_from = max(line_start, start - _SHOWN_BEFORE) if line_end - line_start > _MAX_SHOWN else line_start
        text = self.original[shown_from : min(line_end, shown_from + _MAX_SHOWN)]
        return Span(self.name, line + 1, column, end_column, text, shown_from - line_start + 1)


def read_source(reference: str) -> Source:
    """Read ``-`` (standard input) or a regular file.

    Raises:
        InputError: If it cannot be opened, is not a regular file, or is larger than 256 KiB, in JSON than 8 MiB.
        ConfigError: If it is not UTF-8.
    """
    if reference == "-":
        name, data = STDIN, _read_stdin()
    else:
        name, data = reference, _read_file(reference)
    return source_of(name, data)


def source_of(name: str, data: bytes, *, path: str | None = None) -> Source:
    """Decode the bytes of a config.

    Raises:
        InputError: If it is larger than 256 KiB, in JSON than 8 MiB.
        ConfigError: If it is not UTF-8.
    """
    is_json = data[:_START].removeprefix(codecs.BOM_UTF8).lstrip().startswith(b"{")
    require_size(name, len(data), MAX_JSON_BYTES if is_json else MAX_BYTES)
    return Source(name, _decode(name, data), path=path)


def require_size(name: str, size: int, limit: int) -> None:
    """Check the size of a config.

    Raises:
        InputError: If it exceeds the limit, in bytes.
    """
    if size > limit:
        words = f"{limit // 1024**2} MiB" if limit >= 1024**2 else f"{limit // 1024} KiB"
        raise InputError(f"{name} is larger than {words}", help="a model config is about a page of YAML")


def _read_stdin() -> bytes:
    if sys.stdin is None or sys.stdin.closed:
        raise InputError("standard input is closed", help="pipe a config in, or name a file")
    try:
        return sys.stdin.buffer.read(MAX_JSON_BYTES + 1)
    except OSError as error:
        raise InputError(f"cannot read standard input: {error.strerror}") from error


def _read_file(reference: str) -> bytes:
    try:
        with open_regular(reference) as file:
            return file.read(MAX_JSON_BYTES + 1)
    except FileNotFoundError as error:
        raise InputError(f"no such file: {reference}") from error
    except IsADirectoryError as error:
        within = _config_within(Path(reference))
        remedy = f"name a config in it: {within}" if within else "name a YAML file, or the folder of a model"
        raise InputError(f"{reference} is a folder, not a config", help=remedy) from error
    except OSError as error:
        pipe = Text("to read from a pipe, use ", _FROM_STDIN) if error.errno == errno.EINVAL else ""
        raise InputError(f"cannot read {reference}: {error.strerror}", help=pipe) from error
    except ValueError as error:
        raise InputError(f"not a path: {reference}") from error


def _config_within(folder: Path) -> str | None:
    """Return the first YAML file or model folder among the first entries of a folder, or None."""
    try:
        with os.scandir(folder) as entries:
            names = sorted(entry.name for entry in islice(entries, _MAX_ENTRIES))
        for name in names:
            if name.endswith((".yaml", ".yml")) or (folder / name / "config.json").is_file():
                return str(folder / name)
    except OSError:
        pass
    return None


def _decode(name: str, data: bytes) -> str:
    start = data[:4]
    if b"\0\0" in start:
        raise _not_utf8(name, "the file is UTF-32, not UTF-8")
    if start.startswith(_UTF16_MARKS) or b"\0\0" in (start[:3:2], start[1:4:2]):
        raise _not_utf8(name, "the file is UTF-16, not UTF-8")
    data = data.removeprefix(codecs.BOM_UTF8)  # before decoding, which counts errors from after the mark
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8")
        rest = data[error.start :].split(b"\n", 1)[0].decode("utf-8", "backslashreplace")
        place = Source(name, before + rest).span(len(before), len(before) + len(r"\xff"))
        raise _not_utf8(name, f"byte 0x{data[error.start]:02x} is not valid UTF-8", place) from error


def _not_utf8(name: str, message: str, place: Span | None = None) -> ConfigError:
    return config_error([diagnostic("not-utf8", message, name, place, help="save the file as UTF-8")])

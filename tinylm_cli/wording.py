"""Settings and commands that a report or a message refers to, each worded for the interface that shows them.

Nothing outside ``cli`` names an option: a setting has the name of its keyword argument in the Python API, and
``cli/wording.py`` words it as an option. Views take a :class:`Wording`; messages are a :class:`Text`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol, Self

Value = bool | int | float | str | range | tuple[int, ...] | tuple[str, ...] | None


class Setting(NamedTuple):
    """A setting, alone or with a value.

    Attributes:
        name: The keyword argument, such as ``gpus``.
        value: Its value. Numbers in a tuple are one list; texts in a tuple are set one by one.
        metavar: A placeholder for a value, such as ``FILE``.
    """

    name: str
    value: Value = None
    metavar: str = ""

    def __str__(self) -> str:
        """Return the setting as Python: ``gpus=8``, or only its name."""
        if self.value is None:
            return f"{self.name}={self.metavar}" if self.metavar else self.name
        if isinstance(self.value, tuple) and isinstance(self.value[0], str):
            return f"{self.name}=[{', '.join(map(_literal, self.value))}]"
        return f"{self.name}={_literal(self.value)}"


class Command(NamedTuple):
    """A command to run.

    Attributes:
        verb: Its name, such as ``list``.
        arguments: Its arguments and settings.
    """

    verb: str
    arguments: tuple[str | Setting, ...] = ()

    def __str__(self) -> str:
        """Return the name of the command: Python has no syntax for its arguments."""
        return f"the {self.verb} command"


class ShellNote(NamedTuple):
    """A remark about the shell in which a command is typed; empty in Python.

    Attributes:
        text: The remark.
    """

    text: str

    def __str__(self) -> str:
        """Return nothing: Python code is not typed in a shell."""
        return ""


Reference = Setting | Command | ShellNote


class Wording(Protocol):
    """Returns references as an interface words them; an empty string if it has no such setting, or no shell."""

    def __call__(self, *references: Reference) -> str:
        """Return the references, joined as one interface joins them."""


class Text(str):
    """A message with references in it; as a string, it is worded for Python.

    Attributes:
        parts: Its plain texts and its references, in order.
    """

    parts: tuple[str | Reference, ...]

    def __new__(cls, *parts: str | Reference) -> Self:
        """Return the message that joins ``parts``, which may be messages themselves."""
        flat = tuple(inner for part in parts for inner in (part.parts if isinstance(part, Text) else (part,)))
        text = super().__new__(cls, "".join(map(str, flat)))
        text.parts = flat
        return text

    def worded(self, wording: Wording) -> str:
        """Return the message as an interface words it."""
        return "".join(part if isinstance(part, str) else wording(part) for part in self.parts)


def map_text(text: str, change: Callable[[str], str]) -> str:
    """Return a message with ``change`` applied to its plain texts, but not to its references."""
    if not isinstance(text, Text):
        return change(text)
    return Text(*(change(part) if isinstance(part, str) else part for part in text.parts))


class Argument(str):
    """The source of a diagnostic about an argument of the request instead of a file; ``<gpu>`` in Python."""


class Override(Argument):
    """The argument that changes fields of a config, whose errors count as errors of the config."""


SET = Override("<set>")
"""Source of a diagnostic about an override."""


def _literal(value: object) -> str:
    return (
        f'"{value}"' if isinstance(value, str) and value.isprintable() and not {'"', "\\"} & {*value} else repr(value)
    )

"""Settings and commands as keyword arguments, and as commands by name."""

from __future__ import annotations

from tinylm_cli.wording import Reference, Setting

COMMAND_LINE_ONLY = frozenset({"section"})
"""Settings in views of reports that no function takes."""


def as_keywords(*references: Reference) -> str:
    """Return settings as keyword arguments, and commands by name; empty if the first is only a command's."""
    first = references[0]
    if isinstance(first, Setting) and first.name in COMMAND_LINE_ONLY:
        return ""
    return ", ".join(map(str, references))

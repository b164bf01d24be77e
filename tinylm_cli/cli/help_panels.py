"""``--help`` in plain text: options in panels, commands in groups, no summary cut off."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

from tinylm_cli.cli.options import PANELS

_WIDEST_NAME = 26
"""Maximum width of the left column; a longer name takes a separate line."""

_ARGUMENTS, _OPTIONS, _COMMANDS = "Arguments", "Options", "Commands"


def write_options(parameters: Iterable[Any], ctx: Any, formatter: Any) -> None:
    """Write arguments, then options panel by panel in the order of ``PANELS``, then options without a panel."""
    panels: dict[str, list[tuple[str, str]]] = {name: [] for name in (_ARGUMENTS, *PANELS)}
    for parameter in parameters:
        record = parameter.get_help_record(ctx)
        if record is not None:
            default = _ARGUMENTS if parameter.param_type_name == "argument" else _OPTIONS
            panels.setdefault(parameter.rich_help_panel or default, []).append(
                (record[0], _without_range(parameter, record[1]))
            )
    _write(panels, formatter)


def _without_range(parameter: Any, text: str) -> str:
    """Remove ``x>=1`` from the help of a parameter; the error of an invalid value states the range."""
    describe = getattr(parameter.type, "_describe_range", None)
    if describe is None:
        return text
    return text.replace(f"; {describe()}]", "]").removesuffix(f"  [{describe()}]")


def write_commands(commands: Iterable[Any], formatter: Any) -> None:
    """Write the full summary of each command under its group."""
    groups: dict[str, list[tuple[str, str]]] = {}
    for command in commands:
        groups.setdefault(command.rich_help_panel or _COMMANDS, []).append((command.name, command.get_short_help_str()))
    _write(groups, formatter)


def _write(sections: dict[str, list[tuple[str, str]]], formatter: Any) -> None:
    """Write definition lists whose right columns start at the same place."""
    names = [name for rows in sections.values() for name, _ in rows]
    width = max((len(name) for name in names if len(name) <= _WIDEST_NAME), default=0)
    for title, rows in sections.items():
        if rows:
            with formatter.section(title):
                _write_rows(rows, width, formatter)


def _write_rows(rows: Sequence[tuple[str, str]], width: int, formatter: Any) -> None:
    margin = " " * (formatter.current_indent + width + 2)
    for name, text in rows:
        first = f"{'':{formatter.current_indent}}{name:{width}}"
        lines = textwrap.wrap(text, max(formatter.width - len(margin), 10), break_on_hyphens=False) or [""]
        if len(name) > width:
            if len(first) > formatter.width:  # choices, which wrap between two of them
                end = first.rfind("|", 0, formatter.width) + 1
                formatter.write(f"{first[:end]}\n")
                first = f"{'':{2 * formatter.current_indent}}{first[end:]}"
            formatter.write(f"{first}\n")
        else:
            formatter.write(f"{first}  {lines.pop(0)}".rstrip() + "\n")
        for line in lines:
            formatter.write(f"{margin}{line}\n")

"""``--get PATH``: one value of a JSON report, as raw text."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

from tinylm_cli.errors import UsageError

_MAX_LISTED = 12
"""Maximum number of fields that an error lists if none is similar to the typed one."""


def report_value(report: object, path: str) -> str:
    """Return the value at a dotted path as text with a final line break; objects and lists as JSON.

    Each segment of the path is a field, an index into a list, or the name of a list's row: the value of the row's first
    field. A segment may contain dots, as tensor names do: ``models.0.parts.blocks.0.ln_1.weight.params``.

    Raises:
        UsageError: If the path does not exist; suggests the most similar one.
    """
    from tinylm_cli.render.json import as_document, to_document
    from tinylm_cli.render.sanitize import escape_controls

    document = as_document(report)
    value, known, rest = document, "", path
    while rest:
        entries = _entries(value)
        segment = max((each for each in entries if rest == each or rest.startswith(f"{each}.")), key=len, default=None)
        if segment is None:
            raise UsageError(f"--get {path}: {_missing(known, rest)}", help=_remedy(document, path, known, entries))
        value, known, rest = entries[segment], f"{known}.{segment}".lstrip("."), rest[len(segment) + 1 :]
    if not isinstance(value, str):
        return to_document(value)
    return "".join(f"{escape_controls(line)}\n" for line in value.split("\n"))


def require_value(report: object, path: str | None) -> None:
    """Check that the path of ``--get`` exists, before a command writes files.

    Raises:
        UsageError: If it does not.
    """
    if path is not None:
        report_value(report, path)


def _entries(value: Any) -> dict[str, Any]:
    """Return the valid path segments of a value: fields, or indices and row names; none for a number."""
    if isinstance(value, dict):
        return value
    if not isinstance(value, list):
        return {}
    names = [next(iter(row.values()), None) if isinstance(row, dict) else None for row in value]
    indices = {str(index): row for index, row in enumerate(value)}
    return {name: row for name, row in zip(names, value, strict=True) if isinstance(name, str)} | indices


def _missing(known: str, rest: str) -> str:
    segment = rest.partition(".")[0] or "empty name"
    return f"{known or 'the report'} has no {segment}"


def _remedy(document: Any, path: str, known: str, entries: Mapping[str, Any]) -> str:
    """Return the nearest path: one that ends in the typed path, else one whose field is spelled similarly."""
    from tinylm_cli.config.similar_names import suggest

    paths = list(_paths(document))
    ending = next((each for each in paths if each.endswith(f".{path}")), None)
    if ending is not None:
        return f"did you mean {ending}?"
    if not entries:
        return f"{known} is a single value; end the path there"
    wrong = path[len(known) :].lstrip(".").partition(".")[0]
    near = suggest(wrong, entries)
    if near is not None:
        return f"did you mean {known}{'.' if known else ''}{near}?"
    fields = {each.rpartition(".")[2]: each for each in reversed(paths)}  # of several, the shortest path
    elsewhere = suggest(wrong, fields, cutoff=0.75)
    if elsewhere is not None:
        return f"did you mean {fields[elsewhere]}?"
    listed = ", ".join(list(entries)[:_MAX_LISTED])
    return f"the fields are {listed}{', …' if len(entries) > _MAX_LISTED else ''}"


def _paths(document: Any) -> Iterator[str]:
    """Yield the path of every field, the shortest first; of a list, only the fields of its first row."""
    waiting = deque([("", document)])
    while waiting:
        path, value = waiting.popleft()
        if isinstance(value, list):
            value = {"0": value[0]} if value else {}
        for name, inner in value.items() if isinstance(value, dict) else ():
            here = f"{path}.{name}".lstrip(".")
            yield here
            waiting.append((here, inner))

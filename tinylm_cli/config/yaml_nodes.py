"""Nodes of a parsed document: values, their spans, and how messages describe them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any, NamedTuple

from tinylm_cli.config.diagnostic_codes import clip, quote
from tinylm_cli.errors import Span

_MAX_ITEMS = 20

Scalar = None | bool | int | float | str


@dataclass(slots=True, eq=False)
class Node:
    """A value and its span: ``entries`` of a mapping, ``items`` of a sequence, else ``scalar``.

    ``reported`` marks a value with a diagnostic, which no later check reports again.
    """

    span: Span
    _: KW_ONLY
    scalar: Scalar = None
    written: str = ""
    quoted: bool = False
    entries: dict[str, Entry] | None = None
    items: list[Node] | None = None
    reported: bool = False

    @property
    def is_absent(self) -> bool:
        """Whether the value is empty."""
        return not (self.written or self.quoted or self.reported) and self.entries is None and self.items is None

    def copy(self) -> Node:
        """Return a tree that can be changed independently."""
        entries, items = self.entries, self.items
        return Node(
            self.span,
            scalar=self.scalar,
            written=self.written,
            quoted=self.quoted,
            entries=None if entries is None else {key: Entry(at, node.copy()) for key, (at, node) in entries.items()},
            items=None if items is None else [item.copy() for item in items],
            reported=self.reported,
        )

    def plain(self) -> Any:
        """Return the value as Python data."""
        if self.entries is not None:
            return {key: entry.value.plain() for key, entry in self.entries.items()}
        if self.items is not None:
            return [item.plain() for item in self.items]
        return self.scalar


def describe(node: Node) -> str:
    """Return a short description of a value for a message."""
    if node.entries is not None:
        return "a block of fields"
    if node.items is not None:
        return describe_items(node.items)
    if isinstance(node.scalar, str):
        return quote(node.scalar)
    return clip(node.written) or "an empty value"


def describe_items(items: Sequence[Node]) -> str:
    """Return the first items of a list on one line, for a message."""
    return f"[{clip(', '.join(map(_item, items[:_MAX_ITEMS])))}]"


def _item(node: Node) -> str:
    if node.entries is not None:
        return "{…}"
    if node.items is not None:
        return "[…]"
    return f'"{node.written}"' if node.quoted else node.written or "null"


class Entry(NamedTuple):
    """One ``key: value`` of a mapping."""

    key_span: Span
    value: Node


def find_entry(node: Node, path: Iterable[str]) -> Entry | None:
    """Return the entry at ``path`` under ``node``, or None if it is absent."""
    entry: Entry | None = None
    for part in path:
        entry = (node.entries or {}).get(part)
        if entry is None:
            return None
        node = entry.value
    return entry

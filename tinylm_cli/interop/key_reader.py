"""Reading the keys of a foreign config: each by its type, each mistake at its place, each fact into a tinylm field."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from tinylm_cli.config.diagnostic_codes import clip, diagnostic
from tinylm_cli.config.validation_errors import clip_items
from tinylm_cli.config.yaml_reader import Entry, Node
from tinylm_cli.config.yaml_writer import scalar
from tinylm_cli.errors import Diagnostic, Span

_MOST = 10**12


class Reader:
    """The keys of one object of a foreign config, and the tinylm fields they have filled so far.

    Every read marks its key as understood. A key that is absent gives the family's default, null gives None, and a
    value of the wrong type is reported once and gives the default, so that reading can go on.

    Attributes:
        fields: What has been put into the config, by dotted tinylm field.
        keys: The key that says a field, by dotted tinylm field, where what it says is the field's own value.
        mistakes: What has been found wrong.
        understood: Keys that have been read.
    """

    def __init__(
        self,
        node: Node,
        source: str,
        home: Span,
        defaults: Mapping[str, Any],
        *,
        aliases: Mapping[str, str] | None = None,
        outer: Reader | None = None,
        path: str = "",
    ) -> None:
        self._node = node
        self._entries = node.entries or {}
        self._source = source
        self._home = home
        self._defaults = defaults
        self._aliases = aliases or {}
        self._path = path
        self._bad: set[str] = set()
        self.understood: set[str] = set()
        self.fields: dict[str, Node] = outer.fields if outer is not None else {}
        self.keys: dict[str, str] = outer.keys if outer is not None else {}
        self.mistakes: list[Diagnostic] = outer.mistakes if outer is not None else []

    def has(self, key: str) -> bool:
        """Return whether the file gives ``key`` a value other than null."""
        entry = self._entry(key)
        return entry is not None and not _is_null(entry.value)

    def integer(self, key: str, *, least: int = 1, most: int = _MOST) -> int | None:
        """Return the value of an integer key."""
        value = self._scalar(key, "an integer", lambda value: type(value) is int)
        if isinstance(value, int) and not least <= value <= most:
            value = self._default_after(key, "out-of-range", f"must be an integer from {least:,} to {most:,}")
        return value if isinstance(value, int) else None

    def number(self, key: str, *, above: float = -math.inf) -> float | None:
        """Return the value of a key for any finite number."""
        value = self._scalar(key, "a number", lambda value: type(value) in (int, float))
        if not isinstance(value, int | float):
            return None
        wants = f"above {above:g}, up to {_MOST:g}" if above > -math.inf else f"from {-_MOST:g} to {_MOST:g}"
        if not math.isfinite(value):
            value = self._default_after(key, "not-finite", "must be a finite number")
        elif not (above < value and abs(value) <= _MOST):
            value = self._default_after(key, "out-of-range", f"must be a number {wants}")
        return value if isinstance(value, int | float) else None

    def flag(self, key: str) -> bool | None:
        """Return the value of a key for true or false."""
        value = self._scalar(key, "true or false", lambda value: isinstance(value, bool))
        return value if isinstance(value, bool) else None

    def word(self, key: str) -> str | None:
        """Return the value of a key for text."""
        value = self._scalar(key, "text", lambda value: isinstance(value, str))
        return value if isinstance(value, str) else None

    def numbers(self, key: str) -> list[float] | None:
        """Return the value of a key for a list of finite numbers."""
        return self._items(key, "a list of numbers", lambda value: type(value) in (int, float) and abs(value) <= _MOST)

    def integers(self, key: str) -> list[int] | None:
        """Return the value of a key for a list of integers."""
        return self._items(key, "a list of integers", lambda value: type(value) is int)

    def words(self, key: str) -> list[str] | None:
        """Return the value of a key for a list of words."""
        return self._items(key, "a list of words", lambda value: isinstance(value, str))

    def block(self, key: str) -> Reader | None:
        """Return a reader for the object under ``key``; None where it is absent, null or empty."""
        entry = self._entry(key)
        if entry is None or _is_null(entry.value):
            return None
        if entry.value.entries is None:
            self._report("wrong-type", key, "must be an object", f'for example "{key}": {{…}}, or null')
            return None
        if not entry.value.entries:
            return None
        return Reader(
            entry.value, self._source, self._home, self._defaults, outer=self, path=f"{self._path}{key}."
        )  # fmt: skip

    def put(self, field: str, value: Any, *keys: str) -> None:
        """Write a tinylm field, as said by the first of ``keys`` that the file has, else by the family itself.

        None leaves the field out. A value worked out from a key that is wrong is not judged again.
        """
        key = next((key for key in keys if self._entry(key) is not None), keys[0] if keys else None)
        node = Node(self.place(*keys))
        node.reported = any(key in self._bad for key in keys)
        if key is not None and (node.reported or self._says(key, value)):
            self.keys[field] = f"{self._path}{self.name_of(key)}"
        elif value is not None:
            self.keys.pop(field, None)
        if value is None and not node.reported:
            self.fields.pop(field, None)
            return
        if isinstance(value, list | tuple):
            node.items = [_leaf(node.span, each) for each in value]
        else:
            node.scalar = None if node.reported else value
        node.written = "" if node.reported else scalar(value)
        self.fields[field] = node

    def value(self, field: str) -> Any:
        """Return what stands in a tinylm field so far; None when nothing sound does."""
        node = self.fields.get(field)
        return None if node is None else node.plain()

    def value_of(self, key: str) -> Any:
        """Return the value of a key as Python data, whatever its type."""
        entry = self._entry(key)
        return None if entry is None else entry.value.plain()

    def unsupported(self, key: str, why: str, remedy: str = "") -> None:
        """Refuse the value of ``key``: it means something that a config cannot say."""
        if key in self._bad:
            return
        self._bad.add(key)
        entry = self._entry(key)
        message = (
            f"{self._path}{key} {_shown(entry.value) if entry is not None else 'by default'} is not supported: {why}"
        )
        remedy = remedy or "to see the rest of the model, change it in a copy of the file"
        self._add("unsupported-setting", message, self.place(key), key, remedy)

    def missing(self, key: str, why: str, remedy: str) -> None:
        """Say that ``key`` is needed and absent."""
        if key in self._bad:
            return
        self._bad.add(key)
        self._add("missing-key", f"{self._path}{key} is missing: {why}", self._node.span._replace(text=""), key, remedy)

    def contradiction(self, key: str, message: str, remedy: str) -> None:
        """Say that ``key`` does not fit another."""
        if key not in self._bad:
            self._bad.add(key)
            self._add("contradiction", message, self.place(key), key, remedy)

    def place(self, *keys: str) -> Span:
        """Return where the first of ``keys`` that the file has is written; where the family is named if none is."""
        entries = (self._entry(key) for key in keys)
        return next((entry.value.span for entry in entries if entry is not None), self._home)

    def name_of(self, key: str) -> str:
        """Return the spelling of ``key`` that the file uses."""
        if key in self._entries:
            return key
        return next((other for other, meant in self._aliases.items() if meant == key and other in self._entries), key)

    def leftovers(self) -> dict[str, Entry]:
        """Return the keys that nobody has read, in the order of the file."""
        return {key: entry for key, entry in self._entries.items() if key not in self.understood}

    def unknown(self, key: str, entry: Entry, remedy: str) -> None:
        """Say that nothing is known of ``key``."""
        message = f"unknown setting {clip(self._path + key)}: it may change the model"
        self.mistakes.append(
            diagnostic("unknown-setting", message, self._source, entry.key_span, field=self._path + key, help=remedy)
        )

    def _says(self, key: str, value: Any) -> bool:
        """Return whether ``value`` is what stands under ``key``, or what its absence stands for."""
        said = self.value_of(key) if self.has(key) else self._defaults.get(key)
        return bool(said == value) and isinstance(said, bool) == isinstance(value, bool)

    def _entry(self, key: str) -> Entry | None:
        self.understood.add(key)
        self.understood.update(other for other, meant in self._aliases.items() if meant == key)
        return self._entries.get(self.name_of(key))

    def _scalar(self, key: str, wants: str, fits: Any) -> Any:
        entry = self._entry(key)
        if entry is None:
            return self._defaults.get(key)
        node = entry.value
        if _is_null(node):
            return None
        if node.entries is None and node.items is None and not node.reported and fits(node.scalar):
            return node.scalar
        return self._default_after(key, "wrong-type", f"must be {wants}")

    def _items(self, key: str, wants: str, fits: Any) -> list[Any] | None:
        entry = self._entry(key)
        if entry is None or _is_null(entry.value):
            return None
        items = entry.value.items
        if items is None or not all(
            item.items is None and item.entries is None and fits(item.scalar) for item in items
        ):
            self._report("wrong-type", key, f"must be {wants}", "write it in brackets: [ … ]")
            return None
        return [item.scalar for item in items]

    def not_null(self, key: str, wants: str) -> None:
        """Say that null is nothing ``key`` can be."""
        self._report("wrong-type", key, f"must be {wants}", "leave it out for the family's default")

    def _default_after(self, key: str, code: str, problem: str) -> Any:
        entry = self._entry(key)
        assert entry is not None
        written = entry.value.written
        default = self._defaults.get(key)
        quoted = entry.value.quoted and code == "wrong-type" and written.replace(".", "", 1).isdigit()
        example = (
            f"for example {json.dumps(default)}, or leave it out"
            if default is not None
            else "leave it out for the family's default"
        )
        self._report(code, key, problem, f"write {clip(written)} without quotes" if quoted else example)
        return default

    def _report(self, code: str, key: str, problem: str, remedy: str) -> None:
        entry = self._entry(key)
        assert entry is not None
        if key in self._bad:
            return
        self._bad.add(key)
        if not entry.value.reported:
            message = f"{self._path}{self.name_of(key)} {problem}, not {_shown(entry.value)}"
            self._add(code, message, entry.value.span, key, remedy)

    def _add(self, code: str, message: str, span: Span, key: str, remedy: str) -> None:
        field = f"{self._path}{self.name_of(key)}"
        self.mistakes.append(diagnostic(code, message, self._source, span, field=field, help=remedy))


def tree(fields: Mapping[str, Node], root: Span, home: Span) -> Node:
    """Return dotted fields as the tree that a YAML config would have given."""
    entries: dict[str, Entry] = {}
    for name, node in fields.items():
        *blocks, last = name.split(".")
        inside = entries
        for block in blocks:
            outer = inside.setdefault(block, Entry(home, Node(home, entries={}))).value.entries
            assert outer is not None
            inside = outer
        inside[last] = Entry(node.span, node)
    return Node(root, entries=entries)


def _leaf(span: Span, value: Any) -> Node:
    node = Node(span, written=scalar(value))
    node.scalar = value
    return node


def _is_null(node: Node) -> bool:
    return node.scalar is None and node.entries is None and node.items is None and not node.reported


def _shown(node: Node) -> str:
    if node.entries is not None:
        return "an object"
    if node.items is not None:
        return clip_items(node.items)
    return f'"{clip(node.written)}"' if node.quoted else clip(node.written) or "null"

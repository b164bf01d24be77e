"""State of the translation of a config.json: the tinylm fields so far, and diagnostics about its keys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from tinylm_cli.config.diagnostic_codes import clip, diagnostic
from tinylm_cli.config.yaml_nodes import Entry, Node, describe_items, find_entry
from tinylm_cli.config.yaml_scalar import scalar
from tinylm_cli.errors import Diagnostic, Span
from tinylm_cli.wording import Setting, Text


class UnknownKey(NamedTuple):
    """A key outside the schema of its family."""

    path: str  # As the file spells it.
    entry: Entry
    meant: str | None  # The known key that it may misspell.


class Translation:
    """The tinylm fields of a config.json, each with the position of the key that sets it.

    Keys are spelled as in the family's schema, with dots for nested ones (``rope_scaling.factor``). Messages spell them
    as the file does.

    Args:
        source: Name of the file.
        family_span: Position of the family's name, used for every value that the family implies.
        prefix: Text before each key in messages: ``text_config.``.
    """

    def __init__(self, source: str, family_span: Span, prefix: str = "") -> None:
        self.source = source
        self.family_span = family_span
        self.prefix = prefix
        self.node = Node(family_span, entries={})  # The language model's keys, spelled as in the family's schema.
        self.displayed: dict[str, str] = {}  # The file's spelling of a key, if it differs from the schema's.
        self.values: Any = None  # The validated keys, defaults included; an instance of the family's ``Keys``.
        self.fields: dict[str, Node] = {}  # The value and position of each tinylm field, by dotted name.
        self.keys: dict[str, str] = {}  # The file's key that each tinylm field is copied from, by dotted field.
        self.with_errors: set[str] = set()  # Keys with a diagnostic; values derived from them are not reported again.
        self.derived_from: dict[str, tuple[str, ...]] = {}  # The invalid keys from which a field was derived.
        # Diagnostics of keys whose fields are all overridden; reported only if another field is derived from the key.
        self.withheld: dict[str, list[Diagnostic]] = {}
        # Keys without effect on the model, in file order; then those that other keys make irrelevant.
        self.ignored: list[str] = []
        self.unknown: list[UnknownKey] = []  # Keys outside the schema, judged once all others are translated.
        self.errors: list[Diagnostic] = []  # Diagnostics so far.

    def is_given(self, key: str) -> bool:
        """Return whether the file sets ``key`` to a value other than null."""
        entry = self._entry(key)
        return entry is not None and not _is_null(entry.value)

    def has_error(self, *keys: str) -> bool:
        """Return whether any of ``keys`` already has a diagnostic."""
        return not self.with_errors.isdisjoint(keys)

    def put(self, field: str, value: Any, *keys: str) -> None:
        """Set a tinylm field, positioned at the first of ``keys`` that the file has, else at the family's name.

        None removes the field; in a kind of layers, it resets the field. A value derived from an invalid key is not
        validated again.
        """
        key = next((key for key in keys if self._entry(key) is not None), keys[0] if keys else None)
        node = Node(self.span_of(*keys), reported=self.has_error(*keys))
        if node.reported:
            self.derived_from[field] = keys
        if key is not None and (node.reported or self._is_value_of(key, value)):
            self.keys[field] = self.display(key)
        elif value is not None:
            self.keys.pop(field, None)
        if value is None and not node.reported and not field.startswith("layers.kinds."):
            self.fields.pop(field, None)
            return
        if value == {}:
            node.entries = {}
        elif isinstance(value, list | tuple):
            node.items = [_scalar_node(node.span, each) for each in value]
        else:
            node.scalar = None if node.reported else value
        node.written = "" if node.reported else scalar(value)
        self.fields[field] = node

    def put_at(self, field: str, value: Any, span: Span, key: str) -> None:
        """Set a tinylm field to the value of a key outside the family's schema, at its position."""
        node = _scalar_node(span, value)
        if isinstance(value, list):
            node.scalar, node.items = None, [_scalar_node(span, each) for each in value]
        self.fields[field] = node
        self.keys[field] = key

    def get(self, field: str) -> Any:
        """Return the current value of a tinylm field; None if it is unset or derived from an invalid key."""
        node = self.fields.get(field)
        return None if node is None else node.plain()

    def ignore(self, *keys: str) -> None:
        """Record as ignored each of ``keys`` that the file sets; other keys make it irrelevant."""
        self.ignored += [self.display(key) for key in keys if self.is_given(key)]

    def unsupported(self, key: str, why: str, remedy: str = "") -> None:
        """Report that tinylm cannot express the value of ``key``."""
        entry = self._entry(key)
        value = _shown(entry.value) if entry is not None else "by default"
        if entry is not None and not remedy.endswith("?"):  # a misspelling
            ignore = (Setting("ignore", (self.display(key),)), " reads the file without it")
            remedy = Text(f"{remedy}; ", *ignore) if remedy else Text(*ignore)
        remedy = remedy or "write another value"
        message = f"{self.display(key)} {value} is not supported: {why}"
        self._report_once("unsupported-setting", key, message, self.span_of(key), remedy)

    def missing(self, key: str, why: str, remedy: str) -> None:
        """Report that ``key`` is required but absent."""
        block = self._entry(key.rpartition(".")[0])
        span = self.node.span if block is None else block.value.span
        message = f"{self.display(key)} is missing: {why}"
        self._report_once("missing-key", key, message, span._replace(text=""), remedy)

    def contradiction(self, key: str, message: str, remedy: str, *others: str) -> None:
        """Report that ``key`` contradicts ``others``, unless one of them already has a diagnostic."""
        if not self.has_error(*others):
            self._report_once("contradiction", key, message, self.span_of(key), remedy)

    def span_of(self, *keys: str) -> Span:
        """Return the position of the first of ``keys`` that the file has, else the position of the family's name."""
        entries = (self._entry(key) for key in keys)
        return next((entry.value.span for entry in entries if entry is not None), self.family_span)

    def display(self, key: str) -> str:
        """Return the full path of ``key``, spelled as in the file."""
        return self.displayed.get(key, f"{self.prefix}{key}")

    def key_of(self, field: str) -> str:
        """Return the file's key that a tinylm field is copied from; the field itself if there is none."""
        return self.keys.get(field, field)

    def report(self, code: str, name: str, message: str, span: Span, remedy: str) -> None:
        """Add a diagnostic about a key, spelled as in the file."""
        self.errors.append(diagnostic(code, message, self.source, span, field=name, help=remedy))

    def _report_once(self, code: str, key: str, message: str, span: Span, remedy: str) -> None:
        if key not in self.with_errors:
            self.with_errors.add(key)
            self.report(code, self.display(key), message, span, remedy)

    def _is_value_of(self, key: str, value: Any) -> bool:
        """Return whether ``value`` equals the value of ``key`` in the file, or else its default."""
        entry = self._entry(key)
        if entry is not None and not _is_null(entry.value):
            given = entry.value.plain()
        else:
            given = self.values
            for part in key.split("."):
                given = getattr(given, part, None)
        return bool(given == value) and isinstance(given, bool) == isinstance(value, bool)

    def _entry(self, key: str) -> Entry | None:
        return find_entry(self.node, key.split("."))


def as_tree(fields: Mapping[str, Node], root: Span, family_span: Span) -> Node:
    """Return dotted tinylm fields as the tree of an equal YAML config."""
    entries: dict[str, Entry] = {}
    for name, node in fields.items():
        *blocks, last = name.split(".")
        inside = entries
        for block in blocks:
            outer = inside.setdefault(block, Entry(family_span, Node(family_span, entries={}))).value.entries
            assert outer is not None
            inside = outer
        inside[last] = Entry(node.span, node)
    return Node(root, entries=entries)


def _scalar_node(span: Span, value: Any) -> Node:
    node = Node(span, written=scalar(value))
    node.scalar = value
    return node


def _is_null(node: Node) -> bool:
    return node.scalar is None and node.entries is None and node.items is None and not node.reported


def _shown(node: Node) -> str:
    if node.entries is not None:
        return "an object"
    if node.items is not None:
        return describe_items(node.items)
    return f'"{clip(node.written)}"' if node.quoted else clip(node.written) or "null"

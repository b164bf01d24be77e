"""Parsing of one YAML document into a tree of nodes with spans.

Reads ruamel.yaml's events instead of its nodes, so aliases are never expanded, and parsing is not recursive.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal, NamedTuple

from tinylm_cli.config.diagnostic_codes import clip, config_error, diagnostic, quote
from tinylm_cli.config.source import MAX_BYTES, Source, require_size
from tinylm_cli.config.yaml_nodes import Entry, Node, Scalar
from tinylm_cli.errors import Diagnostic, Label, Span

MAX_DEPTH = 32
MAX_EVENTS = 10_000

# characters outside YAML's c-printable: https://yaml.org/spec/1.2.2/#51-character-set
_FORBIDDEN = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufffe\uffff]")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_TAG = r"!<[^>]*>|![^\s,\[\]{}]*"

MAX_DIGITS = 100

_PLAIN_WORD = r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,30}"
"""A text that YAML reads as one unquoted scalar."""

_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT = re.compile(r"[-+]?[0-9]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_OCTAL = r"0o[0-7]+"
_HEX = r"0x[0-9a-fA-F]+"
_INF = r"[-+]?\.(inf|Inf|INF)"
_NAN = frozenset({".nan", ".NaN", ".NAN"})


class NumberTooLongError(ValueError):
    """A number with too many digits."""


def resolve_plain(text: str) -> Scalar:
    """Return the value of an unquoted scalar.

    Raises:
        NumberTooLongError: If a number has more than 100 characters.
    """
    if text in _NULL:
        return None
    if text in _BOOL:
        return _BOOL[text]
    if text[0] not in "+-.0123456789":
        return text
    if _INT.fullmatch(text):
        return int(_short(text))
    if _FLOAT.fullmatch(text):
        return float(_short(text))
    if re.fullmatch(_OCTAL, text):
        return int(_short(text)[2:], 8)
    if re.fullmatch(_HEX, text):
        return int(_short(text)[2:], 16)
    if re.fullmatch(_INF, text):
        return float("-inf" if text[0] == "-" else "inf")
    return float("nan") if text in _NAN else text


def _short(text: str) -> str:
    if len(text) > MAX_DIGITS:
        raise NumberTooLongError(f"a number of {len(text):,} characters is too long; the maximum is {MAX_DIGITS}")
    return text


class Event(NamedTuple):
    """One step of a parser through a document; ``start`` and ``end`` are indexes in its text."""

    kind: Literal["other", "document", "mapping", "sequence", "end", "scalar", "alias", "node"]
    start: int
    end: int
    value: str = ""
    quoted: bool = False
    flow: bool = False  # in [ ] or { }
    anchor: str | None = None
    tag: str | None = None
    node: Node | None = None  # A value that was read as a whole.


class _Frame:
    """A collection under construction, and the key whose value comes next."""

    def __init__(self, node: Node, event: Event) -> None:
        self.node = node
        self.start = event.start
        self.flow = event.flow
        self.key: str | None = None
        self.key_span: Span | None = None  # None if the value of a wrong key is dropped


@dataclass
class Document:
    """The root node (None for an empty document) and the diagnostics."""

    root: Node | None = None
    diagnostics: list[Diagnostic] = field(default_factory=list)


def read_yaml(source: Source) -> Document:
    """Read one YAML 1.2 document.

    Duplicate keys, anchors, aliases, tags and merge keys are reported in ``diagnostics``, and parsing continues.

    Raises:
        ConfigError: If the text is not YAML, is nested deeper than 32, or contains several documents or more
            than about 10,000 keys and values.
        InputError: If it is larger than 256 KiB, as only JSON may be.
    """
    require_size(source.name, len(source.text), MAX_BYTES)
    if re.fullmatch(_PLAIN_WORD, source.text):  # like most values of overrides
        return Document(Node(source.span(0, len(source.text)), scalar=resolve_plain(source.text), written=source.text))
    document = _read_document(source)
    return Document(document.root.copy() if document.root is not None else None, [*document.diagnostics])


@lru_cache(maxsize=64)
def _read_document(source: Source) -> Document:
    """Return the document of a source; cached, because a sweep reads it for each of its configs."""
    builder = DocumentBuilder(source)
    return builder.build(_yaml_events(source, builder.document))


_KINDS: dict[str, Literal["document", "mapping", "sequence", "end", "scalar", "alias"]] = {
    "DocumentStartEvent": "document",
    "MappingStartEvent": "mapping",
    "SequenceStartEvent": "sequence",
    "MappingEndEvent": "end",
    "SequenceEndEvent": "end",
    "ScalarEvent": "scalar",
    "AliasEvent": "alias",
}


def _yaml_events(source: Source, document: Document) -> Iterator[Event]:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        for event in YAML(typ="safe", pure=True).parse(source.text):
            yield Event(
                _KINDS.get(type(event).__name__, "other"),
                event.start_mark.index,
                event.end_mark.index,
                getattr(event, "value", ""),
                quoted=getattr(event, "style", None) is not None,
                flow=getattr(event, "flow_style", None) is True,
                anchor=getattr(event, "anchor", None),
                tag=getattr(event, "tag", None),
            )
    # ruamel also raises AssertionError for an unknown version, and errors of int() and chr() for escapes
    except (YAMLError, AssertionError, ValueError, OverflowError) as error:
        from tinylm_cli.config.syntax_errors import syntax_error

        document.diagnostics.append(syntax_error(error, source))
        raise config_error(document.diagnostics) from error


class DocumentBuilder:
    """Makes the nodes of a document from the events of a parser."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.document = Document()
        self.stack: list[_Frame] = []
        self.documents = 0

    def build(self, events: Iterable[Event]) -> Document:
        """Return the document.

        Raises:
            ConfigError: As :func:`read_yaml` does.
        """
        bad = _FORBIDDEN.search(self.source.text)
        if bad:
            message = f"character U+{ord(bad.group()):04X} is not allowed in YAML"
            help_ = "delete it, or write it as an escape in double quotes"
            raise config_error(
                [diagnostic("control-character", message, self.source.name, self.source.span(*bad.span()), help=help_)]
            )
        for number, event in enumerate(events):
            if number == MAX_EVENTS:
                message = f"a config may have at most {MAX_EVENTS:,} keys and values"
                self._fail("too-many-values", message, event, "a model config is about a page of YAML")
            self._take(event)
        return self.document

    def _take(self, event: Event) -> None:
        match event.kind:
            case "document":
                self.documents += 1
                if self.documents > 1:
                    message = "a config must be one YAML document, but a second one starts here"
                    self._fail("several-documents", message, event, "keep one document")
            case "mapping":
                self._open(event, Node(self._span(event), entries={}))
            case "sequence":
                self._open(event, Node(self._span(event), items=[]))
            case "end":
                frame = self.stack.pop()
                if frame.flow:
                    frame.node.span = self.source.span(frame.start, event.end)
                self._add(frame.node)
            case "scalar":
                self._scalar(event)
            case "node":
                assert event.node is not None
                self._add(event.node)
            case "alias":
                message = f"YAML aliases are not supported: {clip(f'*{event.anchor}')}"
                self._add(self._report("alias", message, Node(self._span(event)), "write the value"))

    def _open(self, event: Event, node: Node) -> None:
        self._reject_anchor_and_tag(event, node)
        if len(self.stack) == MAX_DEPTH:
            message = f"a config may nest at most {MAX_DEPTH} levels deep"
            self._fail("too-deep", message, event, "a field belongs at the top level or in one block")
        self.stack.append(_Frame(node, event))

    def _scalar(self, event: Event) -> None:
        node = Node(self._span(event), written=event.value, quoted=event.quoted)
        self._reject_anchor_and_tag(event, node)
        half = _SURROGATE.search(event.value)
        if half:
            message = f"U+{ord(half.group()):04X} is half of a surrogate pair"
            self._report("control-character", message, node, "write the character itself")
        elif node.quoted:
            node.scalar = event.value
        else:
            try:
                node.scalar = resolve_plain(event.value)
            except NumberTooLongError as error:
                self._report("number-too-long", f"{error}", node, "write fewer digits")
        self._add(node)

    def _add(self, node: Node) -> None:
        """Add a finished node to the collection under construction, or make it the root."""
        if not self.stack:
            self.document.root = node
            return
        frame = self.stack[-1]
        if frame.node.items is not None:
            frame.node.items.append(node)
        elif frame.key is None:
            frame.key, frame.key_span = node.written, None if self._is_wrong_key(node, frame) else node.span
        else:
            if frame.key_span is not None and frame.node.entries is not None:
                if node.is_absent:
                    node.span = frame.key_span
                frame.node.entries[frame.key] = Entry(frame.key_span, node)
            frame.key = None

    def _is_wrong_key(self, node: Node, frame: _Frame) -> bool:
        """Return whether a key has a diagnostic, and report one that is not a new name."""
        entries = frame.node.entries or {}
        if node.reported:
            return True
        if node.entries is not None or node.items is not None:
            message = "a key must be a name, not a list or a mapping"
            self._report("key-not-a-name", message, node, "write name: value")
        elif node.written == "<<" and not node.quoted:
            self._report("merge-key", "merge keys (<<) are not supported", node, "write the fields explicitly")
        elif node.written in entries:
            first = entries[node.written].key_span
            message = f"duplicate key {quote(node.written)}, first set on line {first.line}"
            self._report("duplicate-key", message, node, "remove one of them", Label(first, "first set here"))
        return node.reported

    def _reject_anchor_and_tag(self, event: Event, node: Node) -> None:
        start = event.start
        if event.anchor is not None:
            anchor = f"&{event.anchor}"
            at = max(self.source.text.find(anchor, start), start)
            place = Node(self.source.span(at, at + len(anchor)))
            self._report("anchor", f"YAML anchors are not supported: {clip(anchor)}", place, "delete it")
        if event.tag is not None:
            tag = re.compile(_TAG).search(self.source.text, start)
            written, span = (tag.group(), self.source.span(*tag.span())) if tag else (event.tag, node.span)
            self._report("tag", f"YAML tags are not supported: {clip(written)}", Node(span), "delete it")
            node.reported = True

    def _span(self, event: Event) -> Span:
        return self.source.span(event.start, event.end)

    def _report(self, code: str, message: str, node: Node, remedy: str, *labels: Label) -> Node:
        """Report an error at the place of ``node``, and return the node, marked as reported."""
        self.document.diagnostics.append(
            diagnostic(code, message, self.source.name, node.span, help=remedy, labels=labels)
        )
        node.reported = True
        return node

    def _fail(self, code: str, message: str, event: Event, remedy: str) -> None:
        self._report(code, message, Node(self._span(event)), remedy)
        raise config_error(self.document.diagnostics)

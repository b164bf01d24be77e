"""Read a config.json into a tree of nodes with source positions, and distinguish it from a tinylm config."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from tinylm_cli.config.diagnostic_codes import config_error, diagnostic
from tinylm_cli.config.source import Source
from tinylm_cli.config.yaml_nodes import Entry, Node
from tinylm_cli.config.yaml_reader import MAX_DEPTH, MAX_EVENTS, Document, DocumentBuilder, Event, read_yaml
from tinylm_cli.errors import ConfigError, InputError, Span
from tinylm_cli.interop import FAMILY_KEYS

if TYPE_CHECKING:
    import json

_SIZES = ("vocab_size", "d_model", "n_heads", "n_layers", "d_ff")
_MIN_SIZES = 3  # in a JSON file of tinylm's own

_NOT_FINITE = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}


def is_hugging_face(source: Source, *, expected: bool) -> bool:
    """Return whether a text is a Hugging Face config: it names a family, or is ``expected`` to, and is not tinylm's.

    A config of tinylm has d_model, and either every size of the course or no family. Other files have d_model too, such
    as MPT's and those of encoder-decoders.

    Args:
        source: The text.
        expected: Whether the file name suggests a Hugging Face config: ``*.json``.
    """
    try:
        root = (_read_valid_json(source) or _read_yaml(source)).root
    except (ConfigError, InputError):
        return expected
    if root is None or root.entries is None:
        return expected
    names_family = any(key in root.entries for key in FAMILY_KEYS)
    if "d_model" not in root.entries:
        return expected or names_family
    if "model_type" in root.entries and _has_d_model(root.entries["model_type"].value.scalar):
        return True
    n_sizes = sum(size in root.entries for size in _SIZES)
    return n_sizes < (len(_SIZES) if names_family else _MIN_SIZES if expected else 0)


def _has_d_model(model_type: Any) -> bool:
    """Return whether d_model is a key of this family's config.json, or may be one."""
    from tinylm_cli.interop.families import FAMILIES
    from tinylm_cli.interop.unsupported_families import UNSUPPORTED

    return model_type in UNSUPPORTED or (model_type in FAMILIES and "d_model" in FAMILIES[model_type].keys.model_fields)


def read_json(source: Source) -> Document:
    """Read a JSON document into a tree with source positions; ``NaN`` and ``Infinity`` are numbers, as in Python.

    Raises:
        ConfigError: If the text is not JSON, is nested too deep, or has too many keys and values.
    """
    document = _read_valid_json(source)
    if document is not None:
        return document
    if _looks_like_json(source):
        _require_json(source)
    return _read_yaml(source)  # reports the place of a number too long, or of nesting too deep


def data_to_node(value: Any, span: Span) -> Node:
    """Return the tree that :func:`read_json` returns for JSON data, with one span for every node."""
    import json

    if isinstance(value, dict):
        return Node(span, entries={key: Entry(span, data_to_node(inner, span)) for key, inner in value.items()})
    if isinstance(value, list):
        return Node(span, items=[data_to_node(inner, span) for inner in value])
    quoted = isinstance(value, str)
    return Node(span, scalar=value, written=value if quoted else json.dumps(value), quoted=quoted)


def is_readable(value: Any) -> bool:
    """Return whether JSON data has few enough keys and values for :func:`read_json`."""
    return _n_events(value) <= MAX_EVENTS


def _n_events(value: Any, depth: int = MAX_DEPTH) -> int:
    """Return the events: one for each scalar and key, two for each list and object; too many if it is too deep."""
    if not isinstance(value, dict | list):
        return 1
    if not depth:
        return MAX_VALUES + 1
    parts = value.values() if isinstance(value, dict) else value
    nested = [part for part in parts if isinstance(part, dict | list)]
    scalars_and_keys = len(value) - len(nested) + (len(value) if isinstance(value, dict) else 0)
    return 2 + scalars_and_keys + sum(_n_events(part, depth - 1) for part in nested)


def _looks_like_json(source: Source) -> bool:
    return source.text.lstrip().startswith(("{", "["))


def _read_yaml(source: Source) -> Document:
    """Read YAML; tabs, which it rejects in indentation, are replaced without moving any column."""
    return read_yaml(Source(source.name, source.text.replace("\t", " "), original=source.text))


def _read_valid_json(source: Source) -> Document | None:
    """Return the document of an object or list in JSON, or None if the text is not one that Python reads."""
    document = _read_events(source) if _looks_like_json(source) else None
    if document is None or document.root is None:
        return None
    return Document(document.root.copy(), [*document.diagnostics])


@lru_cache(maxsize=8)
def _read_events(source: Source) -> Document | None:
    import json

    try:
        json.loads(source.text)
    except (ValueError, RecursionError):
        return None
    document = DocumentBuilder(source).build(_events(source))
    if document.root is not None and any(name in source.text for name in _NOT_FINITE):
        _resolve_not_finite(document.root)
    return document


_LONG = 64 * 1024
"""Characters of a value that is read as a whole: the lists of modules of a quantization have megabytes."""

MAX_VALUES = 500_000
"""Maximum number of keys and values of such a value, counted as ``MAX_EVENTS``; reading them takes about a second."""

_POSITIONED = re.compile(r"\\u[dD][89a-fA-F]|NaN|Infinity|[0-9]{30}")
"""What a value read as a whole may not contain, because it needs a position of its own."""

_TOKEN = re.compile(r'[{}\[\]"]|[^\s{}\[\]:,"]+')


def _events(source: Source) -> Iterator[Event]:
    """Yield the events of a text that is known to be JSON."""
    import json

    text, strings = source.text, json.JSONDecoder()
    position = depth = 0
    while token := _TOKEN.search(text, position):
        start, position = token.span()
        match token.group():
            case "{" | "[" as opening:
                whole = _long_value(source, start, strings) if depth == 1 else None
                if whole is not None:
                    position = whole.end
                    yield whole
                    continue
                depth += 1
                yield Event("mapping" if opening == "{" else "sequence", start, position, flow=True)
            case "}" | "]":
                depth -= 1
                yield Event("end", start, position)
            case '"':
                value, position = strings.raw_decode(text, start)
                yield Event("scalar", start, position, value, quoted=True)
            case number_or_word:
                yield Event("scalar", start, position, number_or_word)


def _long_value(source: Source, start: int, decoder: json.JSONDecoder) -> Event | None:
    """Return the event of a long list or object at ``start``, whose parts have its position; None for any other."""
    value, end = decoder.raw_decode(source.text, start)
    if end - start < _LONG or _POSITIONED.search(source.text, start, end):
        return None
    if _n_events(value) > MAX_VALUES:
        return None
    return Event("node", start, end, node=data_to_node(value, source.span(start, end)))


def _require_json(source: Source) -> None:
    import json

    try:
        json.loads(source.text)
    except json.JSONDecodeError as error:
        position, reason, remedy = error.pos, f"{error.msg[:1].lower()}{error.msg[1:]}", _remedy(source.text, error)
        comma = _trailing_comma(source.text, error.pos)
        if comma is not None:
            position, reason, remedy = comma, "a comma follows the last value", "delete the comma after the last value"
        span = source.span(position, position + 1)
        raise config_error(
            [diagnostic("json-syntax", f"this is not JSON: {reason}", source.name, span, help=remedy)]
        ) from error
    except (ValueError, RecursionError):
        return  # a number too long or nesting too deep: read_yaml reports the position


def _trailing_comma(text: str, error_position: int) -> int | None:
    """Return the position of a comma before a closing bracket; Python before 3.13 reports the position after it."""
    comma = re.compile(r"\s*(,)\s*[}\]]")
    found = comma.match(text, error_position) or comma.match(text, max(len(text[:error_position].rstrip()) - 1, 0))
    return found.start(1) if found else None


def _remedy(text: str, error: json.JSONDecodeError) -> str:
    rest = text[error.pos :].strip()
    if error.msg.startswith("Unterminated") or any(word.startswith(rest) for word in ("true", "false", "null")):
        return "close every brace, bracket and quote: the end of the file may be cut off"
    return 'a config.json is {"key": value, …}, with every key in double quotes'


def _resolve_not_finite(root: Node) -> None:
    """Read ``NaN`` and ``Infinity``, which Python writes into JSON, as numbers."""
    waiting = [root]
    while waiting:
        node = waiting.pop()
        waiting += [entry.value for entry in (node.entries or {}).values()] + (node.items or [])
        if not node.quoted and node.written in _NOT_FINITE and node.entries is None and node.items is None:
            node.scalar = _NOT_FINITE[node.written]

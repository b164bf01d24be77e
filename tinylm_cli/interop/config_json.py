"""Read a config.json into a tree of nodes with source positions, and distinguish it from a tinylm config."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from tinylm_cli.config.diagnostic_codes import config_error, diagnostic
from tinylm_cli.config.source import Source
from tinylm_cli.config.yaml_nodes import Entry, Node
from tinylm_cli.config.yaml_reader import MAX_EVENTS, Document, read_yaml
from tinylm_cli.errors import ConfigError, Span

if TYPE_CHECKING:
    import json

CONFIG_FILE = "config.json"
"""Name of the config file in a Hugging Face folder."""

_FAMILY_KEYS = ("model_type", "architectures")
_PAIR = r"(?<!\\)\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})"
_PADDING = "\ue000\ue000"
"""Private characters that fill the two columns by which a YAML escape is shorter than a pair of JSON escapes."""
_NOT_FINITE = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}


def is_hugging_face(source: Source, *, expected: bool) -> bool:
    """Return whether a text is a Hugging Face config: it names a family, or is ``expected`` to, and has no d_model.

    A config of a family that has the key d_model, such as MPT, is one too.

    Args:
        source: The text.
        expected: Whether the file name suggests a Hugging Face config: ``*.json``.
    """
    if not expected and not any(key in source.text for key in _FAMILY_KEYS):
        return False
    try:
        root = read_yaml(_as_yaml(source)).root
    except ConfigError:
        return expected
    if root is None or root.entries is None:
        return expected
    if "d_model" in root.entries:
        return "model_type" in root.entries and _has_d_model(root.entries["model_type"].value.scalar)
    return expected or any(key in root.entries for key in _FAMILY_KEYS)


def _has_d_model(model_type: Any) -> bool:
    """Return whether d_model is a key of this family's config.json, or may be one."""
    from tinylm_cli.interop.families import FAMILIES
    from tinylm_cli.interop.family_lookup import UNSUPPORTED

    return model_type in UNSUPPORTED or (model_type in FAMILIES and "d_model" in FAMILIES[model_type].keys.model_fields)


def read_json(source: Source) -> Document:
    """Read a JSON document with the YAML reader, which keeps source positions; convert tabs, surrogate pairs and NaN.

    Raises:
        ConfigError: If the text starts like JSON but is not valid JSON, or if ``read_yaml`` rejects it.
    """
    if source.text.lstrip().startswith(("{", "[")):
        _require_json(Source(source.name, source.text.replace("\t", " "), original=source.text))
    document = read_yaml(_as_yaml(source))
    if document.root is not None:
        _resolve(document.root)
    return document


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
    return _ENDS + _n_events(value) <= MAX_EVENTS


_ENDS = 4
"""The events at the start and at the end of the stream and of the document."""


def _n_events(value: Any) -> int:
    """Return the number of YAML events: one for each scalar and key, two for each list and object."""
    if isinstance(value, dict):
        return 2 + sum(1 + _n_events(inner) for inner in value.values())
    return 2 + sum(map(_n_events, value)) if isinstance(value, list) else 1


@lru_cache(maxsize=8)
def _as_yaml(source: Source) -> Source:
    """Replace characters that YAML rejects, without moving any column."""
    return Source(source.name, re.sub(_PAIR, _joined, source.text.replace("\t", " ")), original=source.text)


def _joined(pair: re.Match[str]) -> str:
    high, low = int(pair[1], 16), int(pair[2], 16)
    return f"\\U{0x10000 + ((high - 0xD800) << 10) + low - 0xDC00:08x}{_PADDING}"


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


def _resolve(root: Node) -> None:
    """Read ``NaN`` and ``Infinity``, which Python writes into JSON, as numbers; remove the padding of pairs."""
    waiting = [root]
    while waiting:
        node = waiting.pop()
        waiting += [entry.value for entry in (node.entries or {}).values()] + (node.items or [])
        if isinstance(node.scalar, str):
            node.scalar = node.scalar.replace(_PADDING, "")
        if not node.quoted and node.written in _NOT_FINITE and node.entries is None and node.items is None:
            node.scalar = _NOT_FINITE[node.written]

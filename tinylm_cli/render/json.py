"""Write a report as one JSON document: its fields, raw integers, and a ``schema_version``."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from tinylm_cli.reports import SCHEMA_VERSION


def to_json(report: object) -> str:
    """Return the document in ASCII with a final line break; a float that is not finite becomes null."""
    return to_document(as_document(report))


def as_document(report: object) -> dict[str, Any]:
    """Return the document of a report as plain data."""
    return {"schema_version": SCHEMA_VERSION, **plain(report)}


def to_document(value: Any) -> str:
    """Return plain data as ASCII JSON, in which control characters, bidi marks and ``##`` are escapes."""
    text = json.dumps(value, indent=2, allow_nan=False) + "\n"
    return text.replace("##", "#\\u0023")  # only strings contain it; a runner obeys ##[error] anywhere in a line


def plain(value: Any) -> Any:
    """Return dataclasses and named tuples and mappings as dictionaries, and tuples as lists, recursively."""
    if is_dataclass(value):
        return {f.name: plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return plain(value._asdict())
    if isinstance(value, Mapping):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value

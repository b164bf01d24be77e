"""The JSON report of a command that went well."""

from __future__ import annotations

import json
from typing import Any


def report(result: Any) -> dict[str, Any]:
    """Return the report on standard output."""
    assert result.code == 0, result.err
    document: dict[str, Any] = json.loads(result.out)
    assert document["schema_version"] == 2
    return document

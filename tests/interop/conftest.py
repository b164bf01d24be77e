"""Configs of families with some keys changed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.interop.changes import CONFIGS, Change


@pytest.fixture
def changed(tmp_path: Path) -> Change:
    """Write a family's config with some keys changed, and return its path; ``...`` deletes one."""

    def change(family: str, **keys: Any) -> str:
        body = json.loads((CONFIGS / f"{family}.json").read_text(encoding="utf-8"))
        body.update(keys)
        body = {key: value for key, value in body.items() if value is not ...}
        path = tmp_path / f"{family}.json"
        path.write_text(json.dumps(body, indent=2), encoding="utf-8")
        return str(path)

    return change

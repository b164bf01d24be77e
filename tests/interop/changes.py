"""Load a config with changed keys."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tinylm_cli.config.schema import flatten
from tinylm_cli.errors import ConfigError
from tinylm_cli.interop.load import load_config

CONFIGS = Path(__file__).resolve().parent / "configs"

Change = Callable[..., str]


def errors_of(path: str, *overrides: str) -> list[tuple[str, str]]:
    """Return the code and the source line of every error."""
    with pytest.raises(ConfigError) as raised:
        load_config(path, overrides)
    return [(each.code, each.span.text.strip(" ,") if each.span else "") for each in raised.value.diagnostics]


def flat(path: str, *overrides: str) -> dict[str, Any]:
    return flatten(load_config(path, overrides).config.model_dump())

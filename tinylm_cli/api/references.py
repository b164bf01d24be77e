"""The config and the changes that a call names: by name, by path, as a dictionary, or as text."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from tinylm_cli.errors import UsageError

if TYPE_CHECKING:
    from tinylm_cli.interop.load import ConfigText

Changes = str | Iterable[str] | Mapping[str, Any]
"""Fields to change: ``"n_layers=8"``, several of these, or ``{"n_layers": 8, "norm.kind": "rmsnorm"}``."""


def reference_of(name_or_path: str | os.PathLike[str]) -> str:
    """Return the CONFIG argument; a ``Path`` without a folder is a local file, not a preset."""
    if isinstance(name_or_path, str):
        return name_or_path
    path = os.fspath(name_or_path)
    return path if os.sep in path else os.path.join(os.curdir, path)  # noqa: PTH118 - Path drops the leading dot


def as_text(config: Mapping[str, Any]) -> ConfigText:
    """Return a config in a dictionary as text, to which errors point.

    Raises:
        UsageError: If it contains itself, or keys that are not text.
    """
    import json

    from tinylm_cli.config.source import Source
    from tinylm_cli.interop.load import ConfigText

    try:  # YAML reads JSON; a dtype of torch, in a config of transformers, is text in a config.json too
        text = json.dumps(
            config, indent=2, ensure_ascii=False, default=lambda value: getattr(value, "item", value.__str__)()
        )
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"config: {error}", help="give a dictionary of text, numbers, lists and dictionaries"
        ) from None
    name = str(config.get("name") or "config")
    return ConfigText(Source("<config>", text, path=name), as_json=False, name=name)


def read_changes(changes: Changes) -> tuple[str, ...]:
    """Return the changes as arguments of ``--set``."""
    if isinstance(changes, str):
        return (changes,)
    if not isinstance(changes, Mapping):
        return tuple(changes)
    from tinylm_cli.config.schema import flatten
    from tinylm_cli.config.yaml_scalar import scalar

    return tuple(f"{key}={scalar(value)}" for key, value in flatten(dict(changes)).items())

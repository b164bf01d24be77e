"""Rule violations of configs with named layer kinds."""

from __future__ import annotations

from typing import Any

from tinylm_cli.config.dependencies import Problem
from tinylm_cli.config.fields import fields
from tinylm_cli.config.layer_rules import broken_rules_of_model

DEFAULTS = {name: field.example if field.required else field.default for name, field in fields().items()}


def problems(kinds: dict[str, Any], pattern: str | None = "a, b", **changes: Any) -> list[Problem]:
    """Return the problems of a config with these kinds; ``head__kind`` in ``changes`` is the field ``head.kind``."""
    fields_of_model = {name.replace("__", "."): value for name, value in changes.items()}
    values = {**DEFAULTS, "layers.kinds": kinds, "layers.pattern": pattern, **fields_of_model}
    return list(broken_rules_of_model(values))

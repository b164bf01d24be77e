"""The schema of a config as JSON Schema, for editors."""

from __future__ import annotations

from typing import Any

from tinylm_cli.config.schema import ModelConfig


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of a config file; cross-field rules, which it cannot say, are ``tinylm validate``'s."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **ModelConfig.model_json_schema(),
        "title": "tinylm model config",
        "description": "A decoder-only transformer language model, as tinylm reads it.",
    }

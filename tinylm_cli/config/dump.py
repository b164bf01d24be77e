"""A config as YAML that reads back as the same config."""

from __future__ import annotations

from collections.abc import Iterator
from textwrap import wrap
from typing import Any

from tinylm_cli.config.fields import fields
from tinylm_cli.config.schema import BLOCKS, ModelConfig

SCHEMA_LINE = "# yaml-language-server: $schema=./tinylm.schema.json"


MAX_WIDTH = 120
"""Columns of the lines of a config to start from."""


def to_yaml(config: ModelConfig) -> str:
    """Return every field of ``config``, defaults included, in the order of the schema."""
    return "".join(f"{line}\n" for line in _lines(config, commented=False))


def to_commented_yaml(config: ModelConfig, title: str) -> str:
    """Return every field with a comment that says what it means and what it may be: a file to start from."""
    head = [SCHEMA_LINE, "#", f"# {title}", ""]
    return "".join(f"{line}\n" for line in [*head, *_lines(config, commented=True)])


def scalar(value: Any) -> str:
    """Return a field's value as YAML writes it: a float as ``1.0e-5``, which YAML 1.1 does not take for text either."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, float):
        return str(value)
    digits, e, exponent = repr(value).partition("e")
    return f"{digits}{'' if '.' in digits else '.0'}e{int(exponent):+d}" if e else digits


def _lines(config: ModelConfig, *, commented: bool) -> Iterator[str]:
    for name, value in config.model_dump().items():
        if name in BLOCKS:
            if commented:
                yield ""
                yield from _comment(ModelConfig.model_fields[name].description or "", "")
            yield f"{name}:"
            for inner, inner_value in value.items():
                yield from _field(f"{name}.{inner}", inner, inner_value, "  ", commented=commented)
        elif value is not None:
            if commented and name == "nominal_params":
                yield ""
            yield from _field(name, name, value, "", commented=commented)


def _field(dotted: str, key: str, value: Any, indent: str, *, commented: bool) -> Iterator[str]:
    if commented:
        field = fields()[dotted]
        yield from _comment(field.description + ("" if field.choices else f" ({field.wants})"), indent)
    yield f"{indent}{key}: {scalar(value)}"


def _comment(text: str, indent: str) -> list[str]:
    lead = f"{indent}# "
    return wrap(text, MAX_WIDTH, initial_indent=lead, subsequent_indent=lead, break_long_words=False)

"""A config as YAML that reads back as the same config."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tinylm_cli.config.blocks import BLOCKS
from tinylm_cli.config.fields import fields
from tinylm_cli.config.needs import first_unmet
from tinylm_cli.config.schema import ModelConfig, flatten

SCHEMA_LINE = "# yaml-language-server: $schema=./tinylm.schema.json"


def to_yaml(config: ModelConfig) -> str:
    """Return every field of ``config`` that means something there, defaults included, in the order of the schema."""
    return "".join(f"{line}\n" for line in _lines(config, commented=False))


def to_commented_yaml(config: ModelConfig, title: str) -> str:
    """Return the same fields, each with a comment that says what it means and may be: a file to start from."""
    head = [SCHEMA_LINE, "#", f"# {title}", ""]
    return "".join(f"{line}\n" for line in [*head, *_lines(config, commented=True)])


def to_short_yaml(config: ModelConfig, title: str) -> str:
    """Return what ``config`` requires or sets apart from the defaults, in the order of the schema, under a title."""
    head = [SCHEMA_LINE, "#", *(f"# {line}" for line in title.splitlines()), ""]
    return "".join(f"{line}\n" for line in [*head, *_short_lines(config)])


def scalar(value: Any) -> str:
    """Return a field's value as YAML writes it: a float as ``1.0e-5``, which YAML 1.1 does not take for text either."""
    if value is None:
        return "null"
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(scalar, value))}]"
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, float):
        return str(value)
    digits, e, exponent = repr(value).partition("e")
    return f"{digits}{'' if '.' in digits else '.0'}e{int(exponent):+d}" if e else digits


def _lines(config: ModelConfig, *, commented: bool) -> Iterator[str]:
    flat = flatten(config.model_dump())
    for name, value in config.model_dump().items():
        if name in BLOCKS:
            if commented:
                yield ""
                yield f"# {ModelConfig.model_fields[name].description}"
            yield f"{name}:"
            for inner, inner_value in value.items():
                if inner_value is None or first_unmet(f"{name}.{inner}", flat) is not None:
                    continue
                yield from _field(f"{name}.{inner}", inner, inner_value, "  ", commented=commented)
        elif value is not None:
            if commented and name == "nominal_params":
                yield ""
            yield from _field(name, name, value, "", commented=commented)


def _short_lines(config: ModelConfig) -> Iterator[str]:
    described = fields()
    for name, value in config.model_dump().items():
        if name in BLOCKS:
            inner = {key: each for key, each in value.items() if each != described[f"{name}.{key}"].default}
            if inner:
                yield ""
                yield f"{name}:"
            for key, each in inner.items():
                yield f"  {key}: {scalar(each)}"
        elif described[name].required or value != described[name].default:
            if name == "nominal_params":
                yield ""
            yield f"{name}: {scalar(value)}"


def _field(dotted: str, key: str, value: Any, indent: str, *, commented: bool) -> Iterator[str]:
    if commented:
        field = fields()[dotted]
        yield f"{indent}# {field.description}" + ("" if field.choices else f" ({field.wants})")
    yield f"{indent}{key}: {scalar(value)}"

"""Writing of a config as YAML that loads as the same config."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import groupby
from typing import Any

from tinylm_cli.config.amounts import AmountKind, stated
from tinylm_cli.config.blocks import BLOCKS
from tinylm_cli.config.dependencies import REQUIREMENTS, applies
from tinylm_cli.config.fields import Field, fields
from tinylm_cli.config.schema import ModelConfig, flatten
from tinylm_cli.config.yaml_reader import resolve_plain

SCHEMA_LINE = "# yaml-language-server: $schema=./tinylm.schema.json"

_PLAIN = re.compile(r"[A-Za-z](?:[\w.+/()-]|[ :](?=[\w.+/()-]))*|[0-9.]+ ?[A-Za-z/%]+|[0-9]{4}-[0-9]{2}", re.ASCII)
_YAML_1_1 = frozenset({"y", "n", "yes", "no", "on", "off"})  # booleans to older readers
_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_COLUMNS = 80
_DECIMALS: dict[AmountKind, int] = {"count": 2, "size": 4, "flops": 2}
"""Decimals of an amount with a unit."""

_MOST_LISTED = 4
_FIRST = frozenset(
    {
        *("vocab_size", "d_model", "n_heads", "n_layers", "d_ff", "max_len", "dropout", "tie_weights"),
        *("position.kind", "norm.kind", "norm.eps", "attention.bias"),
        *("feed_forward.activation", "feed_forward.gated", "feed_forward.bias"),
    }
)
"""Fields that a commented config shows even at their defaults."""
_MORE = (
    "More fields, such as grouped-query attention, sliding windows, RoPE scaling and experts:"
    " tinylm schema --format markdown"
)


def to_yaml(config: ModelConfig) -> str:
    """Return every field of ``config`` that has an effect, defaults included, in the order of the schema."""
    lines: list[str] = []
    for block, given in groupby(shown_fields(config), lambda pair: _block(pair[0])):
        lines += [f"{block}:"] if block else []
        for name, value in given:
            indent, key = _place(name)
            lines.append(f"{indent}{key}: {scalar(value)}")
    return "".join(f"{line}\n" for line in lines)


def to_commented_yaml(config: ModelConfig, title: str) -> str:
    """Return a commented config: the common fields and all that differ from the defaults."""
    flat = flatten(config.model_dump())
    known = fields()
    chosen = [name for name, value in flat.items() if name in _FIRST or value != known[name].default]
    shown = [name for name in chosen if flat[name] is not None and applies(name, flat)]
    lines = [SCHEMA_LINE, "#", f"# {title}", ""]
    for block, names in groupby(shown, _block):
        if not block and lines[-1]:
            lines.append("")
        if block:
            lines += ["", *_comment(ModelConfig.model_fields[block].description or "", "", _COLUMNS), f"{block}:"]
        for name in names:
            indent, key = _place(name)
            value = _amount(known[name], flat[name])
            lines += [*_comment(_explained(known[name]), indent, _COLUMNS), f"{indent}{key}: {value}"]
    lines += ["", *_comment(_MORE, "", _COLUMNS)]
    return "".join(f"{line}\n" for line in lines)


def field_listings() -> Iterator[tuple[str, str]]:
    """Yield the name of each block (empty: the top level) and its fields as YAML with their defaults.

    A field without a default is a comment with an example.
    """
    for block in ("", *BLOCKS):
        lines: list[str] = []
        described = [field for field in fields().values() if _block(field.name) == block]
        if block:
            lines.append(f"{block}:" if any(field.default is not None for field in described) else f"# {block}:")
        for field in described:
            indent, key = _place(field.name)
            absent = "# " if field.default is None and not field.required else ""
            default = [] if field.required or absent else [f"{scalar(field.default)} by default"]
            needs = [f"only if {need.condition}" for need in REQUIREMENTS.get(field.name, ())]
            lines += _comment(_explained(field, *(["required"] if field.required else default), *needs), indent, 60)
            value = field.example if absent or field.required else field.default
            lines.append(f"{indent}{absent}{key}: {scalar(value)}")
        yield block, "\n".join(lines)


def to_short_yaml(config: ModelConfig, title: str) -> str:
    """Return a title, then the required and non-default fields, in the order of the schema."""
    head = [SCHEMA_LINE, "#", *(f"# {line}" for line in title.splitlines()), ""]
    return "".join(f"{line}\n" for line in [*head, *_short_lines(config)])


def scalar(value: Any) -> str:
    """Return a value as YAML; a float as ``1.0e-5``, which YAML 1.1 also reads as a number."""
    if value is None:
        return "null"
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(scalar, value))}]"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        plain = _PLAIN.fullmatch(value) and resolve_plain(value) == value and value.casefold() not in _YAML_1_1
        return value if plain else _quoted(value)
    if not isinstance(value, float):
        return str(value)
    digits, e, exponent = repr(value).partition("e")
    return f"{digits}{'' if '.' in digits else '.0'}e{int(exponent):+d}" if e else digits


def _quoted(text: str) -> str:
    """Return text as a double-quoted scalar on one line; https://yaml.org/spec/1.2.2/#57-escaped-characters."""
    return f'"{"".join(map(_escaped, text))}"'


def _escaped(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    if character.isprintable():
        return character
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def short_scalar(value: Any) -> str:
    """Return a value as short YAML: of a long list, its ends and its length."""
    if not isinstance(value, tuple | list) or len(value) <= _MOST_LISTED:
        return scalar(value)
    first, second, *_, last = map(scalar, value)
    return f"[{first}, {second}, …, {last}] ({len(value):,})"


def shown_fields(config: ModelConfig) -> Iterator[tuple[str, Any]]:
    """Yield the dotted name and the value of each field that is set and has an effect."""
    flat = flatten(config.model_dump())
    for name, value in flat.items():
        if value is not None and applies(name, flat):
            yield name, value


def _amount(field: Field, value: Any) -> str:
    """Return a value with a unit if that is exact, such as ``78.6GiB`` or ``125M``; else as YAML."""
    if field.kind not in ("count", "size", "flops"):
        return scalar(value)
    return stated(value, field.kind, _DECIMALS[field.kind]).replace(",", "")


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


def _explained(field: Field, *more: str) -> str:
    """Return a field's description, with the expected values in brackets."""
    named = field.choices and all(choice in field.description for choice in field.choices)
    brackets = [*([] if named else [field.expected]), *more]
    return f"{field.description} ({'; '.join(brackets)})" if brackets else field.description


def _comment(text: str, indent: str, columns: int) -> list[str]:
    from textwrap import wrap

    return wrap(
        text, columns, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# ",
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip


def _block(name: str) -> str:
    """Return the block of a field; empty for the top level."""
    return name.rpartition(".")[0]


def _place(name: str) -> tuple[str, str]:
    """Return the indentation and the key of a field."""
    block, _, key = name.rpartition(".")
    return ("  " if block else ""), key

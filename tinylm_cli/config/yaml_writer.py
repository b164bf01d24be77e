"""Writing of a config as YAML that loads as the same config."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from itertools import groupby
from typing import Any

from tinylm_cli.config.amounts import AmountKind, stated
from tinylm_cli.config.blocks import BLOCKS
from tinylm_cli.config.dependencies import REQUIREMENTS, applying_fields
from tinylm_cli.config.fields import MODEL, SCHEMA, Field, fields
from tinylm_cli.config.layer_rules import LAYER_SELECTORS
from tinylm_cli.config.layers import flatten_kinds
from tinylm_cli.config.schema import ModelConfig, flatten
from tinylm_cli.config.yaml_scalar import scalar
from tinylm_cli.wording import Text, Wording

SCHEMA_LINE = "# yaml-language-server: $schema=./tinylm.schema.json"

_COLUMNS = 80
_DECIMALS: dict[AmountKind, int] = {"count": 2, "size": 4, "flops": 2}
"""Decimals of an amount with a unit."""

_ALWAYS_SHOWN = frozenset(
    {
        *("vocab_size", "d_model", "n_heads", "n_layers", "d_ff", "max_len", "dropout", "tie_weights"),
        *("position.kind", "norm.kind", "norm.eps", "attention.bias"),
        *("feed_forward.activation", "feed_forward.gated", "feed_forward.bias"),
    }
)
"""Fields that a commented config shows even at their defaults."""
_MORE = Text("More fields, such as grouped-query attention, sliding windows, RoPE scaling and experts: ", SCHEMA)


def to_yaml(config: ModelConfig, *, defaults: bool = True) -> str:
    """Return every field of ``config`` that has an effect, in the order of the schema, with or without ``defaults``."""
    given = shown_fields(config) if defaults else _given_fields(config)
    return "".join(f"{line}\n" for group in _groups(given) for line in group)


def to_short_yaml(config: ModelConfig, title: str) -> str:
    """Return a title, then the required and non-default fields, in the order of the schema."""
    heading = [SCHEMA_LINE, "#", *(f"# {line}" for line in title.splitlines())]
    return _text([heading, *_groups(_given_fields(config))])


def to_commented_yaml(config: ModelConfig, title: str, wording: Wording, chosen: Collection[str] = ()) -> str:
    """Return a commented config: the common fields, those in ``chosen``, and all that differ from the defaults."""
    given, known = dict(shown_fields(config)), fields()
    kept = {*_ALWAYS_SHOWN, *chosen}
    shown = (name for name, value in given.items() if name in kept or value != known[name].default)
    groups = [[SCHEMA_LINE, "#", f"# {title}"]]
    for block, names in groupby(shown, _block):
        about = ModelConfig.model_fields[block].description or "" if block else ""
        groups.append([*_comment(about, "", _COLUMNS), f"{block}:"] if block else [])
        for name in names:
            indent, key = _place(name)
            comment = _comment(_explained(known[name]), indent, _COLUMNS)
            groups[-1] += [*comment, *_lines(indent, key, given[name], _amount(known[name], given[name]))]
    return _text([*groups, _comment(_MORE.worded(wording), "", _COLUMNS)])


def _given_fields(config: ModelConfig) -> Iterator[tuple[str, Any]]:
    """Yield the dotted name and the value of each field that is required, or set to another value than its default."""
    known = fields()
    for name, value in applying_fields(flatten(config.model_dump())).items():
        if known[name].required or value != known[name].default:
            yield name, value


def _groups(values: Iterable[tuple[str, Any]]) -> Iterator[list[str]]:
    """Yield the lines of the top-level fields, and of each block with its fields."""
    for block, given in groupby(values, lambda pair: _block(pair[0])):
        lines = [line for name, value in given for line in _lines(*_place(name), value, scalar(value))]
        yield [f"{block}:", *lines] if block else lines


def _lines(indent: str, key: str, value: Any, written: str) -> list[str]:
    """Return ``key: value``; a mapping of mappings, or one that is long, with a line for each entry."""
    line = f"{indent}{key}: {written}"
    is_nested = isinstance(value, dict) and any(isinstance(inner, dict) for inner in value.values())
    if not is_nested and not (isinstance(value, dict) and len(line) > _COLUMNS):
        return [line]
    inside = f"{indent}  "
    return [
        f"{indent}{key}:",
        *(each for name, inner in value.items() for each in _lines(inside, name, inner, scalar(inner))),
    ]


def _text(groups: Iterable[list[str]]) -> str:
    """Return groups of lines with a blank line between them."""
    return "\n\n".join(map("\n".join, groups)) + "\n"


def field_listings() -> Iterator[tuple[str, str]]:
    """Yield the name of each block (empty: the top level) and its fields as YAML with their defaults.

    A field without a default is a comment with an example.
    """
    for block in ("", *MODEL.blocks):
        described = [field for field in fields().values() if _block(field.name) == block]
        of_block = MODEL.blocks[block].requires if block else ()
        lines = _comment(f"only if {' and '.join(need.condition for need in of_block)}", "", 60) if of_block else []
        if block:
            lines.append(f"{'' if any(field.default is not None for field in described) else '# '}{block}:")
        for field in described:
            indent, key = _place(field.name)
            is_absent = field.default is None and not field.required
            own = REQUIREMENTS.get(field.name, ())[len(of_block) :]
            notes = [f"only if {need.condition}" for need in own]
            if not is_absent:
                notes.insert(0, "required" if field.required else f"{scalar(field.default)} by default")
            value = field.example if is_absent or field.required else field.default
            lines += _comment(_explained(field, *notes), indent, 60)
            lines.append(f"{indent}{'# ' if is_absent else ''}{key}: {scalar(value)}")
        yield block, "\n".join(lines)


def shown_fields(config: ModelConfig) -> Iterator[tuple[str, Any]]:
    """Yield the dotted name and the value of each field that is set and has an effect."""
    for name, value in applying_fields(flatten(config.model_dump())).items():
        is_selector = name in LAYER_SELECTORS and bool(config.layers.kinds)
        if value is not None and value != {} and not is_selector:
            yield name, value


def effective_blocks(config: ModelConfig) -> dict[str, Any]:
    """Return every field as nested data; omits blocks that have no effect, such as other mixers."""
    dumped = config.model_dump()
    effective = {_block(name) for name in applying_fields(flatten(dumped))}
    return {name: value for name, value in dumped.items() if name not in BLOCKS or name in effective}


def shown_leaves(config: ModelConfig) -> Iterator[tuple[str, Any]]:
    """Yield the shown fields; of the kinds of layers, every field that a kind sets."""
    for name, value in shown_fields(config):
        yield from flatten_kinds(value).items() if name == "layers.kinds" else ((name, value),)


def _amount(field: Field, value: Any) -> str:
    """Return a value with a unit if that is exact, such as ``78.6GiB`` or ``125M``; else as YAML."""
    if field.kind not in ("count", "size", "flops"):
        return scalar(value)
    return stated(value, field.kind, _DECIMALS[field.kind]).replace(",", "")


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

"""Metadata of each field, derived from the schema: for messages, templates, completion and documentation."""

from __future__ import annotations

import re
from functools import cache
from types import NoneType
from typing import Annotated, Any, Literal, NamedTuple, get_args, get_origin

from pydantic.fields import FieldInfo

from tinylm_cli.config.base import Block, Requirement
from tinylm_cli.config.field_types import FieldType, Kind
from tinylm_cli.config.layers import LayerKind
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.wording import Command, Setting

SCHEMA = Command("schema", (Setting("format", "markdown"),))
"""The command that lists every field."""


class Field(NamedTuple):
    """One field of a schema.

    Attributes:
        owner: The class that declares it.
        name: Dotted name, e.g. ``norm.eps``.
        kind: The kind of its values.
        description: The description for users.
        expected: Description of the expected type and range, e.g. ``an integer from 1 to 65,536``.
        required: Whether a config must set it.
        default: The value when absent; None for required and optional fields.
        choices: The allowed values; empty if the field is not a choice.
        example: A valid value to show in messages.
        constraints: The annotations that validate its values.
    """

    owner: type[Block]
    name: str
    kind: Kind
    description: str
    expected: str
    required: bool
    default: Any
    choices: tuple[str, ...]
    example: Any
    constraints: tuple[Any, ...]


class Schema(NamedTuple):
    """The schema of one mapping of a document.

    Attributes:
        root: The pydantic class of the mapping.
        within: Dotted name of the mapping in its document; empty for the entire document.
    """

    root: type[Block]
    within: str = ""

    @property
    def blocks(self) -> dict[str, type[Block]]:
        """Its blocks by dotted name, in order."""
        return _blocks(self.root)

    @property
    def fields(self) -> dict[str, Field]:
        """Its leaf fields by dotted name, in order."""
        return _leaves(self.root)

    def here(self, name: str) -> str:
        """Return the dotted name in the document of the field ``name`` of the mapping."""
        return f"{self.within}.{name}" if self.within else name


_IN_KIND = re.compile(r"(layers\.kinds\.[^.]+)\.")

MODEL = Schema(ModelConfig)
"""The schema of a model config."""


def fields() -> dict[str, Field]:
    """Return every leaf field of a model config by dotted name, in the order of the schema."""
    return MODEL.fields


def field_of(name: str) -> Field:
    """Return the field with a dotted name; for a field of a layer kind, the field of the config that it overrides."""
    schema, inner = schema_of(name)
    return fields()[inner if schema.within else name]


def is_field(name: str) -> bool:
    """Return whether there is a field with a dotted name, in the config or in a kind of layers."""
    schema, inner = schema_of(name)
    return inner in schema.fields


def schema_of(name: str) -> tuple[Schema, str]:
    """Return the schema of the mapping that a dotted name is in, and the name in it.

    ``layers.kinds.full.norm.eps`` is ``norm.eps`` of the kind of layers ``layers.kinds.full``.
    """
    in_kind = _IN_KIND.match(name)
    return (Schema(LayerKind, in_kind[1]), name[in_kind.end() :]) if in_kind else (MODEL, name)


@cache
def _blocks(root: type[Block]) -> dict[str, type[Block]]:
    found: dict[str, type[Block]] = {}
    for name, info in root.model_fields.items():
        kind, _ = _unwrap(info.annotation)
        if isinstance(kind, type) and issubclass(kind, Block):
            found[name] = kind
            found.update({f"{name}.{inner}": deeper for inner, deeper in _blocks(kind).items()})
    return found


@cache
def _leaves(root: type[Block]) -> dict[str, Field]:
    found: dict[str, Field] = {}
    for name, info in root.model_fields.items():
        if name in _blocks(root):
            inner = _leaves(_blocks(root)[name]).values()
            found |= {f"{name}.{leaf.name}": leaf._replace(name=f"{name}.{leaf.name}") for leaf in inner}
        else:
            found[name] = _describe(root, name, info)
    return found


def _describe(owner: type[Block], name: str, info: FieldInfo) -> Field:
    annotation, metadata = _unwrap(info.annotation)
    constraints = tuple(each for each in (*info.metadata, *metadata) if not isinstance(each, FieldType | Requirement))
    declared = next((each for each in (*info.metadata, *metadata) if isinstance(each, FieldType)), None)
    kind, expected = declared or _kind(annotation, constraints)
    default = None if info.is_required() else info.default
    return Field(
        owner=owner,
        name=name,
        kind=kind,
        description=info.description or "",
        expected=expected,
        required=info.is_required(),
        default=default,
        choices=get_args(annotation) if kind == "choice" else (),
        example=info.examples[0] if info.examples else default,
        constraints=constraints,
    )


def _unwrap(annotation: Any) -> tuple[Any, tuple[Any, ...]]:
    """Return ``int`` and the metadata for ``Annotated[int, …] | None``."""
    if NoneType in get_args(annotation):
        annotation = next(choice for choice in get_args(annotation) if choice is not NoneType)
    if get_origin(annotation) is not Annotated:
        return annotation, ()
    inner, *metadata = get_args(annotation)
    return inner, tuple(
        bound for each in metadata for bound in (each.metadata if isinstance(each, FieldInfo) else [each])
    )


def _kind(annotation: Any, constraints: tuple[Any, ...]) -> tuple[Kind, str]:
    """Return the kind of a field's values, and a description of the expected values."""
    if get_origin(annotation) is Literal:
        return "choice", "one of " + ", ".join(get_args(annotation))
    if annotation is bool:
        return "boolean", "true or false"
    if annotation is str:
        return "pattern", "a pattern of L and G, such as LLLLLG"
    if get_origin(annotation) is tuple:
        item, bounds = _unwrap(get_args(annotation)[0])
        lengths = [each.min_length for each in constraints if hasattr(each, "min_length")]
        count = f"{lengths[0]} " if lengths else ""  # only lists of fixed length declare min_length
        return "numbers", _kind(item, bounds)[1].replace("a number", f"a list of {count}numbers")
    limits = {
        name: getattr(each, name) for each in constraints for name in ("gt", "ge", "lt", "le") if hasattr(each, name)
    }
    if annotation is int:
        return "integer", f"an integer from {limits['ge']:,} to {limits['le']:,}"
    is_above, is_below = "gt" in limits, "lt" in limits
    least, most = _bound(limits["gt" if is_above else "ge"]), _bound(limits["lt" if is_below else "le"])
    if is_above:
        return "number", f"a number above {least} and {'below' if is_below else 'at most'} {most}"
    return "number", f"a number from {least} to {'below ' if is_below else ''}{most}"


def _bound(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) else f"{value:g}"

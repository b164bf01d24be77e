"""Metadata of each field, derived from the schema: for messages, templates, completion and documentation."""

from __future__ import annotations

from functools import cache
from types import NoneType
from typing import Annotated, Any, Literal, NamedTuple, cast, get_args, get_origin

from pydantic.fields import FieldInfo

from tinylm_cli.config.amounts import FieldType
from tinylm_cli.config.blocks import Block
from tinylm_cli.config.schema import ModelConfig

Kind = Literal[
    "integer",
    "number",
    "boolean",
    "choice",
    "count",
    "size",
    "flops",
    "share",
    "pattern",
    "numbers",
    "rate",
    "flop_rate",
    "text",
    "names",
]


class Field(NamedTuple):
    """One field of a schema.

    Attributes:
        owner: The class that declares it.
        name: Dotted name, e.g. ``norm.eps``.
        kind: The kind of its values. A count, size, flops or rate is an integer that accepts ``125M``, ``24GiB``,
            ``2.5G`` or ``3.35 TB/s``; a share is a number that accepts ``5%``; numbers and names are lists.
        description: The description for users.
        expected: The expected type and range in words, e.g. ``an integer from 1 to 65,536``.
        required: Whether a config must set it.
        default: The value when absent; None for required and optional fields.
        choices: The allowed words; empty if the field is not a choice.
        example: A valid value to show in messages.
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


MODEL = Schema(ModelConfig)
"""The schema of a model config."""


def fields() -> dict[str, Field]:
    """Return every leaf field of a model config by dotted name, in the order of the schema."""
    return MODEL.fields


@cache
def _blocks(root: type[Block]) -> dict[str, type[Block]]:
    found: dict[str, type[Block]] = {}
    for name, info in root.model_fields.items():
        kind = _not_none(info.annotation)
        if isinstance(kind, type) and issubclass(kind, Block):
            found[name] = kind
            found.update({f"{name}.{inner}": deeper for inner, deeper in _blocks(kind).items()})
    return found


@cache
def _leaves(root: type[Block]) -> dict[str, Field]:
    found: dict[str, Field] = {}
    for name in root.model_fields:
        block = _blocks(root).get(name)
        if block is None:
            found[name] = _describe(root, name, name)
        else:
            dotted = ((f"{name}.{inner}", leaf) for inner, leaf in _leaves(block).items())
            found.update({inner: leaf._replace(name=inner) for inner, leaf in dotted})
    return found


def _describe(owner: type[Block], name: str, dotted: str) -> Field:
    info = owner.model_fields[name]
    declared = next(
        (each for each in (*info.metadata, *_annotations(info.annotation)) if isinstance(each, FieldType)), None
    )
    kind: Kind = cast("Kind", declared.kind) if declared else _kind(info.annotation)
    choices = tuple(get_args(_not_none(info.annotation))) if kind == "choice" else ()
    default = None if info.is_required() else info.default
    return Field(
        owner=owner,
        name=dotted,
        kind=kind,
        description=info.description or "",
        expected=declared.expected if declared else _expected(kind, _bounds(info, kind), choices),
        required=info.is_required(),
        default=default,
        choices=choices,
        example=info.examples[0] if info.examples else default,
    )


def _kind(annotation: Any) -> Kind:
    inner = _not_none(annotation)
    if get_origin(inner) is Literal:
        return "choice"
    if get_origin(inner) is Annotated:
        return "numbers"
    kinds: dict[Any, Kind] = {int: "integer", float: "number", bool: "boolean", str: "pattern"}
    return kinds[inner]


def _not_none(annotation: Any) -> Any:
    """Return ``int`` for ``int | None``, and anything else as it is."""
    choices = [choice for choice in get_args(annotation) if choice is not NoneType]
    return choices[0] if NoneType in get_args(annotation) else annotation


def _annotations(annotation: Any) -> tuple[Any, ...]:
    """Return the annotations of ``Annotated[…] | None``."""
    inner = _not_none(annotation)
    return get_args(inner)[1:] if get_origin(inner) is Annotated else ()


def _bounds(info: FieldInfo, kind: Kind) -> list[Any]:
    """Return the bounds of a number, or of each number in a list of them."""
    if kind != "numbers":
        return info.metadata
    sequence, *_ = get_args(_not_none(info.annotation))
    item, *_ = get_args(sequence)
    return [bound for info in get_args(item)[1:] for bound in info.metadata]


def _expected(kind: Kind, metadata: list[Any], choices: tuple[str, ...]) -> str:
    if kind == "choice":
        return "one of " + ", ".join(choices)
    if kind == "boolean":
        return "true or false"
    if kind == "pattern":
        return "a pattern of L and G, such as LLLLLG"
    if kind == "numbers":
        return _expected("number", metadata, ()).replace("a number", "a list of numbers")
    bounds = {
        bound: getattr(item, bound) for item in metadata for bound in ("gt", "ge", "lt", "le") if hasattr(item, bound)
    }
    if kind == "integer":
        return f"an integer from {bounds['ge']:,} to {bounds['le']:,}"
    low, to = (
        (f"above {_bound(bounds['gt'])}", " and at most") if "gt" in bounds else (f"from {_bound(bounds['ge'])}", " to")
    )
    return f"a number {low}{to} " + (f"below {_bound(bounds['lt'])}" if "lt" in bounds else _bound(bounds["le"]))


def _bound(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) else f"{value:g}"

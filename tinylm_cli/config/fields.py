"""What the schema says about each field, by dotted name: for messages, templates, completion and documentation."""

from __future__ import annotations

from functools import cache
from types import NoneType
from typing import Annotated, Any, Literal, NamedTuple, cast, get_args, get_origin

from tinylm_cli.config.amounts import Said
from tinylm_cli.config.blocks import BLOCKS, Block
from tinylm_cli.config.schema import ModelConfig

Kind = Literal["integer", "number", "boolean", "choice", "count", "pattern", "numbers", "size", "flops"]


class Field(NamedTuple):
    """One field of the schema.

    Attributes:
        name: Dotted name, e.g. ``norm.eps``.
        kind: What its values are; a count, a size and flops are integers that may be written ``125M``, ``24GiB`` and
            ``2.5G``, a pattern a word of certain letters, numbers a list.
        description: What it means, as users read it.
        wants: The type and range in words, e.g. ``an integer from 1 to 65,536``.
        required: True when a config must name it.
        default: The value when it is absent; None for required fields and optional labels.
        choices: The words it may take, empty when it is not a choice.
        example: A value to show: the default, or the smallest preset's.
    """

    name: str
    kind: Kind
    description: str
    wants: str
    required: bool
    default: Any
    choices: tuple[str, ...]
    example: Any


@cache
def fields() -> dict[str, Field]:
    """Return every leaf field by dotted name, in the order of the schema."""
    found: dict[str, Field] = {}
    for name in ModelConfig.model_fields:
        block = BLOCKS.get(name)
        if block is None:
            found[name] = _describe(ModelConfig, name, name)
        else:
            found.update(
                {f"{name}.{inner}": _describe(block, inner, f"{name}.{inner}") for inner in block.model_fields}
            )
    return found


def _describe(owner: type[Block], name: str, dotted: str) -> Field:
    info = owner.model_fields[name]
    said = next((each for each in _annotations(info.annotation) if isinstance(each, Said)), None)
    kind: Kind = cast("Kind", said.kind) if said else _kind(info.annotation)
    choices = tuple(get_args(_not_none(info.annotation))) if kind == "choice" else ()
    default = None if info.is_required() else info.default
    return Field(
        name=dotted,
        kind=kind,
        description=info.description or "",
        wants=said.wants
        if said
        else _wants(kind, _item_bounds(info.annotation) if kind == "numbers" else info.metadata, choices),
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
    """Return what stands beside the type in ``Annotated[…] | None``."""
    inner = _not_none(annotation)
    return get_args(inner)[1:] if get_origin(inner) is Annotated else ()


def _item_bounds(annotation: Any) -> list[Any]:
    """Return the bounds of each number in a list of them."""
    sequence, *_ = get_args(_not_none(annotation))
    item, *_ = get_args(sequence)
    return [bound for info in get_args(item)[1:] for bound in info.metadata]


def _wants(kind: Kind, metadata: list[Any], choices: tuple[str, ...]) -> str:
    if kind == "choice":
        return "one of " + ", ".join(choices)
    if kind == "boolean":
        return "true or false"
    if kind == "pattern":
        return "letters L and G, such as LLLLLG"
    if kind == "numbers":
        return _wants("number", metadata, ()).replace("a number", "a list of numbers")
    bounds = {
        bound: getattr(item, bound) for item in metadata for bound in ("gt", "ge", "lt", "le") if hasattr(item, bound)
    }
    if kind == "integer":
        return f"an integer from {bounds['ge']:,} to {bounds['le']:,}"
    low, to = (
        (f"above {_bound(bounds['gt'])}", ", up to") if "gt" in bounds else (f"from {_bound(bounds['ge'])}", " to")
    )
    return f"a number {low}{to} " + (f"below {_bound(bounds['lt'])}" if "lt" in bounds else _bound(bounds["le"]))


def _bound(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) else f"{value:g}"

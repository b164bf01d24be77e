"""Requirements between fields, which may have an effect only with certain values of others; and broken rules."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple, Self

from tinylm_cli.config.base import WITH_ATTENTION, Requirement
from tinylm_cli.config.blocks import BLOCKS
from tinylm_cli.config.layers import overrides_by_kind
from tinylm_cli.config.requirements import ATTENTION, FEED_FORWARD, LM

_FIELDS = {f"{block}.{name}": info for block, part in BLOCKS.items() for name, info in part.model_fields.items()}

FLAT_REQUIREMENTS: dict[str, tuple[Requirement, ...]] = {
    "n_heads": (ATTENTION,),
    "d_ff": (FEED_FORWARD,),
    "tie_weights": (LM,),
}
"""The requirements of flat fields, which a model without use for them may omit."""

POSITIONS_IN_ATTENTION = ("rope", "alibi")
"""Kinds of position encodings that have an effect only in layers with attention."""

REQUIREMENTS: dict[str, tuple[Requirement, ...]] = {
    name: needs
    for name, info in _FIELDS.items()
    if (
        needs := (
            *BLOCKS[name.partition(".")[0]].requires,
            *(need for need in info.metadata if isinstance(need, Requirement)),
        )
    )
}
"""The requirements of each field, those of its block first; fields without any are omitted."""

Values = Mapping[str, Any]
"""The valid values of a config by dotted name, defaults included. A field with an invalid value is absent."""


class Problem(NamedTuple):
    """A broken rule.

    Attributes:
        code: A key of ``CODES``.
        fields: The fields involved; the first one is at fault.
        message: The error.
        help: The remedy.
        part: The word at fault in the text of the first field; empty for all of it.
    """

    code: str
    fields: tuple[str, ...]
    message: str
    help: str
    part: str = ""


def value_text(value: object) -> str:
    """Return the value of a field as messages show it; ``unset`` for None."""
    if value is None:
        return "unset"
    return str(value).lower() if isinstance(value, bool) else str(value)


def unmet_requirements(name: str, values: Mapping[str, Any]) -> list[Requirement]:
    """Return the requirements of ``name`` that ``values`` (dotted name to value) do not meet."""
    needs = REQUIREMENTS.get(name) or FLAT_REQUIREMENTS.get(name, ())
    return [need for need in needs if need.field in values and not need.met(values[need.field])]


def applies(name: str, values: Mapping[str, Any]) -> bool:
    """Return whether ``name`` has an effect with ``values``."""
    return not unmet_requirements(name, values)


def applying_fields(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a config that have an effect in at least one layer kind."""
    kinds = overrides_by_kind(values.get("layers.kinds", {})).values()
    variants = [{**values, **overrides} for overrides in kinds] or [dict(values)]
    return {name: value for name, value in values.items() if any(applies(name, variant) for variant in variants)}


def apply_overrides(values: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``values``, which may lack invalid fields, with ``overrides``; fields without effect get their defaults.

    With ``feed_forward.n_experts: null`` on top, ``feed_forward.top_k: 8`` is reset. With a mixer other than attention,
    positions inside attention are reset to none.
    """
    merged = {**values, **overrides}
    in_attention = merged.get("position.kind") in POSITIONS_IN_ATTENTION and "position.kind" not in overrides
    if in_attention and merged.get("block.mixer", "attention") not in WITH_ATTENTION:
        merged["position.kind"] = "none"
    names = [name for name in REQUIREMENTS if name in merged and name not in overrides]
    while idle := {
        name: defaults()[name] for name in names if not _is_default(name, merged) and not applies(name, merged)
    }:
        merged |= idle
    return merged


class KindFields(NamedTuple):
    """The fields of the kinds of layers, by dotted name.

    Attributes:
        own: The fields that each kind sets.
        resolved: Every field of each kind: the fields of the config, overridden by its own.
        order: The kinds in the order in which layers list them, the pattern once; empty if it is invalid.
    """

    own: Mapping[str, Mapping[str, Any]]
    resolved: Mapping[str, Values]
    order: Sequence[str]

    @classmethod
    def of(cls, values: Values, own: Mapping[str, Mapping[str, Any]], order: Sequence[str]) -> Self:
        """Return the fields of kinds with these ``own`` fields in a config with these ``values``."""
        common = {name: value for name, value in values.items() if not name.startswith("layers.")}
        return cls(own, {name: apply_overrides(common, fields) for name, fields in own.items()}, order)

    def place(self, name: str, field: str) -> str:
        """Return the dotted name under which the layers of a kind get a field."""
        return f"layers.kinds.{name}.{field}" if field in self.own[name] else field


def _is_default(name: str, values: Mapping[str, Any]) -> bool:
    return bool(values[name] == defaults()[name])


def satisfying_values(needs: Iterable[Requirement], values: Mapping[str, Any]) -> dict[str, str]:
    """Return values, by dotted name, that meet ``needs`` and their own requirements in turn."""
    satisfying: dict[str, str] = {}
    for need in needs:
        satisfying |= satisfying_values(unmet_requirements(need.field, values), values)
        satisfying[need.field] = need.example
    return satisfying


@cache
def defaults() -> dict[str, Any]:
    """Return the default of every field of a block, by dotted name."""
    return {name: info.default for name, info in _FIELDS.items()}

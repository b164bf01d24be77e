"""Requirements between fields: a field may have an effect only with certain values of other fields."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

from tinylm_cli.config.blocks import BLOCKS, Requirement

_FIELDS = {f"{block}.{name}": info for block, part in BLOCKS.items() for name, info in part.model_fields.items()}

REQUIREMENTS: dict[str, tuple[Requirement, ...]] = {
    name: needs
    for name, info in _FIELDS.items()
    if (needs := tuple(need for need in info.metadata if isinstance(need, Requirement)))
}
"""The requirements of each field, as its block declares them; fields without any are omitted."""


def unmet_requirements(name: str, values: Mapping[str, Any]) -> list[Requirement]:
    """Return the requirements of ``name`` that ``values`` (dotted name to value) do not meet."""
    return [need for need in REQUIREMENTS.get(name, ()) if need.field in values and not need.met(values[need.field])]


def applies(name: str, values: Mapping[str, Any]) -> bool:
    """Return whether ``name`` has an effect with ``values``."""
    return not unmet_requirements(name, values)


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

"""Rules about kinds of layers that share a transformer block: ``block.shared_block``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tinylm_cli.config.base import WITH_SHARED_BLOCK
from tinylm_cli.config.dependencies import Problem, Values, apply_overrides, value_text

FIELD, KINDS = "block.shared_block", "layers.kinds"

_OF_BLOCK = ("n_heads", "d_ff", "attention.", "feed_forward.", "norm.", "position.", "block.feed_forward")
"""The fields of a shared block, or the starts of their names."""

_OF_LAYER = ("attention.adapter_rank", "feed_forward.adapter_rank")
"""Fields with these names that belong to the layer."""


def broken_block_rules(values: Values, kinds: Mapping[str, Mapping[str, Any]]) -> Iterator[Problem]:
    """Yield a problem for each kind of layers whose shared block differs from the same block of an earlier kind.

    Args:
        values: The valid values of the config by dotted name.
        kinds: The fields that each kind sets, by dotted name.
    """
    common = {name: value for name, value in values.items() if not name.startswith("layers.")}
    users: dict[str, str] = {}
    of_kind = {name: apply_overrides(common, overrides) for name, overrides in kinds.items()}
    for name, own in of_kind.items():
        if own.get("block.mixer") not in WITH_SHARED_BLOCK or FIELD not in own:
            continue
        block = own[FIELD]
        first = users.setdefault(block, name)
        other = of_kind[first]
        of_block = (each for each in own if each.startswith(_OF_BLOCK) and each not in _OF_LAYER)
        field = next((each for each in of_block if own[each] != other.get(each)), None)
        if field is None:
            continue
        message = (
            f"layers of kinds {first} and {name} share the block {block}, but {field} is {value_text(other.get(field))}"
            f" in one and {value_text(own[field])} in the other"
        )
        fields = tuple(f"{KINDS}.{each}.{field}" for each in (name, first) if field in kinds[each])
        place = f"{KINDS}.{name}.{FIELD}" if FIELD in kinds[name] else FIELD
        remedy = f"write the same {field} in both kinds, or another {FIELD} in one of them"
        yield Problem("contradiction", (*fields, place), message, remedy)

"""Rules about kinds of layers that share a transformer block: ``block.shared_block``."""

from __future__ import annotations

from collections.abc import Iterator

from tinylm_cli.config.base import WITH_SHARED_BLOCK
from tinylm_cli.config.dependencies import KindFields, Problem, value_text

FIELD = "block.shared_block"

_OF_BLOCK = ("n_heads", "d_ff", "attention.", "feed_forward.", "norm.", "position.", "block.feed_forward")
"""The fields of a shared block, or the starts of their names."""

_OF_LAYER = ("attention.adapter_rank", "feed_forward.adapter_rank")
"""Fields with these names that belong to the layer."""


def shared_blocks_agree(kinds: KindFields) -> Iterator[Problem]:
    """Yield a problem for each kind of layers whose shared block differs from the same block of an earlier kind."""
    users: dict[str, str] = {}
    for name, own in kinds.resolved.items():
        if own.get("block.mixer") not in WITH_SHARED_BLOCK or FIELD not in own:
            continue
        block = own[FIELD]
        first = users.setdefault(block, name)
        other = kinds.resolved[first]
        of_block = (each for each in own if each.startswith(_OF_BLOCK) and each not in _OF_LAYER)
        field = next((each for each in of_block if own[each] != other.get(each)), None)
        if field is None:
            continue
        message = (
            f"layers of kinds {first} and {name} share the block {block}, but {field} is {value_text(other.get(field))}"
            f" in one and {value_text(own[field])} in the other"
        )
        fields = tuple(kinds.place(each, field) for each in (name, first) if field in kinds.own[each])
        remedy = f"write the same {field} in both kinds, or another {FIELD} in one of them"
        yield Problem("contradiction", (*fields, kinds.place(name, FIELD)), message, remedy)

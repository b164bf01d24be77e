"""Keys and values that a layer computes and later layers attend to, too: for how long a pass holds them.

Letters: B batch_size, T tokens, G n_kv_heads, K d_head, K_v d_value.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from tinylm_cli.config.layer_kinds import kv_sources, layer_pattern
from tinylm_cli.config.schema import ModelConfig


class SharedKVSpan(NamedTuple):
    """The keys and values of one layer."""

    source: int  # the layer that computes them
    last_reader: int  # the last layer that attends to them
    elements: int  # G × (K + K_v), per token


@lru_cache(maxsize=256)
def shared_kv(config: ModelConfig) -> tuple[SharedKVSpan, ...]:
    """Return the keys and values that layers with ``attention.kv_from`` attend to, in the order of their sources."""
    pattern, found = layer_pattern(config), {}
    for layer, source in kv_sources(config).items():
        kind = pattern.kinds[pattern.kind(source)]
        found[source] = SharedKVSpan(source, layer, kind.n_kv_heads * (kind.d_head + kind.d_value_per_kv_head))
    return tuple(found[source] for source in sorted(found))


@lru_cache(maxsize=256)
def most_held_elements(config: ModelConfig) -> int:
    """Return the elements per token that a forward pass holds at once, from the source to the last reader of each."""
    changes: dict[int, int] = {}
    for each in shared_kv(config):
        changes[each.source] = changes.get(each.source, 0) + each.elements
        changes[each.last_reader + 1] = changes.get(each.last_reader + 1, 0) - each.elements
    held = most = 0
    for layer in sorted(changes):
        held += changes[layer]
        most = max(most, held)
    return most


def pending_gradient_elements(config: ModelConfig, layer: int) -> int:
    """Return the elements per token of gradients that the backward pass of a layer holds for sources before it.

    Later layers have computed gradients of shared keys and values; the source adds its own
    in its backward pass.
    """
    return sum(each.elements for each in shared_kv(config) if each.source <= layer < each.last_reader)

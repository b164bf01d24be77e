"""Named kinds of layers from the list of layer types of a config.json: the block ``layers``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate, groupby
from typing import Any

from tinylm_cli.config.layer_kinds import repeated_prefix
from tinylm_cli.interop.translation import Translation

_MOST_RUNS = 4


def put_layers(to: Translation, names: Sequence[str], kinds: Mapping[str, Mapping[str, Any]], *keys: str) -> None:
    """Set the kinds of layers and their order.

    If all layers are of one kind, its fields are set for the whole model instead.

    Args:
        to: The translation.
        names: The kind of each layer, in order.
        kinds: The fields of each kind by dotted name, on top of those set so far.
        *keys: The keys that determine the order.
    """
    used = list(dict.fromkeys(names))
    if len(used) == 1:
        _put_everywhere(to, kinds[used[0]], *keys)
        return
    for part, text in order_of(names).items():
        to.put(f"layers.{part}", text, *keys)
    for name in used:
        to.put(f"layers.kinds.{name}", {}, *keys)
        for field, value in kinds[name].items():
            to.put(f"layers.kinds.{name}.{field}", value, *keys)


def _put_everywhere(to: Translation, fields: Mapping[str, Any], *keys: str) -> None:
    if fields.get("position.kind") == "none":  # the fields of RoPE then have no effect
        for field in [field for field in to.fields if field.startswith("position.")]:
            to.put(field, None)
    for field, value in fields.items():
        to.put(field, value, *keys)


def order_of(names: Sequence[str]) -> dict[str, str]:
    """Return the sequences of the block ``layers`` that list the kind of every layer: first, pattern and last.

    Of the orders with at most ``_MOST_RUNS`` runs of equal layers before the pattern, it is the shortest. Of equally
    short ones, the pattern repeats, and begins early.
    """
    ends = list(accumulate((len(run) for run in _runs(names)), initial=0))[: _MOST_RUNS + 1]
    orders = [_order(names, n_first) for n_first in ends if n_first < len(names)]

    def length(order: Mapping[str, Sequence[str]]) -> tuple[int, bool]:
        is_repeated = sum(map(len, order.values())) < len(names)
        return sum(len(_runs(part)) for part in order.values()), not is_repeated

    return {name: _sequence(part) for name, part in min(orders, key=length).items() if part}


def _order(names: Sequence[str], n_first: int) -> dict[str, Sequence[str]]:
    """Return the order whose pattern begins after ``n_first`` layers, and repeats as often as it fits."""
    others = names[n_first:]
    pattern = repeated_prefix(others)
    repeated = len(others) // len(pattern) * len(pattern)
    return {"first": names[:n_first], "pattern": pattern, "last": others[repeated:]}


def _runs(names: Sequence[str]) -> list[list[str]]:
    return [list(run) for _, run in groupby(names)]


def _sequence(names: Sequence[str]) -> str:
    """Return a sequence as text: ``3 linear, full``."""
    return ", ".join(run[0] if len(run) == 1 else f"{len(run)} {run[0]}" for run in _runs(names))

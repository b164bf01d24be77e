"""Named kinds of layers from the list of layer types of a config.json: the block ``layers``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate, groupby
from typing import Any

from tinylm_cli.config.dependencies import apply_overrides, defaults
from tinylm_cli.config.layer_kinds import repeated_prefix
from tinylm_cli.interop.translation import Translation
from tinylm_cli.quantities import counted

_MAX_RUNS = 4
_LONGEST_GROUP = 32


def put_layers(to: Translation, names: Sequence[str], kinds: Mapping[str, Mapping[str, Any]], *keys: str) -> None:
    """Set the kinds of layers and their order.

    If all layers are of one kind, its fields are set for the whole model instead.

    Args:
        to: The translation.
        names: The kind of each layer, in order; empty if an error has been reported.
        kinds: The fields of each kind by dotted name, on top of those set so far.
        *keys: The keys that determine the order.
    """
    used = list(dict.fromkeys(names))
    _reset_fields_without_effect(to, [kinds[name] for name in used], *keys)
    if len(used) == 1:
        for field, value in kinds[used[0]].items():
            to.put(field, value, *keys)
        return
    for part, text in order_of(names).items() if names else ():
        to.put(f"layers.{part}", text, *keys)
    for name in used:
        to.put(f"layers.kinds.{name}", {}, *keys)
        for field, value in kinds[name].items():
            to.put(f"layers.kinds.{name}.{field}", value, *keys)


def kind_with(fields: Mapping[str, Any], stem: str, kinds: dict[str, Mapping[str, Any]]) -> str:
    """Return the kind with exactly these fields; a new one is added to ``kinds`` under ``stem``, or with a number."""
    name = next((name for name, others in kinds.items() if others == fields), None)
    if name is None:
        name = stem if stem not in kinds else f"{stem}_{len(kinds)}"
        kinds[name] = fields
    return name


def _reset_fields_without_effect(to: Translation, kinds: Sequence[Mapping[str, Any]], *keys: str) -> None:
    """Reset the fields set so far that have no effect in any kind of layers."""
    before = {**defaults(), **{field: to.get(field) for field in to.fields}}
    resolved = [apply_overrides(before, overrides) for overrides in kinds]
    for field, value in before.items():
        if any(field in overrides for overrides in kinds):
            continue
        after = [each[field] for each in resolved]
        if after and after[0] != value and after.count(after[0]) == len(after):
            to.put(field, None if after[0] == defaults().get(field) else after[0], *keys)


def kinds_of_types(
    to: Translation, key: str, types: Sequence[str], names: Mapping[str, str], n_layers: int
) -> list[str]:
    """Return the kind of each layer for the types under ``key``; empty if an error has been reported.

    Args:
        to: The translation.
        key: The key of the list.
        types: The family's type of each layer.
        names: The kind of each type.
        n_layers: Number of layers.
    """
    other = next((each for each in types if each not in names), None)
    if other is not None:
        to.unsupported(key, f"tinylm does not support {other[:40]} layers", f"the types are {' and '.join(names)}")
        return []
    if len(types) != n_layers:
        message = f"{to.display(key)} lists {counted(len(types), 'layer')}, but {to.key_of('n_layers')} is {n_layers:,}"
        to.contradiction(key, message, "give one type per layer")
        return []
    return [names[each] for each in types]


def of_each_layer(to: Translation, key: str, given: float | Sequence[float], n_layers: int) -> Sequence[float]:
    """Return a number for each layer: those under ``key``, or the one of all layers; empty if an error is reported."""
    if not isinstance(given, Sequence):
        return [given] * n_layers
    if len(given) != n_layers:
        message = f"{to.display(key)} lists {counted(len(given), 'layer')}, but {to.key_of('n_layers')} is {n_layers:,}"
        to.contradiction(key, message, "give one number per layer")
        return []
    return given


def order_of(names: Sequence[str]) -> dict[str, str]:
    """Return the sequences of the block ``layers`` that list the kind of every layer: first, pattern and last.

    Of the orders with at most ``_MAX_RUNS`` runs of equal layers before the pattern, it is the shortest. Of equally
    short ones, the pattern repeats, and begins early.
    """
    ends = list(accumulate((len(run) for run in _runs(names)), initial=0))[: _MAX_RUNS + 1]
    orders = [_order(names, n_first) for n_first in ends if n_first < len(names)]

    def length(order: Mapping[str, Sequence[str]]) -> tuple[int, bool]:
        is_repeated = sum(map(len, order.values())) < len(names)
        return sum(len(_runs(part)) for part in order.values()), not is_repeated

    return {name: _sequence(part) for name, part in min(orders, key=length).items() if part}


def _order(names: Sequence[str], n_first: int) -> dict[str, Sequence[str]]:
    """Return the order whose pattern begins after ``n_first`` layers, and repeats as often as it fits.

    A pattern that does not fit twice has all the layers.
    """
    others = names[n_first:]
    pattern = repeated_prefix(others)
    if len(pattern) > len(others) // 2:
        pattern = others
    repeated = len(others) // len(pattern) * len(pattern)
    return {"first": names[:n_first], "pattern": pattern, "last": others[repeated:]}


def _runs(names: Sequence[str]) -> list[list[str]]:
    return [list(run) for _, run in groupby(names)]


def _sequence(names: Sequence[str]) -> str:
    """Return a sequence as text: ``3 linear, full`` or ``2 (linear, full), linear``."""
    items = [run[0] if len(run) == 1 else f"{len(run)} {run[0]}" for run in _runs(names)]
    parts, start = [], 0
    while start < len(items):
        length, repeats = _repetition(items, start)
        part = ", ".join(items[start : start + length])
        parts.append(f"{repeats} ({part})" if repeats > 1 else part)
        start += length * repeats
    return ", ".join(parts)


def _repetition(items: Sequence[str], start: int) -> tuple[int, int]:
    """Return the length and the number of the repetitions from ``start`` that cover most items; (1, 1) for none."""
    best = (1, 1)
    for length in range(2, min((len(items) - start) // 2, _LONGEST_GROUP) + 1):
        group, repeats = items[start : start + length], 1
        while items[start + repeats * length : start + (repeats + 1) * length] == group:
            repeats += 1
        if repeats > 1 and length * repeats > best[0] * best[1]:
            best = (length, repeats)
    return best

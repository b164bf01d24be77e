"""Rules about layers that attend to the positions which an earlier layer's indexer selects: index_shared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tinylm_cli.config.dependencies import Problem, Values, apply_overrides

FIELD, TOP_K, KINDS = "attention.index_shared", "attention.index_top_k", "layers.kinds"


def broken_index_rules(
    values: Values, kinds: Mapping[str, Mapping[str, Any]], order: Sequence[str]
) -> Iterator[Problem]:
    """Yield a problem for each kind of layers that shares a selection of positions which no earlier layer makes.

    Args:
        values: The valid values of the config by dotted name.
        kinds: The fields that each kind sets, by dotted name; empty for a config without kinds of layers.
        order: The kinds in the order in which layers list them, the pattern once; empty if it is invalid.
    """
    common = {name: value for name, value in values.items() if not name.startswith("layers.")}
    if not kinds:
        if common.get(FIELD):
            message = f"{FIELD} true requires {KINDS}, of which another has an indexer"
            yield Problem("needs-field", (FIELD, KINDS), message, f"omit {FIELD}, or write it in one of two {KINDS}")
        return
    of_kind = {name: apply_overrides(common, overrides) for name, overrides in kinds.items()}
    shared = [name for name in of_kind if of_kind[name].get(FIELD)]
    selecting = [name for name in of_kind if _selects(of_kind[name])]
    for name in shared:
        place = f"{KINDS}.{name}.{FIELD}" if FIELD in kinds[name] else FIELD
        others = (each for each in selecting if of_kind[each][TOP_K] != of_kind[name][TOP_K])
        other, mixed = next(others, None), next((each for each in selecting if not _is_plain(of_kind[each])), None)
        if name in order and not any(each in selecting for each in order[: order.index(name)]):
            message = f"no layer with an indexer is before the first layer of kind {name}, which needs its selection"
            help_ = f"list a kind with {TOP_K} and its own indexer first, or omit {FIELD}"
            yield Problem("contradiction", (place,), message, help_)
        elif other is not None:
            message = (
                f"layers of kind {name} share the positions that kind {other} selects, but {TOP_K} is"
                f" {of_kind[name][TOP_K]} instead of {of_kind[other][TOP_K]}"
            )
            field = next(f"{KINDS}.{each}.{TOP_K}" for each in (name, other) if TOP_K in kinds[each])
            yield Problem("contradiction", (field, place), message, f"write the same {TOP_K} in both kinds")
        elif mixed is not None:
            mixer = of_kind[mixed]["block.mixer"]
            message = f"layers of kind {name} cannot share the selection of kind {mixed} with block.mixer {mixer}"
            yield Problem("contradiction", (place,), message, f"omit {FIELD}")
    if order and order[-1] in shared and values.get("head.n_mtp_layers"):
        last = order[-1]
        place = f"{KINDS}.{last}.{FIELD}" if FIELD in kinds[last] else FIELD
        message = f"MTP modules have the kind of the last layer, {last}, which has {place} and no indexer of its own"
        remedy = "omit head.n_mtp_layers, or let the last layer be of another kind"
        yield Problem("contradiction", ("head.n_mtp_layers", place), message, remedy)


def _selects(values: Values) -> bool:
    """Return whether the layers of a kind have an indexer."""
    mixes = values.get("block.mixer", "attention") in ("attention", "attention_mamba2")
    return mixes and values.get("attention.kind") == "latent" and values.get(TOP_K) is not None and not values[FIELD]


def _is_plain(values: Values) -> bool:
    return bool(values.get("block.mixer", "attention") == "attention")

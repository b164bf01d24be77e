"""Rules about layers that attend to the positions which an earlier layer's indexer selects: index_shared."""

from __future__ import annotations

from collections.abc import Iterator

from tinylm_cli.config.dependencies import KindFields, Problem, Values

FIELD, TOP_K, KINDS = "attention.index_shared", "attention.index_top_k", "layers.kinds"


def shared_selection_needs_kinds(values: Values) -> Iterator[Problem]:
    """Yield a problem if a config without kinds of layers shares the selection of another kind."""
    if values.get(FIELD):
        message = f"{FIELD} true requires {KINDS}, so that layers of another kind have an indexer"
        yield Problem("needs-field", (FIELD, KINDS), message, f"omit {FIELD}, or write it in one of two {KINDS}")


def shared_selection_exists(kinds: KindFields) -> Iterator[Problem]:
    """Yield a problem for each kind of layers that shares a selection of positions which no earlier layer makes."""
    of_kind, order = kinds.resolved, kinds.order
    shared = [name for name in of_kind if of_kind[name].get(FIELD)]
    selecting = [name for name in of_kind if _selects(of_kind[name])]
    for name in shared:
        place = kinds.place(name, FIELD)
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
            field = next(kinds.place(each, TOP_K) for each in (name, other) if TOP_K in kinds.own[each])
            yield Problem("contradiction", (field, place), message, f"write the same {TOP_K} in both kinds")
        elif mixed is not None:
            mixer = of_kind[mixed]["block.mixer"]
            message = f"layers of kind {name} cannot share the selection of kind {mixed} with block.mixer {mixer}"
            yield Problem("contradiction", (place,), message, f"omit {FIELD}")


def _selects(values: Values) -> bool:
    """Return whether the layers of a kind have an indexer."""
    mixes = values.get("block.mixer", "attention") in ("attention", "attention_mamba2")
    return mixes and values.get("attention.kind") == "latent" and values.get(TOP_K) is not None and not values[FIELD]


def _is_plain(values: Values) -> bool:
    return bool(values.get("block.mixer", "attention") == "attention")

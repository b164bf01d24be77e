"""Rules about kinds of layers that attend to the keys and values of another kind: ``attention.kv_from``."""

from __future__ import annotations

from collections.abc import Iterator

from tinylm_cli.config.dependencies import KindFields, Problem, Values, value_text
from tinylm_cli.config.similar_names import suggest

FIELD, KINDS = "attention.kv_from", "layers.kinds"

_ALIKE = ("n_heads", "attention.", "position.")
"""The fields that the layers which share keys and values have in common, or the starts of their names."""

_OF_QUERIES_AND_OUTPUTS = frozenset(
    f"attention.{name}"
    for name in (
        *("gate", "gate_per_head", "gate_activation", "gate_bias", "sinks", "scale", "logit_softcap"),
        *("sub_norm", "out_bias", "out_multiplier"),
    )
)
"""The fields of attention that do not concern keys and values, and may differ."""


_FOLLOWS_FROM = {
    "attention.n_kv_heads": ("n_heads",),
    "attention.d_head": ("d_model", "n_heads"),
    "attention.d_value": ("attention.d_head",),
}
"""The fields from which the size of a head follows if it is unset."""


def kv_source_needs_kinds(values: Values) -> Iterator[Problem]:
    """Yield a problem if a config without kinds of layers names a kind for keys and values."""
    if values.get(FIELD) is not None:
        message = f"{FIELD} {values[FIELD]} requires {KINDS}, which define the kind"
        yield Problem("needs-field", (FIELD, KINDS), message, f"omit {FIELD}, or write it in one of two {KINDS}")


def kv_source_precedes(kinds: KindFields) -> Iterator[Problem]:
    """Yield a problem for each kind of layers that cannot attend to the keys and values of the kind that it names."""
    for name, own in kinds.resolved.items():
        source = own.get(FIELD)
        if source is None:
            continue
        place = kinds.place(name, FIELD)
        if source not in kinds.own:
            others = [other for other in kinds.own if other != name]
            meant = suggest(source, kinds.own)
            help_ = f"did you mean {meant}?" if meant else f"the other kinds are {', '.join(others)}"
            message = f"{place} is {source}, which {KINDS} does not define"
            yield Problem("undefined-kind", (place, KINDS), message, help_)
            continue
        problem = _misses_keys(name, source, kinds) or _differs(name, source, kinds)
        if problem is not None:
            message, help_, field = problem
            setting = (kinds.place(each, field) for each in (name, source) if field in kinds.own[each])
            yield Problem("contradiction", (place, *setting), message, help_)


def _misses_keys(name: str, source: str, kinds: KindFields) -> tuple[str, str, str] | None:
    """Return the message, the help and another field at fault if no earlier layer of ``source`` has keys and values."""
    of_kind, order = kinds.resolved, kinds.order
    if source == name:
        return (
            f"layers of kind {name} cannot attend to the keys and values of their own kind",
            f"write the name of another kind, or omit {FIELD}",
            "",
        )
    further = of_kind[source].get(FIELD)
    if further is not None:
        message = f"layers of kind {source}, which {FIELD} of kind {name} names, have no keys and values of their own"
        return message, f"write kv_from: {further}" if further != name else f"omit {FIELD} in kind {source}", ""
    mixer = of_kind[source].get("block.mixer", "attention")
    if mixer != "attention":
        return (
            f"layers of kind {name} need keys and values, but kind {source} with block.mixer {mixer} has none to share",
            f"omit {FIELD}",
            "",
        )
    others = (each for each in order if each not in (name, source))
    equal = next((each for each in others if of_kind[each] == of_kind[source]), None)
    if equal is not None:
        return (
            f"layers of kind {name} attend to keys and values of kind {source}, but kind {equal} is equal to it: layers"
            " of equal kinds are not told apart",
            f"write {source} in place of {equal}, or a different field in one of them",
            "",
        )
    if name in order and source in order and order.index(source) > order.index(name):
        message = f"no layer of kind {source} is before the first layer of kind {name}, which needs its keys and values"
        return message, f"list {source} first, or omit {FIELD}", ""
    return None


def _differs(name: str, source: str, kinds: KindFields) -> tuple[str, str, str] | None:
    """Return the message, the help and the field in which the attention of two kinds differs."""
    own, other = kinds.resolved[name], kinds.resolved[source]
    for field in own:
        if field == FIELD or not field.startswith(_ALIKE) or field in _OF_QUERIES_AND_OUTPUTS or field not in other:
            continue
        if not (_is_known(own, field) and _is_known(other, field)):
            continue  # a field that it follows from is missing or invalid
        value, expected = _resolved(own, field), _resolved(other, field)
        if value != expected:
            message = (
                f"layers of kind {name} attend to keys and values of kind {source}, but {field} is {value_text(value)}"
                f" instead of {value_text(expected)}"
            )
            return message, f"write the same {field} in both kinds, or omit {FIELD}", field
    return None


def _is_known(values: Values, field: str) -> bool:
    if values.get(field) is not None:
        return True
    return field in values and all(_is_known(values, each) for each in _FOLLOWS_FROM.get(field, ()))


def _resolved(values: Values, field: str) -> object:
    """Return the value of a field; of a size of heads that is unset, the one that follows from others."""
    value = values[field]
    if value is not None:
        return value
    match field:
        case "attention.n_kv_heads":
            return values["n_heads"]
        case "attention.d_head":
            return values["d_model"] // values["n_heads"]
        case "attention.d_value":
            return _resolved(values, "attention.d_head")
    return None

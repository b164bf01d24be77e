"""Rules about kinds of layers, and the rules between the fields of each kind."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, get_args

from tinylm_cli.config.choices import MixerKind
from tinylm_cli.config.dependencies import KindFields, Problem, Values, defaults
from tinylm_cli.config.diagnostic_codes import clip, either
from tinylm_cli.config.index_sharing_rules import shared_selection_exists, shared_selection_needs_kinds
from tinylm_cli.config.kv_sharing_rules import kv_source_needs_kinds, kv_source_precedes
from tinylm_cli.config.layers import overrides_by_kind, read_sequence
from tinylm_cli.config.rules import broken_rules
from tinylm_cli.config.shared_block_rules import shared_blocks_agree
from tinylm_cli.config.shortcut_rules import shortcut_ends, shortcut_needs_kinds
from tinylm_cli.config.similar_names import suggest
from tinylm_cli.quantities import counted

SEQUENCES = ("layers.first", "layers.pattern", "layers.last")
KINDS = "layers.kinds"
STREAMS = ("block.hyper_streams", "block.altup_streams")

LAYER_SELECTORS = {
    "attention.window_pattern": "write attention.window in the kinds that have one",
    "position.local_theta": "write position.theta in the kinds that have another",
    "feed_forward.n_dense_layers": "write feed_forward: {n_experts: null} in a kind for the dense layers",
}
"""Fields that select layers, and what to write in a config with kinds of layers instead."""

_FROM_EARLIER = {"attention.kv_from": "keys", "attention.index_shared": "indexer"}
"""Fields with which a layer uses what an earlier one computes, and what it then lacks."""

_MAX_NAMED = 3

_OTHER_MIXERS = frozenset(get_args(MixerKind)) - {"attention"}
"""Mixers that differ from the default of ``block.mixer``."""

_OF_EVERY_LAYER = {
    "position.kind": (("sinusoidal", "learned"), "positions are in every layer", ", or write position.kind: rope"),
    "norm.placement": (("post_residual",), "is of all layers or none", ""),
}
"""Choices that one kind of layers cannot make alone, with the reason and another remedy.

Sinusoidal and learned positions are added to the embeddings; norms after the residual additions replace the final norm.
"""


def broken_rules_of_model(values: Values) -> Iterator[Problem]:
    """Yield a problem for each broken rule of a config and of its layer kinds.

    The requirements of a field of the config must be met in at least one layer kind. Nothing is reported about the
    layers if ``layers`` itself has an invalid value.
    """
    if any(name not in values for name in (*SEQUENCES, KINDS)):
        return
    if not values[KINDS] and not _listed(values):
        yield from broken_rules(values)
        yield from kv_source_needs_kinds(values)
        yield from shared_selection_needs_kinds(values)
        yield from shortcut_needs_kinds(values)
        return
    problems = list(_order_is_complete(values))
    yield from problems
    kinds = overrides_by_kind(values[KINDS])
    yield from _layers_are_selected_once(values, kinds)
    yield from _choices_of_every_layer_agree(values, kinds)
    yield from _streams_agree(values, kinds)
    if kinds:
        order = () if problems else tuple(name for names in _listed(values).values() for name in names)
        fields = KindFields.of(values, kinds, order)
        yield from _broken_rules_of_kinds(values, fields)
        yield from kv_source_precedes(fields)
        yield from shared_selection_exists(fields)
        yield from shared_blocks_agree(fields)
        yield from shortcut_ends(fields)
        if values.get("head.n_mtp_layers"):
            yield from _last_layer_is_complete(fields)


def _listed(values: Values) -> dict[str, tuple[str, ...]]:
    """Return the kinds that each sequence lists."""
    return {field: read_sequence(values[field]) for field in SEQUENCES if values[field] is not None}


def _order_is_complete(values: Values) -> Iterator[Problem]:
    kinds, listed = values[KINDS], _listed(values)
    if not listed:
        example = f"write layers.pattern: {', '.join(list(kinds)[:_MAX_NAMED])}"
        yield Problem(
            "needs-field", (KINDS, "layers.pattern"), f"{KINDS} requires layers.pattern, their order", example
        )
        return
    if not kinds:
        field, names = next(iter(listed.items()))
        wanted = ", ".join(f"{name}: {_example_fields(name)}" for name in list(dict.fromkeys(names))[:_MAX_NAMED])
        message = f"{field} requires {KINDS}, the fields of each kind"
        yield Problem("needs-field", (field, KINDS), message, f"write {KINDS}: {{{wanted}}}")
        return
    undefined = [
        _undefined(field, name, kinds)
        for field, names in listed.items()
        for name in dict.fromkeys(names)
        if name not in kinds
    ]
    yield from undefined
    used = {name for names in listed.values() for name in names}
    for name in kinds:
        if name not in used and not undefined:  # an undefined name may be a misspelling of this one
            message = f"{KINDS}.{name} has no effect: no layer is of this kind"
            yield Problem(
                "without-effect", (f"{KINDS}.{name}",), message, f"remove it, or add {name} to layers.pattern"
            )
    yield from _pattern_divides(values, {field: len(names) for field, names in listed.items()})


def _example_fields(name: str) -> str:
    """Return the fields of a kind that has the name of a mixer, or none."""
    return f"{{block: {{mixer: {name}}}}}" if name in _OTHER_MIXERS else "{}"


def _undefined(field: str, name: str, kinds: Mapping[str, Any]) -> Problem:
    meant = suggest(name, kinds)
    help_ = f"did you mean {meant}?" if meant else f"the kinds are {', '.join(map(clip, kinds))}"
    message = f"{field} lists {name}, which {KINDS} does not define"
    return Problem("undefined-kind", (field, KINDS), message, help_, part=name)


def _pattern_divides(values: Values, lengths: Mapping[str, int]) -> Iterator[Problem]:
    if "n_layers" not in values:
        return
    n_layers, pattern = values["n_layers"], lengths.get("layers.pattern", 0)
    ends = sum(lengths.values()) - pattern
    rest = n_layers - ends
    fields = (*(field for field in reversed(SEQUENCES) if field in lengths), "n_layers")
    listed = " and ".join(field for field in ("layers.first", "layers.last") if field in lengths)
    leave = "leave" if len(lengths) > 2 else "leaves"
    if pattern and (rest <= 0 or rest % pattern):
        of = f"the {rest} layers that {listed} {leave} of n_layers {n_layers}" if listed else f"n_layers {n_layers}"
        near = sorted({ends + max(rest // pattern, 1) * pattern, ends + max(rest // pattern + 1, 1) * pattern})
        verb = "are" if listed else "is"
        message = f"{of} {verb} not a multiple of the {counted(pattern, 'layer')} of layers.pattern"
        if rest <= 0:
            message = f"n_layers {n_layers} leaves no layer for layers.pattern after the {ends} of {listed}"
        remainder = rest % pattern
        more = f", or layers.last with the kinds of the last {counted(remainder, 'layer')}"
        remedy = f"write n_layers: {either(near)}{more if rest > pattern and 'layers.last' not in lengths else ''}"
        yield Problem("layers-do-not-divide", ("layers.pattern", "n_layers"), message, remedy)
    elif not pattern and rest:
        message = (
            f"{listed} {'lists' if len(lengths) == 1 else 'list'} {counted(ends, 'layer')}, but n_layers is {n_layers}"
        )
        remedy = f"write n_layers: {ends}, or layers.pattern with the kinds of the other layers"
        yield Problem("layers-do-not-divide", fields, message, remedy)


def _layers_are_selected_once(values: Values, kinds: Mapping[str, Mapping[str, Any]]) -> Iterator[Problem]:
    for field, instead in LAYER_SELECTORS.items():
        places = [field] if values.get(field, defaults()[field]) != defaults()[field] else []
        places += [f"{KINDS}.{name}.{field}" for name, overrides in kinds.items() if field in overrides]
        for place in places:
            message = f"{place} selects layers, as {KINDS} does"
            yield Problem("contradiction", (place, KINDS), message, f"{instead}, and omit {field}")


def _choices_of_every_layer_agree(values: Values, kinds: Mapping[str, Mapping[str, Any]]) -> Iterator[Problem]:
    for field, (choices, why, instead) in _OF_EVERY_LAYER.items():
        if field not in values:  # its value is invalid
            continue
        common = values[field]
        for name, overrides in kinds.items():
            own = overrides.get(field, common)
            chosen = next((each for each in (own, common) if each in choices), None)
            if own != common and chosen is not None:
                place = f"{KINDS}.{name}.{field}"
                message = f"{place} {own} contradicts {field} {common}: {chosen} {why}"
                yield Problem("contradiction", (place, field), message, f"omit {place}{instead}")


def _streams_agree(values: Values, kinds: Mapping[str, Mapping[str, Any]]) -> Iterator[Problem]:
    for field in STREAMS:
        common = values.get(field)
        for name, overrides in kinds.items():
            if overrides.get(field, common) != common:
                place = f"{KINDS}.{name}.{field}"
                message = f"{place} differs from {field}: all layers have the same residual streams"
                yield Problem("contradiction", (place,), message, f"omit {place}, and write {field} for all layers")


def _last_layer_is_complete(kinds: KindFields) -> Iterator[Problem]:
    """Yield a problem if the layers of multi-token prediction modules, like the last layer, need an earlier layer."""
    for last in kinds.order[-1:]:
        for field, missing in _FROM_EARLIER.items():
            if kinds.resolved[last].get(field):
                place = kinds.place(last, field)
                why = f"which has {place} and no {missing} of its own"
                message = f"MTP modules have the kind of the last layer, {last}, {why}"
                remedy = "omit head.n_mtp_layers, or let the last layer be of another kind"
                yield Problem("contradiction", ("head.n_mtp_layers", place), message, remedy)


def _broken_rules_of_kinds(values: Values, fields: KindFields) -> Iterator[Problem]:
    """Yield the problems of the layers of each kind, and the fields of the config without effect in all of them."""
    kinds = fields.own
    base = {name: value for name, value in values.items() if not name.startswith("layers.")}
    idle = [_without_effect({**base, **overrides}, overrides) for overrides in kinds.values()]
    for field in idle[0]:
        if all(field in each for each in idle):
            yield _in_all_kinds({name: each[field] for name, each in zip(kinds, idle, strict=True)}, kinds)
    shown: set[Problem] = set()
    for name, overrides in kinds.items():
        for problem in broken_rules(fields.resolved[name]):
            if problem not in shown:  # a problem of the common fields occurs in several kinds
                shown.add(problem)
                yield _of_kind(problem, name, overrides)


def _without_effect(values: Values, overrides: Mapping[str, Any]) -> dict[str, Problem]:
    """Return the problem of each field of the config that has no effect in the layers of a kind."""
    problems = (problem for problem in broken_rules(values) if problem.code == "without-effect")
    return {problem.fields[0]: problem for problem in problems if problem.fields[0] not in overrides}


def _in_all_kinds(problems: Mapping[str, Problem], kinds: Mapping[str, Mapping[str, Any]]) -> Problem:
    """Return the problem of a field of the config that has no effect in any kind, by its cause in one of the kinds.

    A cause that is itself a field of the config comes first, so that the message and the labels state the same value.
    """

    def has_own_cause(name: str) -> bool:
        return any(field in kinds[name] for field in problems[name].fields)

    name = min(problems, key=has_own_cause)
    problem = problems[name]
    if not has_own_cause(name):
        return problem
    fields = tuple(f"{KINDS}.{name}.{field}" if field in kinds[name] else field for field in problem.fields)
    where = f"in layers of kind {name}{', as in all others' if len(kinds) > 1 else ''}"
    return problem._replace(fields=fields, message=f"{where}, {problem.message}")


def _of_kind(problem: Problem, name: str, overrides: Mapping[str, Any]) -> Problem:
    """Return a problem in the layers of a kind, at the fields of the kind that cause it."""
    fields = tuple(f"{KINDS}.{name}.{field}" if field in overrides else field for field in problem.fields)
    if fields == problem.fields:
        return problem
    own = (*(field for field in fields if field.startswith(KINDS)), *(f for f in fields if not f.startswith(KINDS)))
    return problem._replace(fields=own, message=f"in layers of kind {name}, {problem.message}")

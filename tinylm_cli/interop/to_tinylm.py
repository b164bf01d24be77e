"""From the tree of a config.json to the tree of the tinylm config of the same model."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from tinylm_cli.config.diagnostic_codes import clip, diagnostic
from tinylm_cli.config.fields import Schema, fields
from tinylm_cli.config.source import Source
from tinylm_cli.config.suggestions import suggest
from tinylm_cli.config.yaml_reader import Entry, Node, describe
from tinylm_cli.errors import Diagnostic, Span
from tinylm_cli.interop.families import Family
from tinylm_cli.interop.family_lookup import find_family
from tinylm_cli.interop.shared_keys import ACTIVATIONS, HARMLESS, UNSUPPORTED, filled_fields
from tinylm_cli.interop.translation import Translation, as_tree, find_entry

_MOST_GUESSES = 20
_NEAR = 0.85  # nearer than for tinylm's own keys: many of these end alike


class Mapped(NamedTuple):
    """A config.json as a tinylm config.

    Attributes:
        family: Its family; None where that is not known, with a diagnostic that says so.
        root: The same model as the tree of a tinylm config.
        ignored: Keys without effect on the model, in the order of the file; then those without effect beside others.
        assumed: Sizes that the file does not give, by dotted field: the family's defaults.
        keys: The key whose value is that of a tinylm field, by dotted field.
        mistakes: What is wrong with the file, or cannot be expressed in a tinylm config.
    """

    family: Family | None
    root: Node
    ignored: tuple[str, ...]
    assumed: dict[str, int]
    keys: dict[str, str]
    mistakes: list[Diagnostic]


def map_config(root: Node, source: str, overridden: Collection[str] = ()) -> Mapped:
    """Translate the tree of a config.json.

    Args:
        root: Its object.
        source: Name of the file.
        overridden: tinylm fields that an override sets: a wrong key that fills no other is not reported.
    """
    family = find_family(root, source)
    if isinstance(family, Diagnostic):
        return Mapped(None, root, (), {}, {}, [family])
    assert root.entries is not None
    home = root.entries["model_type"].value.span
    ignored: list[str] = []
    mistakes: list[Diagnostic] = []
    displayed: dict[str, str] = {}
    node = root
    if family.inside:
        node = _inner_object(root, family, source, displayed, ignored, mistakes)
    node = _canonical(node, family, source, displayed, ignored, mistakes)
    prefix = f"{family.inside}." if family.inside else ""
    to = Translation(node, source, home, displayed=displayed, prefix=prefix)
    to.mistakes = mistakes
    _validate(node, family, to, source, prefix, overridden)
    _translate(family, to)
    assumed = _assumed(to, family, home)
    _leave_out_what_follows(to)
    tree = as_tree(_in_order(to.fields), root.span, home)
    return Mapped(family, tree, (*ignored, *to.ignored), assumed, to.keys, to.mistakes)


def not_an_object(root: Node | None, source: Source) -> Diagnostic:
    """Return the diagnostic of a document that is not ``{"key": value, …}``."""
    if root is None or (root.scalar is None and root.items is None):
        message = "there is no config here: nothing at all"
        return diagnostic("empty-document", message, source.name, help="a config.json is an object with a model_type")
    message = f"a config.json is an object, and this is {'a list' if root.items is not None else 'a single value'}"
    return diagnostic("not-a-mapping", message, source.name, root.span, help='it looks like {"model_type": "llama", …}')


def _inner_object(
    root: Node,
    family: Family,
    source: str,
    displayed: dict[str, str],
    ignored: list[str],
    mistakes: list[Diagnostic],
) -> Node:
    """Return the language model's object in a larger model's config; the outer ``tie_word_embeddings`` wins."""
    assert root.entries is not None
    inner = root.entries.get(family.inside)
    outer = dict(root.entries)
    tied = outer.pop("tie_word_embeddings", None)
    outer.pop(family.inside, None)
    _sort_unknown(outer, family, source, family.outside, ignored, mistakes, known={family.inside})
    if inner is None or inner.value.plain() is None:
        entries: dict[str, Entry] = {}
    elif inner.value.entries is None:
        mistakes.append(_not_an_object(family.inside, inner.value, source))
        entries = {}
    else:
        entries = dict(inner.value.entries)
    if tied is not None and tied.value.plain() is not None:
        entries["tie_word_embeddings"] = tied
        displayed["tie_word_embeddings"] = "tie_word_embeddings"
    return Node(root.span if inner is None else inner.value.span, entries=entries)


def _canonical(
    node: Node,
    family: Family,
    source: str,
    displayed: dict[str, str],
    ignored: list[str],
    mistakes: list[Diagnostic],
) -> Node:
    """Return the object with each key as the schema spells it, and without the keys that change nothing."""
    entries: dict[str, Entry] = {}
    others: dict[str, Entry] = {}
    prefix = f"{family.inside}." if family.inside else ""
    assert node.entries is not None
    for key, entry in node.entries.items():
        name = family.aliases.get(key, key)
        if name not in family.keys.model_fields:
            others[key] = entry
        elif name == key or name not in node.entries:
            entries[name] = entry
            if name != key:
                displayed[name] = f"{prefix}{key}"
        elif entry.value.plain() != node.entries[name].value.plain():
            message = f"{prefix}{key} and {prefix}{name} are one setting, and they differ"
            span = entry.value.span
            mistakes.append(
                diagnostic("contradiction", message, source, span, field=f"{prefix}{key}", help="keep one of them")
            )
    known = {*family.keys.model_fields, *family.aliases}
    _sort_unknown(others, family, source, HARMLESS | family.ignored, ignored, mistakes, known=known, prefix=prefix)
    return Node(node.span, entries=entries)


def _sort_unknown(
    entries: Mapping[str, Entry],
    family: Family,
    source: str,
    harmless: frozenset[str],
    ignored: list[str],
    mistakes: list[Diagnostic],
    *,
    known: set[str],
    prefix: str = "",
) -> None:
    """Sort keys outside the schema into those without effect and those that may have one."""
    guesses = 0
    for key, entry in entries.items():
        is_null = entry.value.plain() is None and not entry.value.reported
        if key in harmless | HARMLESS or key.startswith("_") or is_null:
            ignored += [key] if key != "model_type" else []
            continue
        guesses += 1
        meant = suggest(key, known, _NEAR) if guesses <= _MOST_GUESSES else None
        help_ = f"did you mean {meant}?" if meant else f"{family.title} in transformers 5.24 has no such setting"
        mistakes.append(_unknown(f"{prefix}{key}", entry, source, help_))


def _unknown(name: str, entry: Entry, source: str, help_: str) -> Diagnostic:
    message = f"unknown setting {clip(name)}: it may change the model"
    return diagnostic("unknown-setting", message, source, entry.key_span, field=name, help=help_)


def _not_an_object(name: str, node: Node, source: str) -> Diagnostic:
    message = f"{name} must be an object, not {describe(node)}"
    return diagnostic(
        "wrong-type", message, source, node.span, field=name, help=f'for example "{name}": {{…}}, or null'
    )


def _validate(
    node: Node, family: Family, to: Translation, source: str, prefix: str, overridden: Collection[str]
) -> None:
    """Check every key by the family's schema; a wrong one is reported, and stands at its default from then on."""
    plain = node.plain()
    to.wrong |= {key for key, entry in (node.entries or {}).items() if _is_reported(entry.value)}
    for key in to.wrong:
        plain.pop(key)
    try:
        to.values = family.keys.model_validate(plain)
        return
    except ValidationError as error:
        errors = error.errors(include_url=False, include_input=False)
    schema = Schema(family.keys, prefix.removesuffix("."))
    typed: list[ErrorDetails] = []
    for detail in errors:
        path = [part for part in detail["loc"] if isinstance(part, str)]
        name, kind = ".".join(path), detail["type"]
        entry = find_entry(node, path)
        if kind == "extra_forbidden":
            assert entry is not None
            if entry.value.plain() is not None or entry.value.reported:
                to.mistakes.append(_unknown(to.display(name), entry, source, "its effect on RoPE is not known here"))
        elif kind == UNSUPPORTED:
            context = detail["ctx"]
            to.unsupported(name, context["why"], context["help"].replace("{key}", to.display(name)))
        elif name in schema.blocks and kind != "missing":
            assert entry is not None
            to.mistakes.append(_not_an_object(to.display(name), entry.value, source))
        elif not (filled := set(filled_fields(family.keys, path[0]))) or not filled <= set(overridden):
            typed.append(detail)
        to.wrong.add(name)
        _repair(plain, path, schema.fields[name].example if kind == "missing" else None)
    from tinylm_cli.config.validation_errors import diagnose_fields

    to.mistakes += [_respelled(mistake, to, prefix) for mistake in diagnose_fields(typed, node, source, schema)]
    to.values = family.keys.model_validate(plain)


def _is_reported(node: Node) -> bool:
    return node.reported or any(item.reported for item in node.items or [])


def _repair(plain: dict[str, Any], path: list[str], value: Any) -> None:
    """Drop a wrong key, or give a missing one a value, so that the rest can be read."""
    inside = plain
    for part in path[:-1]:
        inside = inside.get(part, {})
    inside.pop(path[-1], None)
    if value is not None:
        inside[path[-1]] = value


def _respelled(mistake: Diagnostic, to: Translation, prefix: str) -> Diagnostic:
    """Return a diagnostic about a key of the schema with the file's spelling of it."""
    key = mistake.field.removeprefix(prefix)
    spelled = to.display(key)
    if spelled == mistake.field:
        return mistake
    name = re.compile(rf"(?<![\w.])(?:{re.escape(prefix)})?{re.escape(key)}(?![\w.])")
    message, help_ = (name.sub(spelled, text) for text in (mistake.message, mistake.help))
    return mistake._replace(message=message, help=help_, field=spelled)


def _translate(family: Family, to: Translation) -> None:
    """Set the tinylm fields: what the family implies, what a key gives as it is, and what its mapping works out."""
    for field, value in family.constants.items():
        to.put(field, value)
    for key in family.keys.model_fields:
        for field in filled_fields(family.keys, key):
            value = getattr(to.values, key)
            if value is None and not _may_be_absent(field):
                value = family.keys.model_fields[key].default
            to.put(field, ACTIVATIONS[value] if field == "feed_forward.activation" else value, key)
    family.to_tinylm(to.values, to)


def _may_be_absent(name: str) -> bool:
    field = fields()[name]
    return not field.required and field.default is None


def _assumed(to: Translation, family: Family, home: Span) -> dict[str, int]:
    """Return the sizes that no key of the file gives: their place is that of the family's name."""
    return {
        name: node.scalar
        for name, node in _in_order(to.fields).items()
        if node.span == home
        and name not in family.constants
        and isinstance(node.scalar, int)
        and fields()[name].kind == "integer"
    }


def _leave_out_what_follows(to: Translation) -> None:
    """Drop widths that equal their tinylm defaults, so that they follow an override of what they follow from."""
    width, n_heads = to.get("d_model"), to.get("n_heads")
    per_head = width // n_heads if isinstance(width, int) and isinstance(n_heads, int) and n_heads > 0 else None
    exact = per_head is not None and per_head * n_heads == width
    for field, follows in (
        ("attention.d_head", per_head if exact else None),
        ("attention.n_kv_heads", n_heads),
        ("feed_forward.d_expert", to.get("d_ff")),
    ):
        if follows is not None and to.get(field) == follows:
            to.put(field, None)


def _in_order(found: Mapping[str, Node]) -> dict[str, Node]:
    """Return fields in the order of the schema."""
    return {name: found[name] for name in [*fields(), *found] if name in found}

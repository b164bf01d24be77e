"""Diagnostics of pydantic's validation errors and of broken rules."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any, cast

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from tinylm_cli.config.aliases import FIELD_ALIASES, RECIPROCAL_KEYS
from tinylm_cli.config.attention_kinds import ABBREVIATIONS
from tinylm_cli.config.dependencies import Problem
from tinylm_cli.config.diagnostic_codes import clip, diagnostic, either, quote
from tinylm_cli.config.fields import MODEL, SCHEMA, Field, Schema, fields
from tinylm_cli.config.fixes import rename_fix, value_fix
from tinylm_cli.config.layer_rules import broken_rules_of_model
from tinylm_cli.config.layers import LayerKind
from tinylm_cli.config.schema import flatten
from tinylm_cli.config.sequence_errors import find_sequence_error
from tinylm_cli.config.similar_names import nearest
from tinylm_cli.config.suggestions import (
    expand_choice,
    is_ignored_key,
    suggest_block,
    suggest_choice,
    suggest_item,
    suggest_keys,
    suggest_value,
)
from tinylm_cli.config.yaml_nodes import Entry, Node, describe, find_entry
from tinylm_cli.config.yaml_scalar import scalar
from tinylm_cli.errors import Diagnostic, Fix, Label, Span
from tinylm_cli.wording import SET, Setting, Text, map_text

_NOTHING = frozenset({"0", "0.0", "-1", "none", "false", "off", "no", "~"})
"""Values that mean "none" in other libraries; in tinylm the field is omitted."""
_LITERAL = re.compile(r"-?[0-9][0-9.eE+-]*|true|false")
"""A value that both libraries spell alike; a name may be specific to tinylm."""
_MAX_LISTED = 6
_MAX_GUESSES = 50  # a near-match search costs a millisecond, and a hostile file can hold thousands of unknown keys


def diagnose(
    error: ValidationError, root: Node, plain: dict[str, Any], source: str, keys: Mapping[str, str]
) -> list[Diagnostic]:
    """Return a diagnostic for every wrong field, and for every broken rule between valid fields.

    ``keys`` maps fields to the keys of another library's config; a field given by ``--set`` keeps its name.
    """
    details = error.errors(include_url=False, include_context=False, include_input=False)
    wrong_fields = [detail for detail in details if detail["type"] != "fields_disagree"]
    of_kinds = [detail for detail in wrong_fields if _kind_of(detail) is not None]
    errors = diagnose_fields([detail for detail in wrong_fields if detail not in of_kinds], root, source)
    errors += _diagnose_kinds(of_kinds, root, source)
    wrong = {"layers.kinds" if detail in of_kinds else _dotted(detail) for detail in wrong_fields}
    values = _valid_values(plain, wrong, root)
    errors += [_diagnose_rule(problem, root, values, source) for problem in broken_rules_of_model(values)]
    if not keys:
        return errors
    entries = {name: find_entry(root, name.split(".")) for name in keys}
    overridden = {name for name, entry in entries.items() if entry is not None and entry.value.span.source == SET}
    foreign = {name: key for name, key in keys.items() if name not in overridden}
    return [
        each  # where --set names an unknown field, only field names help
        if each.code == "unknown-key" and each.span is not None and each.span.source == SET
        else name_foreign_keys(each, foreign)
        for each in errors
    ]


def name_foreign_keys(error: Diagnostic, keys: Mapping[str, str]) -> Diagnostic:
    """Return a diagnostic of another library's config with each dotted field replaced by its key in the file.

    If the help omits a field, it sets the key to null instead: an absent key has a different default there.
    """
    if not keys:
        return error
    names = "|".join(re.escape(name) for name in sorted(keys, key=len, reverse=True))
    name = re.compile(rf"(?<![\w.])({names})(?![\w])(?!\.\w)")
    optional = re.compile(rf"(or )?omit ({names})(?!\.?\w)")

    def renamed(text: str) -> str:
        return name.sub(lambda found: keys[found[1]], text)

    def null(found: re.Match[str]) -> str:
        field = fields()[found[2]]
        nullable = not field.required and field.default is None
        return f"{found[1] or 'write '}{field.name}: null" if nullable else found[0]

    last = error.field.rpartition(".")[2]
    help_ = map_text(error.help, lambda text: optional.sub(null, text))
    if error.field in keys:  # its own example omits the block
        own = re.compile(rf"(?<![\w.]){re.escape(last)}(?=: )")
        help_ = map_text(help_, lambda text: own.sub(error.field, text))
    labels = tuple(label._replace(text=renamed(label.text)) for label in error.labels)
    return error._replace(
        message=renamed(error.message),
        help=map_text(help_, renamed),
        labels=labels,
        field=keys.get(error.field, error.field),
        fix=error.fix if error.fix and _LITERAL.fullmatch(error.fix.replacement) else None,
    )


def diagnose_fields(
    errors: Iterable[ErrorDetails], root: Node, source: str, schema: Schema = MODEL
) -> list[Diagnostic]:
    """Return the diagnostics of pydantic's errors about the mapping ``root``."""
    found: list[Diagnostic] = []
    missing: list[str] = []
    misplaced: set[str] = set()  # fields that an unknown key probably means
    wrong_lists: set[str] = set()  # report one wrong number per list
    guesses = 0
    for error in errors:
        name = _dotted(error)
        path = [part for part in error["loc"] if isinstance(part, str)]
        if error["type"] == "missing":
            missing.append(name)
            continue
        entry = find_entry(root, path)
        assert entry is not None, f"pydantic reported {name}, which the document does not have"
        if error["type"] == "extra_forbidden":
            guesses += 1
            candidates = _suggest_fields(path, entry, schema) if guesses <= _MAX_GUESSES else ()
            misplaced.update(candidates)
            block = find_entry(root, path[:-1])
            siblings = (block.value if block is not None else root).entries or {}
            found.append(_unknown_key(path, entry, candidates, siblings, schema))
        elif not entry.value.reported:
            item = next((part for part in error["loc"] if isinstance(part, int)), None)
            if item is None:
                found.append(_wrong_value(error["type"], name, entry.value, schema))
            elif name not in wrong_lists:
                wrong_lists.add(name)
                found.append(_wrong_item(error["type"], name, entry.value, item, schema))
    found = _without_clashes(found)
    return found + [_missing(name, root, source, schema) for name in missing if name not in misplaced]


def _kind_of(error: ErrorDetails) -> str | None:
    """Return the kind of layers that an error is in; None for other errors."""
    match error["loc"]:
        case ("layers", "kinds", str(name), *_):
            return name
    return None


def _diagnose_kinds(errors: Iterable[ErrorDetails], root: Node, source: str) -> list[Diagnostic]:
    """Return the diagnostics of pydantic's errors about the fields of kinds of layers."""
    by_kind: dict[str, list[ErrorDetails]] = {}
    for error in errors:
        by_kind.setdefault(str(error["loc"][2]), []).append(error)
    found: list[Diagnostic] = []
    for name, own in by_kind.items():
        entry = find_entry(root, ("layers", "kinds", name))
        assert entry is not None, f"pydantic reported the kind {name}, which the document does not have"
        node, place, field = entry.value, entry.key_span, f"layers.kinds.{clip(name)}"
        if any("[key]" in error["loc"] for error in own):
            remedy = "write lowercase letters, digits, _ and -, with a letter first"
            message = f"layers.kinds: {quote(name)} cannot be the name of a kind"
            found.append(diagnostic("wrong-type", message, place.source, place, field=field, help=remedy))
        elif node.entries is None:
            if node.reported:
                continue
            remedy = "write the fields that differ on lines of their own, indented under it, or {} for none"
            message = f"{field} must be a block of fields, not {describe(node)}"
            found.append(diagnostic("wrong-type", message, node.span.source, node.span, field=field, help=remedy))
        else:
            inner = [{**error, "loc": error["loc"][3:]} for error in own]
            found += diagnose_fields(cast(list[ErrorDetails], inner), node, source, Schema(LayerKind, field))
    return found


def _without_clashes(errors: list[Diagnostic]) -> list[Diagnostic]:
    """Drop the fixes that would give two keys of a block the same name."""
    names = [
        f"{each.field.rpartition('.')[0]}.{each.fix.replacement}" if each.code == "unknown-key" and each.fix else ""
        for each in errors
    ]
    return [
        each._replace(fix=None) if name and names.count(name) > 1 else each
        for each, name in zip(errors, names, strict=True)
    ]


def _diagnose_rule(problem: Problem, root: Node, values: Mapping[str, Any], source: str) -> Diagnostic:
    """Return the diagnostic of a broken rule, at its first field in the document, with labels at the others."""
    places = {name: entry for name in problem.fields if (entry := find_entry(root, name.split("."))) is not None}
    labels = [
        Label(entry.value.span, f"{name} is {scalar(entry.value.plain())}")
        for name, entry in list(places.items())[1:]
        if entry.value.entries is None
    ]
    absent = {
        name: None if values[name] == {} else values[name]
        for name in problem.fields
        if name not in places and name in values
    }
    if problem.code in ("needs-field", "without-effect"):  # their messages name the absent field
        absent = {name: value for name, value in absent.items() if value is not None}
    shown = {name: "absent" if value is None else f"{scalar(value)} by default" for name, value in absent.items()}
    message = "; ".join([problem.message, *(f"{name} is {value}" for name, value in shown.items())])
    if not places:
        return diagnostic(problem.code, message, source, field=problem.fields[0], help=problem.help)
    field, entry = next(iter(places.items()))
    span, written = entry.value.span, entry.value.scalar
    if problem.part and isinstance(written, str):
        word = re.search(rf"(?<![\w-]){re.escape(problem.part)}(?![\w-])", written)
        span = span if word is None else _part(entry.value, *word.span())
    return diagnostic(problem.code, message, span.source, span, field=field, help=problem.help, labels=tuple(labels))


def _valid_values(plain: dict[str, Any], wrong: Collection[str], root: Node) -> dict[str, Any]:
    """Return the value of every valid field that is not reported already, defaults included."""
    written = flatten(plain)
    values: dict[str, Any] = {}
    for name, field in fields().items():
        entry = find_entry(root, name.split("."))
        reported = entry is not None and entry.value.reported
        if not reported and name not in wrong and name.partition(".")[0] not in wrong:
            values[name] = written.get(name, 1 if field.required else field.default)  # absent if it has no use
    if "tie_weights" not in written and "tie_weights" in values:
        values["tie_weights"] = values.get("head.kind", "lm") == "lm"
    return values


def _dotted(error: ErrorDetails) -> str:
    """Return the dotted name of the wrong field, also for an item of a list."""
    return ".".join(part for part in error["loc"] if isinstance(part, str))


def _missing(name: str, root: Node, source: str, schema: Schema) -> Diagnostic:
    place = root.span._replace(text="") if root.span.source == source else None
    field = schema.fields.get(name) or _first(name, schema)
    block = f" indented under {name}:" if name in schema.blocks else ""
    remedy = f"add {_example(field)}{block} ({field.expected})"
    where = schema.here(name)
    return diagnostic("missing-key", f"{where} is missing", source, place, field=where, help=remedy)


def _wrong_value(kind: str, name: str, node: Node, schema: Schema) -> Diagnostic:
    place, code, fix = schema.here(name), _code(kind, node), None
    is_sequence = name not in schema.blocks and schema.fields[name].kind == "sequence"
    if is_sequence and isinstance(node.scalar, str) and (error := find_sequence_error(node.scalar)):
        span = _part(node, error.start, error.end)
        return diagnostic(code, f"{place}: {error.problem}", span.source, span, field=place, help=error.help)
    if name in schema.blocks:
        code, expected, remedy = "wrong-type", "a block of fields", _block_help(name, node, schema)
    else:
        expected = schema.fields[name].expected
        remedy, fix = _help_for_value(schema.fields[name], node, schema)
    message = f"{place} must be {expected}, not {describe(node)}"
    return diagnostic(code, message, node.span.source, node.span, field=place, help=remedy, fix=fix)


def _part(node: Node, start: int, end: int) -> Span:
    """Return the span of some characters of a string; of all of it if the source spells it differently."""
    span, written = node.span, node.scalar
    width = span.end_column - span.column
    quotes = width - len(written) if isinstance(written, str) else -1
    first = span.column + quotes // 2
    if quotes not in (0, 2) or first + end > span.text_column + len(span.text):
        return span
    return span._replace(column=first + start, end_column=first + end)


def _wrong_item(kind: str, name: str, node: Node, index: int, schema: Schema) -> Diagnostic:
    """Point at the first wrong item of a list."""
    assert node.items is not None
    item, field, place = node.items[index], schema.fields[name], schema.here(name)
    noun = "number" if field.kind == "numbers" else "name"
    expected = field.expected.replace(f"a list of {noun}s", f"a {noun}").replace("a list of integers", "an integer")
    message = f"{noun} {index + 1} of {place} must be {expected}, not {describe(item)}"
    value = suggest_item(item.written, field) if item.scalar is not None else None
    remedy = f"write {value}" if value else f"for example {_example(field)}"
    fix = value_fix(item, value, field) if value else None
    return diagnostic(_code(kind, item), message, item.span.source, item.span, field=place, help=remedy, fix=fix)


def _code(kind: str, node: Node) -> str:
    if kind == "literal_error" and isinstance(node.scalar, str):
        return "unknown-choice"
    if kind == "finite_number":
        return "not-finite"
    return "out-of-range" if kind.startswith(("greater_than", "less_than")) else "wrong-type"


def _help_for_value(field: Field, node: Node, schema: Schema) -> tuple[str, Fix | None]:
    """Return the help for a wrong value, and its fix if the correction is certain."""
    is_text, here = isinstance(node.scalar, str), schema.here(field.name)
    if is_text and (several := expand_choice(node.written, field.name)):
        return _compound_help(several, here, node), None
    if is_text and field.choices and (choice := suggest_choice(node.written, field.choices)):
        return f"did you mean {choice}?", value_fix(node, choice, field)
    value = suggest_value(node.written, field) if node.entries is None and node.items is None else None
    if value is not None:
        bare = " without quotes" if node.quoted and value == node.written else ""
        return f"write {value}{bare}", value_fix(node, value, field)
    by_option = node.span.source == SET
    example = _setting(here, field.example) if by_option else _example(field)
    if field.default is None and not field.required and node.written.strip().casefold() in _NOTHING:
        if schema is MODEL:
            return Text(f"omit {field.name}, or write for example ", example), None
        nothing = _setting(here, None) if by_option else f"{field.name.rpartition('.')[2]}: null"
        return Text("write ", nothing, " for none, or for example ", example), None
    return Text("for example ", example), None


def _setting(name: str, value: Any) -> Setting:
    return Setting("set", f"{name}={scalar(value)}")


def _compound_help(values: Mapping[str, str], name: str, node: Node) -> str:
    """Return the help for a value that stands for several fields of a block."""
    block = name.rpartition(".")[0]
    if node.span.source == SET:
        return Text("write ", Setting("set", tuple(f"{block}.{key}={value}" for key, value in values.items())))
    return "write " + ", and ".join(f"{key}: {value}" for key, value in values.items())


def _block_help(name: str, node: Node, schema: Schema) -> str:
    """Return the help for a block written as a value, such as ``norm: rmsnorm``."""
    first, word = _first(name, schema), node.written.casefold()
    several = expand_choice(node.written, first.name)
    if several:
        remedy = _compound_help(several, schema.here(first.name), node)
        return remedy if node.span.source == SET else f"{remedy}, on lines of their own, indented under {name}:"
    is_abbreviated = first.name == "attention.kind" and word in ABBREVIATIONS
    value = word if is_abbreviated else suggest_choice(node.written, first.choices) or scalar(first.example)
    if node.span.source == SET:
        return Text("write ", Setting("set", f"{schema.here(first.name)}={value}"))
    return f"write {first.name.rpartition('.')[2]}: {value} on a line of its own, indented under {name}:"


def _first(block: str, schema: Schema) -> Field:
    """Return the first field of a block."""
    return schema.fields[f"{block}.{next(iter(schema.blocks[block].model_fields))}"]


def _example(field: Field) -> str:
    """Return a valid line, the key without its block."""
    return f"{field.name.rpartition('.')[2]}: {scalar(field.example)}"


def _suggest_fields(path: list[str], entry: Entry, schema: Schema) -> tuple[str, ...]:
    """Return the fields that an unknown key may mean: fields inside it, or fields with a similar name."""
    *parents, key = path
    inside = entry.value.entries
    if inside is None or key in schema.blocks:
        return suggest_keys(key, ".".join(parents), schema)
    wrapped = tuple(name for name in inside if name in schema.root.model_fields)
    alias = FIELD_ALIASES.get(key.casefold())
    meant = alias if alias in schema.fields else None if parents else suggest_block(key, schema)
    return wrapped or ((meant,) if meant else ())


def _unknown_key(
    path: list[str], entry: Entry, candidates: tuple[str, ...], siblings: Collection[str], schema: Schema
) -> Diagnostic:
    """Return the diagnostic of the key at ``path``, which may mean any of ``candidates``."""
    *parents, key = path
    block, place = ".".join(parents), entry.key_span
    top = f"in {schema.within}" if schema.within else "at the top level"
    message = f"unknown key {quote(key)} {f'in {schema.here(block)}' if block else top}"
    if entry.value.entries is not None and candidates and candidates[0] in entry.value.entries:
        remedy = f"write its fields {top}, without {clip(key)}:"
    elif candidates:
        remedy = "did you mean " + _location(candidates, block, top, schema, dotted=place.source == SET)
    elif schema is MODEL and is_ignored_key(key):
        remedy = "remove it: a config describes the architecture only"
    elif schema is MODEL and key in RECIPROCAL_KEYS:
        remedy = f"write {RECIPROCAL_KEYS[key]}, which is 1 / {key}"
    else:
        remedy = _expected_fields(key, block, schema)
    fix = rename_fix(entry, candidates, path, siblings, schema)
    name = schema.here(".".join(path))
    return diagnostic("unknown-key", message, place.source, place, field=name, help=remedy, fix=fix)


def _expected_fields(key: str, block: str, schema: Schema) -> str:
    """Return the fields of a block, or the most similar ones of a long block."""
    if not block:
        plain = [name for name in schema.root.model_fields if name not in schema.blocks]
        blocks = f"the block{'s' if len(schema.blocks) > 1 else ''} {', '.join(schema.blocks)}"
        return f"expected one of {', '.join(plain)}, or {blocks}"
    known = schema.blocks[block].model_fields
    if len(known) <= _MAX_LISTED:
        return "expected one of " + ", ".join(known)
    similar = nearest(key, known, _MAX_LISTED)
    return Text(f"{block} has {len(known)} fields, such as {', '.join(similar)}; ", SCHEMA, " lists them")


def _location(names: tuple[str, ...], block: str, top: str, schema: Schema, *, dotted: bool) -> str:
    """Return where fields belong, as seen from ``block``: ``kind inside the position or norm block?``."""
    outer = [name.rpartition(".")[0] for name in names]
    last = names[0].rpartition(".")[2]
    if dotted:
        return f"{either([schema.here(name) for name in names])}?"
    if outer[0] in (block, ""):
        return f"{last}?" if outer[0] == block else f"{last} {top}?"
    return f"{last} inside {'block' if outer == ['block'] else f'the {either(outer)} block'}?"

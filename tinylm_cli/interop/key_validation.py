"""Validate the keys of a config.json with the pydantic model of its family, and report errors as diagnostics."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any, get_args

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from tinylm_cli.config.diagnostic_codes import quote
from tinylm_cli.config.fields import Schema
from tinylm_cli.config.similar_names import suggest
from tinylm_cli.config.yaml_nodes import Entry, Node, describe, find_entry
from tinylm_cli.errors import Diagnostic
from tinylm_cli.interop.families import Family
from tinylm_cli.interop.inert_keys import INERT, is_inert, restates
from tinylm_cli.interop.shared_keys import UNSUPPORTED, Keys, filled_fields
from tinylm_cli.interop.translation import Translation, UnknownKey
from tinylm_cli.wording import Setting, Text, map_text

EXPORTED_BY = "_exported_by"
"""A key of the config.json files that tinylm writes."""

_SUPERSEDED = {
    "attention_head_dim": "hunyuan_v1_moe nemotron_h",
    "embedding_dim": "xlstm",
    "expert_ffn_hidden_size": "longcat_flash",
    "ffn_hidden_size": "longcat_flash",
    "layer_types": "nemotron_h zamba zamba2",
    "layers_block_type": "granitemoehybrid",
    "max_seq_len": "dbrx",
    "moe_topk": "longcat_flash",
    "num_blocks": "xlstm",
    "num_experts": "axk2 granitemoe granitemoehybrid granitemoeshared granitemoe_swa",
    "num_local_experts": "flint lfm2_moe qwen2_moe qwen3_next",
    "pad_token_id": "xglm",
    "sliding_window_size": "gemma2 vaultgemma",
}
SUPERSEDED = {f"{family}.{key}" for key, families in _SUPERSEDED.items() for family in families.split()}
"""Alternative names of keys, by family, that transformers 5.24 reads only without the key's own name, if at all.

Of all others, it reads the alternative: ``attribute_map`` sets the same attribute a second time.
"""

_MAX_SUGGESTIONS = 20
_SWITCHES = ("use_", "enable_", "has_", "is_", "with_")
_SIMILARITY = 0.85  # of a suggestion; higher than for tinylm's own keys, since many Hugging Face keys share a suffix


def validate_keys(root: Node, family: Family, source: str, overridden: Collection[str]) -> Translation:
    """Return a translation with every key validated, and with diagnostics for invalid keys.

    An invalid key is replaced by its default, so that the other keys can be mapped.

    Args:
        root: The object of a config.json, with a ``model_type``.
        family: Its family.
        source: Name of the file.
        overridden: tinylm fields set by overrides; an invalid key that maps only to these is not reported.
    """
    assert root.entries is not None
    inner = family.keys.language_model_key
    is_flat = not inner or (family.keys.reads_flat_configs and inner not in root.entries)
    to = Translation(source, root.entries["model_type"].value.span, "" if is_flat else f"{inner}.")
    _rename_keys(root if is_flat else _language_model(root, family, to), family, to)
    _validate(family, to, overridden)
    return to


def _language_model(root: Node, family: Family, to: Translation) -> Node:
    """Return the language model's object in a multimodal config; the outer ``tie_word_embeddings`` takes precedence."""
    outer, name = dict(root.entries or {}), family.keys.language_model_key
    tied, inner = outer.pop("tie_word_embeddings", None), outer.pop(name, None)
    _classify(outer, family.keys.ignored_outer_keys, {name}, "", to)
    entries = dict(inner.value.entries or {}) if inner is not None else {}
    if inner is not None and inner.value.entries is None and inner.value.plain() is not None:
        _report_not_an_object(name, inner.value, to)
    if tied is not None and tied.value.plain() is not None:
        entries["tie_word_embeddings"] = tied
        to.displayed["tie_word_embeddings"] = "tie_word_embeddings"
    return Node(root.span if inner is None else inner.value.span, entries=entries)


def _rename_keys(node: Node, family: Family, to: Translation) -> None:
    """Set ``to.node`` to the object with each key spelled as in the schema, without keys outside the schema."""
    written = node.entries or {}
    harmless = {*family.keys.ignored, *(() if to.prefix else family.keys.ignored_outer_keys)}
    entries: dict[str, Entry] = {}
    others: dict[str, Entry] = {}
    for key, entry in written.items():
        name = family.keys.aliases.get(key, key)
        if name not in family.keys.model_fields:
            others[key] = entry
        elif name == key:
            entries.setdefault(name, entry)
        elif name not in written or _replaces(key, entry, family):
            entries[name] = entry
            to.displayed[name] = f"{to.prefix}{key}"
    to.ignored += [key for key in written if key not in others and _differs(key, written, entries, family)]
    _classify(others, harmless, {*family.keys.model_fields, *family.keys.aliases}, to.prefix, to)
    to.node = Node(node.span, entries=entries)


def _replaces(alias: str, entry: Entry, family: Family) -> bool:
    """Return whether transformers reads an alternative name of a key that has its own name, too."""
    return entry.value.plain() is not None and f"{family.model_type}.{alias}" not in SUPERSEDED


def _differs(key: str, written: Mapping[str, Entry], read: Mapping[str, Entry], family: Family) -> bool:
    """Return whether another name of the same key is read, with another value."""
    entry = read[family.keys.aliases.get(key, key)]
    return entry is not written[key] and entry.value.plain() != written[key].value.plain()


def _classify(
    entries: Mapping[str, Entry], harmless: Collection[str], known: set[str], prefix: str, to: Translation
) -> None:
    """Record keys outside the schema: as ignored if they have no effect, otherwise as unknown.

    Args:
        entries: The keys.
        harmless: Keys without effect in this family.
        known: The family's keys, which a similar name may misspell.
        prefix: Text before each key in messages.
        to: The translation.
    """
    n_unknown = 0
    for key, entry in entries.items():
        is_null = entry.value.plain() is None and not entry.value.reported
        if key in harmless or key in INERT or is_null or key.startswith("_"):
            to.ignored += [key] if key not in ("model_type", EXPORTED_BY) else []
            continue
        n_unknown += 1
        meant = _misspelled(key, known) if n_unknown <= _MAX_SUGGESTIONS else None
        # a metadata key of a GGUF file has dots
        if meant is None and is_inert(key.rpartition(".")[2], entry.value.plain()):
            to.ignored.append(key)
        else:
            to.unknown.append(UnknownKey(f"{prefix}{key}", entry, meant))


def _misspelled(key: str, known: Collection[str]) -> str | None:
    """Return the known key that ``key`` misspells, if any; ``use_sliding_window`` is not ``sliding_window``."""
    prefix = next((each for each in _SWITCHES if key.startswith(each)), "")
    return suggest(key, [each for each in known if each.startswith(prefix)], _SIMILARITY)


def report_unknown(family: Family, to: Translation) -> None:
    """Report each unknown key, unless it states what the translated model has anyway."""
    for path, entry, meant in to.unknown:
        key = path.rpartition(".")[2]
        if restates(key, entry.value.plain(), to):
            to.ignored.append(path)
            continue
        ignore = Text("; ", Setting("ignore", (path,)), " reads the file without it")
        reason = f"did you mean {meant}?" if meant else f"{family.model_type} has no such key in transformers 5.24"
        help_ = reason if meant else Text(reason, ignore)
        message = f"unknown key {quote(path)}, which may change the model"
        to.report("unknown-setting", path, message, entry.key_span, help_)


def _validate(family: Family, to: Translation, overridden: Collection[str]) -> None:
    """Validate every key with the family's schema."""
    keys, plain = family.keys, to.node.plain()
    to.with_errors |= {
        key
        for key, entry in (to.node.entries or {}).items()
        if entry.value.reported or any(item.reported for item in entry.value.items or [])
    }
    for key in to.with_errors:
        plain.pop(key)
    try:
        to.values = keys.model_validate(plain)
        return
    except ValidationError as error:
        errors = _at_keys(error.errors(include_url=False, include_input=False), plain)
    schema = Schema(keys, to.prefix.removesuffix("."))
    others: list[ErrorDetails] = []
    withheld: list[ErrorDetails] = []
    for detail in errors:
        path = [part for part in detail["loc"] if isinstance(part, str)]
        name, kind, entry = ".".join(path), detail["type"], find_entry(to.node, path)
        field = schema.fields.get(name)
        if kind == "missing" and path[0] in to.with_errors:  # it is present, and already reported
            _repair(plain, path, field.example if field is not None else None)
            continue
        if kind == "extra_forbidden" and entry is not None:
            _classify_inner(path, entry, keys, to)
        elif kind == UNSUPPORTED:
            reason = detail["ctx"]
            to.unsupported(name, reason["why"], reason["help"].replace("{key}", to.display(name)))
        elif name in schema.blocks and entry is not None:
            _report_not_an_object(to.display(name), entry.value, to)
        else:
            filled = filled_fields(keys, path[0])
            (withheld if filled and set(filled) <= set(overridden) else others).append(detail)
        to.with_errors.add(name)
        _repair(plain, path, field.example if field is not None and field.required else None)
    from tinylm_cli.config.validation_errors import diagnose_fields

    found = diagnose_fields(others, to.node, to.source, schema)
    to.errors += [_with_source_keys(each, to) for each in found]
    for detail in withheld:
        found = diagnose_fields([detail], to.node, to.source, schema)
        to.withheld[str(detail["loc"][0])] = [_with_source_keys(each, to) for each in found]
    to.values = keys.model_validate(plain)


def _classify_inner(path: list[str], entry: Entry, keys: type[Keys], to: Translation) -> None:
    """Record a key outside the schema of a block as ignored or unknown; transformers reads no other key about RoPE."""
    shown = to.display(".".join(path))
    inner = keys.model_fields[path[0]].annotation
    known = {name for each in get_args(inner) or (inner,) for name in getattr(each, "model_fields", ())}
    meant = _misspelled(path[-1], known)
    is_null = entry.value.plain() is None and not entry.value.reported
    about_rope = path[0] in ("rope_scaling", "rope_parameters") and meant is None
    if is_null or about_rope or (meant is None and is_inert(path[-1], entry.value.plain())):
        to.ignored.append(shown)
    else:
        to.unknown.append(UnknownKey(shown, entry, meant))


def _report_not_an_object(name: str, node: Node, to: Translation) -> None:
    message, help_ = f"{name} must be an object, not {describe(node)}", f'for example "{name}": {{…}}, or null'
    to.report("wrong-type", name, message, node.span, help_)


def _at_keys(errors: Iterable[ErrorDetails], plain: dict[str, Any]) -> list[ErrorDetails]:
    """Return the first error at each location, without union members in its path.

    For a value that matches no member of a union, such as an integer or "auto", pydantic reports one error per member.
    """
    found: dict[tuple[str | int, ...], ErrorDetails] = {}
    for error in errors:
        location: list[str | int] = []
        inside: Any = plain
        for part in error["loc"]:
            if isinstance(inside, dict) and (part in inside or error["type"] == "missing"):
                inside = inside.get(part)
            elif isinstance(inside, list) and isinstance(part, int):
                inside = inside[part]
            else:
                break
            location.append(part)
        found.setdefault(tuple(location), {**error, "loc": tuple(location)})
    return list(found.values())


def _repair(plain: dict[str, Any], path: list[str], value: Any) -> None:
    """Drop an invalid key, or give a required key a value, so that the other keys can be mapped."""
    inside = plain
    for part in path[:-1]:
        inside = inside.get(part, {})
    inside.pop(path[-1], None)
    if value is not None:
        inside[path[-1]] = value


def _with_source_keys(error: Diagnostic, to: Translation) -> Diagnostic:
    """Return a diagnostic about a schema key with the key spelled as in the file."""
    key = error.field.removeprefix(to.prefix)
    spelled = to.display(key)
    if spelled == error.field:
        return error
    name = re.compile(rf"(?<![\w.])(?:{re.escape(to.prefix)})?{re.escape(key)}(?![\w.])")
    message, help_ = (map_text(text, lambda part: name.sub(spelled, part)) for text in (error.message, error.help))
    return error._replace(message=message, help=help_, field=spelled)

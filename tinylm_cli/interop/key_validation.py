"""Validate the keys of a config.json with the pydantic model of its family, and report errors as diagnostics."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from tinylm_cli.config.diagnostic_codes import clip, diagnostic
from tinylm_cli.config.fields import Schema
from tinylm_cli.config.suggestions import suggest
from tinylm_cli.config.yaml_nodes import Entry, Node, describe
from tinylm_cli.errors import Diagnostic
from tinylm_cli.interop.families import Family
from tinylm_cli.interop.shared_keys import HARMLESS, UNSUPPORTED, filled_fields
from tinylm_cli.interop.translation import Translation, find_entry

_MOST_GUESSES = 20
_SIMILARITY = 0.85  # higher than for tinylm's own keys, since many Hugging Face keys share a suffix


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
    keys = _Keys(family, source)
    node = keys.canonical(keys.inner_object(root) if family.language_model_key else root)
    home = root.entries["model_type"].value.span
    to = Translation(node, source, home, displayed=keys.displayed, prefix=keys.prefix)
    to.ignored, to.mistakes = keys.ignored, keys.mistakes
    keys.validate(node, to, overridden)
    return to


class _Keys:
    """The keys of one file, sorted into schema keys, keys without effect, and unknown keys.

    Attributes:
        prefix: Text before each key in messages: ``text_config.``.
        displayed: The file's spelling of a key, where it differs from the schema's.
        ignored: Keys without effect on the model, in the order of the file.
        mistakes: Diagnostics so far.
    """

    def __init__(self, family: Family, source: str) -> None:
        self._family = family
        self._source = source
        self.prefix = f"{family.language_model_key}." if family.language_model_key else ""
        self.displayed: dict[str, str] = {}
        self.ignored: list[str] = []
        self.mistakes: list[Diagnostic] = []

    def inner_object(self, root: Node) -> Node:
        """Return the language model's object in a multimodal config; the outer ``tie_word_embeddings`` wins."""
        outer, name = dict(root.entries or {}), self._family.language_model_key
        tied, inner = outer.pop("tie_word_embeddings", None), outer.pop(name, None)
        self._sort(outer, HARMLESS.union(self._family.ignored_outer_keys), known={name})
        entries: dict[str, Entry] = {}
        if inner is not None and inner.value.entries is not None:
            entries = dict(inner.value.entries)
        elif inner is not None and inner.value.plain() is not None:
            self._not_an_object(name, inner.value)
        if tied is not None and tied.value.plain() is not None:
            entries["tie_word_embeddings"] = tied
            self.displayed["tie_word_embeddings"] = "tie_word_embeddings"
        return Node(root.span if inner is None else inner.value.span, entries=entries)

    def canonical(self, node: Node) -> Node:
        """Return the object with each key spelled as in the schema, without keys outside the schema."""
        family, given = self._family, node.entries or {}
        entries: dict[str, Entry] = {}
        others: dict[str, Entry] = {}
        for key, entry in given.items():
            name = family.aliases.get(key, key)
            if name not in family.keys.model_fields:
                others[key] = entry
            elif name == key or name not in given:
                entries[name] = entry
                if name != key:
                    self.displayed[name] = f"{self.prefix}{key}"
            elif entry.value.plain() != given[name].value.plain():
                message = f"{self.prefix}{key} and {self.prefix}{name} set the same value, but they differ"
                self._report("contradiction", message, f"{self.prefix}{key}", entry, "keep one of them")
        self._sort(
            others,
            HARMLESS.union(family.ignored),
            known={*family.keys.model_fields, *family.aliases},
            prefix=self.prefix,
        )
        return Node(node.span, entries=entries)

    def validate(self, node: Node, to: Translation, overridden: Collection[str]) -> None:
        """Validate every key with the family's schema."""
        keys, plain = self._family.keys, node.plain()
        to.wrong |= {key for key, entry in (node.entries or {}).items() if _is_reported(entry.value)}
        for key in to.wrong:
            plain.pop(key)
        try:
            to.values = keys.model_validate(plain)
            return
        except ValidationError as error:
            errors = error.errors(include_url=False, include_input=False)
        schema = Schema(keys, self.prefix.removesuffix("."))
        others: list[ErrorDetails] = []
        for detail in errors:
            path = [part for part in detail["loc"] if isinstance(part, str)]
            name, kind, entry = ".".join(path), detail["type"], find_entry(node, path)
            if kind == "extra_forbidden" and entry is not None:
                if entry.value.plain() is not None or entry.value.reported:
                    self._unknown(to.display(name), entry, "its effect on RoPE is unknown")
            elif kind == UNSUPPORTED:
                reason = detail["ctx"]
                to.unsupported(name, reason["why"], reason["help"].replace("{key}", to.display(name)))
            elif name in schema.blocks and entry is not None:
                self._not_an_object(to.display(name), entry.value)
            elif not _is_overridden(filled_fields(keys, path[0]), overridden):
                others.append(detail)
            to.wrong.add(name)
            field = schema.fields.get(name)
            _repair(plain, path, field.example if field is not None and field.required else None)
        from tinylm_cli.config.validation_errors import diagnose_fields

        found = diagnose_fields(others, node, self._source, schema)
        self.mistakes += [_respelled(mistake, to, self.prefix) for mistake in found]
        to.values = keys.model_validate(plain)

    def _sort(
        self, entries: Mapping[str, Entry], harmless: frozenset[str], *, known: set[str], prefix: str = ""
    ) -> None:
        """Sort keys outside the schema into ignored keys (no effect) and unknown keys (errors)."""
        guesses = 0
        for key, entry in entries.items():
            is_null = entry.value.plain() is None and not entry.value.reported
            if key in harmless or key.startswith("_") or is_null:
                self.ignored += [key] if key != "model_type" else []
                continue
            guesses += 1
            meant = suggest(key, known, _SIMILARITY) if guesses <= _MOST_GUESSES else None
            not_in_family = f"{self._family.title} in transformers 5.24 has no such setting"
            self._unknown(f"{prefix}{key}", entry, f"did you mean {meant}?" if meant else not_in_family)

    def _unknown(self, name: str, entry: Entry, help_: str) -> None:
        self._report("unknown-setting", f"unknown setting {clip(name)}: it may change the model", name, entry, help_)

    def _not_an_object(self, name: str, node: Node) -> None:
        message, help_ = f"{name} must be an object, not {describe(node)}", f'for example "{name}": {{…}}, or null'
        self.mistakes.append(diagnostic("wrong-type", message, self._source, node.span, field=name, help=help_))

    def _report(self, code: str, message: str, name: str, entry: Entry, help_: str) -> None:
        self.mistakes.append(diagnostic(code, message, self._source, entry.key_span, field=name, help=help_))


def _is_overridden(filled: tuple[str, ...], overridden: Collection[str]) -> bool:
    """Return whether overrides set every field that a key maps to."""
    return bool(filled) and set(filled) <= set(overridden)


def _is_reported(node: Node) -> bool:
    return node.reported or any(item.reported for item in node.items or [])


def _repair(plain: dict[str, Any], path: list[str], value: Any) -> None:
    """Drop an invalid key, or give a required key a value, so that the other keys can be mapped."""
    inside = plain
    for part in path[:-1]:
        inside = inside.get(part, {})
    inside.pop(path[-1], None)
    if value is not None:
        inside[path[-1]] = value


def _respelled(mistake: Diagnostic, to: Translation, prefix: str) -> Diagnostic:
    """Return a diagnostic about a schema key with the key spelled as in the file."""
    key = mistake.field.removeprefix(prefix)
    spelled = to.display(key)
    if spelled == mistake.field:
        return mistake
    name = re.compile(rf"(?<![\w.])(?:{re.escape(prefix)})?{re.escape(key)}(?![\w.])")
    message, help_ = (name.sub(spelled, text) for text in (mistake.message, mistake.help))
    return mistake._replace(message=message, help=help_, field=spelled)

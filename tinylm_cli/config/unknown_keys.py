"""A key that no field has: what was meant by it, and what is said."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from tinylm_cli.config.diagnostic_codes import clip, diagnostic
from tinylm_cli.config.fields import MODEL, Schema
from tinylm_cli.config.fixes import rename_fix
from tinylm_cli.config.source import SET
from tinylm_cli.config.suggestions import is_not_shape, nearest, other_name, suggest_block, suggest_keys
from tinylm_cli.config.yaml_reader import Entry
from tinylm_cli.errors import Diagnostic

_MOST_LISTED = 6


def meant_fields(path: list[str], entry: Entry, schema: Schema) -> tuple[str, ...]:
    """Return the fields meant by an unknown key: what it holds where it wraps fields, else those of a near name."""
    *parents, key = path
    inside = entry.value.entries
    if inside is None or key in schema.blocks:
        return suggest_keys(key, ".".join(parents), schema)
    wrapped = tuple(name for name in inside if name in schema.root.model_fields)
    meant = () if wrapped else (other_name(key, schema), None if parents else suggest_block(key, schema))
    return wrapped or tuple(name for name in meant if name)[:1]


def unknown_key(
    path: list[str], entry: Entry, meant: tuple[str, ...], taken: Collection[str], schema: Schema
) -> Diagnostic:
    """Return the diagnostic of a key that no field has: where it stands, and what was probably meant.

    Args:
        path: The keys down to it.
        entry: It, and what it holds.
        meant: What :func:`meant_fields` says of it.
        taken: The keys of its block.
        schema: What there is.
    """
    *parents, key = path
    block = ".".join(parents)
    top = f"at the top level of {schema.within}" if schema.within else "at the top level"
    where = f"in {schema.here(block)}" if block else top
    message = f"unknown key {clip(key) or 'with no name'} {where}"
    if entry.value.entries is not None and meant and meant[0] in entry.value.entries:
        remedy = f"write its fields {top}, without {clip(key)}:"
    elif meant:
        remedy = "did you mean " + _places(meant, block, top, dotted=entry.key_span.source == SET)
    elif schema is MODEL and is_not_shape(key):
        remedy = "leave it out: a config here says only what the model is made of"
    else:
        remedy = _known(key, block, schema)
    name = schema.here(".".join(path))
    fix = rename_fix(entry, meant, path, taken, schema)
    return diagnostic("unknown-key", message, entry.key_span.source, entry.key_span, field=name, help=remedy, fix=fix)


def _known(key: str, block: str, schema: Schema) -> str:
    """Say what may stand in a block, or the likest of it where that is long."""
    if block not in schema.blocks:
        plain = [name for name in schema.root.model_fields if name not in schema.blocks]
        blocks = f"the block{'s' if len(schema.blocks) > 1 else ''} {', '.join(schema.blocks)}"
        return f"the fields are {', '.join(plain)}, and {blocks}"
    known = schema.blocks[block].model_fields
    if len(known) <= _MOST_LISTED:
        return "the fields are " + ", ".join(known)
    likest = nearest(key, known, _MOST_LISTED)
    return f"{block} has {len(known)} fields, such as {', '.join(likest)}: tinylm schema --format markdown"


def _places(names: tuple[str, ...], block: str, top: str, *, dotted: bool) -> str:
    """Say where fields belong, seen from inside ``block``: ``kind inside the position or the norm block?``."""
    if dotted:
        return f"{_either(names)}?"
    outer = [name.rpartition(".")[0] for name in names]
    last = names[0].rpartition(".")[2]
    if outer[0] == block:
        return f"{last}?"
    if not outer[0]:
        return f"{last} {top}?"
    return f"{last} inside {'block' if outer == ['block'] else f'the {_either(outer)} block'}?"


def _either(words: Sequence[str]) -> str:
    *others, last = words
    return f"{', '.join(others)} or {last}" if others else last

"""Suggestions for wrong keys, choices and values: the help "did you mean …?"."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable
from functools import cache
from typing import Annotated, Any

from pydantic import ConfigDict, TypeAdapter, ValidationError

from tinylm_cli.config.aliases import (
    BLOCK_ALIASES,
    CHOICE_ALIASES,
    COMPOUND_CHOICES,
    FIELD_ALIASES,
    IGNORED_KEYS,
    RECIPROCAL_KEYS,
)
from tinylm_cli.config.amounts import LENGTHS, UNITS, AmountKind, RateKind, parse_length
from tinylm_cli.config.base import Block
from tinylm_cli.config.dependencies import applies, defaults
from tinylm_cli.config.fields import MODEL, Field, Schema
from tinylm_cli.config.schema import LABELS
from tinylm_cli.config.similar_names import folded, misspelled, similarity, suggest
from tinylm_cli.config.yaml_scalar import scalar

_BOOLEANS = {
    **dict.fromkeys(("yes", "on", "y", "1"), "true"),
    **dict.fromkeys(("no", "off", "n", "0"), "false"),
}
_ENDING = re.compile(r"\.ya?ml$")
_CONFIG_CUTOFF = 0.7  # file names are arbitrary, so a lower similarity means little
_STEM_CUTOFF = 0.5
_OTHER_BLOCKS_CUTOFF = 0.75  # stricter for the many names of other blocks
_SAME_BLOCK_CUTOFF = 0.85  # a name in the same block that comes before an equal one in another
_MAX_NUMBER = 1e15
_GROUPS = re.compile(r"[_' \u00a0\u202f](?=\d)")
_THOUSANDS = re.compile(r"[-+]?\d{1,3}(,\d{3})+")
_SCALED = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)([kmb])")
_SCALES = {"k": 10**3, "m": 10**6, "b": 10**9}
_UNITS = {"%": 0.01, "k": 1e3, "m": 1e6}
_AMOUNT = re.compile(r"[~≈ ]*(?P<number>[0-9]{1,9}(\.[0-9]{1,6})?)\s*(?P<unit>[a-z/ ]+)")
_SPELLINGS: dict[AmountKind | RateKind, dict[str, str]] = {
    "count": {r"^g$": "b"},
    "size": {r"bytes?$": "b"},
    "flops": {r" *flops?$": "", r"^b$": "g"},
    "rate": {r"bps$|b/sec$": "b/s"},
    "flop_rate": {r"ops?(/s)?$": "op/s"},
}
"""Patterns of other spellings of units, and tinylm's unit in lower case."""


def suggest_config(wrong: str, known: Iterable[str]) -> list[str]:
    """Return the presets or files most similar to ``wrong``, regardless of file endings, which they may differ in."""
    names = list(known)
    stems = difflib.get_close_matches(_stem(wrong), map(_stem, names), n=1, cutoff=_CONFIG_CUTOFF)
    stem = stems[0] if stems else _stem(suggest(wrong, names) or "")
    return [name for name in names if _stem(name) == stem] if similarity(_stem(wrong), stem) >= _STEM_CUTOFF else []


def suggest_keys(wrong: str, block: str, schema: Schema = MODEL) -> tuple[str, ...]:
    """Return the dotted names of the fields that an unknown key in ``block`` (empty: the top level) may mean.

    There are several if the name is in several blocks, and none if no name is similar.
    """
    known = schema.fields
    if wrong in known:
        return (wrong,)
    here = tuple((schema.blocks[block] if block else schema.root).model_fields)
    if schema is MODEL and (is_ignored_key(wrong) or wrong in RECIPROCAL_KEYS) and wrong not in here:
        return ()
    prefix = f"{block}." if block else ""
    alias = FIELD_ALIASES.get(wrong.casefold(), "")
    if alias in known:
        return (alias,)
    if alias in here:
        return (prefix + alias,)
    if "." in wrong:
        near = suggest(wrong, known)
        return (near,) if near else ()
    elsewhere = (_last(name) for name in known if schema is not MODEL or name not in LABELS or _last(name) == wrong)
    anywhere = {**dict.fromkeys(here), **dict.fromkeys(elsewhere)}
    near = suggest(wrong, here, _SAME_BLOCK_CUTOFF) if block else None
    near = near or suggest(wrong, anywhere, _OTHER_BLOCKS_CUTOFF) or suggest(wrong, here)
    if near in here:
        return (f"{prefix}{near}",)
    found = tuple(name for name in known if _last(name) == near)
    with_defaults = tuple(name for name in found if schema is MODEL and applies(name, defaults()))
    return with_defaults or found  # not the fields of a mixer that the config may not have, where others fit


def suggest_block(wrong: str, schema: Schema = MODEL) -> str | None:
    """Return the block with the alias ``wrong``, or the most similar block."""
    other = BLOCK_ALIASES.get(folded(wrong))
    return other if other in schema.blocks else suggest(wrong, schema.blocks)


def is_ignored_key(key: str) -> bool:
    """Return whether ``key`` is common in published configs and does not describe the architecture."""
    return key.casefold() in IGNORED_KEYS


def expand_choice(wrong: str, name: str) -> dict[str, str]:
    """Return the fields that a compound word such as ``swiglu`` sets; empty for other words."""
    return COMPOUND_CHOICES.get((name, folded(wrong)), {})


def suggest_choice(wrong: str, choices: tuple[str, ...]) -> str | None:
    """Return the choice with the alias ``wrong``, or the choice that it misspells; never another one."""
    other = CHOICE_ALIASES.get(folded(wrong))
    return misspelled(wrong, choices) if other is None else other if other in choices else None


def suggest_value(written: str, field: Field) -> str | None:
    """Return the likely value for one of the wrong type: ``256`` for ``"256"`` or ``2.56e2``, ``true`` for ``yes``."""
    text = written.strip().partition("#")[0].rstrip(" ,;").casefold()
    guess = _guess(text, field)
    return guess if guess is not None and _is_accepted(field, guess) else None


def suggest_item(written: str, field: Field) -> str | None:
    """Return the likely value for a wrong item of a list of numbers."""
    guess = _guess_number(written.strip().casefold())
    return guess if guess is not None and _is_accepted(field, guess, listed=True) else None


def suggest_amount(written: str, kind: AmountKind | RateKind) -> str | None:
    """Return an amount in the accepted spelling, such as ``400 GB/s`` for ``400gbps``; None if it is not an amount."""
    amount = _AMOUNT.fullmatch(written.casefold())
    if amount is None:
        return None
    wrong = amount["unit"].strip()
    for pattern, usual in _SPELLINGS[kind].items():
        wrong = re.sub(pattern, usual, wrong)
    unit = next((unit for unit in UNITS[kind] if unit.casefold() == wrong), None)
    return f"{amount['number']}{' ' if kind in ('rate', 'flop_rate') else ''}{unit}" if unit else None


def plain_number(text: str) -> float | None:
    """Return a number without a unit, with or without thousands separators (``50,257``, ``1_000``); else None."""
    text = text.strip()
    return _number(text.replace(",", "") if _THOUSANDS.fullmatch(text) else text)


def _guess(text: str, field: Field) -> str | None:
    match field.kind:
        case "boolean":
            return _BOOLEANS.get(text) or suggest(text, ("true", "false"))
        case "integer":
            return _guess_length(text) if _last(field.name) in LENGTHS else _guess_integer(text)
        case "number" | "share":
            return _guess_number(text)
        case "count" | "size" | "flops" | "rate" | "flop_rate":
            return suggest_amount(text, field.kind) or _guess_integer(text)
        case "choice":
            on = "per_head" if text in ("true", "yes", "on") else None  # qk_norm: true
            return "none" if text in ("~", "null", "false", "no", "off") else on
        case "pattern":
            return text.upper()
        case "text":
            return f'"{text}"' if _number(text) is not None else None
    return None


def _guess_length(text: str) -> str | None:
    length = parse_length(text)
    return _guess_integer(text) if length is None else str(length)


def _guess_integer(text: str) -> str | None:
    scaled = _SCALED.fullmatch(text)
    if scaled:
        number = float(scaled[1]) * _SCALES[scaled[2]]
        return str(round(number)) if abs(number - round(number)) < 1e-6 else None  # 1.1 * 1000 is not 1100
    value = plain_number(text)
    return str(int(value)) if value is not None and value == int(value) else None


def _guess_number(text: str) -> str | None:
    unit = next((unit for unit in _UNITS if text.endswith(unit)), "")
    value = _number(text.removesuffix(unit).rstrip().replace(",", "."))
    return None if value is None else scalar(float(f"{value * _UNITS.get(unit, 1.0):.15g}"))


def _number(text: str) -> float | None:
    try:
        value = float(_GROUPS.sub("", text).replace("−", "-"))
    except ValueError:
        return None
    return value if math.isfinite(value) and abs(value) < _MAX_NUMBER else None


def _is_accepted(field: Field, written: str, *, listed: bool = False) -> bool:
    """Return whether the field accepts a guess."""
    from tinylm_cli.config.yaml_reader import resolve_plain

    try:
        value = resolve_plain(written)
    except ValueError:
        return False
    return accepts(field, [value] if listed else value)


def accepts(field: Field, value: object) -> bool:
    """Return whether a field accepts a value."""
    try:
        _adapter(field.owner, _last(field.name)).validate_python(value)
    except (ValidationError, ValueError):
        return False
    return True


@cache
def _adapter(owner: type[Block], name: str) -> TypeAdapter[Any]:
    info = owner.model_fields[name]
    annotated: Any = Annotated[info.annotation, name, *info.metadata]
    return TypeAdapter(annotated, config=ConfigDict(strict=True, allow_inf_nan=False))


def _stem(name: str) -> str:
    return _ENDING.sub("", name[:64].casefold())


def _last(dotted: str) -> str:
    return dotted.rpartition(".")[2]

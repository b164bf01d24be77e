"""Did you mean: the most likely key, choice or value for a wrong one."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable
from functools import cache
from typing import Annotated, Any

from pydantic import ConfigDict, TypeAdapter, ValidationError

from tinylm_cli.config.aliases import BLOCK_ALIASES, CHOICE_ALIASES, COMPOUND_CHOICES, FIELD_ALIASES, IGNORED_KEYS
from tinylm_cli.config.amounts import UNITS, suggest_measure
from tinylm_cli.config.blocks import Block
from tinylm_cli.config.fields import MODEL, Field, Schema, fields
from tinylm_cli.config.schema import LABELS
from tinylm_cli.config.yaml_writer import scalar

_NOTHING = frozenset({"0", "0.0", "-1", "none", "false", "off", "no", "~"})
_BOOLEANS = {
    "yes": "true",
    "on": "true",
    "y": "true",
    "1": "true",
    "no": "false",
    "off": "false",
    "n": "false",
    "0": "false",
}
_ENDING = re.compile(r"\.ya?ml$")
_NEAR_NAME = 0.7  # file names are arbitrary, so a lower similarity means little
_NEAR_STEM = 0.5
_SCALED = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)([kmb])")
_AMOUNT = re.compile(r"(?P<number>[0-9]{1,6}(?:\.[0-9]{1,6})?)\s*(?P<unit>[a-z ]+)")
_SCALES = {"k": 10**3, "m": 10**6, "b": 10**9}
_GROUPS = re.compile(r"[_' \u00a0\u202f](?=\d)")
_THOUSANDS = re.compile(r"[-+]?\d{1,3}(,\d{3})+")
_UNITS = {"%": 0.01, "k": 1e3, "m": 1e6}
_ELSEWHERE = 0.75  # stricter for the many names of other blocks
_MOST_EXACT = 1e15


def suggest(wrong: str, known: Iterable[str], likeness: float = 0.6) -> str | None:
    """Return the known word most similar to ``wrong``; None if none is similar enough."""
    by_folded = {_folded(word): word for word in known}
    matches = difflib.get_close_matches(_folded(wrong[:64]), by_folded, n=1, cutoff=likeness)
    return by_folded[matches[0]] if matches else None


def suggest_config(wrong: str, known: Iterable[str]) -> str | None:
    """Return the preset or file most similar to ``wrong``, regardless of file endings."""
    by_stem = {_stem(name): name for name in known}
    stems = difflib.get_close_matches(_stem(wrong), by_stem, n=1, cutoff=_NEAR_NAME)
    if stems:
        return by_stem[stems[0]]
    near = suggest(wrong, by_stem.values())
    alike = near is not None and difflib.SequenceMatcher(None, _stem(wrong), _stem(near)).ratio() >= _NEAR_STEM
    return near if alike else None


def suggest_keys(wrong: str, block: str, schema: Schema = MODEL) -> tuple[str, ...]:
    """Return the dotted names of the fields that an unknown key in ``block`` (empty: the top level) may mean.

    There are several if the name is in several blocks, and none if no name is similar.
    """
    known = schema.fields
    if wrong in known:
        return (wrong,)
    here = tuple((schema.blocks[block] if block else schema.root).model_fields)
    if schema is MODEL and is_ignored_key(wrong) and wrong not in here:
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
    near = suggest(wrong, anywhere, _ELSEWHERE) or suggest(wrong, here)
    if near in here:
        return (f"{prefix}{near}",)
    return tuple(name for name in known if _last(name) == near)


def alias_of(wrong: str, schema: Schema = MODEL) -> str | None:
    """Return the field with the alias ``wrong``."""
    name = FIELD_ALIASES.get(wrong.casefold())
    return name if name in schema.fields else None


def suggest_block(wrong: str, schema: Schema = MODEL) -> str | None:
    """Return the block with the alias ``wrong``, or the most similar block."""
    other = BLOCK_ALIASES.get(_folded(wrong))
    return other if other in schema.blocks else suggest(wrong, schema.blocks)


def nearest(wrong: str, known: Iterable[str], count: int) -> list[str]:
    """Return the ``count`` words most similar to ``wrong``, in the order of ``known``."""
    words = list(known)
    folded = _folded(wrong[:64])
    likeness = {word: difflib.SequenceMatcher(None, folded, word).ratio() for word in words}
    best = sorted(words, key=likeness.__getitem__, reverse=True)[:count]
    return [word for word in words if word in best]


def is_ignored_key(key: str) -> bool:
    """Return whether ``key`` is common in published configs and does not describe the architecture."""
    return key.casefold() in IGNORED_KEYS


def means_nothing(written: str) -> bool:
    """Return whether a value means "none" in other libraries, where tinylm leaves the field out."""
    return written.strip().casefold() in _NOTHING


def expand_choice(wrong: str, name: str) -> dict[str, str]:
    """Return the fields that a compound word such as ``swiglu`` sets; empty for other words."""
    return COMPOUND_CHOICES.get((name, _folded(wrong)), {})


def suggest_choice(wrong: str, choices: tuple[str, ...]) -> str | None:
    """Return the choice with the alias ``wrong``, or the most similar choice."""
    other = CHOICE_ALIASES.get(_folded(wrong))
    return suggest(wrong, choices) if other is None else other if other in choices else None


def suggest_value(written: str, field: Field) -> str | None:
    """Return the likely value for one of the wrong type: ``256`` for ``"256"`` or ``2.56e2``, ``true`` for ``yes``."""
    text = written.strip().partition("#")[0].rstrip(" ,;").casefold()
    guess = _GUESSES[field.kind](text) if field.kind in _GUESSES else None
    return guess if guess is not None and _fits(field, guess) else None


def similarity(wrong: str, known: str) -> float:
    """Return the similarity of two words, from 0 to 1, ignoring case."""
    return difflib.SequenceMatcher(None, _folded(wrong[:64]), _folded(known)).ratio()


def plain_number(text: str) -> float | None:
    """Return a number without a unit, with or without thousands separators (``50,257``, ``1_000``); else None."""
    text = text.strip()
    return _number(text.replace(",", "") if _THOUSANDS.fullmatch(text) else text)


def suggest_item(written: str, field: Field) -> str | None:
    """Return the likely value for a wrong item of a list of numbers."""
    guess = _guess_number(written.strip().casefold())
    return guess if guess is not None and _fits(field, guess, listed=True) else None


def _guess_boolean(text: str) -> str | None:
    return _BOOLEANS.get(text) or suggest(text, ("true", "false"))


def _guess_integer(text: str) -> str | None:
    scaled = _SCALED.fullmatch(text)
    if scaled:
        number = float(scaled[1]) * _SCALES[scaled[2]]
        return str(round(number)) if abs(number - round(number)) < 1e-6 else None  # 1.1 * 1000 is not 1100
    value = _number(text.replace(",", "") if _THOUSANDS.fullmatch(text) else text)
    return str(int(value)) if value is not None and value == int(value) else None


def _guess_number(text: str) -> str | None:
    unit = next((unit for unit in _UNITS if text.endswith(unit)), "")
    value = _number(text.removesuffix(unit).rstrip().replace(",", "."))
    return None if value is None else scalar(float(f"{value * _UNITS.get(unit, 1.0):.15g}"))


def _guess_count(text: str) -> str | None:
    short = text.lstrip("~≈ ").replace(" ", "").upper().replace("G", "B")
    return short if _fits(fields()["nominal_params"], short) else _guess_integer(text)


def _guess_size(text: str) -> str | None:
    amount = _AMOUNT.fullmatch(text)
    units = {unit.casefold(): unit for unit in UNITS["size"]}
    unit = units.get(amount["unit"].removesuffix("ytes").removesuffix("yte")) if amount else None
    return f"{amount['number']}{unit}" if amount and unit else _guess_integer(text)


def _guess_flops(text: str) -> str | None:
    amount = _AMOUNT.fullmatch(text)
    unit = re.sub(r"flops?$", "", amount["unit"]).strip().upper().replace("B", "G") if amount else ""
    return f"{amount['number']}{unit}" if amount and unit in UNITS["flops"] else _guess_integer(text)


def _guess_choice(text: str) -> str | None:
    if text in ("~", "null", "false", "no", "off"):
        return "none"
    return "per_head" if text in ("true", "yes", "on") else None  # a qk_norm that is on


def _guess_pattern(text: str) -> str | None:
    return text.upper()


def _guess_text(text: str) -> str | None:
    return f'"{text}"' if _number(text) is not None else None


def _guess_rate(text: str) -> str | None:
    return suggest_measure(text, "rate")


def _guess_flop_rate(text: str) -> str | None:
    return suggest_measure(text, "flop_rate")


_GUESSES = {
    "boolean": _guess_boolean,
    "integer": _guess_integer,
    "number": _guess_number,
    "share": _guess_number,
    "count": _guess_count,
    "size": _guess_size,
    "flops": _guess_flops,
    "choice": _guess_choice,
    "pattern": _guess_pattern,
    "text": _guess_text,
    "rate": _guess_rate,
    "flop_rate": _guess_flop_rate,
}


def _number(text: str) -> float | None:
    try:
        value = float(_GROUPS.sub("", text).replace("−", "-"))
    except ValueError:
        return None
    return value if math.isfinite(value) and abs(value) < _MOST_EXACT else None


def _fits(field: Field, written: str, *, listed: bool = False) -> bool:
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


def _folded(word: str) -> str:
    return word.casefold().replace("-", "_")


def _stem(name: str) -> str:
    return _ENDING.sub("", name[:64].casefold())


def _last(dotted: str) -> str:
    return dotted.rpartition(".")[2]

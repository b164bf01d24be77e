"""Parsing of ``--assert``, such as ``total_params < 130M``."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, NamedTuple, Self

from tinylm_cli.config.amounts import AmountKind, parse_amount, read_amount, read_share
from tinylm_cli.config.diagnostic_codes import clip, diagnostic, refusal
from tinylm_cli.config.fields import fields
from tinylm_cli.config.source import Source
from tinylm_cli.config.suggestions import suggest, suggest_value
from tinylm_cli.errors import ConfigError, Diagnostic, Span

ASSERT = "--assert"

FigureKind = AmountKind | Literal["share"]

RELATIONS: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}
"""Relations of a figure to its bound."""

_MEANT = {"=": "==", "===": "==", "=<": "<=", "=>": ">=", "≤": "<=", "≥": ">=", "<>": "!=", "≠": "!=", "!": "!="}
_SWAPPED = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}
_SIGNS = "<>=!≤≥≠"
_PARTS = re.compile(rf"\s*(?P<figure>[^\s{_SIGNS}]*)\s*(?P<relation>[{_SIGNS}]*)\s*(?P<bound>.*)", re.DOTALL)
_NAME = re.compile(r"[A-Za-z_]\w*")
_EXAMPLE = "total_params < 130M"
_ONE = "an assertion is one figure, one relation and one bound"
FIELD_OF: dict[FigureKind, str] = {
    "count": "budget.max_params",
    "size": "budget.max_kv_bytes",
    "flops": "budget.max_flops_per_token",
    "share": "budget.nominal_tolerance",
}
"""A field of a config whose values are of each kind, which defines their notation."""


class Condition(NamedTuple):
    """A condition on one figure of a config.

    Attributes:
        origin: ``--assert``, or the field of the budget, e.g. ``budget.max_params``.
        text: The condition as written, e.g. ``total_params < 130M``.
        figure: The figure's name.
        relation: A key of ``RELATIONS``.
        bound: A number, or the name of another figure.
    """

    origin: str
    text: str
    figure: str
    relation: str
    bound: int | float | str


def read_assertions(texts: Iterable[str], kinds: Mapping[str, FigureKind]) -> tuple[Condition, ...]:
    """Parse the values of ``--assert``, each ``FIGURE RELATION BOUND``.

    Args:
        texts: The value of each ``--assert``.
        kinds: The kind of each known figure.

    Raises:
        ConfigError: If any is wrong; holds a diagnostic for each.
    """
    conditions: list[Condition] = []
    mistakes: list[Diagnostic] = []
    for text in texts:
        try:
            conditions.append(_read(_Words.of(text), kinds))
        except ConfigError as error:
            mistakes += error.diagnostics
    if mistakes:
        raise refusal(mistakes)
    return tuple(conditions)


class _Words(NamedTuple):
    """The three parts of an assertion, each possibly empty, and their places."""

    text: str
    figure: str
    relation: str
    bound: str
    places: dict[str, Span]

    @classmethod
    def of(cls, text: str) -> Self:
        """Split an assertion into its parts."""
        parts = _PARTS.fullmatch(text.rstrip())
        assert parts is not None, "each part may be empty, and the last is anything"
        source = Source(ASSERT, text)
        places = {name: source.span(*parts.span(name)) for name in parts.groupdict()}
        return cls(text, parts["figure"], parts["relation"], parts["bound"], places)

    def wrong(self, code: str, message: str, part: str, remedy: str) -> ConfigError:
        """Return the error about one part."""
        return refusal([diagnostic(code, message, ASSERT, self.places[part], help=remedy)])


def _read(words: _Words, kinds: Mapping[str, FigureKind]) -> Condition:
    _require_figure(words, kinds)
    _require_relation(words, kinds)
    return Condition(ASSERT, words.text, words.figure, words.relation, _bound(words, kinds))


def _require_figure(words: _Words, kinds: Mapping[str, FigureKind]) -> None:
    figure, relation, bound = words.figure, words.relation, words.bound
    if figure in kinds:
        return
    if not words.text.strip():
        raise words.wrong("assertion-syntax", "the assertion is empty", "figure", f"for example {_EXAMPLE}")
    if not figure:
        message = f"no figure before {clip(relation)}"
        raise words.wrong("assertion-syntax", message, "relation", f"for example {_EXAMPLE}")
    between = _Words.of(bound)
    inner, second, upper = between.figure, between.relation, between.bound
    if inner in kinds and {relation, second or relation} <= RELATIONS.keys():
        swapped = f"{inner} {_SWAPPED[relation]} {clip(figure)}"
        if not second:
            message = f"an assertion begins with a figure, not with {clip(figure)}"
            raise words.wrong("assertion-syntax", message, "figure", f"write {swapped}")
        remedy = f"write two: {ASSERT} '{swapped}' {ASSERT} '{inner} {second} {clip(upper)}'"
        raise words.wrong("assertion-syntax", _ONE, "figure", remedy)
    raise refusal([unknown_figure(figure, kinds, words.places["figure"])])


def _require_relation(words: _Words, kinds: Mapping[str, FigureKind]) -> None:
    relation, example = words.relation, _example(words.figure, kinds)
    if not relation:
        message = f"no relation after {words.figure}"
        remedy = f"for example '{example}', in quotes: a shell reads < and > as redirections"
        raise words.wrong("assertion-syntax", message, "bound" if words.bound else "figure", remedy)
    if relation not in RELATIONS:
        meant = _MEANT.get(relation)
        remedy = f"write {meant}" if meant else f"the relations are {', '.join(RELATIONS)}"
        raise words.wrong("assertion-syntax", f"{relation} is not a relation", "relation", remedy)
    if not words.bound:
        message = f"no bound after {relation}"
        raise words.wrong("assertion-syntax", message, "relation", f"for example {example}")


def _bound(words: _Words, kinds: Mapping[str, FigureKind]) -> int | float | str:
    """Return the bound of a figure: another figure of its kind, or a number."""
    figure, bound, example = words.figure, words.bound, _example(words.figure, kinds)
    kind = kinds[figure]
    if bound in kinds:
        if kinds[bound] != kind:
            message = f"{figure} and {bound} count different things"
            raise words.wrong("wrong-type", message, "bound", f"for example {example}")
        return bound
    value = _number(bound, kind)
    if value is not None:
        return value
    if re.search(rf"[{_SIGNS}]|\s(and|or|&|\|)", bound):
        raise words.wrong("assertion-syntax", _ONE, "bound", f"write each in a separate {ASSERT}")
    if _NAME.fullmatch(bound):
        raise refusal([unknown_figure(bound, kinds, words.places["bound"])])
    field = fields()[FIELD_OF[kind]]
    meant = suggest_value(bound, field)
    message = f"{figure} must be compared with {field.expected}, not {clip(bound)}"
    raise words.wrong("wrong-type", message, "bound", f"write {meant}" if meant else f"for example {example}")


def _number(text: str, kind: FigureKind) -> int | float | None:
    """Return a bound as a number >= 0; None if it is not one of this kind."""
    if kind == "share":
        return read_share(text)
    if text == "0":
        return 0
    amount = read_amount(text, kind)
    try:
        return parse_amount(text, kind) if amount is None else amount
    except ValueError:
        return None


def unknown_figure(wrong: str, known: Iterable[str], place: Span) -> Diagnostic:
    """Return the diagnostic of an unknown figure, with the nearest known one."""
    names = tuple(known)
    whole = f"total_{wrong}"
    meant = whole if whole in names else suggest(wrong, names)
    listed = f"the figures are {', '.join(names)}"
    remedy = f"did you mean {meant}? {listed[0].upper()}{listed[1:]}" if meant else listed
    return diagnostic("unknown-figure", f"no figure is called {clip(wrong)}", place.source, place, help=remedy)


def _example(figure: str, kinds: Mapping[str, FigureKind]) -> str:
    return f"{figure} < {fields()[FIELD_OF[kinds[figure]]].example}"

"""What is asserted of a config's figures, ``total_params < 130M``, read with its mistakes told at their place."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, NamedTuple

from tinylm_cli.config.amounts import AmountKind, read_amount
from tinylm_cli.config.codes import clip, diagnostic, refusal
from tinylm_cli.config.fields import fields
from tinylm_cli.config.guesses import suggest, suggest_value
from tinylm_cli.config.scalars import NumberTooLongError, resolve_plain
from tinylm_cli.config.source import Source
from tinylm_cli.errors import Diagnostic, Span

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
"""How a figure may stand to its bound."""

_MEANT = {"=": "==", "===": "==", "=<": "<=", "=>": ">=", "≤": "<=", "≥": ">=", "<>": "!=", "≠": "!=", "!": "!="}
_SWAPPED = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}
_SIGNS = "<>=!≤≥≠"
_PARTS = re.compile(rf"\s*(?P<figure>[^\s{_SIGNS}]*)\s*(?P<relation>[{_SIGNS}]*)\s*(?P<bound>.*)", re.DOTALL)
_NAME = re.compile(r"[A-Za-z_]\w*")
FIELD_OF: dict[FigureKind, str] = {
    "count": "budget.max_params",
    "size": "budget.max_kv_bytes",
    "flops": "budget.max_flops_per_token",
    "share": "budget.nominal_tolerance",
}
"""A field of a config whose values are of each kind, which says how they are written."""


class Claim(NamedTuple):
    """What is to hold of a config's figures.

    Attributes:
        origin: Who claims it: ``--assert``, or the budget's field, e.g. ``budget.max_params``.
        text: The claim as written, e.g. ``total_params < 130M``.
        figure: The figure's name.
        relation: A key of ``RELATIONS``.
        bound: What it is held to: a number, or the name of another figure.
    """

    origin: str
    text: str
    figure: str
    relation: str
    bound: int | float | str


def read_assertions(texts: Iterable[str], kinds: Mapping[str, FigureKind]) -> tuple[Claim, ...]:
    """Read what ``--assert`` was given, each ``FIGURE RELATION BOUND``.

    Args:
        texts: One for each time the option was given.
        kinds: What the values of each known figure are.

    Raises:
        ConfigError: If any is wrong; holds a mistake for each that is.
    """
    read = [_read(text, kinds) for text in texts]
    mistakes = [each for each in read if isinstance(each, Diagnostic)]
    if mistakes:
        raise refusal(mistakes)
    return tuple(each for each in read if isinstance(each, Claim))


def _read(text: str, kinds: Mapping[str, FigureKind]) -> Claim | Diagnostic:
    parts = _PARTS.fullmatch(text.rstrip())
    assert parts is not None, "each part may be empty, and the last is anything"
    source = Source(ASSERT, text)
    figure, relation, bound = parts.groups()

    def mistake(code: str, message: str, part: str, remedy: str) -> Diagnostic:
        return diagnostic(code, message, ASSERT, source.span(*parts.span(part)), help=remedy)

    if not text.strip():
        return mistake("assertion-syntax", "nothing is asserted", "figure", "for example total_params < 130M")
    if figure not in kinds and bound in kinds and relation in RELATIONS:
        message = f"an assertion begins with a figure, not with {clip(figure) or relation}"
        return mistake("assertion-syntax", message, "figure", f"write {bound} {_SWAPPED[relation]} {clip(figure)}")
    if figure not in kinds:
        return unknown_figure(figure, kinds, source.span(*parts.span("figure")))
    example = _example(figure, kinds)
    if not relation:
        message = f"no relation stands after {figure}"
        remedy = f"for example '{example}', in quotes: to a shell < and > are files"
        return mistake("assertion-syntax", message, "bound" if bound else "figure", remedy)
    if relation not in RELATIONS:
        meant = _MEANT.get(relation)
        remedy = f"write {meant}" if meant else f"the relations are {', '.join(RELATIONS)}"
        return mistake("assertion-syntax", f"{relation} is no relation", "relation", remedy)
    if not bound:
        return mistake("assertion-syntax", f"no bound stands after {relation}", "relation", f"for example {example}")
    if bound in kinds:
        if kinds[bound] != kinds[figure]:
            message = f"{figure} and {bound} count different things"
            return mistake("wrong-type", message, "bound", f"for example {example}")
        return Claim(ASSERT, text, figure, relation, bound)
    value = _number(bound, kinds[figure])
    if value is not None:
        return Claim(ASSERT, text, figure, relation, value)
    if re.search(rf"[{_SIGNS}]|\s(and|or|&|\|)", bound):
        message = "an assertion is one figure, one relation and one bound"
        return mistake("assertion-syntax", message, "bound", f"write each in an {ASSERT} of its own")
    if _NAME.fullmatch(bound):
        return unknown_figure(bound, kinds, source.span(*parts.span("bound")))
    field = fields()[FIELD_OF[kinds[figure]]]
    meant = suggest_value(bound, field)
    wants = "a share such as 0.05 or 5%" if kinds[figure] == "share" else field.wants
    message = f"{figure} is held to {wants}, not to {clip(bound)}"
    return mistake("wrong-type", message, "bound", f"write {meant}" if meant else f"for example {example}")


def _number(text: str, kind: FigureKind) -> int | float | None:
    """Return a bound as a number; None where it is none of this kind."""
    amount = read_amount(text, kind) if kind != "share" else None
    if amount is not None:
        return amount
    percent = kind == "share" and text.endswith("%")
    try:
        value = resolve_plain(text.removesuffix("%").rstrip() if percent else text)
    except NumberTooLongError:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return value / 100 if percent else value


def unknown_figure(wrong: str, known: Iterable[str], place: Span) -> Diagnostic:
    """Return that no figure among ``known`` is called ``wrong``, and which may be meant."""
    names = tuple(known)
    meant = suggest(wrong, names)
    listed = f"the figures are {', '.join(names)}"
    remedy = f"did you mean {meant}? {listed[0].upper()}{listed[1:]}" if meant else listed
    return diagnostic("unknown-figure", f"no figure is called {clip(wrong)}", place.source, place, help=remedy)


def _example(figure: str, kinds: Mapping[str, FigureKind]) -> str:
    return f"{figure} < {fields()[FIELD_OF[kinds[figure]]].example}"

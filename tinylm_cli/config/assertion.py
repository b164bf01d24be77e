"""Parsing of assertions, such as ``total_params < 130M``."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, NamedTuple

from tinylm_cli.config.amounts import AmountKind, parse_amount, read_amount, read_share
from tinylm_cli.config.diagnostic_codes import clip, config_error, diagnostic, quote
from tinylm_cli.config.fields import Field, fields
from tinylm_cli.config.similar_names import suggest
from tinylm_cli.config.source import Source
from tinylm_cli.config.suggestions import suggest_value
from tinylm_cli.errors import ConfigError, Diagnostic, Span
from tinylm_cli.wording import Argument, Setting, ShellNote, Text

ASSERT = Argument("<assert_>")
"""Source of a diagnostic about an assertion."""

FigureKind = AmountKind | Literal["share"]

RELATIONS: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}
"""The comparison operators, applied to a figure and its bound."""

_CORRECTIONS = {"=": "==", "===": "==", "=<": "<=", "=>": ">=", "≤": "<=", "≥": ">=", "<>": "!=", "≠": "!=", "!": "!="}
_SWAPPED = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}
_SIGNS = "<>=!≤≥≠"
_PARTS = re.compile(rf"\s*(?P<figure>[^\s{_SIGNS}]*)\s*(?P<relation>[{_SIGNS}]*)\s*(?P<bound>.*)", re.DOTALL)
_NAME = re.compile(r"[A-Za-z_]\w*")
_EXAMPLE = "total_params < 130M"
_FORM = "an assertion is one figure, one operator and one bound"
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
        origin: ``ASSERT``, or the field of the budget, e.g. ``budget.max_params``.
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
    """Parse assertions, each ``FIGURE OPERATOR BOUND``.

    Args:
        texts: The assertions.
        kinds: The kind of each known figure.

    Raises:
        ConfigError: If any is invalid; it lists every error.
    """
    conditions: list[Condition] = []
    errors: list[Diagnostic] = []
    for text in texts:
        try:
            conditions.append(_Parts(text).read(kinds))
        except ConfigError as error:
            errors += error.diagnostics
    if errors:
        raise config_error(errors)
    return tuple(conditions)


class _Parts:
    """The three parts of an assertion, each possibly empty, and their spans."""

    def __init__(self, text: str) -> None:
        parts = _PARTS.fullmatch(text.rstrip())
        assert parts is not None, "each part may be empty; the last takes the rest of the text"
        self.text = text
        self.figure, self.relation, self.bound = parts.groups()
        self.spans = {name: Source(ASSERT, text).span(*parts.span(name)) for name in parts.groupdict()}

    def read(self, kinds: Mapping[str, FigureKind]) -> Condition:
        """Return the condition, or raise the diagnostic of the first wrong part."""
        if self.figure not in kinds:
            raise self._wrong_figure(kinds)
        example = f"{self.figure} < {_field(kinds[self.figure]).example}"
        if self.relation not in RELATIONS:
            raise self._wrong_relation(example)
        if not self.bound:
            raise self._wrong(f"no bound after {self.relation}", "relation", f"for example {example}")
        return Condition(ASSERT, self.text, self.figure, self.relation, self._bound(kinds, example))

    def _wrong(self, message: str, part: str, remedy: str, code: str = "assertion-syntax") -> ConfigError:
        return config_error([diagnostic(code, message, ASSERT, self.spans[part], help=remedy)])

    def _wrong_figure(self, kinds: Mapping[str, FigureKind]) -> ConfigError:
        if not self.text.strip():
            return self._wrong("the assertion is empty", "figure", f"for example {_EXAMPLE}")
        if not self.figure:
            return self._wrong(f"no figure before {clip(self.relation)}", "relation", f"for example {_EXAMPLE}")
        rest, figure = _Parts(self.bound), clip(self.figure)
        if rest.figure not in kinds or not {self.relation, rest.relation or self.relation} <= RELATIONS.keys():
            return config_error([unknown_figure(self.figure, kinds, self.spans["figure"])])
        swapped = f"{rest.figure} {_SWAPPED[self.relation]} {figure}"
        if not rest.relation:
            message = f"an assertion begins with a figure, not with {figure}"
            return self._wrong(message, "figure", f"write {swapped}")
        second = f"{rest.figure} {rest.relation} {clip(rest.bound)}"
        return self._wrong(_FORM, "figure", Text("write two: ", Setting("assert_", (swapped, second))))

    def _wrong_relation(self, example: str) -> ConfigError:
        if not self.relation:
            quotes = ShellNote(", in quotes: a shell reads < and > as redirections")
            in_quotes = Text(f"for example '{example}'", quotes)
            return self._wrong(f"no operator after {self.figure}", "bound" if self.bound else "figure", in_quotes)
        meant = _CORRECTIONS.get(self.relation)
        remedy = f"write {meant}" if meant else f"the operators are {', '.join(RELATIONS)}"
        return self._wrong(f"{self.relation} is not a comparison operator", "relation", remedy)

    def _bound(self, kinds: Mapping[str, FigureKind], example: str) -> int | float | str:
        """Return the bound of a figure: another figure of its kind, or a number."""
        figure, bound, kind = self.figure, self.bound, kinds[self.figure]
        if bound in kinds:
            if kinds[bound] != kind:
                message = f"{figure} and {bound} have different units"
                raise self._wrong(message, "bound", f"for example {example}", "wrong-type")
            return bound
        value = _number(bound, kind)
        if value is not None:
            return value
        if re.search(rf"[{_SIGNS}]|\s(and|or|&|\|)", bound):
            raise self._wrong(_FORM, "bound", Text("write a separate ", Setting("assert_"), " for each"))
        if _NAME.fullmatch(bound):
            raise config_error([unknown_figure(bound, kinds, self.spans["bound"])])
        meant = suggest_value(bound, _field(kind))
        message = f"{figure} must be compared with {_field(kind).expected}, not {clip(bound)}"
        raise self._wrong(message, "bound", f"write {meant}" if meant else f"for example {example}", "wrong-type")


def _field(kind: FigureKind) -> Field:
    return fields()[FIELD_OF[kind]]


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
    names, words = tuple(known), wrong.split("_")
    with_all_words = [name for name in names if set(words) <= set(name.split("_"))]
    meant = with_all_words[0] if with_all_words else suggest(wrong, names)
    remedy = f"did you mean {meant}?" if meant else f"the figures are {', '.join(names)}"
    return diagnostic("unknown-figure", f"unknown figure {quote(wrong)}", place.source, place, help=remedy)

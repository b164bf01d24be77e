"""Diagnostics of YAML syntax errors."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

from tinylm_cli.config.diagnostic_codes import diagnostic
from tinylm_cli.config.fields import fields
from tinylm_cli.config.source import Source
from tinylm_cli.config.yaml_nodes import Node, describe
from tinylm_cli.errors import Diagnostic, Fix, Label, Span

_CONFLICT = ("<<<<<<<", "=======", ">>>>>>>")
_CLOSING = {"{": "}", "[": "]"}
_LONGEST_KEY = 1024  # https://yaml.org/spec/1.2.2/#742-flow-mappings: a key that is not marked with ? ends by then
_PAIR = re.compile(r"\s*(?P<key>[\w.]+)(?P<between>(?:\s*[=:]|\s)\s*)(?P<value>\S.*?)\s*")


class _ParserError(NamedTuple):
    """Where the parser stopped.

    Attributes:
        text: The full text.
        at: Index of the character that the parser rejects.
        opened: Index where the unfinished part starts; ``at`` if unknown.
        line_start: Where the line of ``at`` starts.
        line: That line.
        problem: The parser's message; empty if it failed on a number.
        context: The parser's description of the construct it was reading.
    """

    text: str
    at: int
    opened: int
    line_start: int
    line: str
    problem: str
    context: str

    @property
    def before(self) -> str:
        """The line before ``at``."""
        return self.line[: self.at - self.line_start]

    @property
    def sign(self) -> str:
        """The last token quoted in the parser's message."""
        quoted = re.findall(r"'([^']+)'", self.problem)
        return quoted[-1] if quoted else ""


class _Explanation(NamedTuple):
    """The message, the help and the text to point at; ``opened`` is the start of the unfinished part.

    ``colon`` is the text to replace by ``": "``, if that is certain.
    """

    message: str
    help: str
    start: int
    end: int
    opened: int | None = None
    colon: tuple[int, int] | None = None


def syntax_error(error: Any, source: Source) -> Diagnostic:
    """Return the diagnostic of a YAML error."""
    last = max(len(source.text.rstrip()) - 1, 0)
    marks = [getattr(error, name, None) for name in ("problem_mark", "context_mark")]
    at, opened = (min(mark.index, last) if mark is not None else None for mark in marks)
    if at is None:
        at = opened if opened is not None else _unlocated(source.text)
    start, end = source.line_bounds(at)
    problem = str(getattr(error, "problem", None) or "").removeprefix("found ")
    context = str(getattr(error, "context", None) or "")
    found = _explain(
        _ParserError(
            source.text, at, opened if opened is not None else at, start, source.text[start:end], problem, context
        ),
        source,
    )
    labels = (Label(source.span(found.opened, found.opened + 1), "opened here"),) if found.opened is not None else ()
    span = source.span(found.start, found.end)
    fix = Fix(source.span(*found.colon), ": ") if found.colon else None
    return diagnostic("yaml-syntax", found.message, source.name, span, help=found.help, labels=labels, fix=fix)


def not_a_mapping(root: Node) -> Diagnostic:
    """Return the diagnostic of a document that is not a mapping."""
    message = f"a config must be a mapping of fields, not {describe(root) if root.items is None else 'a list'}"
    remedy = f"write one field per line, e.g. {corrected_pair(root.span.text) or 'd_model: 128'}"
    fix = colon_fix(root.span)
    return diagnostic("not-a-mapping", message, root.span.source, root.span, help=remedy, fix=fix)


def corrected_pair(line: str) -> str | None:
    """Return ``d_model: 128`` for ``d_model = 128``, ``d_model:128`` or ``d_model 128``; None for other lines."""
    pair = _field_pair(line)
    return f"{pair['key']}: {pair['value']}" if pair else None


def colon_fix(span: Span) -> Fix | None:
    """Return the fix of a line without ``": "`` between a field and its value; None for other lines."""
    pair = _field_pair(span.text)
    if pair is None or span.text_column != 1:
        return None
    start, end = pair.span("between")
    return Fix(span._replace(column=start + 1, end_column=end + 1), ": ")


def _field_pair(line: str) -> re.Match[str] | None:
    pair = _PAIR.fullmatch(line)
    known = {part for name in fields() for part in (name, name.rpartition(".")[2])}
    return pair if pair and pair["key"] in known and not re.fullmatch(r":[ \t]+", pair["between"]) else None


def _explain(error: _ParserError, source: Source) -> _Explanation:
    at = error.at
    if error.text[at : at + 1] == "\t" or ("\t" in error.before and not error.before.strip()):
        return _Explanation("YAML cannot be indented with tabs", "indent with spaces", at, at + 1)
    if error.line.startswith("%"):
        reason = f": {error.problem}" if error.problem else ""
        return _Explanation(
            f"invalid YAML directive{reason}", "remove the line: a config needs no directive", at, at + 1
        )
    if not error.problem:
        return _Explanation("escape sequence beyond U+10FFFF", "use single quotes if it is text", at, at + 1)
    for words, explain in _EXPLANATIONS.items():
        if words in error.problem or words in error.context:
            return explain(error, source)
    return _Explanation(error.problem, "see https://yaml.org/spec/1.2.2/", at, at + 1)


def _unlocated(text: str) -> int:
    """Return the place of an error that ruamel does not locate: digits that it passes to Python unchecked."""
    digits = re.search(r"\\U(?!000|0010)|^%YAML", text, re.MULTILINE)
    return digits.start() if digits else 0


def _second_value(error: _ParserError, source: Source) -> _Explanation:
    """A ``:`` that ends no key."""
    at, before = error.at, error.before
    if ": " in before:
        return _Explanation(
            "a second ': ' in a value", "write one field per line, and quote text that contains ': '", at, at + 1
        )
    if before[:1] == " ":
        start = error.line_start + len(before) - len(before.lstrip())
        return _Explanation("a key is indented under a value", "align the key with the other fields", start, at)
    above, end = source.line_bounds(max(error.line_start - 1, 0))
    return _without_colon(error.text, above, end)


def _no_colon(error: _ParserError, source: Source) -> _Explanation:
    """A key without ``:``."""
    start, end = source.line_bounds(error.opened)
    if end - start > _LONGEST_KEY and ":" in error.text[start:end]:
        return _Explanation("a key is longer than 1,024 characters", "shorten it", error.opened, end)
    return _without_colon(error.text, error.opened, end)


def _without_colon(text: str, start: int, end: int) -> _Explanation:
    line = text[start:end]
    if line.startswith(_CONFLICT):
        return _Explanation("unresolved merge conflict", "keep one side, and remove the markers", start, end)
    help_ = f"write {corrected_pair(line) or 'key: value'}"
    pair = _field_pair(line)
    colon = (start + pair.start("between"), start + pair.end("between")) if pair else None
    return _Explanation(
        "expected ': ' between a key and its value", help_, start, start + len(line.rstrip()), colon=colon
    )


def _stray(error: _ParserError, _source: Source) -> _Explanation:
    """A token that cannot follow the previous one."""
    at = error.at
    if error.sign in ("}", "]"):
        return _Explanation(f"unmatched {error.sign}", "remove it", at, at + 1)
    if error.sign == "-":
        return _Explanation("a list item among the fields", "remove the dash", at, at + 1)
    if error.before.strip():
        return _Explanation("extra text after a value", "put the entire value in one pair of quotes", at, at + 1)
    return _Explanation(
        "inconsistent indentation", "indent all keys of a block by the same number of spaces", at, at + 1
    )


def _document_start(error: _ParserError, source: Source) -> _Explanation:
    directive = re.search(r"^%.*", error.text, re.MULTILINE)
    if directive is None:
        above, end = source.line_bounds(max(error.line_start - 1, 0))
        whole = _field_pair(error.text[above:end])  # a document of one value, which a comment ends
        return _without_colon(error.text, above, end) if whole else _stray(error, source)
    return _Explanation("expected --- after the YAML directive", "remove the line", directive.start(), directive.end())


def _unclosed_bracket(error: _ParserError, _source: Source) -> _Explanation:
    at, opening = error.at, error.text[error.opened]
    closing = _CLOSING.get(opening, "}")
    if error.sign.startswith("<"):
        return _Explanation(f"unclosed {opening}", f"close it with {closing}", error.opened, error.opened + 1)
    help_ = "separate values by commas, and close every bracket"
    return _Explanation(f"expected a comma or {closing} here", help_, at, at + 1, opened=error.opened)


def _unclosed_quote(error: _ParserError, _source: Source) -> _Explanation:
    quote = error.text[error.opened]
    return _Explanation("unterminated quote", f"close it with {quote} on the same line", error.opened, error.opened + 1)


def _reserved_sign(error: _ParserError, _source: Source) -> _Explanation:
    message = f"a value cannot begin with {error.sign}"
    return _Explanation(message, "quote it if it is text", error.at, error.at + 1)


def _no_value(error: _ParserError, _source: Source) -> _Explanation:
    sign = error.sign
    if sign.startswith("<") or not sign:
        return _Explanation("expected a value", "write one", error.at, error.at + 1)
    return _Explanation(f"expected a value before {sign}", f"write one, or remove the {sign}", error.at, error.at + 1)


def _list_on_line(error: _ParserError, _source: Source) -> _Explanation:
    return _Explanation(
        "a list cannot start on the line of its key", "write it in brackets: [1.0, 2.0]", error.at, error.at + 1
    )


def _bad_escape(error: _ParserError, _source: Source) -> _Explanation:
    start = error.text.rfind("\\", 0, error.at + 1)
    escape = error.text[start : start + 2]
    help_ = "double the backslash, or use single quotes"
    return _Explanation(f"unknown escape sequence {escape}", help_, start, error.at + 1)


def _unfinished_escape(error: _ParserError, _source: Source) -> _Explanation:
    start = error.text.rfind("\\", 0, error.at + 1)
    help_ = "finish it, or use single quotes"
    return _Explanation("incomplete escape sequence", help_, start, error.at + 1)


def _opening_sign(error: _ParserError, _source: Source) -> _Explanation:
    """A value that starts with ``&``, ``*`` or ``|`` and is not an anchor, an alias or a block scalar."""
    opened = error.opened
    message = f"a value cannot begin with {error.text[opened]}"
    return _Explanation(message, "quote it if it is text", opened, opened + 1)


def _stray_question(error: _ParserError, _source: Source) -> _Explanation:
    return _Explanation("a ? that starts no key", "remove it", error.at, error.at + 1)


def _bad_tag(error: _ParserError, _source: Source) -> _Explanation:
    return _Explanation("malformed YAML tag", "delete it, or put it in quotes if it is text", error.opened, error.at)


def _undeclared_tag(error: _ParserError, _source: Source) -> _Explanation:
    tag = re.compile(r"[^\s,\[\]{}]*").match(error.text, error.at)
    end = tag.end() if tag else error.at + 1
    return _Explanation("YAML tag with an undeclared prefix", "remove the tag", error.at, end)


_EXPLANATIONS: dict[str, Callable[[_ParserError, Source], _Explanation]] = {
    "mapping values are not allowed": _second_value,
    "could not find expected ':'": _no_colon,
    "expected <block end>": _stray,
    "expected '<document start>'": _document_start,
    "expected ',' or": _unclosed_bracket,
    "unexpected end of stream": _unclosed_quote,
    "unexpected document separator": _unclosed_quote,
    "cannot start any token": _reserved_sign,
    "expected the node content": _no_value,
    "sequence entries are not allowed": _list_on_line,
    "unknown escape character": _bad_escape,
    "expected escape sequence": _unfinished_escape,
    "mapping keys are not allowed": _stray_question,
    "undefined tag handle": _undeclared_tag,
    " tag": _bad_tag,
    " an anchor": _opening_sign,
    " an alias": _opening_sign,
    " a block scalar": _opening_sign,
}
"""By a part of the parser's message or context; the tests check these against ruamel."""

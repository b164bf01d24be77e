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
_NAMES = {",": "comma", "]": "bracket", "}": "brace"}
_LONGEST_KEY = 1024  # https://yaml.org/spec/1.2.2/#742-flow-mappings: a key that is not marked with ? ends by then
_PAIR = re.compile(r"\s*(?P<key>[\w.]+)(?P<between>(?:\s*[=:]|\s)\s*)(?P<value>\S.*?)\s*")


class _ParserError(NamedTuple):
    """Where the parser stopped, and its message.

    Attributes:
        source: The text.
        at: Index of the character that the parser rejects.
        opened: Index where the unfinished part starts; ``at`` if unknown.
        problem: The parser's message; empty if it failed on a number.
        context: The parser's description of the construct it was reading.
    """

    source: Source
    at: int
    opened: int
    problem: str
    context: str

    @property
    def before(self) -> str:
        """The line before ``at``."""
        return self.source.text[self.source.line_bounds(self.at)[0] : self.at]

    @property
    def token(self) -> str:
        """The last token quoted in the parser's message."""
        quoted = re.findall(r"'([^']+)'", self.problem)
        return quoted[-1] if quoted else ""


class _Explanation(NamedTuple):
    """The message, the help and the text to point at: by default, the character that the parser rejects.

    ``opened`` is the start of the unfinished part. ``colon`` is the text to replace by ``": "``, if that is certain.
    """

    message: str
    help: str
    start: int | None = None
    end: int | None = None
    opened: int | None = None
    colon: tuple[int, int] | None = None


def syntax_error(error: Any, source: Source) -> Diagnostic:
    """Return the diagnostic of a YAML error."""
    last = max(len(source.text.rstrip()) - 1, 0)
    marks = [getattr(error, name, None) for name in ("problem_mark", "context_mark")]
    at, opened = (min(mark.index, last) if mark is not None else None for mark in marks)
    if at is None:
        at = opened if opened is not None else _unlocated(source.text)
    problem = str(getattr(error, "problem", None) or "").removeprefix("found ")
    context = str(getattr(error, "context", None) or "")
    found = _explain(_ParserError(source, at, opened if opened is not None else at, problem, context))
    start = at if found.start is None else found.start
    span = source.span(start, start + 1 if found.end is None else found.end)
    labels = (Label(source.span(found.opened, found.opened + 1), "opened here"),) if found.opened is not None else ()
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


def _explain(error: _ParserError) -> _Explanation:
    start, end = error.source.line_bounds(error.at)
    if error.source.text[error.at : error.at + 1] == "\t" or ("\t" in error.before and not error.before.strip()):
        return _Explanation("YAML cannot be indented with tabs", "indent with spaces")
    if error.source.text.startswith("%", start, end):
        reason = f": {error.problem}" if error.problem else ""
        return _Explanation(f"invalid YAML directive{reason}", "remove the line; configs need no YAML directive")
    if not error.problem:
        return _Explanation("escape sequence beyond U+10FFFF", "use single quotes if it is text")
    for words, explain in _EXPLANATIONS.items():
        if words in error.problem or words in error.context:
            return explain(error) if callable(explain) else explain
    return _Explanation(error.problem, "see https://yaml.org/spec/1.2.2/")


def _unlocated(text: str) -> int:
    """Return the place of an error that ruamel does not locate: digits that it passes to Python unchecked."""
    digits = re.search(r"\\U(?!000|0010)|^%YAML", text, re.MULTILINE)
    return digits.start() if digits else 0


def _second_colon(error: _ParserError) -> _Explanation:
    """Explain a ``:`` that does not end a key."""
    before = error.before
    if ": " in before:
        return _Explanation("a second ': ' in a value", "write one field per line, and quote text that contains ': '")
    start = error.at - len(before.lstrip())
    if before[:1] == " ":
        return _Explanation("a key is indented under a value", "align the key with the other fields", start, error.at)
    return _line_above(error)


def _line_above(error: _ParserError) -> _Explanation:
    start, _ = error.source.line_bounds(error.at)
    return _without_colon(error.source.text, *error.source.line_bounds(max(start - 1, 0)))


def _no_colon(error: _ParserError) -> _Explanation:
    """Explain a key without ``:``."""
    start, end = error.source.line_bounds(error.opened)
    if end - start > _LONGEST_KEY and ":" in error.source.text[start:end]:
        return _Explanation("a key is longer than 1,024 characters", "shorten it", error.opened, end)
    return _without_colon(error.source.text, error.opened, end)


def _without_colon(text: str, start: int, end: int) -> _Explanation:
    line = text[start:end]
    if line.startswith(_CONFLICT):
        return _Explanation("unresolved merge conflict", "keep one side, and remove the markers", start, end)
    pair = _field_pair(line)
    return _Explanation(
        "expected ': ' between a key and its value",
        f"write {corrected_pair(line) or 'key: value'}",
        start,
        start + len(line.rstrip()),
        colon=(start + pair.start("between"), start + pair.end("between")) if pair else None,
    )


def _stray(error: _ParserError) -> _Explanation:
    """Explain a token that cannot follow the previous one."""
    if error.token in ("}", "]"):
        return _Explanation(f"unmatched {error.token}", "remove it")
    if error.token == "-":
        return _Explanation("a list item among the fields", "remove the dash")
    if error.before.strip():
        return _Explanation("extra text after a value", "put the entire value in one pair of quotes")
    return _Explanation("inconsistent indentation", "indent all keys of a block by the same number of spaces")


def _document_start(error: _ParserError) -> _Explanation:
    directive = re.search(r"^%.*", error.source.text, re.MULTILINE)
    if directive is not None:
        return _Explanation("expected --- after the YAML directive", "remove the line", *directive.span())
    above = _line_above(error)
    return above if above.colon else _stray(error)  # a document of one value, which a comment ends


def _unclosed_bracket(error: _ParserError) -> _Explanation:
    opening = error.source.text[error.opened]
    closing = "]" if opening == "[" else "}"
    if error.token.startswith("<"):
        return _Explanation(f"unclosed {opening}", f"close it with {closing}", error.opened)
    help_ = "separate values by commas, and close every bracket"
    return _Explanation(f"expected a comma or {closing} here", help_, opened=error.opened)


def _no_value(error: _ParserError) -> _Explanation:
    token = error.token
    if token.startswith("<") or not token:
        return _Explanation("expected a value", "write one")
    return _Explanation(f"expected a value before {token}", f"write one, or remove the {_NAMES.get(token, token)}")


def _bad_escape(error: _ParserError) -> _Explanation:
    start = error.source.text.rfind("\\", 0, error.at + 1)
    if "expected" in error.problem:
        return _Explanation("incomplete escape sequence", "finish it, or use single quotes", start, error.at + 1)
    message = f"unknown escape sequence {error.source.text[start : start + 2]}"
    return _Explanation(message, "double the backslash, or use single quotes", start, error.at + 1)


def _opening(message: str, help_: str) -> Callable[[_ParserError], _Explanation]:
    """Return an explanation that points at the start of the unfinished part; ``{}`` is the character there."""

    def explain(error: _ParserError) -> _Explanation:
        sign = error.source.text[error.opened]
        return _Explanation(message.format(sign), help_.format(sign), error.opened)

    return explain


def _bad_tag(error: _ParserError) -> _Explanation:
    return _Explanation("malformed YAML tag", "delete it, or put it in quotes if it is text", error.opened, error.at)


def _undeclared_tag(error: _ParserError) -> _Explanation:
    tag = re.compile(r"[^\s,\[\]{}]*").match(error.source.text, error.at)
    return _Explanation("YAML tag with an undeclared prefix", "remove the tag", end=tag.end() if tag else None)


_UNTERMINATED_QUOTE = _opening("unterminated quote", "close it with {} on the same line")
_INVALID_SIGN = _opening("a value cannot begin with {}", "quote it if it is text")

_EXPLANATIONS: dict[str, _Explanation | Callable[[_ParserError], _Explanation]] = {
    "mapping values are not allowed": _second_colon,
    "could not find expected ':'": _no_colon,
    "expected <block end>": _stray,
    "expected '<document start>'": _document_start,
    "expected ',' or": _unclosed_bracket,
    "unexpected end of stream": _UNTERMINATED_QUOTE,
    "unexpected document separator": _UNTERMINATED_QUOTE,
    "cannot start any token": _INVALID_SIGN,
    "expected the node content": _no_value,
    "sequence entries are not allowed": _Explanation(
        "a list cannot start on the line of its key", "write it in brackets: [1.0, 2.0]"
    ),
    "unknown escape character": _bad_escape,
    "expected escape sequence": _bad_escape,
    "mapping keys are not allowed": _Explanation("a ? that does not start a key", "remove it"),
    "undefined tag handle": _undeclared_tag,
    " tag": _bad_tag,
    **dict.fromkeys((" an anchor", " an alias", " a block scalar"), _INVALID_SIGN),  # text that only begins like one
}
"""Keyed by a substring of the parser's message or context; the tests check these against ruamel."""

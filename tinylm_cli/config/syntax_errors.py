"""Text that is not YAML: what the parser stumbled over, in the words of the person who wrote it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

from tinylm_cli.config.diagnostic_codes import diagnostic
from tinylm_cli.config.fields import fields
from tinylm_cli.config.source import Source
from tinylm_cli.errors import Diagnostic, Fix, Label, Span

_CONFLICT = ("<<<<<<<", "=======", ">>>>>>>")
_CLOSING = {"{": "}", "[": "]"}
_LONGEST_KEY = 1024  # https://yaml.org/spec/1.2.2/#742-flow-mappings: a key that is not marked with ? ends by then
_PAIR = re.compile(r"\s*(?P<key>[\w.]+)(?P<between>(?:\s*[=:]|\s)\s*)(?P<value>\S.*?)\s*")


class _Stumble(NamedTuple):
    """Where the parser stopped.

    Attributes:
        text: The whole text.
        at: Index of the character it could not accept.
        opened: Index where the part it was reading began; ``at`` where it does not say.
        line_start: Where the line of ``at`` starts.
        line: That line.
        problem: The parser's own words; empty where it broke on a number.
        context: Its words for what it was reading.
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
        """What stands on the line in front of ``at``."""
        return self.line[: self.at - self.line_start]

    @property
    def sign(self) -> str:
        """The last sign that the parser's words quote, such as a bracket or a token's name."""
        quoted = re.findall(r"'([^']+)'", self.problem)
        return quoted[-1] if quoted else ""


class _Said(NamedTuple):
    """What to tell, and the stretch of text to point at; ``opened`` labels where the unfinished part began.

    ``colon`` is the text that ``": "`` certainly belongs in place of.
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
        at = opened if opened is not None else _unmarked(source.text)
    start, end = source.line_bounds(at)
    problem = str(getattr(error, "problem", None) or "").removeprefix("found ")
    context = str(getattr(error, "context", None) or "")
    said = _explain(
        _Stumble(
            source.text, at, opened if opened is not None else at, start, source.text[start:end], problem, context
        ),
        source,
    )
    labels = (Label(source.span(said.opened, said.opened + 1), "opened here"),) if said.opened is not None else ()
    span = source.span(said.start, said.end)
    fix = Fix(source.span(*said.colon), ": ") if said.colon else None
    return diagnostic("yaml-syntax", said.message, source.name, span, help=said.help, labels=labels, fix=fix)


def proposed_pair(line: str) -> str | None:
    """Return ``d_model: 128`` for ``d_model = 128``, ``d_model:128`` or ``d_model 128``; None for what is no field."""
    pair = _field_pair(line)
    return f"{pair['key']}: {pair['value']}" if pair else None


def colon_fix(span: Span) -> Fix | None:
    """Return the fix of a line that writes a field without ``": "``; None for what is no field."""
    pair = _field_pair(span.text)
    if pair is None or span.text_column != 1:
        return None
    start, end = pair.span("between")
    return Fix(span._replace(column=start + 1, end_column=end + 1), ": ")


def _field_pair(line: str) -> re.Match[str] | None:
    pair = _PAIR.fullmatch(line)
    known = {part for name in fields() for part in (name, name.rpartition(".")[2])}
    return pair if pair and pair["key"] in known and not re.fullmatch(r":[ \t]+", pair["between"]) else None


def _explain(stumble: _Stumble, source: Source) -> _Said:
    at = stumble.at
    if stumble.text[at : at + 1] == "\t" or ("\t" in stumble.before and not stumble.before.strip()):
        return _Said("a tab cannot indent YAML", "indent with spaces", at, at + 1)
    if stumble.line.startswith("%"):
        reason = f": {stumble.problem}" if stumble.problem else ""
        return _Said(f"a wrong directive{reason}", "delete the line: a config needs none", at, at + 1)
    if not stumble.problem:
        return _Said("a character that Unicode does not have", "use single quotes if it is text", at, at + 1)
    for words, explain in _EXPLANATIONS.items():
        if words in stumble.problem or words in stumble.context:
            return explain(stumble, source)
    return _Said(stumble.problem, "see https://yaml.org/spec/1.2.2/", at, at + 1)


def _unmarked(text: str) -> int:
    """Return where an error without a place must lie: at digits that ruamel hands to Python unchecked."""
    digits = re.search(r"\\U(?!000|0010)|^%YAML", text, re.MULTILINE)
    return digits.start() if digits else 0


def _second_value(stumble: _Stumble, source: Source) -> _Said:
    """A ``:`` where no key can end."""
    at, before = stumble.at, stumble.before
    if ": " in before:
        return _Said("a second ': ' on this line", "write one field a line, and text with ': ' in quotes", at, at + 1)
    if before[:1] == " ":
        start = stumble.line_start + len(before) - len(before.lstrip())
        return _Said("a field indented under the value above", "align it with the other fields", start, at)
    above, end = source.line_bounds(max(stumble.line_start - 1, 0))
    return _without_colon(stumble.text, above, end)


def _no_colon(stumble: _Stumble, source: Source) -> _Said:
    """A key that its line does not end with ``:``."""
    start, end = source.line_bounds(stumble.opened)
    if end - start > _LONGEST_KEY and ":" in stumble.text[start:end]:
        return _Said("a key longer than 1,024 characters", "shorten it", stumble.opened, end)
    return _without_colon(stumble.text, stumble.opened, end)


def _without_colon(text: str, start: int, end: int) -> _Said:
    line = text[start:end]
    if line.startswith(_CONFLICT):
        return _Said("a merge conflict that nobody resolved", "keep one side, and delete the markers", start, end)
    help_ = f"write {proposed_pair(line) or 'key: value'}"
    pair = _field_pair(line)
    colon = (start + pair.start("between"), start + pair.end("between")) if pair else None
    return _Said("no ': ' between a key and its value", help_, start, start + len(line.rstrip()), colon=colon)


def _stray(stumble: _Stumble, _source: Source) -> _Said:
    """Something that cannot follow what stands before it."""
    at = stumble.at
    if stumble.sign in ("}", "]"):
        return _Said(f"this {stumble.sign} closes nothing", "delete it", at, at + 1)
    if stumble.sign == "-":
        return _Said("a list among the fields", "write a field without the dash", at, at + 1)
    if stumble.before.strip():
        return _Said("text after the end of a value", "put the whole value in one pair of quotes", at, at + 1)
    return _Said("this line does not line up with the ones above", "indent the keys of one block alike", at, at + 1)


def _document_start(stumble: _Stumble, source: Source) -> _Said:
    directive = re.search(r"^%.*", stumble.text, re.MULTILINE)
    if directive is None:
        above, end = source.line_bounds(max(stumble.line_start - 1, 0))
        whole = _field_pair(stumble.text[above:end])  # a document of one value, which a comment ends
        return _without_colon(stumble.text, above, end) if whole else _stray(stumble, source)
    return _Said("a directive (%) without a line --- after it", "delete the line", directive.start(), directive.end())


def _unclosed_bracket(stumble: _Stumble, _source: Source) -> _Said:
    at, opening = stumble.at, stumble.text[stumble.opened]
    closing = _CLOSING.get(opening, "}")
    if stumble.sign.startswith("<"):
        return _Said(f"this {opening} is never closed", f"close it with {closing}", stumble.opened, stumble.opened + 1)
    help_ = "write a comma between two values, and close every bracket"
    return _Said(f"expected a comma or {closing} here", help_, at, at + 1, opened=stumble.opened)


def _unclosed_quote(stumble: _Stumble, _source: Source) -> _Said:
    quote = stumble.text[stumble.opened]
    return _Said(
        "this quote is never closed", f"close it with {quote} on the same line", stumble.opened, stumble.opened + 1
    )


def _reserved_sign(stumble: _Stumble, _source: Source) -> _Said:
    message = f"a value cannot begin with {stumble.sign}"
    return _Said(message, "put it in quotes if it is text", stumble.at, stumble.at + 1)


def _no_value(stumble: _Stumble, _source: Source) -> _Said:
    sign = stumble.sign
    if sign.startswith("<") or not sign:
        return _Said("a value is missing here", "write one", stumble.at, stumble.at + 1)
    return _Said(f"a value is missing before {sign}", f"write one, or delete the {sign}", stumble.at, stumble.at + 1)


def _list_on_line(stumble: _Stumble, _source: Source) -> _Said:
    return _Said(
        "a list begins on the line of its key", "no field is a list: write one value", stumble.at, stumble.at + 1
    )


def _bad_escape(stumble: _Stumble, _source: Source) -> _Said:
    start = stumble.text.rfind("\\", 0, stumble.at + 1)
    escape = stumble.text[start : start + 2]
    help_ = "double the backslash, or use single quotes"
    return _Said(f"{escape} is no escape that YAML has", help_, start, stumble.at + 1)


def _unfinished_escape(stumble: _Stumble, _source: Source) -> _Said:
    start = stumble.text.rfind("\\", 0, stumble.at + 1)
    help_ = "finish it, or use single quotes"
    return _Said("an escape with too few hexadecimal digits", help_, start, stumble.at + 1)


def _opening_sign(stumble: _Stumble, _source: Source) -> _Said:
    """A value that begins with the sign of an anchor, an alias or a block of text, and is none."""
    opened = stumble.opened
    message = f"a value cannot begin with {stumble.text[opened]}"
    return _Said(message, "put it in quotes if it is text", opened, opened + 1)


def _stray_question(stumble: _Stumble, _source: Source) -> _Said:
    return _Said("a ? where no key can begin", "delete it", stumble.at, stumble.at + 1)


def _bad_tag(stumble: _Stumble, _source: Source) -> _Said:
    return _Said(
        "a tag that is not well formed", "delete it, or put it in quotes if it is text", stumble.opened, stumble.at
    )


def _undeclared_tag(stumble: _Stumble, _source: Source) -> _Said:
    tag = re.compile(r"[^\s,\[\]{}]*").match(stumble.text, stumble.at)
    end = tag.end() if tag else stumble.at + 1
    return _Said("a tag whose prefix is not declared", "delete the tag", stumble.at, end)


_EXPLANATIONS: dict[str, Callable[[_Stumble, Source], _Said]] = {
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
"""By the parser's words for the problem or for what it was reading, which the tests hold it to."""

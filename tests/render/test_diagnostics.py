"""Diagnostics in a terminal: positions of carets, width, inert text; and for GitHub."""

from __future__ import annotations

import re
import unicodedata
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinylm_cli.config.assertion import ASSERT
from tinylm_cli.config.source import Source
from tinylm_cli.errors import ConfigError, Diagnostic, Label, Span, UsageError
from tinylm_cli.render.diagnostics import diagnostics_text, error_text, github_failure, github_text
from tinylm_cli.render.sanitize import for_terminal
from tinylm_cli.render.styled_lines import cell_len
from tinylm_cli.render.terminal import Terminal
from tinylm_cli.reports.validate import FileResult
from tinylm_cli.wording import SET

sentence = "d_ff must be an integer from 1 to 16,777,216, not the text"


def _at(text: str, start: int, end: int, *labels: tuple[int, int, str]) -> Diagnostic:
    source = Source("x.yaml", text)
    marks = tuple(Label(source.span(first, last), words) for first, last, words in labels)
    return Diagnostic("wrong-type", "m", "x.yaml", source.span(start, end), "", "h", marks)


def _marked(output: str) -> list[tuple[str, str]]:
    """Return, for each row of carets or dashes, the cells above them and the row itself."""
    lines = output.splitlines()
    found = []
    for above, line in pairwise(lines):
        marks = re.fullmatch(r"\s+\| ( *)(\^+|-+)( .*)?", line)
        if marks and re.match(r"\s*\d+ \| ", above):
            found.append((_cells(above)[marks.start(2) : marks.end(2)], marks[2]))
    return found


def _cells(line: str) -> str:
    """Return the line with one character for each cell: a wide character twice, a combining one not at all."""
    return "".join(c * cell_len(c) for c in line)


def test_layout() -> None:
    text = "vocab_size: 256\nd_model: 128\nn_heads: 5\n"
    diagnostic = _at(text, text.index("5\n"), text.index("5\n") + 1, (25, 28, "d_model is 128"))
    assert diagnostics_text([diagnostic, diagnostic._replace(span=None, labels=())], Terminal()) == (
        "error[wrong-type]: m\n"
        " --> x.yaml:3:10\n"
        "2 | d_model: 128\n"
        "  |          --- d_model is 128\n"
        "3 | n_heads: 5\n"
        "  |          ^\n"
        "  = help: h\n"
        "\n"
        "error[wrong-type]: m\n"
        " --> x.yaml\n"
        "  = help: h\n"
    )


def test_two_sources() -> None:
    there = Span("--set", 1, 9, 10, "n_heads=5")
    diagnostic = _at("d_model: 128\n", 9, 12)._replace(span=there, source="--set")
    label = Label(Source("x.yaml", "d_model: 128\n").span(9, 12), "d_model is 128")
    assert diagnostics_text([diagnostic._replace(labels=(label,))], Terminal()) == (
        "error[wrong-type]: m\n --> --set:1:9\n1 | n_heads=5\n  |         ^\n"
        " --> x.yaml\n1 | d_model: 128\n  |          --- d_model is 128\n  = help: h\n"
    )


@pytest.mark.parametrize(
    ("before", "value", "under"),
    [
        ("key: ", "value", "value"),
        ("宽度: ", "value", "value"),
        ("a:\t", "value", "value"),
        ("\x1b\u202e: ", "value", "value"),
        ("é🙂: ", "宽x", "宽宽x"),
        ("k: ", "\x07\t", "\\x07\\t"),
        ("k: ", "\ud800", "\\ud800"),
    ],
)
def test_carets(before: str, value: str, under: str) -> None:
    text = f"{before}{value} # after\n"
    output = diagnostics_text([_at(text, len(before), len(before) + len(value))], Terminal())
    assert _marked(output) == [(under, "^" * len(under))]


@pytest.mark.parametrize("width", [40, 60, 80, 120, 200])
@pytest.mark.parametrize("unicode", [True, False])
@pytest.mark.parametrize("padding", ["x", "宽", "\t", "\u202e"])
@pytest.mark.parametrize("count", [3, 30, 300, 3000])
def test_long_line(width: int, unicode: bool, padding: str, count: int) -> None:
    text = f"{padding * count} HERE {padding * count}\n"
    terminal = Terminal(width, unicode=unicode)
    output = diagnostics_text([_at(text, count + 1, count + 5)], terminal)
    assert _marked(output) == [("HERE", "^^^^")]
    assert all(cell_len(line) <= width for line in output.splitlines())


@pytest.mark.parametrize("width", [40, 80])
def test_long_value(width: int) -> None:
    text = f"key: {'v' * 5000}\n"
    ((under, carets),) = _marked(diagnostics_text([_at(text, 5, 5005)], Terminal(width)))
    assert under.startswith("vvv")
    assert under.endswith("…")
    assert len(under) == len(carets) == width - 4 - 5


def test_cut_keeps_escapes_whole() -> None:
    for width in range(40, 60):
        output = diagnostics_text([_at("\u202e" * 50 + "x", 50, 51)], Terminal(width))
        assert re.fullmatch(r"1 \| …(\\u202e)*x", output.splitlines()[2])


def test_distant_marks_on_one_line() -> None:
    text = "{a: 1," + " " * 500 + "b: 2}\n"
    output = diagnostics_text([_at(text, text.index("2"), text.index("2") + 1, (4, 5, "a is 1"))], Terminal())
    assert [under for under, _ in _marked(output)] == ["2", "1"]


def test_near_marks_on_one_line() -> None:
    output = diagnostics_text([_at("{a: 1, b: 2}\n", 10, 11, (4, 5, "a is 1"))], Terminal())
    assert output.count("{a: 1, b: 2}") == 1


def test_label_at_the_edge() -> None:
    text = "." * 22 + "x\ny"
    output = diagnostics_text([_at(text, 24, 25, (22, 23, "seventeen letters"))], Terminal(40))
    assert "\n  |     seventeen letters -\n" in output


@given(
    st.text(alphabet="ab: 宽é\t\u0301🙂\u202e", max_size=120),
    st.data(),
    st.integers(40, 200),
    st.booleans(),
)
def test_any_line(text: str, data: st.DataObject, width: int, unicode: bool) -> None:
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    first = data.draw(st.integers(0, len(text)))
    terminal = Terminal(width, unicode=unicode)
    output = diagnostics_text([_at(text, start, end, (first, len(text), "what stands here"))], terminal)
    assert all(cell_len(line) <= width for line in output.splitlines())
    assert "\t" not in output
    assert not {c for c in output if c != "\n" and unicodedata.category(c) in {"Cc", "Cf"}}
    rows = [line for line in output.splitlines() if "^" in line]
    assert len(rows) == (1 if text else 0)
    if rows and cell_len(for_terminal(text, terminal)) < (width - 4) * 2 // 3:
        carets = rows[0].count("^")
        assert carets == max(cell_len(for_terminal(text[start : max(end, start + 1)], terminal)), 1)
        assert rows[0].index("^") == 4 + cell_len(for_terminal(text[:start], terminal))


def test_wrapped_message() -> None:
    diagnostic = _at("a: 1\n", 3, 4)._replace(message=sentence, help=" ".join(["word"] * 20))
    lines = diagnostics_text([diagnostic], Terminal(40)).splitlines()
    assert lines[:3] == ["error[wrong-type]: d_ff must be an", "  integer from 1 to 16,777,216, not the", "  text"]
    assert lines[-1].startswith("          word")


def test_color() -> None:
    diagnostic = _at("a: [/nope][bold]\n", 3, 8, (0, 1, "[red]x[/]"))
    colored = diagnostics_text([diagnostic], Terminal(color=True))
    assert "\x1b[1;31m" in colored
    assert re.sub(r"\x1b\[[0-9;]*m", "", colored) == diagnostics_text([diagnostic], Terminal())


def test_error_without_a_place() -> None:
    assert error_text("no such file: \x1b.yaml", "name another", Terminal()) == (
        "error: no such file: \\x1b.yaml\n  = help: name another\n"
    )
    assert error_text("m", "", Terminal()) == "error: m\n"


def test_github() -> None:
    found = _at("a: 100%\n", 3, 7)
    assert found.span is not None
    name = "a,b:c%.yaml"
    span = found.span._replace(source=name)
    diagnostic = found._replace(message="100% wrong:\nbad", source=name, span=span, help="write 1")
    unread = FileResult("gone.yaml", "unreadable", None, "no such file: gone.yaml", "", ())
    wrong = FileResult("a,b:c%.yaml", "invalid", None, "", "", (diagnostic, diagnostic._replace(span=None, help="")))
    assert github_text([wrong, unread], "2 configs.") == (
        "::error file=a%2Cb%3Ac%25.yaml,line=1,col=4,endColumn=7,title=wrong-type::100%25 wrong:\\nbad; write 1\n"
        "::error file=a%2Cb%3Ac%25.yaml,title=wrong-type::100%25 wrong:\\nbad\n"
        "::error file=gone.yaml,title=unreadable::no such file: gone.yaml\n"
        "2 configs.\n"
    )


def test_github_option() -> None:
    at_option = Span(SET, 1, 3, 4, "a=1")
    asked = Diagnostic("unknown-figure", "no such figure", ASSERT, at_option._replace(source=ASSERT))
    assert github_failure(ConfigError((asked, asked))) == "::error title=unknown-figure::no such figure\n" * 2
    assert github_failure(UsageError("50%\nof it", help="all")) == "::error::50%25\\nof it; all\n"
    changed = FileResult("a.yaml", "invalid", None, "", "", (Diagnostic("wrong-type", "bad", "a.yaml", at_option),))
    assert github_text([changed], "").splitlines()[0] == "::error file=a.yaml,title=wrong-type::bad"


@given(st.text(max_size=30))
def test_github_escapes(text: str) -> None:
    diagnostic = Diagnostic("wrong-type", text, text)
    output = github_text([FileResult(text, "invalid", None, "", "", (diagnostic,))], "").removesuffix("\n")
    assert output.count("\n") == 1
    assert output.isprintable() or output[:-1].isprintable() or " " in output
    properties = output.removeprefix("::error ").partition("::")[0]
    assert [pair.partition("=")[0] for pair in properties.split(",")] == ["file", "title"]

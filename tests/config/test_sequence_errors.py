"""Errors in a sequence of layer kinds, and their positions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from tinylm_cli.config.layers import Sequence
from tinylm_cli.config.loader import load_yaml_config
from tinylm_cli.config.sequence_errors import find_sequence_error
from tinylm_cli.errors import ConfigError

_WORDS = ("a", "full", "3", "12", "0", " ", "  ", ",", ", ", "(", ")", "3 ", "A", "-", ";", "a" * 33, "12345")


@pytest.mark.parametrize(
    ("text", "start", "wrong", "problem", "remedy"),
    [
        ("3 linear full", 9, "full", 'a comma is missing before "full"', "a comma between two kinds"),
        ("3 linear (full)", 9, "(", "a comma is missing before the bracket", "a comma between two kinds"),
        ("(a, b), 3 (linear, full", 10, "(", "this bracket is not closed", "write a closing bracket"),
        ("(a, (b, c))", 4, "(", "a bracket is inside another", "without brackets"),
        ("a, b)", 4, ")", "no bracket is open", "omit this one"),
        ("a, , b", 3, ",", "a kind is missing before the comma", "write the name of a kind"),
        ("(a, )", 4, ")", "a kind is missing before the bracket", "write the name of a kind"),
        ("a, 3", 3, "3", "a kind is missing at the end", "write the name of a kind"),
        ("3(a)", 1, "(", "a blank is missing after the count", "write for example 2 (linear, full)"),
        ("3linear, full", 0, "3linear", '"3linear" is neither a count nor', "write 3 linear"),
        ("a, 3x full", 3, "3x", '"3x" is neither a count nor the name of a kind', "write 3"),
        ("3 3 a", 2, "3", '"3" follows another count', "write one count before a kind"),
        ("0 a", 0, "0", '"0" is not a count', "from 1 to 9,999"),
        ("Full", 0, "Full", '"Full" cannot be the name of a kind', "write full"),
        ("_a", 0, "_a", '"_a" cannot be the name of a kind', "lowercase letters"),
        ("a; b", 1, ";", '";" has no meaning here', "write counts, kinds, commas and brackets"),
        ("a ", 1, " ", "a blank is at the edge", "omit it"),
    ],
)
def test_error(text: str, start: int, wrong: str, problem: str, remedy: str) -> None:
    error = find_sequence_error(text)
    assert error is not None
    assert (error.start, text[error.start : error.end]) == (start, wrong)
    assert error.problem.startswith(problem)
    assert remedy in error.help


@given(st.lists(st.sampled_from(_WORDS), max_size=9).map("".join))
def test_every_invalid_sequence_has_an_error(text: str) -> None:
    error = find_sequence_error(text)
    try:
        TypeAdapter(Sequence).validate_python(text)
    except ValidationError as invalid:
        is_long = invalid.errors()[0]["type"] == "sequence_length"
        assert (error is None) == is_long
    else:
        assert error is None
    assert error is None or 0 <= error.start < error.end <= max(len(text), 1)


@pytest.mark.parametrize("quote", ["", "'"])
def test_place(quote: str) -> None:
    with pytest.raises(ConfigError) as raised:
        load_yaml_config("lfm2-1.2b", [f"layers.pattern={quote}3 conv full{quote}"])
    (error,) = raised.value.diagnostics
    start = len(f"layers.pattern={quote}3 conv ")
    assert error.span is not None
    assert (error.span.column, error.span.end_column) == (start + 1, start + 5)

"""Rules that tie fields together: when they speak, and that what they propose mends them."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from tinylm_cli.config.codes import CODES
from tinylm_cli.config.fields import fields
from tinylm_cli.config.rules import MAX_D_MODEL, MAX_N_HEADS, RULES, Problem, broken_rules

DEFAULTS = {name: field.example for name, field in fields().items()}


def _broken(**values: object) -> dict[str, Problem]:
    named = {name.replace("__", "."): value for name, value in values.items()}
    return {problem.code: problem for problem in broken_rules({**DEFAULTS, **named})}


def test_the_defaults_break_no_rule() -> None:
    assert _broken() == {}


def test_heads() -> None:
    problem = _broken(d_model=128, n_heads=5)["heads-do-not-divide"]
    assert problem.message == "d_model 128 is not divisible by n_heads 5: 3 dimensions are left over"
    assert problem.help == "write n_heads: 4 or 8, or d_model: 120 or 130"
    assert "larger than" in _broken(d_model=4, n_heads=8)["heads-do-not-divide"].message


def test_odd_widths() -> None:
    assert "odd-sinusoidal-width" in _broken(d_model=5, n_heads=5)
    assert "odd-sinusoidal-width" not in _broken(d_model=5, n_heads=5, position__kind="learned")
    remedies = {heads: _broken(d_model=195, n_heads=heads)["odd-sinusoidal-width"].help for heads in (1, 3, 4)}
    assert remedies[1] == "write d_model: 194 or 196, or position.kind: learned"
    assert remedies[3] == "write d_model: 192 or 198, or position.kind: learned", "which three heads divide"
    assert remedies[4] == "write d_model: 192 or 196, or position.kind: learned"


def test_a_rule_is_silent_where_a_field_of_its_own_is_unsound() -> None:
    values = {name: value for name, value in {**DEFAULTS, "d_model": 127}.items() if name != "n_heads"}
    assert [problem.code for problem in broken_rules(values)] == ["odd-sinusoidal-width"]
    assert list(broken_rules({})) == []


def test_every_rule_names_fields_that_exist() -> None:
    for rule in RULES:
        assert {*rule.fields, *rule.beside} <= set(fields())


@given(st.integers(1, MAX_D_MODEL), st.integers(1, MAX_N_HEADS), st.sampled_from(["sinusoidal", "learned", "none"]))
def test_each_remedy_mends_the_rule_it_speaks_of(d_model: int, n_heads: int, kind: str) -> None:
    values = {**DEFAULTS, "d_model": d_model, "n_heads": n_heads, "position.kind": kind}
    for problem in broken_rules(values):
        assert problem.code in CODES
        assert set(problem.fields) <= set(fields())
        proposals = _proposals(problem.help)
        assert proposals
        for name, value in proposals:
            mended = {**values, name: value}
            left = {each.code for each in broken_rules(mended)}
            assert problem.code not in left, (problem.help, name, value)
            assert name != "d_model" or not left, "a width that is proposed suits the heads and the positions"
            assert name != "d_model" or 1 <= int(str(value)) <= MAX_D_MODEL
            assert name != "n_heads" or 1 <= int(str(value)) <= MAX_N_HEADS


def _proposals(help_: str) -> list[tuple[str, int | str]]:
    """Read ``write n_heads: 4 or 8, or d_model: 120`` as n_heads 4, n_heads 8, d_model 120."""
    found: list[tuple[str, int | str]] = []
    for name, values in re.findall(r"([a-z_.]+): ([^,]+)", help_.removeprefix("write ")):
        found += [(name, int(value) if value.isdigit() else value) for value in values.split(" or ")]
    return found

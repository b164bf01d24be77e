"""Remedies of broken rules: every value that a message suggests is in range and fixes its rule."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import product
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.config.rule_problems import (
    DEFAULTS,
    EXPERTS,
    LATENT,
    LONGROPE,
    ROPE,
    Values,
    parse_value,
)
from tinylm_cli.config.base import MAX_DIM, MAX_N_HEADS
from tinylm_cli.config.dependencies import Problem
from tinylm_cli.config.diagnostic_codes import CODES
from tinylm_cli.config.fields import Field, fields
from tinylm_cli.config.rules import RULES, broken_rules
from tinylm_cli.config.schema import ModelConfig


def _any_of(field: Field) -> st.SearchStrategy[Any]:
    """Draw values that are sound by themselves, often the default and often small."""
    bounds = {
        word: float(number.replace(",", ""))
        for word, number in re.findall(r"(from|to|above|below|at most) ([\d.,]*\d)", field.expected)
    }
    least = max(getattr(each, "min_length", 0) for each in (None, *field.constraints))
    most = min(getattr(each, "max_length", 40) for each in (None, *field.constraints))
    strategies: dict[str, Any] = {
        "boolean": st.booleans,
        "choice": lambda: st.sampled_from(field.choices),
        **dict.fromkeys(("count", "size", "flops"), lambda: st.integers(1, 10**18)),
        "pattern": lambda: st.text("LG", min_size=1, max_size=8),
        "numbers": lambda: st.lists(st.floats(0.5, 64), min_size=least, max_size=most).map(tuple),
        "integer": lambda: st.integers(int(bounds["from"]), 64) | st.integers(int(bounds["from"]), int(bounds["to"])),
        "share": lambda: st.floats(0, 1),
        "names": lambda: st.just(()) | st.just(("g_idx",)),
        "text": lambda: st.text("a b", min_size=1),
        "number": lambda: st.floats(
            bounds.get("from", bounds.get("above")),
            bounds.get("to", bounds.get("at most", bounds.get("below"))),
            exclude_min="above" in bounds,
            exclude_max="below" in bounds,
        ),
    }
    drawn: st.SearchStrategy[Any] = strategies[field.kind]()
    return drawn if field.required else drawn | st.just(field.default)


ANY = {
    name: _any_of(field)
    for name, field in fields().items()
    if not name.startswith("layers.")
    # which concern several kinds of layers
    and name not in ("attention.kv_from", "attention.index_shared", "feed_forward.shortcut")
}
ANY["block.shared_block"] = st.sampled_from(["shared", "other"])
ANY["mamba2.multipliers"] = st.none() | st.tuples(*[st.floats(0.5, 64)] * 5)  # its length is fixed
FEW = st.lists(st.sampled_from(sorted(ANY)), max_size=12, unique=True)


@st.composite
def _drawn(draw: st.DrawFn) -> Values:
    """Draw a config whose fields are each sound, a few of them or whole blocks away from the default."""
    changed = set(draw(FEW))
    for start in draw(
        st.lists(st.sampled_from(["position.", "attention.", "feed_forward.", "budget.", ""]), max_size=2)
    ):
        changed |= {name for name in ANY if name.startswith(start) and ("." in name) == bool(start)}
    values = {**DEFAULTS, **{name: draw(ANY[name]) for name in sorted(changed)}}
    contexts: list[Values] = [ROPE, LATENT, EXPERTS, LONGROPE]
    for context in draw(st.lists(st.sampled_from(contexts), max_size=2)):
        values |= context
    return values


@given(_drawn())
def test_every_rule_reads_fields_that_exist(values: Values) -> None:
    for rule in RULES:
        for problem in rule(values):  # a name of no field would be a KeyError
            assert set(problem.fields) <= set(fields())


@given(_drawn())
def test_proposals_fix_their_rule(values: Values) -> None:
    for problem in broken_rules(values):
        _assert_sound(problem)
        proposals = list(_proposals(problem.help))
        assert proposals, problem.help
        for proposal in proposals:
            mended = {**values, **proposal}
            _assert_in_range(proposal)
            left = {(each.code, each.fields) for each in broken_rules(mended)}
            assert (problem.code, problem.fields) not in left, (problem, proposal)


@given(_drawn(), st.randoms(use_true_random=False))
def test_remedies_lead_to_valid_config(values: Values, random: Any) -> None:
    """A field that a remedy omitted is not set again by the remedy of a field that depends on it."""
    omitted: set[str] = set()
    for _ in range(200):
        problem = next(broken_rules(values), None)
        if problem is None:
            break
        proposals = list(_proposals(problem.help))
        forward = [each for each in proposals if all(each[name] == DEFAULTS[name] for name in omitted & each.keys())]
        proposal = random.choice(forward or proposals)
        omitted |= {name for name, value in proposal.items() if value == DEFAULTS[name]}
        values = {**values, **proposal}
    assert list(broken_rules(values)) == []
    assert ModelConfig.model_validate(_nested(values))


@given(st.integers(1, MAX_DIM), st.integers(1, MAX_N_HEADS), st.sampled_from(["sinusoidal", "learned", "rope"]))
def test_remedies_at_range_ends(d_model: int, n_heads: int, kind: str) -> None:
    for wide, heads in product((d_model, MAX_DIM, MAX_DIM - 1), (n_heads, 1, MAX_N_HEADS - 1)):
        values = {**DEFAULTS, "d_model": wide, "n_heads": heads, "position.kind": kind}
        for problem in broken_rules(values):
            for proposal in _proposals(problem.help):
                _assert_in_range(proposal)
                left = {each.code for each in broken_rules({**values, **proposal})}
                assert problem.code not in left, (problem, proposal)


def _assert_sound(problem: Problem) -> None:
    assert problem.code in CODES
    assert set(problem.fields) <= set(fields())
    assert problem.fields[0] in problem.message
    assert len(set(problem.fields)) == len(problem.fields)


def _assert_in_range(proposal: Values) -> None:
    for name, value in proposal.items():
        wrong = [found["loc"] for found in _errors(_nested({**DEFAULTS, name: value})) if found["loc"]]
        assert wrong == [], (name, value)


def _errors(values: Values) -> list[Any]:
    try:
        ModelConfig.model_validate(values)
    except ValidationError as error:
        return list(error.errors())
    return []


def _proposals(help_: str) -> Iterator[Values]:
    """Parse ``write n_heads: 4 or 8, or d_model: 120`` as n_heads 4, n_heads 8, d_model 120; also omitted fields."""
    for part in help_.split(", or "):
        left_out = re.fullmatch(r"omit (\S+)", part)
        if left_out:
            yield {left_out[1]: fields()[left_out[1]].default}
            continue
        pairs = [_assignments(each) for each in part.removeprefix("write ").split(" and ")]
        for chosen in product(*pairs):
            if chosen and all(chosen):
                yield {name: value for name, value in chosen if name}


def _assignments(text: str) -> list[tuple[str, Any]]:
    numbers = re.fullmatch(r"(\S+) as a list of ([\d,]+) numbers?", text)
    if numbers:
        return [(numbers[1], (1.0,) * int(numbers[2].replace(",", "")))]
    name, colon, values = text.partition(": ")
    return [(name, parse_value(value)) for value in values.split(" or ")] if colon else []


def _nested(values: Values) -> Values:
    nested: Values = {}
    for name, value in values.items():
        block, _, last = name.rpartition(".")
        (nested.setdefault(block, {}) if block else nested)[last] = value
    return nested

"""Rules about experts whose output the next layer adds."""

from __future__ import annotations

from typing import Any

import pytest

from tests.config.kind_problems import DEFAULTS
from tests.config.kind_problems import problems as problems_of
from tinylm_cli.config.dependencies import Problem
from tinylm_cli.config.layer_rules import broken_rules_of_model

EXPERTS = {"feed_forward__n_experts": 4, "feed_forward__n_shared_experts": 1}
SHORTCUT: dict[str, Any] = {"feed_forward": {"shortcut": True}}
FIELD = "layers.kinds.b.feed_forward.shortcut"


def problems(kinds: dict[str, Any], pattern: str, **changes: Any) -> list[Problem]:
    return problems_of(kinds, pattern, **{**EXPERTS, **changes})


@pytest.mark.parametrize("pattern", ["b, a", "2 b, a", "a, b, a"])
def test_valid(pattern: str) -> None:
    kinds = {"a": {"feed_forward": {"n_experts": None}}, "b": SHORTCUT}
    assert problems(kinds, pattern, n_layers=12) == []


def test_last_layer() -> None:
    (found,) = problems({"a": {}, "b": SHORTCUT}, "a, b", n_layers=4)
    assert (found.code, found.fields) == ("contradiction", (FIELD,))
    assert found.message == "the last layer is of kind b, whose experts are added after the next layer"
    assert found.help == "list a kind without feed_forward.shortcut last"


def test_needs_kinds() -> None:
    values = {**DEFAULTS, **{name.replace("__", "."): value for name, value in EXPERTS.items()}}
    (found,) = broken_rules_of_model({**values, "feed_forward.shortcut": True})
    assert (found.code, found.fields) == ("needs-field", ("feed_forward.shortcut", "layers.kinds"))
    assert found.help == "omit feed_forward.shortcut, or write it in one of two layers.kinds"


@pytest.mark.parametrize(
    "change",
    [
        {"feed_forward__n_shared_experts": 0},
        {"norm__placement": "sandwich"},
        {"block__hyper_streams": 2},
        {"block__altup_streams": 2},
        {"block__depth_scaled_residual": True},
    ],
)
def test_requirements(change: dict[str, Any]) -> None:
    found = problems({"a": {}, "b": SHORTCUT}, "b, a", n_layers=4, **change)
    assert [(each.code, each.fields[0]) for each in found] == [("without-effect", FIELD)]

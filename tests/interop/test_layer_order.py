"""The order of named kinds of layers, from a list with the kind of each layer."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinylm_cli.config.layer_kinds import layer_pattern
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.errors import Span
from tinylm_cli.interop.layer_order import order_of, put_layers
from tinylm_cli.interop.translation import Translation, as_tree

SHAPE = {"vocab_size": 8, "d_model": 8, "n_heads": 2, "d_ff": 8, "position.kind": "rope", "position.theta": 100.0}
KINDS: dict[str, dict[str, Any]] = {
    "a": {"position.theta": 1e5},
    "b": {"position.kind": "none"},
    "c": {"attention.window": 4},
}


@pytest.mark.parametrize(
    ("names", "order"),
    [
        ("aaab" * 3, {"pattern": "3 a, b"}),
        ("aaab" * 3 + "aa", {"pattern": "3 a, b", "last": "2 a"}),
        ("c" + "ab" * 4, {"first": "c", "pattern": "a, b"}),
        ("ccc" + "b" * 9, {"first": "3 c", "pattern": "b"}),
        ("aab" * 3 + "ab" * 3 + "a", {"pattern": "3 (2 a, b), 3 (a, b), a"}),
        ("cb" * 2 + "abcabc" + "b", {"pattern": "2 (c, b), 2 (a, b, c), b"}),
        ("abc", {"pattern": "a, b, c"}),
        ("a", {"pattern": "a"}),
    ],
)
def test_shortest_order(names: str, order: dict[str, str]) -> None:
    assert order_of(names) == order


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=24))
def test_every_layer_has_its_kind(names: list[str]) -> None:
    span = Span("config.json", 1, 1, 2, "")
    to = Translation("config.json", span)
    for field, value in {**SHAPE, "n_layers": len(names)}.items():
        to.put(field, value)
    put_layers(to, names, KINDS)
    config = ModelConfig.model_validate(as_tree(to.fields, span, span).plain())
    wanted = {"a": (1e5, None), "b": (None, None), "c": (100.0, 4)}
    found = [
        (kind.position.theta if kind.position.kind == "rope" else None, kind.attention.window)
        for kind in layer_pattern(config)
    ]
    assert found == [wanted[name] for name in names]
    assert bool(config.layers.kinds) == (len(set(names)) > 1)

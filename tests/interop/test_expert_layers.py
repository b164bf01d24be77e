"""The layers of a config.json that have experts: leading dense layers, or kinds of layers."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.interop.changes import Change, flat
from tinylm_cli.config.layer_kinds import layer_pattern
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.errors import Span
from tinylm_cli.interop.expert_layers import dense_layers, expert_kind, n_leading_dense, put_expert_layers
from tinylm_cli.interop.layer_order import put_layers
from tinylm_cli.interop.translation import Translation, as_tree

SHAPE = {"vocab_size": 8, "d_model": 8, "n_heads": 2, "d_ff": 8}
EXPERTS = {"feed_forward.n_experts": 4, "feed_forward.router": "softmax"}
SPAN = Span("config.json", 1, 1, 2, "")


def translated(is_dense: list[bool], windows: str = "") -> ModelConfig:
    """Return the model with these dense layers, and windows by a pattern or by kinds of layers."""
    to = Translation("config.json", SPAN)
    for field, value in {**SHAPE, **EXPERTS, "n_layers": len(is_dense)}.items():
        to.put(field, value)
    if windows == "kinds":
        kinds: dict[str, dict[str, Any]] = {"local": {"attention.window": 4}, "full": {"position.kind": "none"}}
        to.put("position.kind", "rope")
        put_layers(to, ["full" if layer % 2 else "local" for layer in range(len(is_dense))], kinds)
    elif windows:
        to.put("attention.window", 4)
        to.put("attention.window_pattern", windows)
    put_expert_layers(to, 4, "num_experts", is_dense)
    return ModelConfig.model_validate(as_tree(to.fields, SPAN, SPAN).plain())


@given(st.lists(st.booleans(), min_size=2, max_size=12), st.sampled_from(["", "LG", "kinds"]))
def test_every_layer(is_dense: list[bool], windows: str) -> None:
    config = translated(is_dense, windows)
    layers = list(layer_pattern(config))
    assert dense_layers(config) == is_dense
    assert {kind.feed_forward.router for kind in layers if kind.feed_forward.n_experts is not None} <= {"softmax"}
    has_window = [layer % 2 == 0 if windows else False for layer in range(len(is_dense))]
    assert [kind.attention.window is not None for kind in layers] == has_window
    assert n_leading_dense(config) == [*is_dense, False].index(False)
    assert (expert_kind(config).feed_forward.n_experts == 4) == (not all(is_dense))


def test_leading_dense_layers_are_counted() -> None:
    config = translated([True, True, False])
    assert config.feed_forward.n_dense_layers == 2
    assert not config.layers.kinds


@pytest.mark.parametrize(
    ("keys", "pattern"),
    [
        ({"decoder_sparse_step": 2}, "dense, experts"),
        ({"decoder_sparse_step": 3}, "2 dense, experts"),
        ({"mlp_only_layers": [3], "num_hidden_layers": 5}, "3 experts, dense, experts"),
    ],
)
def test_order_of_dense_layers(keys: dict[str, object], pattern: str, changed: Change) -> None:
    found = flat(changed("qwen3_moe", **keys))
    assert found["layers.pattern"] == pattern

"""Rules about kinds of layers that share a transformer block."""

from __future__ import annotations

from typing import Any

import pytest

from tests.config.kind_problems import problems

SHARED = {"mixer": "shared_block_mamba"}


@pytest.mark.parametrize(
    "other",
    [
        {"block": {"mixer": "mamba", "feed_forward": False}},
        {"block": {"mixer": "shared_block_mamba2"}, "mamba2": {"d_head": 32}},
        {"block": {**SHARED, "residual_multiplier": 0.5}, "mamba": {"d_state": 8}},
        {"block": {**SHARED, "shared_block": "second"}, "d_ff": 64, "attention": {"bias": False}},
        {"block": SHARED, "attention": {"adapter_rank": 8}, "feed_forward": {"adapter_rank": 4}},
        {"block": {"mixer": "attention"}, "d_ff": 64},
    ],
)
def test_valid(other: dict[str, Any]) -> None:
    """Mixers may differ between layers that share a block, and all fields between those that do not."""
    assert problems({"a": {"block": SHARED}, "b": other}, n_layers=4) == []


@pytest.mark.parametrize(
    ("changes", "field", "ours", "theirs"),
    [
        ({"d_ff": 64}, "d_ff", "512", "64"),
        ({"attention": {"bias": False}}, "attention.bias", "true", "false"),
        ({"attention": {"window": 8}}, "attention.window", "unset", "8"),
        ({"norm": {"kind": "rmsnorm"}}, "norm.kind", "layernorm", "rmsnorm"),
        ({"position": {"kind": "rope"}}, "position.kind", "none", "rope"),
    ],
)
def test_one_block_has_one_set_of_fields(changes: dict[str, Any], field: str, ours: str, theirs: str) -> None:
    values: dict[str, Any] = {"n_layers": 4, "position__kind": "none"}
    (found,) = problems({"a": {"block": SHARED}, "b": {"block": SHARED, **changes}}, **values)
    assert found.code == "contradiction"
    assert found.fields == (f"layers.kinds.b.{field}", "block.shared_block")
    message = f"layers of kinds a and b share the block shared, but {field} is {ours} in one and {theirs} in the other"
    assert found.message == message
    assert found.help == f"write the same {field} in both kinds, or another block.shared_block in one of them"
    named = {"block": {**SHARED, "shared_block": "shared"}}
    (found,) = problems({"a": {"block": SHARED}, "b": {**named, **changes}}, **values)
    assert found.fields[1] == "layers.kinds.b.block.shared_block"
    assert (
        problems({"a": {"block": SHARED}, "b": {"block": {**SHARED, "shared_block": "b"}, **changes}}, **values) == []
    )

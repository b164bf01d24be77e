"""Rules about layers that share the positions which an earlier layer's indexer selects."""

from __future__ import annotations

from typing import Any

import pytest

from tests.config.kind_problems import problems as problems_of
from tinylm_cli.config.dependencies import Problem

INDEXED = {
    "position__kind": "rope",
    "attention__kind": "latent",
    "attention__q_rank": 8,
    "attention__index_top_k": 4,
}
SHARED: dict[str, Any] = {"attention": {"index_shared": True}}
FIELD = "layers.kinds.b.attention.index_shared"


def problems(kinds: dict[str, Any], pattern: str | None = "a, b", **changes: Any) -> list[Problem]:
    return problems_of(kinds, pattern, **{**INDEXED, **changes})


@pytest.mark.parametrize(
    ("kinds", "pattern"),
    [
        ({"a": {}, "b": SHARED}, "a, b"),
        ({"a": {}, "b": {**SHARED, "d_ff": 64}}, "a, 2 b, a"),
        ({"a": {}, "c": {"attention": {"index_top_k": None}}, "b": SHARED}, "a, c, b, b"),
        ({"a": {"attention": {"index_n_heads": 4}}, "b": SHARED}, "2 a, 2 b"),
    ],
)
def test_valid(kinds: dict[str, Any], pattern: str) -> None:
    assert problems(kinds, pattern, n_layers=4) == []


@pytest.mark.parametrize(
    ("kinds", "pattern", "fields", "message", "help_"),
    [
        (
            {"a": {}, "b": SHARED}, "b, a", (FIELD,),
            "no layer with an indexer is before the first layer of kind b, which needs its selection",
            "list a kind with attention.index_top_k and its own indexer first, or omit attention.index_shared",
        ),
        (
            {"a": {"attention": {"index_top_k": None}}, "b": SHARED}, "a, b", (FIELD,),
            "no layer with an indexer is before the first layer of kind b, which needs its selection",
            "list a kind with attention.index_top_k and its own indexer first, or omit attention.index_shared",
        ),
        (
            {"a": {"attention": {"index_top_k": 8}}, "b": SHARED}, "a, b",
            ("layers.kinds.a.attention.index_top_k", FIELD),
            "layers of kind b share the positions that kind a selects, but attention.index_top_k is 4 instead of 8",
            "write the same attention.index_top_k in both kinds",
        ),
        (
            {"a": {"block": {"mixer": "attention_mamba2"}}, "b": SHARED}, "a, b", (FIELD,),
            "layers of kind b cannot share the selection of kind a with block.mixer attention_mamba2",
            "omit attention.index_shared",
        ),
    ],
)  # fmt: skip
def test_invalid(kinds: dict[str, Any], pattern: str, fields: tuple[str, ...], message: str, help_: str) -> None:
    (problem,) = problems(kinds, pattern, n_layers=2)
    assert problem == Problem("contradiction", fields, message, help_)


def test_without_kinds_of_layers() -> None:
    (problem,) = problems({}, None, attention__index_shared=True)
    assert (problem.code, problem.fields) == ("needs-field", ("attention.index_shared", "layers.kinds"))


def test_modules_of_the_last_kind() -> None:
    """Multi-token prediction modules have the kind of the last layer, but no earlier layer."""
    kinds = {"a": {}, "b": SHARED}
    (problem,) = problems(kinds, n_layers=2, head__n_mtp_layers=1)
    assert problem.fields == ("head.n_mtp_layers", FIELD)
    assert problems(kinds, "a, b, 2 a", n_layers=4, head__n_mtp_layers=1) == []

"""Rules about layers that attend to the keys and values of another kind; their suggested fixes are valid."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest

from tests.config.kind_problems import DEFAULTS, problems
from tinylm_cli.config.dependencies import Problem
from tinylm_cli.config.layer_rules import broken_rules_of_model

FROM_A = {"attention": {"kv_from": "a"}}


@pytest.mark.parametrize(
    ("kinds", "pattern"),
    [
        ({"a": {}, "b": FROM_A}, "a, b"),
        ({"a": {}, "b": {**FROM_A, "d_ff": 64}}, "a, 2 b, a"),
        ({"a": {"attention": {"window": 8}}, "b": {"attention": {"window": 8, "kv_from": "a"}}}, "2 a, 2 b"),
        ({"a": {}, "b": {"norm": {"eps": 1e-3}, **FROM_A}}, "a, b"),
        ({"a": {"attention": {"kv_from": None}}, "b": {}}, "a, b"),
        ({"a": {"attention": {"d_head": 32, "n_kv_heads": 4}}, "b": FROM_A}, "a, b"),  # as where they are unset
        ({"a": {}, "b": {"attention": {"kv_from": "a", "sinks": True}}}, "a, b"),  # which concerns queries alone
    ],
)
def test_valid(kinds: dict[str, Any], pattern: str) -> None:
    common = {} if "attention" in kinds["b"] else {"attention__kv_from": "a"}
    assert problems(kinds, pattern, n_layers=4, **common) == []


OTHER = {"block": {"mixer": "short_conv"}}


@pytest.mark.parametrize(
    ("kinds", "pattern", "code", "fields", "message", "help_"),
    [
        (
            {"alpha": {}, "b": {"attention": {"kv_from": "alhpa"}}}, "alpha, b", "undefined-kind", ("layers.kinds",),
            "layers.kinds.b.attention.kv_from is alhpa, which layers.kinds does not define", "did you mean alpha?",
        ),
        (
            {"a": {}, "b": {"attention": {"kv_from": "zzz"}}}, "a, b", "undefined-kind", ("layers.kinds",),
            "layers.kinds.b.attention.kv_from is zzz, which layers.kinds does not define", "the other kinds are a",
        ),
        (
            {"a": {}, "b": {"attention": {"kv_from": "b"}}}, "a, b", "contradiction", (),
            "layers of kind b cannot attend to the keys and values of their own kind",
            "write the name of another kind, or omit attention.kv_from",
        ),
        (
            {"a": {}, "c": FROM_A, "b": {"attention": {"kv_from": "c"}}}, "a, c, b, b", "contradiction", (),
            "layers of kind c, which attention.kv_from of kind b names, have no keys and values of their own",
            "write kv_from: a",
        ),
        (
            {"a": {}, "c": {}, "b": FROM_A}, "a, c, b, b", "contradiction", (),
            "layers of kind b attend to keys and values of kind a, but kind c is equal to it: layers of equal kinds are"
            " not told apart",
            "write a in place of c, or a different field in one of them",
        ),
        (
            {"a": {}, "b": FROM_A}, "b, a", "contradiction", (),
            "no layer of kind a is before the first layer of kind b, which needs its keys and values",
            "list a first, or omit attention.kv_from",
        ),
        (
            {"a": OTHER, "b": FROM_A}, "a, b", "contradiction", (),
            "layers of kind b need keys and values, but kind a with block.mixer short_conv has none to share",
            "omit attention.kv_from",
        ),
        (
            {"a": {"attention": {"d_head": 16}}, "b": FROM_A}, "a, b", "contradiction",
            ("layers.kinds.a.attention.d_head",),
            "layers of kind b attend to keys and values of kind a, but attention.d_head is 32 instead of 16",
            "write the same attention.d_head in both kinds, or omit attention.kv_from",
        ),
        (
            {"a": {}, "b": {"attention": {"kv_from": "a", "v_norm": True}}}, "a, b", "contradiction",
            ("layers.kinds.b.attention.v_norm",),
            "layers of kind b attend to keys and values of kind a, but attention.v_norm is true instead of false",
            "write the same attention.v_norm in both kinds, or omit attention.kv_from",
        ),
        (
            {"a": {}, "b": {"n_heads": 8, **FROM_A}}, "a, b", "contradiction", ("layers.kinds.b.n_heads",),
            "layers of kind b attend to keys and values of kind a, but n_heads is 8 instead of 4",
            "write the same n_heads in both kinds, or omit attention.kv_from",
        ),
    ],
)  # fmt: skip
def test_problems(
    kinds: dict[str, Any], pattern: str, code: str, fields: tuple[str, ...], message: str, help_: str
) -> None:
    """One problem, at the field of the kind."""
    (problem,) = problems(kinds, pattern)
    assert problem == Problem(code, ("layers.kinds.b.attention.kv_from", *fields), message, help_)


def test_two_kinds_that_name_each_other() -> None:
    found = problems({"a": {"attention": {"kv_from": "b"}}, "b": FROM_A})
    assert [each.help for each in found] == ["omit attention.kv_from in kind b", "omit attention.kv_from in kind a"]


def test_without_kinds_of_layers() -> None:
    (problem,) = problems({}, None, attention__kv_from="local")
    assert (problem.code, problem.fields) == ("needs-field", ("attention.kv_from", "layers.kinds"))


def test_other_attention() -> None:
    """No layer shares keys and values of latent attention, or of attention parallel to a state-space model."""
    latent = {"attention__kind": "latent", "position__kind": "rope"}
    for changes in (latent, {"block__mixer": "attention_mamba2"}):
        assert "layers.kinds.b.attention.kv_from" in [
            each.fields[0] for each in problems({"a": {}, "b": FROM_A}, **changes) if each.code == "without-effect"
        ]


def test_modules_of_the_last_kind() -> None:
    """Multi-token prediction modules have the kind of the last layer, but no earlier layer."""
    kinds = {"a": {}, "b": FROM_A}
    (problem,) = problems(kinds, head__n_mtp_layers=1)
    assert problem.fields == ("head.n_mtp_layers", "layers.kinds.b.attention.kv_from")
    assert problems(kinds, "a, b, 2 a", head__n_mtp_layers=1) == []


def test_invalid_order() -> None:
    found = problems({"a": {}, "b": FROM_A}, "b, a, c, a")
    assert [each.code for each in found] == ["undefined-kind"]


@pytest.mark.parametrize(
    ("missing", "size"),
    [
        ("n_heads", "n_kv_heads"),
        *product(("d_model", "n_heads"), ("d_head", "d_value")),
        ("attention.d_head", "d_value"),  # which no field of a kind states
    ],
)
def test_unknown_size(missing: str, size: str) -> None:
    kinds = {"a": {"attention": {size: 2}}, "b": FROM_A}
    values = {name: value for name, value in DEFAULTS.items() if name != missing}
    assert list(broken_rules_of_model({**values, "layers.kinds": kinds, "layers.pattern": "a, b"})) == []
    assert len(problems(kinds)) == 1

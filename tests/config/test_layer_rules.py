"""Rules about layer kinds: each kind is checked with its own fields, and suggested fixes are valid."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from pydantic import ValidationError

from tinylm_cli.config.dependencies import Problem
from tinylm_cli.config.fields import fields
from tinylm_cli.config.layer_rules import broken_rules_of_model
from tinylm_cli.config.loader import parse_config
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.config.source import Source
from tinylm_cli.errors import ConfigError

DEFAULTS = {name: field.example if field.required else field.default for name, field in fields().items()}
ROPE = {"position.kind": "rope"}
TWO = {"layers.pattern": "a, b"}


def problems(kinds: dict[str, Any], **changes: Any) -> list[Problem]:
    values = {**DEFAULTS, "layers.kinds": kinds, **{name.replace("__", "."): value for name, value in changes.items()}}
    return list(broken_rules_of_model(values))


def test_fields_may_be_missing_in_some_kinds() -> None:
    """top_k belongs to the experts of one kind; the other kind has none."""
    experts = {"feed_forward": {"n_experts": 8}}
    assert problems({"a": experts, "b": {}}, layers__pattern="a, b", feed_forward__top_k=4) == []
    (problem,) = problems({"a": {}, "b": {}}, layers__pattern="a, b", feed_forward__top_k=4)
    assert (problem.code, problem.fields[0]) == ("without-effect", "feed_forward.top_k")


@pytest.mark.parametrize(
    ("kinds", "fields", "message"),
    [
        (
            {"a": {"block": {"mixer": "short_conv"}}, "b": {}},
            ("position.kind", "block.mixer"),
            "position.kind rope has no effect: it acts inside attention, and block.mixer is mamba2",
        ),
        (
            {"a": {"block": {"mixer": "short_conv"}}, "b": {"block": {"mixer": "none"}}},
            ("position.kind", "layers.kinds.a.block.mixer"),
            "in layers of kind a, as in all others, position.kind rope has no effect: it acts inside attention, and"
            " block.mixer is short_conv",
        ),
    ],
)
def test_no_effect_in_any_kind(kinds: dict[str, Any], fields: tuple[str, ...], message: str) -> None:
    """The message and the fields name the same value: the config's if a kind has it."""
    found = problems(kinds, layers__pattern="a, b", position__kind="rope", block__mixer="mamba2")
    assert (fields, message) in [(problem.fields, problem.message) for problem in found]


def test_the_config_itself_need_not_be_a_layer() -> None:
    """3 heads divide no layer's width, and no layer has them."""
    assert problems({"a": {"n_heads": 4}, "b": {"n_heads": 8}}, layers__pattern="a, b", n_heads=3) == []


def test_problem_of_several_kinds_is_reported_once() -> None:
    (problem,) = problems({"a": {}, "b": {"d_ff": 64}}, layers__pattern="a, b", n_heads=3)
    assert problem.fields == ("n_heads", "d_model")


def test_problem_of_one_kind_is_at_its_field() -> None:
    (problem,) = problems({"a": {}, "b": {"n_heads": 3}}, layers__pattern="a, b")
    assert problem.fields == ("layers.kinds.b.n_heads", "d_model")
    assert problem.message == "in layers of kind b, d_model 128 is not divisible by n_heads 3"


@pytest.mark.parametrize(
    ("n_layers", "sequences", "valid", "proposed"),
    [
        (8, {"pattern": "3 a, b"}, True, ()),
        (9, {"pattern": "3 a, b"}, False, (8, 12)),
        (9, {"first": "b", "pattern": "3 a, b"}, True, ()),
        (10, {"first": "b", "pattern": "3 a, b"}, False, (9, 13)),
        (10, {"first": "b", "pattern": "3 a, b", "last": "a"}, True, ()),
        (2, {"first": "b", "pattern": "3 a, b", "last": "a"}, False, (6,)),
        (3, {"pattern": "3 a, b"}, False, (4,)),
        (3, {"first": "a, 2 b"}, True, ()),
        (4, {"first": "a, 2 b"}, False, (3,)),
        (4, {"first": "a", "last": "2 b"}, False, (3,)),
    ],
)
def test_order(n_layers: int, sequences: dict[str, str], valid: bool, proposed: tuple[int, ...]) -> None:
    kinds = {"a": {}, "b": {"d_ff": 64}}
    changes = {f"layers__{name}": text for name, text in sequences.items()}
    found = problems(kinds, n_layers=n_layers, **changes)
    assert (found == []) == valid
    for layers in proposed:
        assert str(layers) in found[0].help
        assert problems(kinds, n_layers=layers, **changes) == []


def test_positions_of_kinds() -> None:
    kinds = {"a": {}, "b": {"position": {"kind": "none"}}}
    for common, valid in (("rope", True), ("alibi", True), ("none", True), ("learned", False), ("sinusoidal", False)):
        found = problems(kinds, layers__pattern="a, b", position__kind=common)
        assert [each.fields for each in found] == ([] if valid else [("layers.kinds.b.position.kind", "position.kind")])


@pytest.mark.parametrize(
    ("field", "value"),
    [("attention.window_pattern", "LG"), ("position.local_theta", 5.0), ("feed_forward.n_dense_layers", 1)],
)
def test_layers_are_selected_once(field: str, value: Any) -> None:
    block, _, name = field.partition(".")
    one = {"attention": {"window": 8}, "feed_forward": {"n_experts": 4}}
    common = {"attention__window": 8, "position__kind": "rope", "feed_forward__n_experts": 4, "layers__pattern": "a, b"}
    in_config = problems({"a": {}, "b": {"d_ff": 64}}, **{**common, f"{block}__{name}": value})
    in_kind = problems({"a": {}, "b": {**one, block: {**one.get(block, {}), name: value}}}, **common)
    assert [each.fields[0] for each in in_config if each.code == "contradiction"] == [field]
    assert f"layers.kinds.b.{field}" in [each.fields[0] for each in in_kind if each.code == "contradiction"]


def test_pydantic_reports_them_too() -> None:
    values = {"vocab_size": 8, "d_model": 8, "n_heads": 2, "n_layers": 2, "d_ff": 8}
    with pytest.raises(ValidationError, match=r"layers\.pattern lists c, which layers\.kinds does not define"):
        ModelConfig.model_validate({**values, "layers": {"pattern": "a, c", "kinds": {"a": {}}}})


def test_invalid_fields_of_kinds() -> None:
    values = {name: value for name, value in {**DEFAULTS, "n_heads": 3}.items() if name != "layers.kinds"}
    assert list(broken_rules_of_model(values)) == []


@pytest.mark.parametrize("block", sorted({name.partition(".")[0] for name in fields()} - {"layers"}))
@pytest.mark.parametrize("written", ["", "3", "[]", "{kind: }", "{a: 1}"])
def test_kinds_beside_an_invalid_block(block: str, written: str) -> None:
    """An invalid block is reported, and rules between it and the kinds are left out."""
    kinds = "layers: {pattern: 'a, b', kinds: {a: {attention: {window: 4}}, b: {position: {kind: learned}}}}\n"
    sizes = {"vocab_size": 8, "d_model": 8, "n_heads": 2, "n_layers": 2, "d_ff": 8}
    lines = [f"{name}: {size}\n" for name, size in sizes.items() if name != block]
    with contextlib.suppress(ConfigError):  # any other error fails
        parse_config(Source("m.yaml", "".join([*lines, f"{block}: {written}\n", kinds])))

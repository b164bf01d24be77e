"""Rules about layers that run several times."""

from __future__ import annotations

from typing import Any

import pytest

from tests.config.kind_problems import problems
from tinylm_cli.config.dependencies import Problem
from tinylm_cli.config.layer_kinds import valid_layer_counts
from tinylm_cli.config.schema import ModelConfig

LOOP = "loop__"


def found(changes: dict[str, Any], kinds: dict[str, Any] | None = None) -> list[Problem]:
    """Return the problems of a config of four layers, perhaps of kinds a and b in turn."""
    return problems(kinds or {}, None if kinds is None else "a, b", n_layers=4, **changes)


@pytest.mark.parametrize(
    "loop",
    [
        {"n_loops": 2},
        {"n_loops": 1, "inject": True},
        {"n_loops": 64, "n_prelude_layers": 1, "n_coda_layers": 2, "inject": True},
        {"n_loops": 1, "n_low_layers": 3},
        {"n_loops": 2, "n_low_layers": 1, "n_low_loops": 3, "n_coda_layers": 1},
    ],
)
def test_valid(loop: dict[str, Any]) -> None:
    assert found({LOOP + name: value for name, value in loop.items()}) == []


def test_loops_have_layers() -> None:
    ends = {"loop__n_loops": 2, "loop__n_prelude_layers": 3, "loop__n_coda_layers": 1}
    fields = ("loop.n_loops", "loop.n_prelude_layers", "loop.n_coda_layers", "n_layers")
    message = "loop.n_loops repeats no layer: prelude and coda have 4 layers, n_layers is 4"
    remedy = "write n_layers: 5, or omit loop.n_prelude_layers"
    assert found(ends) == [Problem("contradiction", fields, message, remedy)]
    message = "loop.n_low_layers 3 leaves no layer for the high-level module: the loop has 2 layers"
    fields = ("loop.n_low_layers", *fields[1:])
    low = {**ends, "loop__n_prelude_layers": 1, "loop__n_low_layers": 3}
    assert found(low) == [Problem("contradiction", fields, message, "write loop.n_low_layers: 1")]
    (all_low,) = found({"loop__n_loops": 2, "loop__n_low_layers": 4})
    assert all_low.help == "write loop.n_low_layers: 3"
    (none_left,) = found({**ends, "loop__n_prelude_layers": 2, "loop__n_low_layers": 1})
    assert none_left.help == "write n_layers: 5, or omit loop.n_low_layers"
    (too_many,) = found({"loop__n_loops": 2, "loop__n_prelude_layers": 100_000})
    assert too_many.help == "omit loop.n_prelude_layers"


def test_one_pass() -> None:
    """It differs from no loop only if its input is added, or if it has two modules."""
    message = "loop.n_loops 1 has no effect: layers run once without a loop"
    expected = Problem("without-effect", ("loop.n_loops",), message, "write loop.n_loops: 2, or omit loop.n_loops")
    assert found({"loop__n_loops": 1}) == [expected]


@pytest.mark.parametrize(
    ("changes", "field", "text"),
    [
        ({"attention__kv_from": "a"}, "attention.kv_from", "attention.kv_from a"),
        ({"block__hyper_streams": 2}, "block.hyper_streams", "block.hyper_streams 2"),
        ({"embedding__d_per_layer": 8}, "embedding.d_per_layer", "embedding.d_per_layer 8"),
        ({"head__n_mtp_layers": 1}, "head.n_mtp_layers", "head.n_mtp_layers 1"),
        ({"block__mixer": "shared_block_mamba"}, "block.mixer", "block.mixer shared_block_mamba"),
    ],
)
def test_not_looped(changes: dict[str, Any], field: str, text: str) -> None:
    own = [each for each in found({"loop__n_loops": 2, **changes}) if each.fields == (field, "loop.n_loops")]
    assert [each.message.startswith(f"{text} is not supported with loop.n_loops") for each in own] == [True]


def test_kinds_of_layers() -> None:
    """A rule that one kind breaks names its field."""
    ((code, fields, message, _, _),) = found({"loop__n_loops": 2}, {"a": {}, "b": {"attention": {"kv_from": "a"}}})
    assert code == "contradiction"
    assert fields == ("layers.kinds.b.attention.kv_from", "loop.n_loops")
    assert message.startswith("in layers of kind b, attention.kv_from a is not supported with loop.n_loops")


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("loop.n_prelude_layers", {"loop__n_prelude_layers": 1}),
        ("loop.inject", {"loop__inject": True}),
        ("loop.inject", {"loop__inject": True, "loop__n_loops": 2, "loop__n_low_layers": 1}),
        ("loop.n_low_loops", {"loop__n_loops": 2, "loop__n_low_loops": 2}),
    ],
)
def test_fields_without_effect(name: str, changes: dict[str, Any]) -> None:
    assert [(code, fields[0]) for code, fields, *_ in found(changes)] == [("without-effect", name)]


def test_valid_numbers_of_layers() -> None:
    loop = {"n_loops": 2, "n_prelude_layers": 1, "n_coda_layers": 1, "n_low_layers": 2}
    sizes = {"vocab_size": 9, "d_model": 8, "n_heads": 2, "d_ff": 8, "loop": loop}
    assert valid_layer_counts(ModelConfig.model_validate({**sizes, "n_layers": 6}), 8) == range(5, 9)
    layers = {"first": "a", "pattern": "a, b", "kinds": {"a": {}, "b": {"d_ff": 4}}}
    in_pairs = ModelConfig.model_validate({**sizes, "n_layers": 7, "layers": layers})
    assert valid_layer_counts(in_pairs, 9) == range(5, 10, 2)

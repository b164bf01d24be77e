"""The schema in Python: strict about types, closed to unknown keys, and the same bounds and rules as a file's."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tinylm_cli.config.amounts import MAX_COUNT
from tinylm_cli.config.base import Block
from tinylm_cli.config.blocks import BLOCKS, Position
from tinylm_cli.config.dependencies import applies
from tinylm_cli.config.fields import fields
from tinylm_cli.config.mixers.attention import Attention
from tinylm_cli.config.schema import ModelConfig, flatten

TINY = {"vocab_size": 256, "d_model": 128, "n_heads": 4, "n_layers": 4, "d_ff": 512}


def _with(**changes: Any) -> ModelConfig:
    return ModelConfig.model_validate({**TINY, **changes})


def test_defaults_are_the_course_model() -> None:
    config = ModelConfig(vocab_size=256, d_model=128, n_heads=4, n_layers=4, d_ff=512)
    flat = flatten(config.model_dump())
    course = {
        **TINY,
        "max_len": 1024,
        "dropout": 0.1,
        "tie_weights": True,
        "position.kind": "sinusoidal",
        "position.sinusoids": "interleaved",
        "norm.kind": "layernorm",
        "norm.eps": 1e-5,
        "norm.placement": "pre",
        "attention.kind": "multi_head",
        "attention.bias": True,
        "feed_forward.activation": "gelu",
        "feed_forward.bias": True,
    }
    assert {name: flat[name] for name in course} == course
    others = {name: value for name, value in flat.items() if name not in course and applies(name, flat)}
    on = {name: value for name, value in others.items() if value not in (None, False, 1.0, "none", {}) or value is True}
    block = {"block.mixer": "attention", "block.feed_forward": True, "block.mixer_norm": True}
    assert on == {"norm.weight": True, **block, "head.kind": "lm", "storage.dtype": "bfloat16"}
    assert (config.d_head, config.d_value, config.n_kv_heads, config.d_expert) == (32, 32, 4, 512)
    assert config.norm.has_bias
    assert config.attention.has_out_bias


def test_derived_defaults() -> None:
    grouped = _with(attention={"n_kv_heads": 2, "d_head": 64, "bias": False, "window": 8, "window_pattern": "LLG"})
    assert (grouped.d_head, grouped.d_value, grouped.n_kv_heads) == (64, 64, 2)
    assert not grouped.attention.has_out_bias
    narrow = _with(attention={"d_head": 64, "d_value": 24})
    assert (narrow.d_head, narrow.d_value, narrow.d_value_per_kv_head) == (64, 24, 24)
    pairs = _with(attention={"d_head": 64, "differential": True})
    assert (pairs.d_value, pairs.d_value_per_kv_head) == (128, 64)
    latent = _with(position={"kind": "rope"}, attention={"kind": "latent"})
    assert latent.d_value == 128
    latent = _with(position={"kind": "rope"}, attention={"kind": "latent", "d_nope": 16, "d_rope": 8, "d_value": 24})
    assert (latent.d_head, latent.d_value, latent.n_kv_heads) == (24, 24, 4)
    experts = _with(feed_forward={"n_experts": 4, "d_expert": 32, "n_dense_layers": 1})
    assert experts.d_expert == 32
    biases = [
        ({"kind": "rmsnorm"}, False),
        ({"weight": False}, False),
        ({"bias": False}, False),
        ({"bias": True}, True),
    ]
    assert [_with(norm=norm).norm.has_bias for norm, _ in biases] == [has for _, has in biases]
    assert _with(attention={"bias": False, "out_bias": True}).attention.has_out_bias


def test_a_config_cannot_be_changed() -> None:
    config = _with()
    with pytest.raises(ValidationError, match="frozen"):
        config.d_model = 256  # type: ignore[misc]
    with pytest.raises(ValidationError, match="frozen"):
        config.norm.eps = 0.1  # type: ignore[misc]
    assert hash(config) == hash(_with())


BOUNDS: dict[str, tuple[Any, Any, Any, Any]] = {
    # field: too small, smallest, largest, too large
    "vocab_size": (0, 1, 10**8, 10**8 + 1),
    "n_layers": (0, 1, 10**5, 10**5 + 1),
    "d_ff": (0, 1, 2**24, 2**24 + 1),
    "max_len": (0, 1, 10**9, 10**9 + 1),
    "dropout": (-1e-9, 0.0, 0.999999, 1.0),
    "nominal_params": (0, 1, MAX_COUNT, MAX_COUNT + 1),
}


@pytest.mark.parametrize("name", BOUNDS)
def test_bounds(name: str) -> None:
    below, least, most, above = BOUNDS[name]
    assert getattr(_with(**{name: least}), name) == least
    assert getattr(_with(**{name: most}), name) == most
    for outside in (below, above):
        with pytest.raises(ValidationError, match=name):
            _with(**{name: outside})


def test_the_bounds_of_the_widths_and_of_eps() -> None:
    wide = _with(d_model=2**20, n_heads=2**16)
    assert wide.d_head == 16
    for changes in ({"d_model": 2**20 + 2}, {"n_heads": 2**16 + 1}, {"norm": {"eps": 0}}, {"norm": {"eps": 0.11}}):
        with pytest.raises(ValidationError):
            _with(**changes)
    assert _with(norm={"eps": 0.1}).norm.eps == 0.1


@pytest.mark.parametrize("name", [*TINY, "max_len"])
@pytest.mark.parametrize("value", [True, "8", 8.0, None, [8], {"n": 8}, float("nan"), float("inf")])
def test_integers(name: str, value: Any) -> None:
    with pytest.raises(ValidationError, match=name):
        _with(**{name: value})


@pytest.mark.parametrize("value", [1, 0, "true", "yes", None, 1.0, []])
def test_booleans(value: Any) -> None:
    broken: list[dict[str, Any]] = [
        {"tie_weights": value},
        {"attention": {"bias": value}},
        {"feed_forward": {"bias": value}},
    ]
    for changes in broken:
        with pytest.raises(ValidationError):
            _with(**changes)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf"), "0.1", True, None])
def test_a_number_is_finite(value: Any) -> None:
    for changes in ({"dropout": value}, {"norm": {"eps": value}}):
        with pytest.raises(ValidationError):
            _with(**changes)


OPTIONAL = [name for name, field in fields().items() if field.default is None and not field.required]


@pytest.mark.parametrize("name", OPTIONAL)
def test_an_optional_field_may_be_null(name: str) -> None:
    block, _, last = name.rpartition(".")
    assert _with(**({block: {last: None}} if block else {last: None})) == _with()


@pytest.mark.parametrize(
    "name", [name for name, field in fields().items() if "." in name and field.default is not None]
)
def test_null_in_other_fields(name: str) -> None:
    block, _, last = name.rpartition(".")
    with pytest.raises(ValidationError, match=last):
        _with(**{block: {last: None}})


@pytest.mark.parametrize("pattern", ["L", "G", "LG", "LLLLLG", "L" * 512])
def test_a_pattern_of_windows(pattern: str) -> None:
    assert Attention(window=8, window_pattern=pattern).window_pattern == pattern


@pytest.mark.parametrize("pattern", ["", "lg", "LS", "L G", "LG\n", "L" * 513, 1, ["L", "G"], True])
def test_invalid_window_patterns(pattern: Any) -> None:
    with pytest.raises(ValidationError, match="window_pattern"):
        Attention(window=8, window_pattern=pattern)


@pytest.mark.parametrize("factors", [[1.0, 2], (1.0,), [], [1e9]])
def test_a_list_of_numbers(factors: Any) -> None:
    read = Position(short_factors=factors).short_factors
    assert read == tuple(factors)
    assert all(type(each) is float for each in read or ())


@pytest.mark.parametrize(
    "factors", [["1.0"], [True], [None], [0], [-1.0], [2e9], [float("nan")], [[1.0]], "1.0", 1.0, {"a": 1.0}]
)
def test_invalid_number_lists(factors: Any) -> None:
    with pytest.raises(ValidationError, match="short_factors"):
        Position(short_factors=factors)


@pytest.mark.parametrize("block", BLOCKS)
def test_a_block_is_closed_and_all_defaults(block: str) -> None:
    assert getattr(_with(**{block: {}}), block) == getattr(_with(), block)
    values: tuple[Any, ...] = (None, [], "x", {"extra": 1})
    for wrong in values:
        with pytest.raises(ValidationError):
            _with(**{block: wrong})


def test_unknown_fields_are_refused() -> None:
    with pytest.raises(ValidationError, match="n_embd"):
        _with(n_embd=1)


@pytest.mark.parametrize(
    ("text", "count"),
    [("500K", 500_000), ("125M", 125_000_000), ("1.5B", 1_500_000_000), ("0.001K", 1), ("999999T", 999_999 * 10**12)],
)
def test_parameter_count_with_unit(text: str, count: int) -> None:
    assert _with(nominal_params=text).nominal_params == count


@pytest.mark.parametrize("text", ["125m", "125  M", "M", "", "1.M", ".5M", "-1M", "1e3M", "1234567M", "125MM", "12５M"])
def test_invalid_parameter_counts(text: str) -> None:
    with pytest.raises(ValidationError, match="nominal_params"):
        _with(nominal_params=text)


@given(st.integers(0, 999_999), st.integers(0, 999_999), st.sampled_from("KMBT"))
def test_a_count_is_exact(whole: int, fraction: int, unit: str) -> None:
    scale = {"K": 10**3, "M": 10**6, "B": 10**9, "T": 10**12}[unit]
    expected = (whole * 10**6 + fraction) * scale // 10**6
    text = f"{whole}.{fraction:06d}{unit}"
    if expected:
        assert _with(nominal_params=text).nominal_params == expected
    else:
        with pytest.raises(ValidationError):
            _with(nominal_params=text)


def test_rules_in_python() -> None:
    with pytest.raises(ValidationError, match=r"d_model 130 is not divisible by n_heads 4.*write n_heads: 2 or 5"):
        _with(d_model=130)
    with pytest.raises(ValidationError, match="requires an even d_model, not 125"):
        _with(d_model=125, n_heads=5)
    assert _with(d_model=125, n_heads=5, position={"kind": "learned"}).d_head == 25


def test_every_field_has_a_description() -> None:
    owners: list[type[Block]] = [ModelConfig, *BLOCKS.values()]
    for owner in owners:
        for name, info in owner.model_fields.items():
            assert info.description, name
            assert info.description.endswith("."), name


def test_flatten() -> None:
    assert flatten({"a": 1, "norm": {"eps": 1, "x": {"y": 2}}, "other": {"z": 3}, "position": None}) == {
        "a": 1,
        "norm.eps": 1,
        "norm.x": {"y": 2},
        "other": {"z": 3},
        "position": None,
    }


def test_a_changed_copy_has_the_hash_of_its_fields() -> None:
    config = _with()
    before = hash(config)
    copied = config.model_copy(update={"n_layers": 7})
    assert (copied, hash(copied)) == (_with(n_layers=7), hash(_with(n_layers=7)))
    assert (config, hash(config)) == (_with(), before)


@pytest.mark.parametrize(
    ("block", "sizes", "heads"),
    [
        ("mamba2", {"d_head": 32}, {"mamba2_heads": 2 * 768 // 32}),
        ("gated_deltanet", {"d_key": 96}, {"gated_deltanet_key_heads": 8, "gated_deltanet_value_heads": 8}),
        ("gated_deltanet", {"n_value_heads": 12}, {"gated_deltanet_key_heads": 6, "gated_deltanet_value_heads": 12}),
        ("gated_deltanet", {"n_key_heads": 5}, {"gated_deltanet_key_heads": 5, "gated_deltanet_value_heads": 5}),
        ("kimi_delta_attention", {}, {"kimi_delta_attention_heads": 768 // 128}),
        ("kimi_delta_attention", {"n_heads": 5}, {"kimi_delta_attention_heads": 5}),
        ("lightning_attention", {"d_head": 24}, {"lightning_attention_heads": 32}),
        ("mlstm", {"d_value": 256, "d_key": 8}, {"mlstm_heads": 3}),
    ],
)
def test_heads_fill_the_width(block: str, sizes: dict[str, Any], heads: dict[str, int]) -> None:
    config = _with(d_model=768, block={"mixer": block}, **{block: sizes})
    assert {name: getattr(config, name) for name in heads} == heads


MAMBA2: dict[str, Any] = {"vocab_size": 9, "d_model": 128, "n_layers": 2, "position": {"kind": "none"}}
OF_KINDS = {"pattern": "one, other", "kinds": {"one": {}, "other": {"block": {"mixer": "attention"}}}}


@pytest.mark.parametrize(
    ("block", "layers", "missing"),
    [
        ({"mixer": "mamba2", "feed_forward": False}, {}, set()),
        ({"mixer": "mamba2"}, {}, {"d_ff"}),
        ({"feed_forward": False}, {}, {"n_heads"}),
        ({}, {}, {"n_heads", "d_ff"}),
        ({"mixer": "mamba2", "feed_forward": False}, OF_KINDS, {"n_heads"}),
    ],
)
def test_sizes_without_use_may_be_absent(block: dict[str, Any], layers: dict[str, Any], missing: set[str]) -> None:
    values = {**MAMBA2, "block": block, "layers": layers}
    if not missing:
        config = ModelConfig.model_validate(values)
        assert (config.n_heads, config.d_ff) == (1, 1)
        assert not applies("n_heads", flatten(config.model_dump()))
        return
    with pytest.raises(ValidationError) as error:
        ModelConfig.model_validate(values)
    assert {each["loc"][0] for each in error.value.errors() if each["type"] == "missing"} == missing

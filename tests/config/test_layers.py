"""The block ``layers``: sequences of kinds, and the fields in which kinds differ."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tinylm_cli.config.blocks import BLOCKS
from tinylm_cli.config.layers import MAX_KINDS, MAX_SEQUENCE, LayerKind, Layers, overrides_by_kind, read_sequence

NAMES = st.from_regex(r"[a-z][a-z0-9_-]{0,5}", fullmatch=True)
ITEMS = st.lists(st.tuples(st.integers(1, 3), NAMES), min_size=1, max_size=4)


def listed(items: list[tuple[int, str]]) -> str:
    return ", ".join(name if count == 1 else f"{count} {name}" for count, name in items)


@given(st.lists(st.tuples(st.integers(1, 3), ITEMS, st.booleans()), min_size=1, max_size=4))
def test_sequences(parts: list[tuple[int, list[tuple[int, str]], bool]]) -> None:
    texts, kinds = [], []
    for repeats, items, bracketed in parts:
        names = [name for count, name in items for _ in range(count)]
        texts.append(f"{repeats} ({listed(items)})" if bracketed else listed(items))
        kinds += names * (repeats if bracketed else 1)
    text = ", ".join(texts)
    assert Layers(pattern=text).pattern == text
    assert list(read_sequence(text)) == kinds


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "3",
        "3 ",
        "a b",
        "a,,b",
        "a,",
        ",a",
        "0 a",
        "(a",
        "a)",
        "2 (a, (b))",
        "A",
        "3x a",
        "a\n",
        f"{MAX_SEQUENCE} a, b",
        "99 (99 a)",
    ],
)
def test_wrong_sequences(wrong: str) -> None:
    with pytest.raises(ValidationError):
        Layers(pattern=wrong)


def test_longest_sequence() -> None:
    assert len(read_sequence(Layers(pattern=f"64 ({MAX_SEQUENCE // 64} a)").pattern or "")) == MAX_SEQUENCE


def test_too_many_kinds() -> None:
    Layers(kinds={f"k{number}": LayerKind() for number in range(MAX_KINDS)})
    with pytest.raises(ValidationError):
        Layers(kinds={f"k{number}": LayerKind() for number in range(MAX_KINDS + 1)})


def test_only_fields_that_are_set_count() -> None:
    """Null and a default override the config; an absent field does not."""
    given_ = {"n_heads": 8, "attention": {"window": None, "bias": True}}
    kind = LayerKind.model_validate(given_)
    assert kind.overrides() == {"n_heads": 8, "attention.window": None, "attention.bias": True}
    assert kind.model_dump() == given_
    assert kind != LayerKind.model_validate({"n_heads": 8})
    assert kind == LayerKind.model_validate(given_)
    assert len({kind, LayerKind.model_validate(given_), LayerKind()}) == 2


def test_equal_layers_have_equal_hashes() -> None:
    values: dict[str, Any] = {"pattern": "a, b", "kinds": {"a": {"d_ff": 8}, "b": {}}}
    one, other = (Layers.model_validate(each) for each in (values, {**values, "kinds": {"b": {}, "a": {"d_ff": 8}}}))
    assert (one, hash(one)) == (other, hash(other))
    assert one != Layers.model_validate({**values, "kinds": {"a": {}, "b": {}}})
    assert Layers.model_validate(one.model_dump()) == one


def test_overrides_by_kind() -> None:
    kinds = {"a": {"position": {"kind": "none"}}, "b": {}}
    assert overrides_by_kind(kinds) == {"a": {"position.kind": "none"}, "b": {}}


@pytest.mark.parametrize("field", ["n_heads", "d_ff"])
def test_sizes_that_a_layer_needs(field: str) -> None:
    with pytest.raises(ValidationError):
        LayerKind.model_validate({field: None})


def test_blocks_of_kinds() -> None:
    of_every_layer = {"embedding", "loop", "head", "storage", "budget"}
    assert set(LayerKind.model_fields) == {*BLOCKS, "n_heads", "d_ff"} - of_every_layer

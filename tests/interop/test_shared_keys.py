"""The annotations of families' keys: bounds come from the tinylm field, and only some values pass."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from pydantic import ValidationError

from tinylm_cli.config.fields import Schema, fields
from tinylm_cli.interop.shared_keys import (
    ACTIVATIONS,
    UNSUPPORTED,
    Activation,
    DHead,
    DModel,
    Keys,
    filled_fields,
    fills,
    like,
    only,
)


class Sample(Keys):
    width: DModel = 64
    head: DHead = None
    act: Activation = "silu"
    both: Annotated[bool, *fills("attention.bias", "feed_forward.bias")] = False
    theta: Annotated[float | None, *like("position.theta")] = None
    alibi: bool = only(False, why="it is rounded")
    clip: float | None = only(why="it has no field")


def errors(**keys: Any) -> list[tuple[str, str]]:
    with pytest.raises(ValidationError) as raised:
        Sample.model_validate(keys)
    return [(str(error["loc"][0]), error["type"]) for error in raised.value.errors()]


def test_fills() -> None:
    assert filled_fields(Sample, "width") == ("d_model",)
    assert filled_fields(Sample, "both") == ("attention.bias", "feed_forward.bias")
    assert filled_fields(Sample, "theta") == filled_fields(Sample, "alibi") == ()


@pytest.mark.parametrize(
    ("key", "name"), [("width", "d_model"), ("head", "attention.d_head"), ("theta", "position.theta")]
)
def test_bounds(key: str, name: str) -> None:
    assert Schema(Sample).fields[key].expected == fields()[name].expected
    assert errors(**{key: -1}) in ([(key, "greater_than_equal")], [(key, "greater_than")])


def test_examples() -> None:
    described = Schema(Sample).fields
    assert described["width"].example == 64
    assert described["head"].example == fields()["attention.d_head"].example
    assert described["theta"].example == 10_000.0


def test_only() -> None:
    assert errors(alibi=True, clip=8.0) == [("alibi", UNSUPPORTED), ("clip", UNSUPPORTED)]
    assert errors(alibi=0) == [("alibi", "bool_type")]
    assert Sample.model_validate({"alibi": None, "clip": None}).clip is None
    with pytest.raises(ValidationError) as raised:
        Sample.model_validate({"alibi": True})
    (error,) = raised.value.errors()
    assert error["ctx"] == {"why": "it is rounded", "help": "tinylm supports only {key}: false"}


def test_contradictory_spellings() -> None:
    """Each keeps its own reason."""
    with pytest.raises(ValidationError) as raised:
        Sample.model_validate({"alibi": True, "is_encoder_decoder": True})
    assert {error["ctx"]["why"] for error in raised.value.errors()} == {
        "it is rounded",
        "tinylm models have no encoder",
    }


def test_activation() -> None:
    assert all(Sample.model_validate({"act": name}).act == name for name in ACTIVATIONS)
    assert errors(act="xielu") == [("act", UNSUPPORTED)]
    assert errors(act=3) == [("act", "string_type")]
    assert {*ACTIVATIONS.values(), "xielu"} == set(fields()["feed_forward.activation"].choices)

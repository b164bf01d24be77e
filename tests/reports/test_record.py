"""Records behave as frozen dataclasses."""

from __future__ import annotations

import copy
import pickle
from dataclasses import FrozenInstanceError, dataclass, fields, replace

import pytest

from tinylm_cli.reports.record import Record


class Size(Record):
    params: int
    share: float = 1.0


class Named(Size):
    name: str = ""


@dataclass(frozen=True)
class FrozenSize:
    params: int
    share: float = 1.0


def test_like_a_frozen_dataclass() -> None:
    size, frozen = Size(3), FrozenSize(3)
    assert repr(size) == repr(frozen).replace("FrozenSize", "Size")
    assert [field.name for field in fields(size)] == [field.name for field in fields(frozen)]
    assert replace(size, share=0.5) == Size(3, 0.5)
    assert Named(3, name="a").name == "a"
    with pytest.raises(TypeError, match="params"):
        Size()  # type: ignore[call-arg]


class Total(Record):
    largest: Size
    parts: tuple[Size, ...]


def test_repr_of_nested_records_is_short() -> None:
    assert repr(Total(Size(3), (Size(1), Size(2)))) == "Total(largest=Size(…), parts=(Size(…) × 2))"
    assert repr(Total(Size(3), (Size(1),))) == "Total(largest=Size(…), parts=(Size(…),))"
    assert repr(Total(Size(3), ())) == "Total(largest=Size(…), parts=())"


def test_equality() -> None:
    assert Size(3) == Size(params=3)
    assert hash(Size(3)) == hash(Size(3))
    assert Size(3) != Size(4)
    assert Size(3) != Named(3)
    assert Size(3) != FrozenSize(3)


def test_copies_are_equal() -> None:
    assert copy.deepcopy(Size(3)) == pickle.loads(pickle.dumps(Size(3))) == Size(3)


def test_frozen() -> None:
    size = Size(3)
    with pytest.raises(FrozenInstanceError, match="params"):
        size.params = 4  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError, match="other"):
        size.other = 4
    with pytest.raises(FrozenInstanceError, match="params"):
        del size.params
    assert size == Size(3)

"""Checks of keyword arguments against their annotations."""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Iterator, Sequence
from functools import cache, wraps
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, ParamSpec, TypeVar, Union, get_args, get_origin, get_type_hints

from tinylm_cli.config.suggestions import suggest
from tinylm_cli.errors import UsageError

P = ParamSpec("P")
R = TypeVar("R")

_WORDS = {bool: "True or False", int: "an integer", float: "a number", str: "text"}


class Bounds(NamedTuple):
    """The range of a number, as metadata of an annotation.

    Attributes:
        least: Smallest allowed value.
        most: Largest allowed value; None for any finite one.
    """

    least: float
    most: float | None = None

    def __str__(self) -> str:
        """Return the range in words."""
        return f">= {self.least:g}" if self.most is None else f"from {self.least:g} to {self.most:,}"


def checked(function: Callable[P, R]) -> Callable[P, R]:
    """Check the keyword arguments of each call of ``function`` against its annotations."""

    @wraps(function)
    def check_and_call(*args: P.args, **kwargs: P.kwargs) -> R:
        annotations = _annotations(function)
        for name, value in kwargs.items():
            if name in annotations:
                require(name, value, annotations[name])
        return function(*args, **kwargs)

    return check_and_call


def require(name: str, value: object, annotation: Any) -> None:
    """Check an argument against its annotation.

    Args:
        name: The argument.
        value: Its value.
        annotation: Its type: classes, literals, bounded numbers, tuples of these, and unions. Others accept any value.

    Raises:
        UsageError: If the type does not include the value; suggests the most similar choice.
    """
    members = tuple(_members(annotation))
    if any(_accepts(member, value) for member in members):
        return
    choices = [choice for member in members if get_origin(member) is Literal for choice in get_args(member)]
    words = [*map(str, choices), *(_words(each) for each in members if get_origin(each) is not Literal)]
    expected = _listed([word for word in words if word])
    meant = suggest(value, map(str, choices)) if isinstance(value, str) else None
    raise UsageError(
        f"{name}: expected {expected}, got {reprlib.repr(value)}", help=f"did you mean {meant}?" if meant else ""
    )


@cache
def _annotations(function: Callable[..., Any]) -> dict[str, Any]:
    return get_type_hints(function)


def _members(annotation: Any) -> Iterator[Any]:
    if get_origin(annotation) in (Union, UnionType):
        for each in get_args(annotation):
            yield from _members(each)
    else:
        yield annotation


def _accepts(member: Any, value: Any) -> bool:
    origin = get_origin(member)
    if origin is Literal:
        return isinstance(value, str | int) and not isinstance(value, bool) and value in get_args(member)
    if origin is Annotated:
        number, bounds = get_args(member)
        return _accepts(number, value) and bounds.least <= value and (bounds.most is None or value <= bounds.most)
    if origin is tuple:
        listed = isinstance(value, Sequence) and not isinstance(value, str)
        return listed and all(_accepts(get_args(member)[0], each) for each in value)
    if member in (int, float):
        return isinstance(value, Integral if member is int else Real) and not isinstance(value, bool)
    kind = origin or member
    return isinstance(value, kind) if isinstance(kind, type) else True


def _words(member: Any) -> str:
    """Return what an annotation accepts; empty for None, which a caller rather omits."""
    if member is NoneType:
        return ""
    if get_origin(member) is Annotated:
        number, bounds = get_args(member)
        return f"{_words(number)} {bounds}"
    if get_origin(member) is tuple:
        return f"a tuple, each {_words(get_args(member)[0])}"
    kind = get_origin(member) or member
    return _WORDS.get(kind) or str(kind.__name__)


def _listed(words: Sequence[str]) -> str:
    return " or ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)

"""Checks of keyword arguments against their annotations."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import cache, wraps
from inspect import Parameter, signature
from numbers import Integral, Real
from os import PathLike
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, ParamSpec, TypeVar, Union, get_args, get_origin, get_type_hints

from tinylm_cli.config.diagnostic_codes import either
from tinylm_cli.config.similar_names import suggest
from tinylm_cli.errors import UsageError

P = ParamSpec("P")
R = TypeVar("R")

_DESCRIPTIONS = {
    bool: "True or False",
    int: "an integer",
    float: "a number",
    str: "text",
    range: "a range",
    PathLike: "a path",
    Iterable: "a list",
    Mapping: "a dictionary",
}


class Bounds(NamedTuple):
    """The range of a number, as metadata of an annotation.

    Attributes:
        minimum: Smallest allowed value.
        maximum: Largest allowed value.
    """

    minimum: float
    maximum: float = math.inf

    def __str__(self) -> str:
        """Return the range as text: ``>= 1``, ``from 0 to 1``."""
        return f">= {self.minimum:g}" if self.maximum == math.inf else f"from {self.minimum:g} to {self.maximum:,}"


def checked(function: Callable[P, R]) -> Callable[P, R]:
    """Check the arguments of each call of ``function`` against its annotations."""

    @wraps(function)
    def check_and_call(*args: P.args, **kwargs: P.kwargs) -> R:
        bound, annotations = signature(function).bind(*args, **kwargs), _annotations(function)
        for name, value in bound.arguments.items():
            kind = bound.signature.parameters[name].kind
            if kind is Parameter.VAR_KEYWORD:
                (further,) = get_args(annotations[name])
                known = (*bound.signature.parameters, *get_type_hints(further))
                for keyword in value:
                    require_known("argument", keyword, known)
            elif name in annotations:
                for each in value if kind is Parameter.VAR_POSITIONAL else (value,):
                    require(name, each, annotations[name])
        return function(*args, **kwargs)

    return check_and_call


def require(name: str, value: object, annotation: Any) -> None:
    """Check an argument against its annotation.

    Args:
        name: The argument.
        value: Its value.
        annotation: Its type: classes, literals, bounded numbers, tuples of these, and unions. Other annotations accept
            any value.

    Raises:
        UsageError: If the value does not have the type; suggests the most similar choice.
    """
    members = tuple(_members(annotation))
    if any(_accepts(member, value) for member in members):
        return
    suggestion = suggest(value, _choices(members)) if isinstance(value, str) else None
    remedy = f"did you mean {suggestion}?" if suggestion else ""
    raise UsageError(f"{name}: expected {accepted(annotation)}, got {reprlib.repr(value)}", help=remedy)


def accepted(annotation: Any) -> str:
    """Return the values that an annotation accepts, without None: ``adamw or sgd``, ``an integer >= 1``."""
    members = tuple(_members(annotation))
    others = (_expected(each) for each in members if get_origin(each) is not Literal)
    return either([each for each in (*_choices(members), *others) if each])


def _choices(members: Iterable[Any]) -> list[str]:
    return [str(choice) for member in members if get_origin(member) is Literal for choice in get_args(member)]


def require_known(noun: str, name: str, known: Collection[str]) -> None:
    """Check that ``name`` is one of the ``known`` names.

    Raises:
        UsageError: If it is not; suggests the most similar name.
    """
    if name not in known:
        suggestion = suggest(name, known)
        raise UsageError(f"unknown {noun} {name}", help=f"did you mean {suggestion}?" if suggestion else "")


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
    if member is Any:
        return True
    if origin is Literal:
        return isinstance(value, str | int) and not isinstance(value, bool) and value in get_args(member)
    if origin is Annotated:
        number, bounds = get_args(member)
        return _accepts(number, value) and bounds.minimum <= value <= bounds.maximum
    if origin is tuple or (origin is Iterable and isinstance(value, Sequence)):
        listed = isinstance(value, Sequence) and not isinstance(value, str)
        return listed and all(_accepts(get_args(member)[0], each) for each in value)
    if isinstance(value, Mapping):
        key, item = get_args(member) if origin is Mapping else (NoneType, NoneType)
        return all(_accepts(key, each) for each in value) and all(_accepts(item, each) for each in value.values())
    if member in (int, float):
        return isinstance(value, Integral if member is int else Real) and not isinstance(value, bool)
    kind = origin or member
    return isinstance(value, kind) if isinstance(kind, type) else True


def _expected(member: Any) -> str:
    """Return a description of the accepted values; empty for None."""
    if member is NoneType:
        return ""
    if get_origin(member) is Annotated:
        number, bounds = get_args(member)
        return f"{_expected(number)} {bounds}"
    if get_origin(member) is tuple:
        return f"a tuple, each {_expected(get_args(member)[0])}"
    if get_origin(member) is Iterable and get_args(member) == (str,):
        return "a list of text"
    kind = get_origin(member) or member
    return _DESCRIPTIONS.get(kind) or str(kind.__name__)

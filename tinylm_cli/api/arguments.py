"""Reading of arguments by their annotations: ``"8k"`` tokens as 8,192, and errors for all that does not fit."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import cache, wraps
from inspect import BoundArguments, Parameter, Signature, signature
from numbers import Integral, Real
from os import PathLike
from types import NoneType, SimpleNamespace, UnionType
from typing import Annotated, Any, Literal, NamedTuple, ParamSpec, TypeVar, Union, get_args, get_origin, get_type_hints

from tinylm_cli.config.amounts import MAX_AMOUNT, ArgumentKind, parse_amount, parse_number
from tinylm_cli.config.diagnostic_codes import either
from tinylm_cli.config.similar_names import suggest
from tinylm_cli.errors import UsageError
from tinylm_cli.quantities import counted

MAX_LISTED = 20
"""Names that an error lists; of more names, it only suggests one."""

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
    """The range of a number, as metadata of an annotation; a ``float | str`` may also be text, such as ``"5%"``.

    Attributes:
        minimum: Smallest allowed value.
        maximum: Largest allowed value.
    """

    minimum: float
    maximum: float = math.inf

    def __str__(self) -> str:
        """Return the range as text: ``>= 1``, ``from 0 to 1``."""
        return f">= {self.minimum:g}" if self.maximum == math.inf else f"from {self.minimum:g} to {self.maximum:,}"


class Amount(NamedTuple):
    """A positive integer that may be text with a unit, as metadata of an annotation.

    Attributes:
        kind: The kind of unit: ``"8k"`` is 8,192 as a length, and 8,000 as a count.
        example: Text that it accepts.
        maximum: Largest allowed value.
    """

    kind: ArgumentKind
    example: str
    maximum: int = MAX_AMOUNT

    def __str__(self) -> str:
        """Return the accepted values as text."""
        return f'{_DESCRIPTIONS[int]} {Bounds(1, _limit(self.maximum))} such as "{self.example}"'


def checked(function: Callable[P, R]) -> Callable[P, R]:
    """Read the arguments of each call of ``function`` by its annotations.

    Its calls raise UsageError for arguments that ``function`` does not have, or that do not have the annotated type.
    """

    @wraps(function)
    def read_and_call(*args: P.args, **kwargs: P.kwargs) -> R:
        bound, annotations = _bound(function, args, kwargs), _annotations(function)
        for name, value in bound.arguments.items():
            kind = bound.signature.parameters[name].kind
            if kind is Parameter.VAR_POSITIONAL:
                bound.arguments[name] = tuple(read(name, each, annotations[name]) for each in value)
            elif kind is not Parameter.VAR_KEYWORD and name in annotations:
                bound.arguments[name] = read(name, value, annotations[name])
        return function(*bound.args, **bound.kwargs)

    return read_and_call


def _bound(function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> BoundArguments:
    """Return the arguments by the name of their parameter.

    Raises:
        UsageError: If there is no such parameter, a required one is missing, or one is given twice.
    """
    call = signature(function)
    known = keywords(call, _annotations(function))
    for keyword in kwargs:
        if keyword not in known:
            suggestion = suggest(keyword, known)
            remedy = f"did you mean {suggestion}?" if suggestion else f"the arguments are {', '.join(known)}"
            raise UsageError(f"{function.__name__}() has no argument {keyword}", help=remedy)
    try:
        return call.bind(*args, **kwargs)
    except TypeError as error:
        raise _misplaced(function, call, args) or UsageError(f"{function.__name__}(): {error}") from None


def keywords(call: Signature, annotations: Mapping[str, Any]) -> list[str]:
    """Return the names of the arguments that may be given by keyword, with those of ``**setup``."""
    names: list[str] = []
    for name, parameter in call.parameters.items():
        if parameter.kind is Parameter.VAR_KEYWORD:
            names += get_type_hints(get_args(annotations[name])[0])
        elif parameter.kind is not Parameter.VAR_POSITIONAL and name != "self":
            names.append(name)
    return names


def _misplaced(function: Callable[..., Any], call: Signature, args: Sequence[Any]) -> UsageError | None:
    """Return the error for a positional argument too many: the first keyword that accepts it is probably meant."""
    parameters = call.parameters.values()
    positional = [each for each in parameters if each.kind is Parameter.POSITIONAL_OR_KEYWORD]
    if len(args) <= len(positional):
        return None
    surplus, annotations = args[len(positional)], _annotations(function)
    taken = sum(each.name != "self" for each in positional)
    accepting = (
        each.name
        for each in parameters
        if each.kind is Parameter.KEYWORD_ONLY
        and each.name in annotations
        and any(_read(member, surplus)[0] for member in _members(annotations[each.name]))
    )
    name, given = next(accepting, None), f"got {reprlib.repr(surplus)}"
    remedy = f"write it as a keyword argument: {name}={reprlib.repr(surplus)}" if name else ""
    allowed = counted(taken, "positional argument") if taken else "no positional arguments"
    return UsageError(f"{function.__name__}() takes {allowed}, {given}", help=remedy)


def read(name: str, value: object, annotation: Any) -> Any:
    """Return an argument as its annotation reads it: amounts as numbers, lists as the annotated tuples.

    Args:
        name: The argument.
        value: Its value.
        annotation: Its type: classes, literals, bounded numbers, amounts, tuples of these, and unions. Other
            annotations accept any value.

    Raises:
        UsageError: If the value does not have the type; suggests the most similar choice.
    """
    members = tuple(_members(annotation))
    for member in members:
        is_accepted, read_value = _read(member, value)
        if is_accepted:
            return read_value
    suggestion = suggest(value, _choices(members)) if isinstance(value, str) else None
    remedy = f"did you mean {suggestion}?" if suggestion else ""
    raise UsageError(f"{name}: expected {accepted(annotation)}, got {reprlib.repr(value)}", help=remedy)


def whole(value: float | str) -> int:
    """Return an amount that :func:`checked` has read, as the integer that it is."""
    assert isinstance(value, int)
    return value


def number(value: float | str) -> float:
    """Return a number that :func:`checked` has read."""
    assert not isinstance(value, str)
    return value


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
        UsageError: If it is not; suggests the most similar name, or lists all if they are few.
    """
    if name not in known:
        suggestion = suggest(name, known)
        names = f"the names are {', '.join(known)}" if len(known) <= MAX_LISTED else ""
        remedy = f"did you mean {suggestion}?" if suggestion else names
        raise UsageError(f"unknown {noun} {name}", help=remedy)


@cache
def _annotations(function: Callable[..., Any]) -> dict[str, Any]:
    """Return the annotations, without those that name a class imported only by type checkers, such as torch's."""
    found: dict[str, Any] = {}
    for name, annotation in function.__annotations__.items():
        one = SimpleNamespace(__annotations__={name: annotation})
        try:
            found |= get_type_hints(one, function.__globals__, include_extras=True)
        except NameError:
            continue
    return found


def _members(annotation: Any) -> Iterator[Any]:
    if get_origin(annotation) in (Union, UnionType):
        for each in get_args(annotation):
            yield from _members(each)
    else:
        yield annotation


def _read(member: Any, value: Any) -> tuple[bool, Any]:
    """Return whether a member of a union accepts a value, and the value that it reads."""
    origin = get_origin(member)
    if origin is Annotated:
        kind, limits = get_args(member)
        return _read_number(kind, limits, value)
    if origin is tuple:
        if not isinstance(value, Sequence) or isinstance(value, str):
            return False, value
        items = [_read(get_args(member)[0], each) for each in value]
        return all(is_accepted for is_accepted, _ in items), tuple(item for _, item in items)
    return _accepts(member, value), value


def _read_number(kind: Any, limits: Bounds | Amount, value: Any) -> tuple[bool, Any]:
    """Return whether a number within limits, or text for it, is accepted, and the number."""
    if isinstance(value, str):
        if str not in _members(kind):
            return False, value
        if isinstance(limits, Amount):
            try:
                return True, parse_amount(value, limits.kind, most=limits.maximum)
            except ValueError:
                return False, value
        value = parse_number(value, limits.maximum)
    elif isinstance(limits, Amount):
        is_whole = _accepts(int, value) or (isinstance(value, float) and value.is_integer())
        return (True, int(value)) if is_whole and 1 <= value <= limits.maximum else (False, value)
    is_number = any(_accepts(each, value) for each in _members(kind))
    return is_number and limits.minimum <= value <= limits.maximum, value


def _accepts(member: Any, value: Any) -> bool:
    origin = get_origin(member)
    if member is Any:
        return True
    if origin is Literal:
        return isinstance(value, str | int) and not isinstance(value, bool) and value in get_args(member)
    if origin is Iterable and isinstance(value, Sequence):
        return not isinstance(value, str) and all(_accepts(get_args(member)[0], each) for each in value)
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
        kind, limits = get_args(member)
        return str(limits) if isinstance(limits, Amount) else f"{_expected(next(_members(kind)))} {limits}"
    if get_origin(member) is tuple:
        return f"a tuple, each {_expected(get_args(member)[0])}"
    if get_origin(member) is Iterable and get_args(member) == (str,):
        return "a list of text"
    kind = get_origin(member) or member
    return _DESCRIPTIONS.get(kind) or str(kind.__name__)


def _limit(maximum: int) -> float:
    """Return a maximum to show; infinite for one that is only a guard."""
    return maximum if maximum < MAX_AMOUNT else math.inf

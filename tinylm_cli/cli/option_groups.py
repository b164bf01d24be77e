"""Option groups: a parameter of a command may be a record, and each of its fields is then an option."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar, get_type_hints

Result = TypeVar("Result")


def with_option_groups(command: Callable[..., Result]) -> Callable[..., Result]:
    """Return ``command`` with a signature for typer: each option group is replaced by its fields.

    A group is a NamedTuple or a dataclass whose fields are annotated as options and have defaults. The command is
    called with one value of each group.
    """
    hints = get_type_hints(command, include_extras=True)
    groups = {name: hint for name, hint in hints.items() if name != "return" and _defaults(hint)}
    parameters = list(_expanded(inspect.signature(command).parameters, hints, groups))

    def called(**values: Any) -> Result:
        made = {
            name: group(**{field: values.pop(field) for field in _defaults(group)}) for name, group in groups.items()
        }
        return command(**values, **made)

    called.__name__, called.__qualname__ = command.__name__, command.__qualname__
    called.__doc__, called.__module__ = command.__doc__, command.__module__
    called.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    called.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return called


def _defaults(hint: Any) -> dict[str, Any]:
    """Return the default of each field of an option group; empty if the annotation is not a group."""
    fields = getattr(hint, "__dataclass_fields__", None)
    if fields is not None:
        return {name: field.default for name, field in fields.items()}
    return dict(getattr(hint, "_field_defaults", {}))


def _expanded(
    parameters: Mapping[str, inspect.Parameter], hints: dict[str, Any], groups: dict[str, Any]
) -> Iterator[inspect.Parameter]:
    keyword = inspect.Parameter.KEYWORD_ONLY
    for name, parameter in parameters.items():
        if name not in groups:
            yield parameter.replace(kind=keyword, annotation=hints[name])
            continue
        types = get_type_hints(groups[name], include_extras=True)
        for field, default in _defaults(groups[name]).items():
            yield inspect.Parameter(field, keyword, default=default, annotation=types[field])

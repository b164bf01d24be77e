"""The base of reports and of groups of options: frozen dataclasses that are quick to define."""

from __future__ import annotations

from dataclasses import Field, FrozenInstanceError, dataclass, field, fields
from typing import Any, ClassVar, NoReturn, dataclass_transform


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
class Record:
    """A frozen dataclass, by inheritance instead of a decorator.

    ``dataclass(frozen=True)`` compiles six functions for each class, which took a tenth of the run time of a short
    command. Here, only ``__init__`` is compiled for each class; all classes inherit the others.
    """

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]
    _field_names: ClassVar[tuple[str, ...]]

    def __init_subclass__(cls) -> None:
        """Make a subclass a dataclass."""
        dataclass(repr=False, eq=False)(cls)
        cls._field_names = tuple(each.name for each in fields(cls))

    def __setattr__(self, name: str, value: object) -> None:
        """Set a field for the first time, as ``__init__`` does.

        Raises:
            FrozenInstanceError: The field is set already, or is not a field.
        """
        if name in self.__dict__ or name not in self.__dataclass_fields__:
            raise FrozenInstanceError(f"cannot assign to field {name!r}")
        self.__dict__[name] = value

    def __delattr__(self, name: str) -> NoReturn:
        """Raise FrozenInstanceError."""
        raise FrozenInstanceError(f"cannot delete field {name!r}")

    def __eq__(self, other: object) -> bool:
        """Return whether ``other`` has the same class and equal fields."""
        if type(other) is not type(self):
            return NotImplemented
        return self._values() == other._values()

    def __hash__(self) -> int:
        """Return the hash of the fields."""
        return hash(self._values())

    def __repr__(self) -> str:
        """Return the class and its fields, as a dataclass does, but only the class of each record in a field."""
        values = ", ".join(f"{each.name}={_brief(getattr(self, each.name))}" for each in fields(self) if each.repr)
        return f"{type(self).__qualname__}({values})"

    def _values(self) -> tuple[object, ...]:
        return tuple([getattr(self, name) for name in self._field_names])  # a list is built faster than a generator


def _brief(value: object) -> str:
    if isinstance(value, Record):
        return f"{type(value).__qualname__}(…)"
    if isinstance(value, tuple) and value and isinstance(value[0], Record):
        return f"({_brief(value[0])}{f' × {len(value)}' if len(value) > 1 else ','})"
    return repr(value)

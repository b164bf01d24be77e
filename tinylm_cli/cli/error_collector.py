"""Mistakes of several things that are read one after the other, told together."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import ParamSpec, TypeVar

from tinylm_cli.errors import ConfigError, Diagnostic

_Asked = ParamSpec("_Asked")
_Read = TypeVar("_Read")


class ErrorCollector:
    """What was found wrong so far, each mistake once, in the order in which things were read."""

    def __init__(self) -> None:
        self._mistakes: dict[Diagnostic, None] = {}

    def __bool__(self) -> bool:
        """Whether anything is wrong."""
        return bool(self._mistakes)

    def read(self, reader: Callable[_Asked, _Read], *arguments: _Asked.args, **named: _Asked.kwargs) -> _Read | None:
        """Return what ``reader`` does, or None where it finds mistakes."""
        try:
            return reader(*arguments, **named)
        except ConfigError as error:
            self.add(error.diagnostics)
            return None

    def add(self, mistakes: Iterable[Diagnostic]) -> None:
        """Add what was found elsewhere."""
        self._mistakes |= dict.fromkeys(mistakes)

    def settle(self) -> None:
        """Go on only if nothing is wrong.

        Raises:
            ConfigError: If anything is; holds every mistake.
        """
        if self._mistakes:
            raise ConfigError(tuple(self._mistakes))

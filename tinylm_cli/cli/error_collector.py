"""Collect the errors of several options and configs, to report them together."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import ParamSpec, TypeVar

from tinylm_cli.errors import ConfigError, Diagnostic

_P = ParamSpec("_P")
_T = TypeVar("_T")


class ErrorCollector:
    """The diagnostics found so far, each once, in reading order."""

    def __init__(self) -> None:
        self._diagnostics: dict[Diagnostic, None] = {}

    def __bool__(self) -> bool:
        """Whether there is any diagnostic."""
        return bool(self._diagnostics)

    def read(self, reader: Callable[_P, _T], *arguments: _P.args, **named: _P.kwargs) -> _T | None:
        """Call ``reader`` and return its result; on a ConfigError, keep its diagnostics and return None."""
        try:
            return reader(*arguments, **named)
        except ConfigError as error:
            self.add(error.diagnostics)
            return None

    def add(self, diagnostics: Iterable[Diagnostic]) -> None:
        """Add diagnostics."""
        self._diagnostics |= dict.fromkeys(diagnostics)

    def raise_if_any(self) -> None:
        """Raise the collected diagnostics, if any.

        Raises:
            ConfigError: With every diagnostic.
        """
        if self._diagnostics:
            raise ConfigError(tuple(self._diagnostics))

"""Errors of several options are reported together, each once."""

from __future__ import annotations

import pytest

from tinylm_cli.cli.error_collector import ErrorCollector
from tinylm_cli.errors import ConfigError, Diagnostic, InputError

FIRST, SECOND, THIRD = (Diagnostic("unknown-key", message, "options", help="") for message in ("one", "two", "three"))


def test_results_and_errors() -> None:
    errors = ErrorCollector()
    assert errors.read(int, "12", base=8) == 10
    assert not errors
    errors.raise_if_any()

    def fail(*diagnostics: Diagnostic) -> int:
        raise ConfigError(diagnostics)

    assert errors.read(fail, SECOND, FIRST) is None
    assert errors.read(fail, FIRST) is None
    errors.add([THIRD, SECOND])
    assert errors
    with pytest.raises(ConfigError) as raised:
        errors.raise_if_any()
    assert raised.value.diagnostics == (SECOND, FIRST, THIRD)


def test_other_errors_are_not_collected() -> None:
    def fail() -> None:
        raise InputError("no such file")

    errors = ErrorCollector()
    with pytest.raises(InputError):
        errors.read(fail)
    assert not errors

"""The exception tree: what its docstring draws is what there is, and nothing is there that is never raised."""

from __future__ import annotations

import re
from pathlib import Path

from tinylm_cli import __main__ as command
from tinylm_cli import errors
from tinylm_cli.errors import ExitCode, TinylmError

PACKAGE = Path(errors.__file__).parent


def _below(kind: type[TinylmError]) -> list[type[TinylmError]]:
    return [one for child in kind.__subclasses__() for one in (child, *_below(child))]


def _everyone() -> set[str]:
    return {kind.__name__ for kind in _below(TinylmError) if kind.__module__ == errors.__name__}


def test_documented_tree() -> None:
    assert set(re.findall(r"[├└]── (\w+)", errors.__doc__ or "")) == _everyone()


def test_every_error_is_raised() -> None:
    sources = [path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py") if path.name != "errors.py"]
    raised = {name for source in sources for name in re.findall(r"(?:raise|return) (\w+Error)\(", source)}
    assert _everyone() <= raised


def test_exit_codes_of_main() -> None:
    assert (command.INTERRUPTED, command.CLOSED_PIPE) == (ExitCode.INTERRUPTED, ExitCode.CLOSED_PIPE)

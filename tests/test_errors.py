"""The exception tree equals the one in its docstring, and every exception is raised somewhere."""

from __future__ import annotations

import errno
import re
import signal
from pathlib import Path

import pytest

from tinylm_cli import __main__ as command
from tinylm_cli import errors
from tinylm_cli.config.assertion import ASSERT
from tinylm_cli.errors import ConfigError, Diagnostic, ExitCode, TinylmError, is_memory_error
from tinylm_cli.wording import SET, Argument

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


def test_text_has_the_remedy() -> None:
    assert str(TinylmError("no such preset or file: smal", help="did you mean small?")) == (
        "no such preset or file: smal\n  = help: did you mean small?"
    )
    assert str(TinylmError("standard input is closed")) == "standard input is closed"


def test_exit_codes_of_main() -> None:
    assert (command.INTERRUPTED, command.CLOSED_PIPE) == (ExitCode.INTERRUPTED, ExitCode.CLOSED_PIPE)
    signals = (signal.SIGHUP, signal.SIGINT, signal.SIGPIPE, signal.SIGTERM)
    ended = (ExitCode.HUNG_UP, ExitCode.INTERRUPTED, ExitCode.CLOSED_PIPE, ExitCode.TERMINATED)
    assert tuple(128 + number for number in signals) == ended


@pytest.mark.parametrize(
    ("error", "is_memory"),
    [
        (MemoryError(), True),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), True),
        (ImportError("x.so: failed to map segment from shared object"), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"), True),
        (SystemError("error return without exception set"), True),
        (RuntimeError("shape mismatch"), False),
        (OSError(errno.ENOENT, "No such file or directory"), False),
        (ImportError("No module named 'torch'"), False),
    ],
)
def test_memory_errors(error: Exception, is_memory: bool) -> None:
    assert is_memory_error(error) is is_memory
    later = ValueError("while handling it")
    later.__context__ = error
    assert is_memory_error(later) is is_memory


@pytest.mark.parametrize(
    ("places", "code"),
    [
        ([("x.yaml", "")], ExitCode.FAILED),
        ([(SET, "")], ExitCode.FAILED),
        ([(ASSERT, "")], ExitCode.UNABLE),
        ([("x.yaml", "d_ff"), (ASSERT, "")], ExitCode.UNABLE),
        ([(ASSERT, ""), (SET, "d_ff")], ExitCode.UNABLE),
        ([(Argument("--params"), "d_ff")], ExitCode.UNABLE),
    ],
)
def test_exit_code_of_diagnostics(places: list[tuple[str, str]], code: ExitCode) -> None:
    """A wrong option outweighs a wrong config; what ``--set`` says is part of the config."""
    found = tuple(Diagnostic("wrong-type", "it is wrong", source, field=field) for source, field in places)
    assert ConfigError(found).exit_code == code
    assert ConfigError((*found, Diagnostic("not-utf8", "it is not text", "x.yaml"))).exit_code == ExitCode.UNABLE

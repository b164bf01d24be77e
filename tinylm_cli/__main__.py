"""The ``tinylm`` command: prepare the process, run the command line, exit with its code."""

from __future__ import annotations

import contextlib
import gc
import os
import sys
from types import ModuleType
from typing import NoReturn

INTERRUPTED = 130
CLOSED_PIPE = 141
"""Values of ``ExitCode``, which is not imported before signals are handled."""


RESERVE_BYTES = 1 << 19
"""Memory that is set aside to report an error when memory is exhausted; until then it takes address space only."""


def main() -> None:
    """Run tinylm on ``sys.argv`` and exit."""
    gc.disable()  # imports create only long-lived objects; collection takes a tenth of the start-up time
    exit_code = INTERRUPTED
    reserve = bytearray()
    try:
        reserve = bytearray(RESERVE_BYTES)
        from tinylm_cli.interrupts import handle_interrupts, ignore_interrupts

        handle_interrupts()
        _prepare_streams()
        _prepare_environment()
        _skip_pydantic_plugins()
        from tinylm_cli.cli.app import run

        gc.freeze()
        # most objects live as long as the command; by default, collection takes a third of the time
        gc.set_threshold(100_000, 10, 10)
        gc.enable()
        try:
            exit_code = run(sys.argv[1:])
            sys.stdout.flush()
        finally:
            ignore_interrupts()
    except KeyboardInterrupt:
        exit_code = INTERRUPTED
    except BrokenPipeError:
        exit_code = CLOSED_PIPE
    except SystemExit as end:
        exit_code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
        if isinstance(end.__context__, BrokenPipeError):  # converted to SystemExit by typer
            exit_code = CLOSED_PIPE
    except Exception as error:
        reserve.clear()
        exit_code = _report_plainly(error)
    _leave(exit_code)


def _prepare_streams() -> None:
    """Reopen standard streams that the caller closed, so that no file opened later gets their descriptors.

    Reading stdin and writing stdout then fail; text written to stderr is lost.
    """
    for name, mode in (("stdin", os.O_WRONLY), ("stdout", os.O_RDONLY), ("stderr", os.O_WRONLY)):
        if getattr(sys, name) is None:
            descriptor = os.open(os.devnull, mode)
            if name != "stdin":
                setattr(sys, name, os.fdopen(descriptor, "w", encoding="utf-8"))


def _prepare_environment() -> None:
    """Remove terminal sizes that are not numbers, which libraries reject, and keep waiting threads from spinning."""
    # by default, OpenMP threads spin at barriers; on a busy machine a small forward pass then takes 50 times as long
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    for name in ("COLUMNS", "LINES", "TERMINAL_WIDTH"):
        value = os.environ.get(name)
        if value is not None and not (value.isascii() and value.isdigit() and 0 < int(value[:6]) < 100_000):
            del os.environ[name]


def _skip_pydantic_plugins() -> None:
    """Make pydantic skip its search for plugins.

    The search imports importlib.metadata and email, and takes a tenth of a short run. With a pydantic version that
    searches elsewhere, this function has no effect.
    """
    loader = ModuleType("pydantic.plugin._loader")
    loader.__dict__["get_plugins"] = tuple  # no plugins
    sys.modules.setdefault(loader.__name__, loader)


def _report_plainly(error: Exception) -> int:
    """Report an error that prevents the usual report: stdout cannot be written, or memory is exhausted."""
    message = f"{type(error).__name__}: {error}"
    try:
        from tinylm_cli.errors import is_memory_error

        if is_memory_error(error):
            message = "out of memory"
        elif isinstance(error, OSError):
            message = f"cannot write the output: {error.strerror}"
    except (ImportError, MemoryError):
        message = "out of memory"
    with contextlib.suppress(OSError):
        os.write(2, f"error: {message}\n".encode("ascii", "backslashreplace"))
    return 2


def _leave(exit_code: int) -> NoReturn:
    """Exit without finalizing the interpreter, which takes a tenth of a short run."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except (OSError, ValueError):
            pass  # nothing more can be reported
    os._exit(exit_code)


if __name__ == "__main__":
    main()

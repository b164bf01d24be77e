"""The ``tinylm`` command: prepare the process, run the command line, exit with its code."""

from __future__ import annotations

import gc
import os
import signal
import sys
from types import FrameType, ModuleType
from typing import NoReturn


def main() -> None:
    """Run tinylm on ``sys.argv`` and exit."""
    gc.disable()  # imports only create objects that stay; collecting costs a tenth of the start
    exit_code = 130
    try:
        _prepare_signals()
        _prepare_streams()
        _prepare_environment()
        _skip_pydantic_plugins()
        from tinylm_cli.cli.app import run

        gc.freeze()
        gc.enable()
        try:
            exit_code = run(sys.argv[1:])
            sys.stdout.flush()
        finally:
            _ignore_signals()
    except KeyboardInterrupt:
        exit_code = 130
    except BrokenPipeError:
        exit_code = 141
    except OSError as error:
        exit_code = _unwritable(error)
    except SystemExit as end:
        exit_code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
        if isinstance(end.__context__, BrokenPipeError):  # which typer turns into SystemExit
            exit_code = 141
    _leave(exit_code)


def _prepare_signals() -> None:
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:  # unless nohup ignores it
            signal.signal(number, _on_terminate)


def _ignore_signals() -> None:
    """Ignore interrupts while the process ends: Ctrl-C is often pressed twice."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)


def _prepare_streams() -> None:
    """Open standard streams that the caller closed, so that no file of ours gets their descriptors.

    Reading such an input and writing such an output fails; text for such an error stream is lost.
    """
    for name, mode in (("stdin", os.O_WRONLY), ("stdout", os.O_RDONLY), ("stderr", os.O_WRONLY)):
        if getattr(sys, name) is None:
            descriptor = os.open(os.devnull, mode)
            if name != "stdin":
                setattr(sys, name, os.fdopen(descriptor, "w", encoding="utf-8"))


def _prepare_environment() -> None:
    """Remove sizes that are no numbers, on which libraries fail, and keep waiting threads from spinning."""
    # OpenMP threads spin at barriers by default: on a busy machine a small pass then takes 50 times as long
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    for name in ("COLUMNS", "LINES", "TERMINAL_WIDTH"):
        value = os.environ.get(name)
        if value is not None and not (value.isascii() and value.isdigit() and 0 < int(value[:6]) < 100_000):
            del os.environ[name]


def _skip_pydantic_plugins() -> None:
    """Tell pydantic that there are no plugins.

    It would search all installed packages for them, which imports importlib.metadata and email: a tenth of a short run.
    If a later pydantic searches elsewhere, this has no effect.
    """
    none = ModuleType("pydantic.plugin._loader")
    none.__dict__["get_plugins"] = tuple
    sys.modules.setdefault(none.__name__, none)


def _on_terminate(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)  # unwinds the stack, which removes temporary files


def _unwritable(error: OSError) -> int:
    """Report on standard error that standard output cannot be written."""
    try:
        sys.stderr.write(f"error: cannot write the output: {error.strerror}\n")
        sys.stderr.flush()
    except OSError:
        pass
    return 2


def _leave(exit_code: int) -> NoReturn:
    """End the process at once: finalizing the interpreter costs a tenth of a short run."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except (OSError, ValueError):
            pass  # nothing more can be reported
    os._exit(exit_code)


if __name__ == "__main__":
    main()

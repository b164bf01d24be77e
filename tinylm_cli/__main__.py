"""The ``tinylm`` command: prepares the process, runs the command line, and ends with its exit code."""

from __future__ import annotations

import gc
import os
import signal
import sys
from types import FrameType, ModuleType
from typing import NoReturn


def main() -> None:
    """Run tinylm on ``sys.argv`` and exit."""
    gc.disable()  # importing only makes objects that stay; collecting among them costs a tenth of the start
    exit_code = 130
    try:
        _prepare_signals()
        _prepare_streams()
        _prepare_environment()
        _spare_pydantic_its_plugins()
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
        if isinstance(end.__context__, BrokenPipeError):  # which typer turns into an exit of its own
            exit_code = 141
    _leave(exit_code)


def _prepare_signals() -> None:
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:  # nohup ignores it, and so do we then
            signal.signal(number, _on_terminate)


def _ignore_signals() -> None:
    """Let nothing interrupt the end, which is near: Ctrl-C is often pressed twice."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)


def _prepare_streams() -> None:
    """Open what the caller closed, so that no file of ours gets its number and what is meant for it.

    Reading from such an input and writing to such an output fails; what is said on such an error stream is lost.
    """
    for name, mode in (("stdin", os.O_WRONLY), ("stdout", os.O_RDONLY), ("stderr", os.O_WRONLY)):
        if getattr(sys, name) is None:
            descriptor = os.open(os.devnull, mode)
            if name != "stdin":
                setattr(sys, name, os.fdopen(descriptor, "w", encoding="utf-8"))


def _prepare_environment() -> None:
    """Keep words that are no numbers from libraries that convert them, and waiting threads from spinning."""
    # OpenMP's threads spin at barriers unless told not to: a small pass on a busy machine then takes 50 times as long
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    for name in ("COLUMNS", "LINES", "TERMINAL_WIDTH"):
        value = os.environ.get(name)
        if value is not None and not (value.isascii() and value.isdigit() and 0 < int(value[:6]) < 100_000):
            del os.environ[name]


def _spare_pydantic_its_plugins() -> None:
    """Tell pydantic that it has no plugins, which it would look for among all packages that are installed.

    For that it imports importlib.metadata and all of email, a tenth of a short run; reading a config needs none. Should
    pydantic come to look elsewhere, it will look again, and nothing else changes.
    """
    none = ModuleType("pydantic.plugin._loader")
    none.__dict__["get_plugins"] = tuple
    sys.modules.setdefault(none.__name__, none)


def _on_terminate(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)  # unwinds, so that temporary files are removed


def _unwritable(error: OSError) -> int:
    """Report that standard output took no more, on what is left."""
    try:
        sys.stderr.write(f"error: cannot write the output: {error.strerror}\n")
        sys.stderr.flush()
    except OSError:
        pass
    return 2


def _leave(exit_code: int) -> NoReturn:
    """End the process at once: everything is written, and taking the interpreter apart costs a tenth of a short run."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except (OSError, ValueError):
            pass  # what could be told has been told
    os._exit(exit_code)


if __name__ == "__main__":
    main()

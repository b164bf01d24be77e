"""Run a case in this process, which takes milliseconds, or in another, as a shell does."""

from __future__ import annotations

import importlib
import io
import os
import pkgutil
import resource
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache, wraps
from pathlib import Path
from types import FrameType

from tests.fuzzing.checks import Outcome, findings
from tests.fuzzing.inputs import Case

TIMEOUT = 30.0
"""Seconds after which a command counts as hanging: of processor time, or of waiting without using it."""

PATIENCE = 10
"""Times ``TIMEOUT`` that another process waits for a command, which may share its core with other work."""

TRIES = 3
"""Runs of a case that takes too long; the fastest counts, since other processes slow some runs down."""

REFERENCE_SECONDS = 0.045
"""Seconds of :func:`reference_seconds` on the machine of docs/reliability.md, for which the time limits hold."""

_IDLE_SHARE = 1 / 300
"""Share of a processor below which a command waits for something."""

_ENVIRONMENT = {"LC_ALL": "C.UTF-8", "COLUMNS": "80", "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
_KEPT = ("PATH", "TMPDIR", "LD_LIBRARY_PATH", "VIRTUAL_ENV")
_PAGE = resource.getpagesize()


class Hang(BaseException):
    """The time limit of a case; not an Exception, so that no handler of the program stops it."""


def write_files(case: Case, folder: Path) -> None:
    """Write the files of a case into an empty folder; the folder keeps no other file."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name, data in case.files.items():
        path = _place(folder, name)
        path.write_bytes(data)
    for name, what in case.special.items():
        path = _place(folder, name)
        match what:
            case "fifo":
                os.mkfifo(path)
            case "folder":
                path.mkdir()
            case "sparse":
                path.touch()
                os.truncate(path, 4_000_000_000)
            case _:
                path.symlink_to(what)


def _place(folder: Path, name: str) -> Path:
    """Return a path in a folder that exists; lone surrogates in the name stand for bytes that are not UTF-8."""
    path = folder / os.fsdecode(name.encode("utf-8", "surrogateescape"))
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def run_here(case: Case, folder: Path, timeout: float = TIMEOUT) -> Outcome:
    """Run a case in this process, in ``folder``, which is emptied before.

    Signals, closed streams and the exit of the process are not exercised.
    """
    from tinylm_cli.cli.app import run

    write_files(case, folder)
    code: int | None = None
    raised = ""
    before = _resident_bytes()
    began = time.process_time()
    with _streams(case.stdin) as (out, err), _environment(case.environment, folder), _alarm(timeout):
        try:
            code = int(run(list(case.arguments)))
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
        except Hang:
            code = None
        except BaseException:
            code, raised = 2, traceback.format_exc()
    seconds = time.process_time() - began
    peak = max(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before, 0)
    return Outcome(code, _decode(out.getvalue()), _decode(err.getvalue()), seconds, peak, raised)


def repeat_if_slow(run: Callable[[Case, Path], Outcome], case: Case, folder: Path) -> Outcome:
    """Run a case; if it takes too long, return its fastest run, with the seconds at a normal speed."""
    outcome = run(case, folder)
    if outcome.code is None or all(finding.check != "time" for finding in findings(case, outcome)):
        return outcome
    fastest = min([outcome, *(run(case, folder) for _ in range(TRIES - 1))], key=lambda each: each.seconds)
    slowdown = max(reference_seconds() / REFERENCE_SECONDS, 1)
    return fastest._replace(seconds=fastest.seconds / slowdown)


def reference_seconds() -> float:
    """Return the processor seconds of a fixed loop, which measures the speed of this machine."""
    began = time.process_time()
    sum(number * number for number in range(1_000_000))
    return time.process_time() - began


def import_everything() -> None:
    """Import every module of the package, with torch, so that processes forked from this one need not."""
    import tinylm_cli

    for module in pkgutil.walk_packages(tinylm_cli.__path__, "tinylm_cli."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)


def reuse_parsers() -> None:
    """Build the parser of each command once in this process: parsing leaves nothing behind in it."""
    import typer.main

    from tinylm_cli.cli import app

    create = cache(app.create_app)

    @wraps(app.create_app)
    def create_app(names: Sequence[str] = app.COMMANDS) -> typer.Typer:
        return create(tuple(names))

    app.create_app = create_app
    typer.main.get_command = cache(typer.main.get_command)


def _encoded(word: str) -> bytes:
    """Return the bytes of a command-line word; surrogates that no byte becomes in Python are encoded as they are."""
    try:
        return word.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return word.encode("utf-8", "surrogatepass")


def run_process(case: Case, folder: Path, timeout: float = TIMEOUT) -> Outcome:
    """Run a case as a process of its own, in ``folder``, which is emptied before."""
    write_files(case, folder)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "tinylm_cli", *map(_encoded, case.arguments)],
            input=case.stdin,
            capture_output=True,
            cwd=folder,
            env=_variables(case.environment, folder),
            timeout=PATIENCE * timeout,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Outcome(None, "", "")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Outcome(done.returncode, _decode(done.stdout), _decode(done.stderr), seconds)


def _decode(stream: bytes) -> str:
    return stream.decode("utf-8", "surrogateescape")


def _variables(extra: Mapping[str, str], folder: Path) -> dict[str, str]:
    """Return an environment that is the same on every machine, with the folder as home."""
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    root = str(Path(__file__).resolve().parents[2])
    return {**kept, **_ENVIRONMENT, "HOME": str(folder), "PYTHONPATH": root, **extra}


@contextmanager
def _streams(stdin: bytes) -> Iterator[tuple[io.BytesIO, io.BytesIO]]:
    """Replace the standard streams, with the encoding that they have in a UTF-8 locale."""
    kept = sys.stdin, sys.stdout, sys.stderr
    out, err = io.BytesIO(), io.BytesIO()
    sys.stdin = io.TextIOWrapper(io.BytesIO(stdin), encoding="utf-8", errors="surrogateescape")
    sys.stdout = io.TextIOWrapper(out, encoding="utf-8", errors="surrogateescape", write_through=True)
    sys.stderr = io.TextIOWrapper(err, encoding="utf-8", errors="backslashreplace", write_through=True)
    ours = sys.stdin, sys.stdout, sys.stderr
    try:
        yield out, err
    finally:
        sys.stdin, sys.stdout, sys.stderr = kept
        for stream in ours:
            stream.detach()


@contextmanager
def _environment(extra: Mapping[str, str], folder: Path) -> Iterator[None]:
    kept = dict(os.environ)
    here = Path.cwd()
    os.environ.clear()
    os.environ.update(_variables(extra, folder))
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(here)
        os.environ.clear()
        os.environ.update(kept)


@contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    """Raise ``Hang`` in the block after ``seconds`` of processor time, or of waiting without using it.

    The parent of a worker watches what no signal interrupts.
    """
    began = at_last_ring = time.process_time()

    def ring(_number: int, _frame: FrameType | None) -> None:
        nonlocal at_last_ring
        now = time.process_time()
        if now - began >= seconds or now - at_last_ring < _IDLE_SHARE * seconds:
            raise Hang
        at_last_ring = now  # another process had the core: wait on
        signal.setitimer(signal.ITIMER_REAL, seconds)

    kept = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, kept)


def _resident_bytes() -> int:
    """Return the present size of this process, 0 where the system does not tell."""
    try:
        pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return int(pages) * _PAGE

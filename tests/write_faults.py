"""Run a writer of tinylm once for each of its file operations, with a fault at that operation; a script.

``python write_faults.py CASE FOLDER MODE...`` runs under the preloaded library of write_faults.c. A forked child writes
with the fault, so that Python and torch start only once. The parent compares the folder afterwards with the old and the
new state, and prints one JSON object per attempt. The mode ``stop`` needs one child: it stops before each operation,
where the folder has the state that a kill at that moment would leave.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import io
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from tinylm_cli.errors import TinylmError

State = dict[str, str] | str | None
"""Content of the target: a folder's files by name, a file's content, or None if it does not exist."""

WEIGHTS, CONFIG = "model.safetensors", "config.yaml"
TOY = "vocab_size: 256\nd_model: 8\nn_heads: 2\nn_layers: 1\nd_ff: 16\nmax_len: 32\n"


class Case(NamedTuple):
    """A writer of one file or folder, the target.

    Attributes:
        write: Writes the target.
        prepare: Makes the old target, and the files that ``write`` reads.
        is_slow: Whether it runs a model, so that fewer modes are tried.
        target: Name of the target.
    """

    write: Callable[[Path], None]
    prepare: Callable[[Path], None] = lambda _folder: None
    is_slow: bool = False
    target: str = "out"


def write_file(folder: Path) -> None:
    """Write a file of a few buffers."""
    from tinylm_cli.atomic_write import write_file

    write_file(folder / "out", "new\n" * 5000, overwrite=True)


def write_folder(folder: Path) -> None:
    """Write a folder of two files."""
    from tinylm_cli.atomic_write import write_folder

    def write(fresh: Path) -> None:
        for name in (WEIGHTS, CONFIG):
            (fresh / name).write_text(f"new {name}" * 1000)

    write_folder(folder / "out", (WEIGHTS, CONFIG), write, overwrite=True, needed_bytes=100)


def without_exchange(folder: Path) -> None:
    """Write a folder on a file system that cannot exchange two names."""
    from tinylm_cli import atomic_write

    def unsupported(flag: int, old: Path, new: Path) -> bool:  # noqa: ARG001 - the signature of the original
        return False

    atomic_write._rename_with = unsupported
    write_folder(folder)


def old_file(folder: Path) -> None:
    """Make the old file."""
    (folder / "out").write_text("old\n" * 9)


def old_folder(folder: Path) -> None:
    """Make the old folder."""
    (folder / "out").mkdir()
    for name in (WEIGHTS, CONFIG):
        (folder / "out" / name).write_text(f"old {name}")


def command(*words: str) -> Callable[[Path], None]:
    """Return a function that runs a command in a folder; it raises OSError if the command reports an error."""

    def write(folder: Path) -> None:
        from tinylm_cli.cli.app import run

        os.chdir(folder)
        told = io.StringIO()
        with contextlib.redirect_stdout(told), contextlib.redirect_stderr(told):
            code = run(words)
        if code:
            raise OSError(f"exit code {code}: {told.getvalue()}")

    return write


def after(*commands: tuple[str, ...], files: dict[str, str] | None = None) -> Callable[[Path], None]:
    """Return a function that writes files, and then runs commands in a folder."""

    def prepare(folder: Path) -> None:
        for name, text in {"toy.yaml": TOY, **(files or {})}.items():
            (folder / name).write_text(text)
        for words in commands:
            command(*words)(folder)

    return prepare


_SAVE = ("build", "toy.yaml", "--save", "out")
_EXPORT = ("export", "toy.yaml", "-o", "out")
_IMPORT = ("import", "hub", "--weights", "--output", "out")

CASES = {
    "file": Case(write_file, old_file),
    "new-file": Case(write_file),
    "folder": Case(write_folder, old_folder),
    "folder-without-exchange": Case(without_exchange, old_folder),
    "new-folder": Case(write_folder),
    "empty-folder": Case(write_folder, lambda folder: (folder / "out").mkdir()),
    "show": Case(command("show", "toy.yaml", "-o", "out", "--format", "json", "--force"), after(files={"out": "old"})),
    "new": Case(command("new", "out", "tiny", "--force"), after(files={"out.yaml": "old"}), target="out.yaml"),
    "fix": Case(command("validate", "out", "--fix"), after(files={"out": TOY.replace("d_model", "d_modle")})),
    "save": Case(command(*_SAVE, "--seed", "5", "--force"), after(_SAVE), is_slow=True),
    "export": Case(command(*_EXPORT, "--seed", "5", "--force"), after(_EXPORT), is_slow=True),
    "import": Case(
        command(*_IMPORT, "--force"),
        after(("export", "toy.yaml", "-o", "hub", "--seed", "5"), _SAVE),
        is_slow=True,
    ),
}


def state(path: Path) -> State:
    """Return the content of a target."""
    if path.is_dir():
        return {entry.name: entry.read_bytes().hex() for entry in sorted(path.iterdir())}
    return path.read_bytes().hex() if path.exists() else None


def start(case: Case, folder: Path, environment: dict[str, str]) -> tuple[int, int]:
    """Start the writer in a forked child with the given environment; return its process id and its pipe."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        result: dict[str, Any] = {"message": ""}
        try:
            os.environ.update(environment)
            case.write(folder)
        except (TinylmError, OSError) as error:
            result["message"] = str(error) or "error without a message"
        except BaseException as error:
            result["crash"] = repr(error)
        os.environ.pop("FAULT_DIR", None)
        result["operations"] = _operations()
        os.write(writing, json.dumps(result).encode())
        os._exit(0)
    os.close(writing)
    return child, reading


def read_result(reading: int) -> dict[str, Any]:
    """Return the result that a child writes at its end."""
    with os.fdopen(reading, "rb") as pipe:
        ended: dict[str, Any] = json.loads(pipe.read())
    return ended


def _operations() -> int:
    import ctypes

    return int(ctypes.CDLL(None).fault_operations())


def run_with_faults(case: Case, mode: str, template: Path, folder: Path) -> None:
    """Print the result of the writer without a fault, and with a fault at each of its operations.

    Args:
        case: The writer.
        mode: ``short``, or the name of an error number.
        template: A folder that ``case.prepare`` has made; copied for each attempt.
        folder: Where to make the copies.
    """
    environment = {"FAULT_MODE": "short" if mode == "short" else "error"}
    if mode != "short":
        environment["FAULT_ERRNO"] = str(getattr(errno, mode))
    number = operations = 0
    new: State = None
    while number <= operations:  # number 0 has no fault, and yields the new state
        place = folder / f"{number}"
        shutil.copytree(template, place)
        child, reading = start(case, place, {"FAULT_DIR": str(place), "FAULT_N": str(number), **environment})
        ended = read_result(reading)
        os.waitpid(child, 0)
        if number == 0:
            operations, new = ended["operations"], state(place / case.target)
        report(case, template, new, {"mode": mode, "operation": number, **inspect(case, template, place), **ended})
        shutil.rmtree(place)
        number += 1


def run_with_stops(case: Case, template: Path, folder: Path) -> None:
    """Print the state of the folder after the writer, and before each of its operations."""
    place = folder / "stopped"
    shutil.copytree(template, place)
    child, reading = start(case, place, {"FAULT_DIR": str(place), "FAULT_MODE": "stop"})
    seen = []
    while os.WIFSTOPPED(os.waitpid(child, os.WUNTRACED)[1]):
        seen.append(inspect(case, template, place))
        os.kill(child, signal.SIGCONT)
    new = state(place / case.target)
    for number, found in enumerate([{**inspect(case, template, place), **read_result(reading)}, *seen]):
        report(case, template, new, {"mode": "stop", "operation": number, **found})
    shutil.rmtree(place)


def inspect(case: Case, template: Path, place: Path) -> dict[str, Any]:
    """Return the state of the target in a copy of the template, and the names of other new files."""
    kept = {case.target, *(path.name for path in template.iterdir())}
    left = sorted({path.name for path in place.iterdir()} - kept)
    return {"state": state(place / case.target), "left": left}


def report(case: Case, template: Path, new: State, found: dict[str, Any]) -> None:
    """Print an attempt, with the name of the target's state instead of its content."""
    now = found.pop("state")
    found["holds"] = "new" if now == new else "old" if now == state(template / case.target) else "neither"
    sys.stdout.write(json.dumps(found) + "\n")
    sys.stdout.flush()


def main(name: str, folder: str, *modes: str) -> None:
    """Inject a fault at every operation of a case, in every mode."""
    case = CASES[name]
    work = Path(folder).absolute()
    (work / "template").mkdir(parents=True)
    case.prepare(work / "template")
    shutil.copytree(work / "template", work / "warm")
    case.write(work / "warm")  # imports every module before the first fork
    gc.freeze()  # a collection in a child would copy all memory
    for mode in modes:
        if mode == "stop":
            run_with_stops(case, work / "template", work)
        else:
            run_with_faults(case, mode, work / "template", work)


if __name__ == "__main__":
    main(*sys.argv[1:])

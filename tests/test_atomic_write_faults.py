"""Inject an error, a short write or a kill at every file operation of every writer: no file is lost or partial."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.write_faults import CASES

FOLDER = Path(__file__).parent
COMPILER = shutil.which("cc") or shutil.which("gcc")

pytestmark = pytest.mark.skipif(COMPILER is None or sys.platform != "linux", reason="needs Linux and a C compiler")


@pytest.fixture(scope="session")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The compiled library."""
    library = tmp_path_factory.mktemp("shim") / "write_faults.so"
    assert COMPILER is not None
    source = FOLDER / "write_faults.c"
    subprocess.run([COMPILER, "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True, timeout=60)
    return library


@pytest.mark.parametrize("name", CASES)
def test_nothing_is_lost(name: str, shim: Path, tmp_path: Path) -> None:
    modes = ("stop",) if CASES[name].is_slow else ("EIO", "ENOSPC", "stop", "short")
    attempts = list(inject_faults(name, modes, shim, tmp_path))
    for mode in modes:
        first, *struck = [attempt for attempt in attempts if attempt["mode"] == mode]
        assert (first["holds"], first["message"], first["left"]) == ("new", "", []), first
        assert len(struck) == first["operations"]
        assert len(struck) >= (1 if mode == "short" else 5)
        for attempt in struck:
            assert_intact(attempt, allows_intermediate=name == "folder-without-exchange")


def inject_faults(name: str, modes: tuple[str, ...], shim: Path, folder: Path) -> Iterator[dict[str, Any]]:
    environment = {
        **os.environ,
        "LD_PRELOAD": str(shim),
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(FOLDER.parent),
        "COLUMNS": "1000",
    }
    command = [sys.executable, str(FOLDER / "write_faults.py"), name, str(folder / "work"), *modes]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, done.stderr
    yield from map(json.loads, done.stdout.splitlines())


def assert_intact(attempt: dict[str, Any], *, allows_intermediate: bool) -> None:
    """Fail unless the target is complete, and the message states whether it is old or new and names other files."""
    assert "crash" not in attempt, attempt
    if attempt["mode"] == "stop":
        assert all(path.startswith(".") for path in attempt["left"]), attempt
        between = allows_intermediate and len(attempt["left"]) == 2  # the old and the new folder, both whole
        assert attempt["holds"] in ("old", "new") or between, attempt
        return
    in_place = "is in place" in attempt["message"]
    assert attempt["holds"] == ("new" if in_place or not attempt["message"] else "old"), attempt
    assert all(path in attempt["message"] for path in attempt["left"]), attempt


WRITER = """
import sys
from pathlib import Path
from tinylm_cli.atomic_write import write_file, write_folder
from tinylm_cli.errors import OutputError

def write(fresh):
    for name in ("weights", "config"):
        (fresh / name).write_text(sys.argv[2] * 4096)

for _ in range(60):
    try:
        write_file(Path(sys.argv[1], "file"), sys.argv[2] * 4096, overwrite=True)
        write_folder(Path(sys.argv[1], "folder"), ("weights", "config"), write, overwrite=True, needed_bytes=1)
    except OutputError as error:
        assert "meanwhile" in error.message, error.message
"""


def test_two_writers(tmp_path: Path) -> None:
    """Both paths always exist after the first write, and hold the content of one writer in the end."""
    environment = {**os.environ, "PYTHONPATH": str(FOLDER.parent)}
    file, folder = tmp_path / "file", tmp_path / "folder"
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, tmp_path, mark], env=environment) for mark in "ab"]
    while not folder.exists() and any(writer.poll() is None for writer in writers):
        pass
    n_reads = 0
    while any(writer.poll() is None for writer in writers):
        assert folder.is_dir()
        assert file.read_text() in ("a" * 4096, "b" * 4096)
        n_reads += 1
    assert [writer.returncode for writer in writers] == [0, 0]
    assert n_reads > 100
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]
    assert len({path.read_text() for path in folder.iterdir()}) == 1
    assert sorted(path.name for path in folder.iterdir()) == ["config", "weights"]

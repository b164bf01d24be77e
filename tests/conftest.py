"""Fixtures for all tests: the installed command in a process, and golden files."""

from __future__ import annotations

import gc
import io
import os
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# before torch is imported, here and in child processes: small models are slower on several threads, and on a busy
# machine spinning threads take a hundred times as long
os.environ |= {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}

ROOT = Path(__file__).resolve().parent.parent
TINYLM = Path(sys.executable).parent / "tinylm"

# the same examples on every run, so that a failure is reproducible
settings.register_profile(
    "tinylm", deadline=None, derandomize=True, max_examples=60, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("tinylm")


def pytest_configure() -> None:
    """Parse each shipped config once, which takes longer than most of what tests compute from it."""
    from tinylm_cli.config import yaml_reader
    from tinylm_cli.config.presets import gallery, presets
    from tinylm_cli.config.source import Source
    from tinylm_cli.config.yaml_reader import Document

    shipped = {path.read_text(encoding="utf-8") for path in (*presets().values(), *gallery().values())}
    read, documents = yaml_reader._read_document, dict[tuple[object, ...], Document]()

    def read_once(source: Source) -> Document:
        if source.text not in shipped:
            return read(source)
        key = (source.name, source.text, source.path, source.shift, source.original)
        if key not in documents:
            documents[key] = read(source)
        return documents[key]

    yaml_reader._read_document = read_once  # type: ignore[assignment]  # the original is a cache, too


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="rewrite golden files from the present output")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Pause the garbage collector while tests are collected, then set it up as the command does."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.set_threshold(100_000, 10, 10)
        gc.enable()


@pytest.fixture(scope="session", autouse=True)
def _no_sync() -> Iterator[None]:
    """Do not wait for the disk: only a crash of the machine shows whether files were synced, and waiting takes long."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        yield


@dataclass(frozen=True)
class Result:
    """Exit code and output of a process."""

    code: int
    out: str
    err: str


Run = Callable[..., Result]
_ASIDE = ("NO_COLOR", "FORCE_COLOR", "LINES", "TERMINAL_WIDTH", "LC_CTYPE", "LANG", "_TINYLM_COMPLETE")
Golden = Callable[[Path, str], None]


def clean_environment(extra: Mapping[str, str | None] | None = None) -> dict[str, str]:
    """Return an environment independent of the machine; None in ``extra`` removes a variable."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR", "OMP_NUM_THREADS") if name in os.environ}
    merged: dict[str, str | None] = {**kept, "LC_ALL": "C.UTF-8", "COLUMNS": "80", **(extra or {})}
    return {name: value for name, value in merged.items() if value is not None}


@pytest.fixture
def tinylm(tmp_path: Path) -> Run:
    """Run the installed command: ``tinylm("params", "--config", "small", stdin=…, env=…, cwd=…)``."""

    def run(
        *arguments: str | Path,
        stdin: str | bytes = b"",
        env: Mapping[str, str | None] | None = None,
        cwd: Path | None = None,
        timeout: float = 120,
    ) -> Result:
        command: Sequence[str] = [str(TINYLM), *map(str, arguments)]
        done = subprocess.run(
            command,
            input=stdin.encode() if isinstance(stdin, str) else stdin,
            capture_output=True,
            env=clean_environment(env),
            cwd=cwd or tmp_path,
            timeout=timeout,
            check=False,
        )
        out = done.stdout.decode("utf-8", "surrogateescape")
        return Result(done.returncode, out, done.stderr.decode("utf-8", "surrogateescape"))

    return run


@pytest.fixture(scope="session")
def _reused_parsers() -> None:
    """Build the parser of each command once, which takes as long as most commands; fuzzing/test_fuzzing.py tests it."""
    from tests.fuzzing.run import reuse_parsers

    reuse_parsers()


@pytest.fixture
def here(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    _reused_parsers: None,
) -> Run:
    """Run the command in this process, without start-up: ``here("params", "toy.yaml", columns=60)``.

    Signals, closed streams and process exit are not exercised.
    """
    from tinylm_cli.cli.app import run as run_command

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    for name in _ASIDE:
        monkeypatch.delenv(name, raising=False)

    def run(*arguments: str | Path, stdin: str | bytes = b"", columns: int = 80) -> Result:
        monkeypatch.setenv("COLUMNS", str(columns))
        data = stdin.encode() if isinstance(stdin, str) else stdin
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
        capsys.readouterr()
        code = run_command(list(map(str, arguments)))
        said = capsys.readouterr()
        return Result(int(code), said.out, said.err)

    return run


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Golden:
    """Compare text with a file; ``--update-golden`` rewrites it, and a file that is absent fails."""

    def compare(path: Path, text: str) -> None:
        if request.config.getoption("--update-golden"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        assert path.is_file(), f"no golden file {path}: run pytest --update-golden and read what it wrote"
        assert text == path.read_text(encoding="utf-8")

    return compare

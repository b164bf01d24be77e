"""Fixtures for the command line: a toy config; the command in this process, in another, and on a terminal."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import termios
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import TINYLM, Result

GOLDEN = Path(__file__).resolve().parents[1] / "golden"

TOY = """\
# A model small enough to read whole.
vocab_size: 256
d_model: 8
n_heads: 2
n_layers: 3
d_ff: 16
max_len: 32
dropout: 0.0
nominal_params: 4K
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the current folder, which holds only ``toy.yaml``."""
    (tmp_path / "toy.yaml").write_text(TOY, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def here(folder: Path, here: Callable[..., Any]) -> Callable[..., Any]:  # noqa: ARG001 - for its effect
    """Run the command in this process, in the folder that holds ``toy.yaml``."""
    return here


@pytest.fixture
def start(folder: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Start the installed command and return the process, its streams as given to ``Popen``."""
    running: list[subprocess.Popen[bytes]] = []

    def begin(*arguments: str | Path, env: Mapping[str, str] | None = None, **streams: Any) -> subprocess.Popen[bytes]:
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR", "OMP_NUM_THREADS") if name in os.environ}
        process = subprocess.Popen(
            [str(TINYLM), *map(str, arguments)],
            cwd=folder,
            env={**kept, "LC_ALL": "C.UTF-8", "COLUMNS": "80", **(env or {})},
            **{"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **streams},
        )
        running.append(process)
        return process

    yield begin
    for process in running:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture
def on_terminal(start: Callable[..., subprocess.Popen[bytes]]) -> Callable[..., Result]:
    """Run the command on a pseudo-terminal and return everything it printed as ``out``."""

    def run(*arguments: str | Path, columns: int = 80, env: Mapping[str, str] | None = None) -> Result:
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        environment = {"TERM": "xterm-256color", "COLUMNS": "", **(env or {})}
        process = start(*arguments, env=environment, stdin=theirs, stdout=theirs, stderr=theirs)
        os.close(theirs)
        shown = b"".join(iter(lambda: _read(ours), b""))
        os.close(ours)
        return Result(process.wait(timeout=60), shown.decode().replace("\r\n", "\n"), "")

    return run


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # Linux: the other end was closed
        return b""


@pytest.fixture
def golden_json(golden: Callable[[Path, str], None]) -> Callable[[str, str], None]:
    """Compare a document with ``tests/golden/json/NAME.json``."""
    return lambda name, text: golden(GOLDEN / "json" / f"{name}.json", text)


@pytest.fixture
def stable_json() -> Callable[[str], str]:
    """Round floats, whose last digits differ between machines, and mask timings."""

    def stable(text: str) -> str:
        document = json.loads(text, parse_float=lambda digits: round(float(digits), 3) + 0.0)
        for timed in ("milliseconds", "tokens_per_second"):
            assert document[timed] > 0
            document[timed] = "<timing>"
        return json.dumps(document, indent=2) + "\n"

    return stable


FIGURE = re.compile(
    r"[−+×$≈]?\d[\d,]*(?:\.\d+)?(?:%|[KMBT]\b| ?(?:[KMGTPE]i?)?(?:B|FLOP)\b| (?:µs|ms|s|days?|hours|years)\b)?"
)
_DRAWN = re.compile(r"  |[│├└█▏▎▍▌▋▊▉▒▚░▓▄▖┃─✓✗]|^(?:\$ |error|\s+=|[#|>`-]|\\\\)")


def layout(text: str) -> str:
    """Return a page with its sentences reduced to their figures: a golden file holds layout, not wording.

    Tables, headings with a detail, bars, commands and errors stay as they are. A paragraph of sentences, wrapped or
    not, becomes one line with its numbers in order; so does a comment of LaTeX.
    """
    lines: list[str] = []
    prose: list[str] = []
    for line in [*text.splitlines(), ""]:
        words = line.removeprefix("% ")
        goes_on = bool(prose) or len(words.split()) > 2
        if words and goes_on and not _DRAWN.search(words) and not words.startswith("\\"):
            prose.append(words)
            continue
        if prose:
            lines.append(" ".join(["[sentences]", *FIGURE.findall(" ".join(prose))]))
            prose = []
        lines.append(line)
    return "\n".join(lines[:-1]) + "\n"


@pytest.fixture
def golden_text(golden: Callable[[Path, str], None]) -> Callable[[str, str], None]:
    """Compare a report with ``tests/golden/text/NAME``: all of a CSV file, layout and figures of other formats."""

    def compare(name: str, text: str) -> None:
        golden(GOLDEN / "text" / name, text if name.endswith(".csv") else layout(text))

    return compare


@pytest.fixture
def golden_words(golden: Callable[[Path, str], None]) -> Callable[[str, str], None]:
    """Compare every word of a page of errors, or of a generated file, with ``tests/golden/text/NAME``."""
    return lambda name, text: golden(GOLDEN / "text" / name, text)

"""No command opens a connection, looks up a host, or starts a program other than git."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import clean_environment
from tinylm_cli.cli.app import COMMANDS

PROBE = """
import contextlib, io, json, sys
seen = []
def watch(event, arguments):
    if event in ("socket.connect", "socket.bind", "socket.sendto", "socket.getaddrinfo", "socket.gethostbyname"):
        seen.append(f"{event} {arguments[1:]}")
    # import torch finds libdl with ldconfig, in its CUDA builds
    if event in ("subprocess.Popen", "os.system", "os.exec") and arguments[0] != "/sbin/ldconfig":
        seen.append(f"{event} {arguments[0]}")
sys.addaudithook(watch)
from tinylm_cli.cli.app import run
codes = []
for words in json.loads(sys.argv[1]):
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        codes.append(int(run(words)))
print(json.dumps([codes, seen]))
"""

WITHOUT_TORCH = [
    ["list", "--gallery"],
    ["params", "toy.yaml"],
    ["estimate", "llama-3-8b", "--gpu", "h100"],
    ["sweep", "toy.yaml", "n_layers=1..3"],
    ["design", "--params", "125M"],
    ["compare", "toy.yaml", "llama-3-8b"],
    ["validate", "toy.yaml"],
    ["schema"],
    ["lint", "toy.yaml", "--for", "hf"],
    ["show", "toy.yaml"],
    ["new", "mine"],
]
WITH_TORCH = [
    ["build", "toy.yaml", "--save", "saved"],
    ["export", "toy.yaml", "-o", "exported"],
    ["import", "exported", "--weights", "--output", "imported"],
    ["build", "--weights", "imported"],
    ["verify", "imported"],
    ["verify", "exported"],
    ["check", "toy.yaml"],
    ["forward", "--weights", "exported", "--random", "1x4"],
    ["generate", "--weights", "saved", "--tokens", "1", "--max-new-tokens", "2"],
]


def watched(commands: list[list[str]], folder: Path) -> list[str]:
    """Run commands that must succeed, and return the events of the network and of started programs."""
    done = subprocess.run(
        [sys.executable, "-c", PROBE, json.dumps(commands)],
        cwd=folder,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    codes, seen = json.loads(done.stdout)
    assert codes == [0] * len(commands)
    return list(seen)


@pytest.mark.parametrize("commands", [WITHOUT_TORCH, WITH_TORCH], ids=["without torch", "with torch"])
def test_commands(commands: list[list[str]], folder: Path) -> None:
    assert not watched(commands, folder)


def test_revisions_start_git_alone(folder: Path) -> None:
    commit = "git init -q && git add . && git -c user.name=x -c user.email=x@example.com commit -qm x"
    subprocess.run(["bash", "-euc", commit], cwd=folder, env=clean_environment(), check=True)
    seen = watched([["params", "HEAD:toy.yaml"], ["compare", "--changed", "HEAD"]], folder)
    assert seen, "the probe sees what is started"
    assert {event.split()[1] for event in seen} == {"git"}


def test_every_command_is_watched() -> None:
    assert {words[0] for words in (*WITHOUT_TORCH, *WITH_TORCH)} == set(COMMANDS)

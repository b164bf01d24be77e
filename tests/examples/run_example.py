"""Run an example script."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def run_example(script: Path, folder: Path) -> str:
    """Return the output of a script run in a folder; fail on an error or a warning."""
    done = subprocess.run(
        [sys.executable, "-W", "error", script],
        capture_output=True,
        stdin=subprocess.DEVNULL,
        cwd=folder,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout

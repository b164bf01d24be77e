"""Run git in tests, independent of the environment and the user's config."""

from __future__ import annotations

import os
import subprocess

import pytest


def isolate_git(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let git read neither variables nor the config of the user."""
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)


def git(*words: str) -> None:
    """Run git in the current folder, with a name for the author of commits."""
    identity = ("-c", "user.name=x", "-c", "user.email=x@example.com", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *identity, *words], check=True, capture_output=True)

"""The progress bar: on a terminal only, after a delay, in the characters of the locale."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from tinylm_cli.cli import progress
from tinylm_cli.cli.progress import progress_bar

LONG = ("design", "--gpu", "h100", "--for", "serving", "--family", "gemma2", "--top", "1")


def test_bar(on_terminal: Callable[..., Any]) -> None:
    shown = on_terminal(*LONG)
    assert shown.code == 0
    assert re.search(r"searching .*━.* [\d,]+ of 3,884,994 .*left", shown.out)
    assert shown.out.rindex("3,884,994 candidates match") > shown.out.rindex("left")


def test_ascii(on_terminal: Callable[..., Any]) -> None:
    shown = on_terminal(*LONG, env={"LC_ALL": "C"})
    assert re.search(r"searching .*\d%.* of 3,884,994", shown.out)
    assert shown.out.isascii()


def test_dumb_terminal(on_terminal: Callable[..., Any]) -> None:
    assert "searching" not in on_terminal(*LONG, env={"TERM": "dumb"}).out


@pytest.mark.parametrize(("terminal", "delay"), [(False, 0), (True, 3600)], ids=["no terminal", "short work"])
def test_silent(
    terminal: bool, delay: float, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "DELAY_SECONDS", delay)
    monkeypatch.setattr(progress, "is_terminal", lambda _: terminal)
    with progress_bar() as bar:
        bar.advance_to("searching", 1, 2)
    assert capfd.readouterr() == ("", "")

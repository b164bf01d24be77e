"""Work of others is told apart from one's own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from benchmarks import cpu_contention
from benchmarks.cpu_contention import Bystanders


def test_what_is_busy_and_not_ours_is_theirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stat = tmp_path / "stat"
    monkeypatch.setattr(cpu_contention, "STAT", stat)
    monkeypatch.setattr(os, "sysconf", lambda _: 100)
    monkeypatch.setattr(os, "times", lambda: (0.0, 0.0, 0.0, 0.0, 0.0))
    stat.write_text("cpu  100 0 0 900 0 0 0 0 7 0\ncpu0 1 2 3\n")
    watch = Bystanders()
    monkeypatch.setattr(os, "times", lambda: (1.0, 0.0, 2.0, 0.0, 9.0))
    stat.write_text("cpu  500 50 50 1300 0 0 0 100 9 0\ncpu0 1 2 3\n")
    assert watch.share() == pytest.approx((6 - 3) / 10)


def test_nothing_is_claimed_where_the_system_does_not_tell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu_contention, "STAT", tmp_path / "absent")
    assert Bystanders().share() is None


def test_no_time_is_no_share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stat = tmp_path / "stat"
    monkeypatch.setattr(cpu_contention, "STAT", stat)
    stat.write_text("cpu  1 2 3 4 5 6 7 8\n")
    assert Bystanders().share() is None

"""CPU time of other processes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from benchmarks import cpu_contention
from benchmarks.cpu_contention import CpuContention


def test_others_share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stat = tmp_path / "stat"
    monkeypatch.setattr(cpu_contention, "STAT", stat)
    monkeypatch.setattr(os, "sysconf", lambda _: 100)
    monkeypatch.setattr(os, "times", lambda: (0.0, 0.0, 0.0, 0.0, 0.0))
    stat.write_text("cpu  100 0 0 900 0 0 0 0 7 0\ncpu0 1 2 3\n")
    watch = CpuContention()
    monkeypatch.setattr(os, "times", lambda: (1.0, 0.0, 2.0, 0.0, 9.0))
    stat.write_text("cpu  500 50 50 1300 0 0 0 100 9 0\ncpu0 1 2 3\n")
    assert watch.others_share() == pytest.approx((6 - 3) / 10)


def test_unknown_cpu_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu_contention, "STAT", tmp_path / "absent")
    assert CpuContention().others_share() is None


def test_no_time_passed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stat = tmp_path / "stat"
    monkeypatch.setattr(cpu_contention, "STAT", stat)
    stat.write_text("cpu  1 2 3 4 5 6 7 8\n")
    assert CpuContention().others_share() is None

"""Sample programs alternately, and summarize the samples in rows."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

ROOT = Path(__file__).resolve().parent.parent
TINYLM = Path(sys.executable).parent / "tinylm"

Sample = Callable[[], float]
"""Runs a program once and returns its seconds or MiB."""


@dataclass(frozen=True)
class Options:
    """Options of a benchmark run.

    Attributes:
        rounds: Samples of each program; None for the default of each group.
        quick: Whether to skip slow measurements.
    """

    rounds: int | None = None
    quick: bool = False

    def rounds_or(self, usual: int) -> int:
        """Return the requested rounds, else ``usual``, at most 3 when quick."""
        return self.rounds or (min(3, usual) if self.quick else usual)


@dataclass(frozen=True)
class Target:
    """A bound on a ratio: at most ``limit``, or at least."""

    limit: float
    at_least: bool = False

    def met_by(self, ratio: float) -> bool:
        """Return whether ``ratio`` is within the bound."""
        return ratio >= self.limit if self.at_least else ratio <= self.limit


@dataclass(frozen=True)
class Figures:
    """A summary of one program's samples, in the unit of its row."""

    median: float
    min: float

    @classmethod
    def of(cls, samples: Sequence[float]) -> Figures:
        """Summarize one or more samples."""
        return cls(statistics.median(samples), min(samples))


@dataclass(frozen=True)
class Row:
    """A measurement and its baseline.

    Attributes:
        name: The work of tinylm.
        against: The work of the baseline.
        unit: Unit of both: s or MiB.
        rounds: Samples of each.
        measured: Figures of tinylm.
        baseline: Figures of the baseline; None if the measured figure itself is compared with the target.
        target: Bound on the ratio; None for information only.
        note: The figure in another unit, such as a rate; may be empty.
    """

    name: str
    against: str
    unit: str
    rounds: int
    measured: Figures
    baseline: Figures | None
    target: Target | None
    note: str = ""

    @property
    def ratio(self) -> float:
        """Median over the baseline's median; with an ``at_least`` target the inverse, a speed-up."""
        return self._compare(self.measured.median, self.baseline.median if self.baseline else None)

    @property
    def ratio_of_mins(self) -> float:
        """The same ratio of the minima, which are least affected by other processes."""
        return self._compare(self.measured.min, self.baseline.min if self.baseline else None)

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None without one."""
        return None if self.target is None else self.target.met_by(self.ratio)

    def _compare(self, measured: float, baseline: float | None) -> float:
        if baseline is None:
            return measured
        return baseline / measured if self.target and self.target.at_least else measured / baseline


def alternate(programs: Mapping[str, Sample], rounds: int) -> dict[str, Figures]:
    """Warm up each program, then sample them alternately, every other round in reverse order.

    Args:
        programs: The programs, by name.
        rounds: Samples of each, >= 1.
    """
    for run in programs.values():
        run()
    samples: dict[str, list[float]] = {name: [] for name in programs}
    order = list(programs)
    for turn in range(rounds):
        for name in order if turn % 2 == 0 else reversed(order):
            samples[name].append(programs[name]())
    return {name: Figures.of(found) for name, found in samples.items()}


def call(work: Callable[[], object], *, at_least_seconds: float = 0.0) -> Sample:
    """Return a sample of the seconds per call of ``work``.

    Args:
        work: The function.
        at_least_seconds: Short work is repeated for about this long and averaged; the first sample sets the repeats.
    """
    repeats = 0

    def sample() -> float:
        nonlocal repeats
        if repeats == 0:
            work()
            repeats = max(1, round(at_least_seconds / _seconds(work, 1)))
        return _seconds(work, repeats)

    return sample


def process(*command: str | Path, code: int = 0) -> Sample:
    """Return a sample of the seconds of a whole process, which must end with exit code ``code``."""

    def sample() -> float:
        start = perf_counter()
        run_process(*command, code=code)
        return perf_counter() - start

    return sample


def run_process(*command: str | Path, environment: Mapping[str, str] | None = None, code: int = 0) -> str:
    """Run a command with empty standard input and return its standard output.

    Raises:
        RuntimeError: If its exit code is not ``code``; contains its standard error.
    """
    done = subprocess.run(
        [str(word) for word in command],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env={**os.environ, "COLUMNS": "80", "HF_HUB_OFFLINE": "1", **(environment or {})},
        check=False,
    )
    if done.returncode != code:
        raise RuntimeError(f"{' '.join(map(str, command))} ended with {done.returncode}: {done.stderr.decode()}")
    return done.stdout.decode()


def python(program: str) -> Sample:
    """Return a sample of ``python -c program``."""
    return process(sys.executable, "-c", program)


def _seconds(work: Callable[[], object], repeats: int) -> float:
    start = perf_counter()
    for _ in range(repeats):
        work()
    return (perf_counter() - start) / repeats

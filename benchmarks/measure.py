"""Contenders that take turns, and the rows of figures that come out."""

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
"""Runs a contender once and returns what it took: seconds, or MiB."""


@dataclass(frozen=True)
class Plan:
    """How thorough to be.

    Attributes:
        rounds: Turns of each contender; None for what each group thinks enough.
        quick: Whether to leave out what takes long.
    """

    rounds: int | None = None
    quick: bool = False

    def rounds_or(self, usual: int) -> int:
        """Return the rounds that were asked for, else ``usual``, else 3 when quick."""
        return self.rounds or (min(3, usual) if self.quick else usual)


@dataclass(frozen=True)
class Target:
    """What a ratio should be: at most ``limit``, or at least."""

    limit: float
    at_least: bool = False

    def met_by(self, ratio: float) -> bool:
        """Return whether ``ratio`` is on the right side."""
        return ratio >= self.limit if self.at_least else ratio <= self.limit


@dataclass(frozen=True)
class Figures:
    """One contender's samples, in the unit of its row."""

    median: float
    min: float

    @classmethod
    def of(cls, samples: Sequence[float]) -> Figures:
        """Sum up at least one sample."""
        return cls(statistics.median(samples), min(samples))


@dataclass(frozen=True)
class Row:
    """What was measured, beside what it is held against.

    Attributes:
        name: What tinylm did.
        against: What the baseline did.
        unit: Unit of both: s, or MiB.
        rounds: Samples of each.
        measured: tinylm's figures.
        baseline: The baseline's; None where the measured figure itself is the ratio.
        target: What the ratio should be; None where it is shown for information.
        note: The figure in words that people use, if there are better ones.
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
        """How many times the baseline's median tinylm's is; with an ``at_least`` target, how many times faster."""
        return self._compare(self.measured.median, self.baseline.median if self.baseline else None)

    @property
    def ratio_of_mins(self) -> float:
        """The same from the best samples, which other work on the machine disturbs least."""
        return self._compare(self.measured.min, self.baseline.min if self.baseline else None)

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None without one."""
        return None if self.target is None else self.target.met_by(self.ratio)

    def _compare(self, measured: float, baseline: float | None) -> float:
        if baseline is None:
            return measured
        return baseline / measured if self.target and self.target.at_least else measured / baseline


def race(contenders: Mapping[str, Sample], rounds: int) -> dict[str, Figures]:
    """Let every contender warm up, then take turns, every other round in reverse so that none always follows another.

    Args:
        contenders: What to run, by name.
        rounds: Turns of each, >= 1.
    """
    for run in contenders.values():
        run()
    samples: dict[str, list[float]] = {name: [] for name in contenders}
    forth = list(contenders)
    for turn in range(rounds):
        for name in forth if turn % 2 == 0 else reversed(forth):
            samples[name].append(contenders[name]())
    return {name: Figures.of(found) for name, found in samples.items()}


def call(work: Callable[[], object], *, at_least_seconds: float = 0.0) -> Sample:
    """Return a sample of the seconds one call of ``work`` takes.

    Args:
        work: What to call.
        at_least_seconds: Short work is repeated to last this long, and the mean is taken; the first sample tells how
            often.
    """
    repeats = 0

    def sample() -> float:
        nonlocal repeats
        if repeats == 0:
            work()
            repeats = max(1, round(at_least_seconds / _seconds(work, 1)))
        return _seconds(work, repeats)

    return sample


def process(*command: str | Path) -> Sample:
    """Return a sample of the seconds a whole process takes, from its start to its end; it must succeed."""

    def sample() -> float:
        start = perf_counter()
        run_process(*command)
        return perf_counter() - start

    return sample


def run_process(*command: str | Path, environment: Mapping[str, str] | None = None) -> str:
    """Run a command with nothing on standard input and return its standard output.

    Raises:
        RuntimeError: If it fails; holds what it said.
    """
    done = subprocess.run(
        [str(word) for word in command],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env={**os.environ, "COLUMNS": "80", "HF_HUB_OFFLINE": "1", **(environment or {})},
        check=False,
    )
    if done.returncode != 0:
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

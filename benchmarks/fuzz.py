"""Feed mutated input to every command and check the outcome: ``python benchmarks/fuzz.py --seed 1 --seconds 60``.

Cases are numbered: ``--seed N --case NUMBER`` repeats one alone, and leaves its files in a folder. Most run in worker
processes, one for each processor core, which are replaced periodically; one in two hundred runs as a separate process.
An interrupt ends the run with its totals. Exits with 1 on a finding that ``tests/fuzzing/known_gaps.py`` does not list.
"""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import os
import re
import resource
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.fuzzing.checks import Finding, Outcome, findings
from tests.fuzzing.inputs import KINDS, Case, make_case
from tests.fuzzing.known_gaps import KNOWN_GAPS, gap_of
from tests.fuzzing.run import (
    PATIENCE,
    TIMEOUT,
    import_everything,
    repeat_if_slow,
    reuse_parsers,
    run_here,
    run_process,
    write_files,
)

CASES_PER_WORKER = 2000
CASES_PER_PROCESS = 200
"""One case of this many runs as a separate process; of cases that import torch, one of ten times as many."""

MAX_DATA_BYTES = 8 * 1024**3
"""Private memory that a worker may allocate, to spare the machine."""


class Result(NamedTuple):
    """The result of one case."""

    number: int
    kind: str
    code: int | None
    seconds: float
    peak_bytes: int
    found: list[Finding]


@dataclass
class Summary:
    """Totals over all cases."""

    kinds: Counter[str] = field(default_factory=Counter)
    codes: Counter[str] = field(default_factory=Counter)
    gaps: Counter[str] = field(default_factory=Counter)
    numbers: dict[tuple[str, str, str], list[int]] = field(default_factory=dict)
    slowest: list[Result] = field(default_factory=list)
    largest: Result | None = None
    busy: float = 0.0
    new: int = 0

    def add(self, result: Result) -> None:
        """Count a result, and print each new kind of finding once, with the number of its case."""
        self.kinds[result.kind] += 1
        self.busy += result.seconds
        self.codes["did not end" if result.code is None else str(result.code)] += 1
        self.slowest = sorted([*self.slowest, result], key=lambda each: -each.seconds)[:3]
        if self.largest is None or result.peak_bytes > self.largest.peak_bytes:
            self.largest = result
        for finding in result.found:
            gap = gap_of(result.kind, finding)
            if gap is not None:
                self.gaps[gap.reason] += 1
                continue
            self.new += 1
            own = finding.check in ("crash", "exit code", "streams", "document", "place")
            same = re.sub(r"\d+|'[^']*'|\"[^\"]*\"", "…", finding.detail)[:60] if own else ""
            numbers = self.numbers.setdefault((result.kind, finding.check, same), [])
            if not numbers:
                print(f"case {result.number}  {result.kind}  {finding.check}: {finding.detail[:240]!a}", flush=True)
            numbers.append(result.number)

    def print(self, seconds: float) -> None:
        """Print the totals."""
        total = sum(self.kinds.values())
        rates = f"{total / max(seconds, 0.001):.0f} a second, {total / max(self.busy, 0.001):.0f} per processor second"
        print(f"{total:,} inputs in {seconds:.0f} s, {rates} of the commands")
        print("by kind:", ", ".join(f"{kind} {self.kinds[kind]:,}" for kind in KINDS if self.kinds[kind]))
        codes = sorted(self.codes.items(), key=lambda entry: (-entry[1], entry[0]))  # whichever worker was first
        print("exit codes:", ", ".join(f"{code}: {count:,}" for code, count in codes))
        slowest = (f"{each.seconds:.1f} s (case {each.number}, {each.kind})" for each in self.slowest)
        print("slowest:", ", ".join(slowest))
        if self.largest is not None:
            size = self.largest.peak_bytes / 1024**2
            print(f"largest memory: {size:.0f} MiB (case {self.largest.number}, {self.largest.kind})")
        for gap in KNOWN_GAPS:
            print(f"known gap, {self.gaps[gap.reason]:,} times: {gap.reason}")
        for (kind, check, same), numbers in sorted(self.numbers.items(), key=lambda item: -len(item[1])):
            cases = ", ".join(map(str, sorted(numbers)[:5]))
            print(f"found {len(numbers):,} times: {check} of {kind}, cases {cases}{f': {same!a}' if same else ''}")
        print("nothing new" if not self.new else f"{self.new:,} findings of {len(self.numbers):,} kinds")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run cases until the time is over, and return the exit code."""
    args = _parser().parse_args(arguments)
    if args.case is not None:
        return _repeat(args.seed, args.case, args.kinds)
    summary = Summary()
    began = time.monotonic()
    numbers = iter(range(args.first, sys.maxsize if args.cases is None else args.first + args.cases))
    import_everything()
    with tempfile.TemporaryDirectory(prefix="tinylm-fuzz-", dir=_memory_folder()) as folder:
        workers = [Worker(args.seed, args.kinds, Path(folder) / str(index) / "run") for index in range(args.workers)]
        try:
            _run_cases(workers, numbers, began + args.seconds, summary)
        except KeyboardInterrupt:
            unfinished = [worker.number for worker in workers if worker.number is not None]
            print(f"interrupted; to continue, add --first {min([*unfinished, next(numbers, sys.maxsize)])}")
        for worker in workers:
            worker.end()
    summary.print(time.monotonic() - began)
    return 1 if summary.new else 0


def _run_cases(workers: Sequence[Worker], numbers: Iterator[int], deadline: float, summary: Summary) -> None:
    """Run cases until none is left or the deadline is over; those that run then still count."""
    while True:
        for worker in workers:
            if worker.number is None and time.monotonic() < deadline:
                worker.begin(next(numbers, None))
        running = [worker for worker in workers if worker.number is not None]
        if not running:
            return
        wait([worker.pipe for worker in running], timeout=1)
        for result in filter(None, (worker.result() for worker in running)):
            summary.add(result)


def _memory_folder() -> str | None:
    """Return a folder in memory, where writing and syncing a file is fast; None if the system has none."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="benchmarks/fuzz.py", description=__doc__)
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="seed of all cases (default: 0)")
    parser.add_argument("--seconds", type=float, default=60.0, metavar="S", help="time budget (default: 60)")
    parser.add_argument("--cases", type=int, metavar="N", help="maximum number of cases")
    parser.add_argument("--first", type=int, default=0, metavar="NUMBER", help="number of the first case (default: 0)")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    parser.add_argument("--workers", type=int, default=cores, metavar="N", help="processes (default: one per core)")
    parser.add_argument("--case", type=int, metavar="NUMBER", help="repeat one case and show its input and its output")
    parser.add_argument(
        "--kinds",
        nargs="+",
        choices=KINDS,
        default=list(KINDS),
        metavar="KIND",
        help=f"kinds to run: {', '.join(KINDS)}",
    )
    return parser


class Worker:
    """A process that runs cases by number, replaced after many cases or when one does not end.

    Attributes:
        number: The case that it runs; None while it has none.
        pipe: Readable once the case has ended.
    """

    def __init__(self, seed: int, kinds: Sequence[str], folder: Path) -> None:
        self._seed, self._kinds, self._folder = seed, kinds, folder
        self.number: int | None = None
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("fork")
        self.pipe, theirs = context.Pipe()
        self._process: BaseProcess = context.Process(
            target=_serve, args=(theirs, self._seed, self._kinds, self._folder), daemon=True
        )
        self._process.start()
        theirs.close()
        self._served = 0

    def begin(self, number: int | None) -> None:
        """Run a case; None leaves the worker idle."""
        self.number = number
        if number is None:
            return
        if self._served >= CASES_PER_WORKER:
            self.end()
            self._start()
        self._served += 1
        self._deadline = time.monotonic() + PATIENCE * TIMEOUT
        self.pipe.send(number)

    def result(self) -> Result | None:
        """Return the result of the case, or None while it runs.

        A worker that dies or does not end gives an outcome without exit code.
        """
        number = self.number
        assert number is not None, "a case was begun"
        try:
            if self.pipe.poll():
                result: Result = self.pipe.recv()
                self.number = None
                return result
            if time.monotonic() < self._deadline:
                return None
            dead = Outcome(None, "", "")
        except EOFError:
            dead = Outcome(-9, "", "", raised="the worker process died")
        self.number = None
        self.end()
        self._start()
        case = make_case(self._seed, number, self._kinds)
        return Result(number, case.kind, dead.code, TIMEOUT, 0, findings(case, dead))

    def end(self) -> None:
        """Kill the process: it holds nothing worth saving."""
        self._process.kill()
        self._process.join()
        self.pipe.close()


def _serve(pipe: Connection, seed: int, kinds: Sequence[str], folder: Path) -> None:
    """Answer each case number with its result; only the main process reacts to an interrupt."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_DATA, (MAX_DATA_BYTES, MAX_DATA_BYTES))
    reuse_parsers()
    gc.freeze()
    while True:
        try:
            number = pipe.recv()
        except EOFError:
            return
        case = make_case(seed, number, kinds)
        outcome = _run(case, number, folder)
        pipe.send(Result(number, case.kind, outcome.code, outcome.seconds, outcome.peak_bytes, findings(case, outcome)))


def _run(case: Case, number: int, folder: Path) -> Outcome:
    every = CASES_PER_PROCESS * (10 if case.uses_torch else 1)
    return repeat_if_slow(run_process if number % every == 0 else run_here, case, folder / "case")


def _repeat(seed: int, number: int, kinds: Sequence[str]) -> int:
    """Run one case again, and print its input and its outcome."""
    case = make_case(seed, number, kinds)
    folder = Path(tempfile.mkdtemp(prefix=f"tinylm-fuzz-{number}-")) / "run"
    outcome = _run(case, number, folder)
    found = findings(case, outcome)
    write_files(case, folder / "case")
    print(f"kind: {case.kind}\nfiles: {folder / 'case'}\ncommand: {case.script()!s}")
    for name, data in case.files.items():
        print(f"{name!a}: {data[:400]!r}")
    for name, what in case.special.items():
        print(f"{name!a}: {what}")
    print(f"standard input: {case.stdin!r}\nexit code: {outcome.code}, {outcome.seconds:.2f} s")
    print(f"standard output:\n{outcome.out[:4000]}\nstandard error:\n{outcome.err[:4000]}\n{outcome.raised}")
    for finding in found:
        known = gap_of(case.kind, finding)
        print(f"{finding.check}: {finding.detail[:400]!a}{f' (known: {known.reason})' if known else ''}")
    return 1 if any(gap_of(case.kind, each) is None for each in found) else 0


if __name__ == "__main__":
    sys.exit(main())

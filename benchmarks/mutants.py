"""Count the seeded faults that the tests notice: ``python benchmarks/mutants.py --seed 1 --count 200``.

A mutant is the package with one change, such as ``<=`` for ``<``. It is killed if a test fails that passes without the
change. The module's own test files run first, then the tests that import the module or are about one that does.
Mutants live in a copy of the checkout; a test that starts the installed command does not see them.

Why not cosmic-ray or mutmut: cosmic-ray 8.7 makes 29,852 mutants of these subpackages, most of them one arithmetic
operator replaced by ten others and 1,740 of them in annotations; it has no samples, one test command for all modules,
and starts Python, torch and transformers for each mutant. mutmut 3.8 first runs the whole suite to see which tests
reach what.
"""

from __future__ import annotations

import argparse
import ast
import copy
import multiprocessing
import os
import resource
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence, Set
from functools import cache, partial
from hashlib import sha256
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.equivalent_mutants import EQUIVALENT
from tests.test_layers import MODULES, imports
from tests.test_mirror import TESTS, WHOLE, files_testing

ROOT = Path(__file__).resolve().parents[1]
SUBPACKAGES = ("analysis", "interop", "model")
PRELOADED = ("hypothesis", "numpy", "pydantic", "pytest", "rich", "ruamel.yaml", "torch", "transformers", "typer")
"""Packages that the tests of one mutant find imported; modules of this repository are imported anew for each."""

CPU_SECONDS = 240
"""Processor time of one test run; a mutant that takes longer is counted as killed."""
MAX_DATA_BYTES = 6 * 1024**3

MAX_SHOWN = 100
"""Characters of an expression that is shown for the number changed in it."""

NO_END = "no end"

SWAPPED: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.And: ast.Or, ast.Or: ast.And,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv, ast.Pow: ast.Mult, ast.BitOr: ast.BitAnd, ast.BitAnd: ast.BitOr,
}  # fmt: skip
"""The operator that takes the place of each."""

NEGATING = (ast.Eq, ast.NotEq, ast.Is, ast.IsNot, ast.In, ast.NotIn)
"""Comparisons that their swapped operator negates, so that a negated condition would be the same mutant."""

SKIPPED_FIELDS = frozenset({"annotation", "returns", "decorator_list"})


class Mutant(NamedTuple):
    """One change of one module."""

    path: str  # relative to the checkout
    line: int
    scope: str  # the function or class around it, with dots; empty at the top of the module
    change: str  # the code before and after, with an arrow between
    number: int  # among the changes of its module
    nth: int  # among the same changes of its function

    @property
    def key(self) -> tuple[str, str, str, int]:
        """What identifies the mutant if lines move."""
        return self.path, self.scope, self.change, self.nth


class Site(NamedTuple):
    """A node of a syntax tree that a mutant replaces."""

    scope: str
    parent: ast.AST
    node: ast.AST
    new: ast.AST
    put: Callable[[ast.AST], None]  # sets the node's place in the tree


def replacements(node: ast.AST) -> Iterator[ast.AST]:
    """Yield what a mutant may write in place of a node: another operator, number or nothing at all."""
    match node:
        case ast.Compare(ops=operators):
            for index, operator in enumerate(operators):
                if type(operator) in SWAPPED:
                    new = copy.copy(node)
                    new.ops = [*operators[:index], SWAPPED[type(operator)](), *operators[index + 1 :]]  # type: ignore[list-item]
                    yield new
        case ast.BinOp(op=ast.BitOr(), left=ast.Constant(None)) | ast.BinOp(op=ast.BitOr(), right=ast.Constant(None)):
            return  # a type
        case ast.BoolOp(op=operator) | ast.BinOp(op=operator) if type(operator) in SWAPPED:
            changed: Any = copy.copy(node)
            changed.op = SWAPPED[type(operator)]()
            yield changed
        case ast.UnaryOp(op=ast.Not() | ast.USub(), operand=operand):
            yield operand
        case ast.Constant(value=bool() as value):
            yield ast.Constant(not value)
        case ast.Constant(value=int() | float() as number):
            yield ast.Constant(number + 1)
        case ast.Expr(value=ast.Call()) | ast.AugAssign() | ast.Raise() | ast.Continue() | ast.Break():
            yield ast.Pass()
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]) | ast.Return(value=None):
            yield ast.Pass()


def negations(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the negation of a condition, unless a swapped operator gives it."""
    match node:
        case ast.UnaryOp(op=ast.Not()):
            return
        case ast.Compare(ops=[operator]) if isinstance(operator, NEGATING):
            return
        case ast.expr():
            yield ast.UnaryOp(ast.Not(), node)


def sites(parent: ast.AST, scope: str = "") -> Iterator[Site]:
    """Yield every place of a tree that a mutant replaces; assertions, which state invariants, and types have none."""
    for name, value in ast.iter_fields(parent):
        if name in SKIPPED_FIELDS:
            continue
        items = value if isinstance(value, list) else [value]
        for index, node in enumerate(items):
            if not isinstance(node, ast.AST) or isinstance(node, ast.Assert | ast.expr_context | ast.JoinedStr):
                continue
            if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
                continue
            if isinstance(node, ast.keyword) and node.arg == "strict":
                continue  # zip(strict=True) is an assertion
            put = partial(value.__setitem__, index) if isinstance(value, list) else partial(setattr, parent, name)
            found = [*replacements(node), *(negations(node) if name in ("test", "ifs") else ())]
            yield from (Site(scope, parent, node, new, put) for new in found)
            named = isinstance(node, ast.FunctionDef | ast.ClassDef)
            yield from sites(node, f"{scope}.{node.name}".lstrip(".") if named else scope)  # type: ignore[attr-defined]


def _change(site: Site) -> str:
    """Return the code before and after a change: of the node, or of the expression around a number."""
    if not isinstance(site.node, ast.Constant) or not isinstance(site.parent, ast.expr | ast.Assign | ast.Return):
        return f"{_shown(site.node)} → {_shown(site.new)}"
    before = _shown(site.parent)
    site.put(site.new)
    after = _shown(site.parent)
    site.put(site.node)
    return f"{before} → {after}" if len(before) <= MAX_SHOWN else f"{_shown(site.node)} → {_shown(site.new)}"


def _shown(node: ast.AST) -> str:
    return " ".join(ast.unparse(node).split())


@cache
def mutants(path: str) -> tuple[Mutant, ...]:
    """Return every mutant of a module, in the order of its syntax tree."""
    seen: Counter[tuple[str, str]] = Counter()
    found = []
    for number, site in enumerate(sites(ast.parse((ROOT / path).read_text(encoding="utf-8")))):
        change = _change(site)
        line = getattr(site.node, "lineno", 0)
        found.append(Mutant(path, line, site.scope, change, number, seen[site.scope, change]))
        seen[site.scope, change] += 1
    return tuple(found)


def mutated(mutant: Mutant | None, path: str) -> str:
    """Return the text of a module with one change, or as it is formatted without any."""
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    if mutant is not None:
        site = next(site for number, site in enumerate(sites(tree)) if number == mutant.number)
        site.put(ast.copy_location(site.new, site.node))
    return ast.unparse(ast.fix_missing_locations(tree)) + "\n"


def modules(subpackages: Sequence[str]) -> list[str]:
    """Return the modules of these subpackages, or the module of that path."""
    folders = [ROOT / "tinylm_cli" / subpackage for subpackage in subpackages]
    files = [file for folder in folders for file in (folder.rglob("*.py") if folder.is_dir() else [folder])]
    return sorted(str(file.relative_to(ROOT)) for file in files)


@cache
def selected_tests(path: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the test files named for a module, and the wider ones: of its importers, and those without a module.

    What imports a package below the subpackage counts as an importer of its modules, which it may load on demand.
    """
    module, subpackage = ROOT / path, Path(path).parts[1]
    parts = Path(path).with_suffix("").parts
    names = {".".join(parts[:count]) for count in range(3, len(parts) + 1)}
    named = files_testing(module)
    importers = [file for file in MODULES if _imports(file, names)]
    of_importers = {test for file in importers for test in files_testing(file)}
    wider = [
        test
        for test in sorted(TESTS.rglob("test_*.py"))
        if test not in named
        and (_imports(test, names) or test in of_importers or str(test.relative_to(TESTS)) in WHOLE)
    ]
    here = [test for test in wider if test.relative_to(TESTS).parts[0] == subpackage]
    elsewhere = [test for test in wider if _imports(test, names) and test not in here]
    return tuple(map(_relative, named)), tuple(map(_relative, [*here, *elsewhere]))


def _imports(file: Path, names: Set[str]) -> bool:
    return any(name in names for name, _, _ in imports(file))


def _relative(file: Path) -> str:
    return str(file.relative_to(ROOT))


class FirstFailure:
    """A pytest plugin that keeps the first test that failed."""

    def __init__(self) -> None:
        self.test = ""

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Keep the id of a failed test."""
        if report.failed and not self.test:
            self.test = report.nodeid


class Copy:
    """A copy of the checkout whose modules may be changed, and the test runs in it.

    Args:
        folder: An empty folder.
        paths: The modules that mutants may change; all are written as ``ast.unparse`` formats them.
    """

    def __init__(self, folder: Path, paths: Sequence[str]) -> None:
        ignored = shutil.ignore_patterns(".git", ".venv", ".*cache", ".hypothesis", "__pycache__", "shared")
        shutil.copytree(ROOT, folder, ignore=ignored, dirs_exist_ok=True)
        self.folder = folder
        self._unmutated: dict[str, str | None] = {}
        self._broken: set[str] = set()
        for path in paths:
            self._write(None, path)

    def verdict(self, mutant: Mutant) -> str:
        """Return what killed a mutant: ``named tests``, ``wider tests`` or ``no end``; empty if it survives."""
        for words, tests in zip(("named tests", "wider tests"), selected_tests(mutant.path), strict=True):
            for file in tests:
                failed = self._failure_of(mutant, file)
                if failed is not None:
                    return NO_END if failed == NO_END else words
        return ""

    def _failure_of(self, mutant: Mutant, file: str) -> str | None:
        """Return the first test of a file that fails with a mutant and passes without it."""
        while True:
            self._write(mutant, mutant.path)
            failed = self._first_failure(file)
            self._write(None, mutant.path)
            if failed is None:
                return None
            own = file if failed == NO_END else failed
            if own not in self._unmutated:
                self._unmutated[own] = self._first_failure(own)
            if self._unmutated[own] is None:
                return failed
            if own == file:
                raise SystemExit(f"{file} fails or does not end within {CPU_SECONDS} s without any mutant")
            self._broken.add(failed)

    def _write(self, mutant: Mutant | None, path: str) -> None:
        (self.folder / path).write_text(mutated(mutant, path), encoding="utf-8")

    def _first_failure(self, test: str) -> str | None:
        """Return the first test that fails, ``NO_END`` if the run does not end in time, and None if all pass.

        A file that cannot be imported is named itself.
        """
        ours, theirs = multiprocessing.Pipe(duplex=False)
        fork = multiprocessing.get_context("fork")
        child = fork.Process(target=_run_tests, args=(self.folder, test, sorted(self._broken), theirs))
        child.start()
        theirs.close()
        child.join(4 * CPU_SECONDS)
        if child.is_alive():
            child.kill()
            child.join()
        try:
            failed: str | None = ours.recv()
        except EOFError:  # killed at a limit
            failed = NO_END
        return failed


def _run_tests(folder: Path, test: str, broken: Sequence[str], result: Connection) -> None:
    """Run tests of the copy in this process, and send the first that fails."""
    import pytest

    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS + 5))
    resource.setrlimit(resource.RLIMIT_DATA, (MAX_DATA_BYTES, MAX_DATA_BYTES))
    os.chdir(folder)
    for name in [name for name in sys.modules if name.partition(".")[0] in ("tests", "benchmarks", "tinylm_cli")]:
        del sys.modules[name]
    sys.path.insert(0, str(folder))
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    first = FirstFailure()
    options = [
        "-x",
        "-q",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:xdist",
        "-W",
        "ignore::pytest.PytestAssertRewriteWarning",
    ]
    code = pytest.main([*options, *(f"--deselect={other}" for other in broken), test], plugins=[first])
    result.send(None if code == pytest.ExitCode.OK else first.test or test)
    result.close()
    os._exit(0)


def main(arguments: Sequence[str] | None = None) -> int:
    """Try a sample of mutants and print the survivors; return 1 if there are any that are not equivalent."""
    words = _parser().parse_args(arguments)
    paths = modules(words.modules)
    every = [mutant for path in paths for mutant in mutants(path)]
    sample = sorted(every, key=partial(_draw, words.seed))[words.skip : words.count]
    if words.list:
        for mutant in sample:
            print(_line(mutant))
        return 0
    os.environ |= {"OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1", "HF_HUB_OFFLINE": "1"}
    sys.dont_write_bytecode = True
    verdicts: Counter[str] = Counter()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="tinylm-mutants-") as folder:
        os.environ["HYPOTHESIS_STORAGE_DIRECTORY"] = f"{folder}/.hypothesis"
        for name in PRELOADED:
            __import__(name)
        checkout = Copy(Path(folder), paths)
        for mutant in sample:
            if time.monotonic() - began > words.seconds:
                break
            reason = EQUIVALENT.get(mutant.key)
            verdict = "equivalent" if reason else checkout.verdict(mutant) or "survived"
            verdicts[verdict] += 1
            if words.verbose or verdict == "survived":
                print(f"{verdict}: {_line(mutant)}", flush=True)
    total = verdicts.total()
    killed = total - verdicts["survived"] - verdicts["equivalent"]
    share = f" ({killed / (total - verdicts['equivalent']):.1%} of the others)" if killed else ""
    print(f"{total:,} of {len(every):,} mutants in {time.monotonic() - began:.0f} s, {killed:,} killed{share}")
    print(", ".join(f"{name}: {count:,}" for name, count in verdicts.most_common()))
    return 1 if verdicts["survived"] else 0


def _draw(seed: int, mutant: Mutant) -> bytes:
    """Return the place of a mutant in the sample, whatever the other mutants are, so that samples outlive edits."""
    return sha256(repr((seed, *mutant.key)).encode()).digest()


def _line(mutant: Mutant) -> str:
    return f"{mutant.path}:{mutant.line} {mutant.scope or 'module'}: {mutant.change}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Count the seeded faults that the tests notice.")
    parser.add_argument("modules", nargs="*", default=list(SUBPACKAGES), help="subpackages or files under tinylm_cli")
    parser.add_argument("--seed", type=int, default=1, help="of the sample")
    parser.add_argument("--count", type=int, default=200, help="mutants in the sample")
    parser.add_argument("--skip", type=int, default=0, help="mutants to skip at the start of the sample")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="start no mutant after this time")
    parser.add_argument("--list", action="store_true", help="print the sample and try nothing")
    parser.add_argument("--verbose", action="store_true", help="print killed mutants, too")
    return parser


if __name__ == "__main__":
    sys.exit(main())

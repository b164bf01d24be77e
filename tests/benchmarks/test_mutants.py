"""The mutation tester: the changes it makes, the tests that it runs on each, and what it reports."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import mutants as script
from benchmarks.equivalent_mutants import EQUIVALENT
from benchmarks.mutants import ROOT, SUBPACKAGES, Mutant, main, modules, mutants, mutated, selected_tests, sites

CHINCHILLA = "tinylm_cli/analysis/chinchilla.py"


def changes(text: str) -> set[str]:
    """Return every changed statement of a text."""
    found = set()
    for number in range(len(list(sites(ast.parse(text))))):
        tree = ast.parse(text)
        site = list(sites(tree))[number]
        site.put(site.new)
        found.add(ast.unparse(ast.fix_missing_locations(tree)).replace("\n    ", " "))
    return found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a < b", {"a <= b"}),
        ("a == b >= c", {"a != b >= c", "a == b > c"}),
        ("a is None and not b", {"a is None or not b", "a is not None and (not b)", "a is None and b"}),
        ("a * b - c", {"a + b - c", "a * b + c"}),
        ("x = -1", {"x = 1", "x = -2"}),
        ("x = True", {"x = False"}),
        ("x = a if b else c", {"x = a if not b else c"}),
        ("if a < b: x = y", {"if a <= b: x = y", "if not a < b: x = y"}),
        ("if a == b: x = y", {"if a != b: x = y"}),
        ("[a for a in b if a]", {"[a for a in b if not a]"}),
        ("f(x)", {"pass"}),
        ("x += y", {"pass"}),
        ("self.x = y", {"pass"}),
        ("x = y", set()),
        ("def f(): return", {"def f(): pass"}),
        ("raise E", {"pass"}),
        ("'text'", set()),
        ("x: int | None = y", set()),
        ("def f(x: int | None) -> int | None: return x", set()),
        ("@f(1)\ndef g(): return x", set()),
        ("assert a < b", set()),
        ("if TYPE_CHECKING: import x", set()),
        ("x = zip(a, b, strict=True)", set()),
        ("f'{x:.3f} {y}'", set()),
        ("x = int | None", set()),
        ("x = a | b", {"x = a & b"}),
    ],
)
def test_changes(text: str, expected: set[str]) -> None:
    assert changes(text) == expected


@pytest.mark.parametrize("path", [CHINCHILLA, "tinylm_cli/model/sampling.py", "tinylm_cli/interop/layer_rope.py"])
def test_one_change_each(path: str) -> None:
    whole = mutated(None, path)
    assert ast.dump(ast.parse(whole)) == ast.dump(ast.parse((ROOT / path).read_text(encoding="utf-8")))
    texts = [mutated(mutant, path) for mutant in mutants(path)]
    assert len(texts) > 5
    for text in texts:
        compile(text, path, "exec")
        assert text != whole
    assert len(set(texts)) == len(texts)


@pytest.mark.parametrize(
    ("path", "named", "wider"),
    [
        (CHINCHILLA, {"tests/analysis/test_chinchilla.py"}, set()),
        (
            "tinylm_cli/analysis/flops.py",
            {"tests/analysis/test_flops.py", "tests/analysis/test_flops_counted.py"},
            set(),
        ),
        ("tinylm_cli/analysis/saved_tensors/norm.py", {"tests/analysis/test_saved_tensors.py"}, set()),
        (
            "tinylm_cli/interop/families/opt.py",
            {"tests/interop/test_families.py"},
            {"tests/interop/test_parity.py", "tests/interop/test_to_tinylm.py"},
        ),
        (
            "tinylm_cli/interop/rope_scaling.py",
            {"tests/interop/test_rope_scaling.py"},
            {"tests/interop/test_families.py"},
        ),
        (
            "tinylm_cli/model/sequence_mixer.py",
            {"tests/model/test_any_architecture.py"},
            {"tests/model/mixers/test_causal_conv.py"},
        ),
    ],
)
def test_tests_of_a_module(path: str, named: set[str], wider: set[str]) -> None:
    found = selected_tests(path)
    assert set(found[0]) == named
    assert set(found[1]) >= wider
    assert not set(found[0]) & set(found[1])


def test_every_module_has_tests() -> None:
    for path in modules(SUBPACKAGES):
        assert any(selected_tests(path)) or not mutants(path), path


def test_equivalent_mutants() -> None:
    """Each one listed can still be made."""
    subpackages = {Path(path).parts[1] for path, *_ in EQUIVALENT}
    assert EQUIVALENT.keys() <= {mutant.key for path in modules(sorted(subpackages)) for mutant in mutants(path)}
    assert all(EQUIVALENT.values())


def test_sample(capsys: pytest.CaptureFixture[str]) -> None:
    def sample(*words: str) -> list[str]:
        assert main(["--list", *words]) == 0
        return capsys.readouterr().out.splitlines()

    ten = sample("--count", "10")
    assert len(set(ten)) == 10
    assert sample("--count", "10", "--skip", "4") == ten[4:]
    assert sample("--count", "10", "--seed", "2") != ten
    own = sample("--count", "10000", "analysis/chinchilla.py")
    assert len(own) == len(mutants(CHINCHILLA))
    assert all(line.startswith(f"{CHINCHILLA}:") for line in own)


def test_report(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Survivors are printed and decide the exit code; equivalent mutants are not tried."""
    every = mutants(CHINCHILLA)
    verdicts = dict.fromkeys(every, "named tests") | {every[1]: "", every[2]: "no end"}
    tried: list[Mutant] = []

    class Copy:
        def __init__(self, _folder: Path, _paths: list[str]) -> None:
            pass

        def verdict(self, mutant: Mutant) -> str:
            tried.append(mutant)
            return verdicts[mutant]

    monkeypatch.setattr(script, "Copy", Copy)
    monkeypatch.setattr(script, "EQUIVALENT", {every[0].key: "why"})
    monkeypatch.setattr(script, "PRELOADED", ())
    monkeypatch.setenv("HYPOTHESIS_STORAGE_DIRECTORY", "")
    assert main(["analysis/chinchilla.py"]) == 1
    said = capsys.readouterr().out
    assert {every[0].key} | {mutant.key for mutant in tried} == {mutant.key for mutant in every}
    assert every[0] not in tried
    assert said.count("survived: ") == 2
    assert every[1].change in said
    count = len(every)
    assert f"{count} of {count} mutants" in said
    assert f"{count - 2} killed ({(count - 2) / (count - 1):.1%} of the others)" in said
    verdicts[every[1]] = "wider tests"
    assert main(["analysis/chinchilla.py"]) == 0
    assert "survived" not in capsys.readouterr().out


def test_script(tmp_path: Path) -> None:
    """A mutant, really tried: nothing is left behind, and the checkout stays as it is."""
    before = (ROOT / CHINCHILLA).read_bytes()
    command = [sys.executable, str(ROOT / "benchmarks" / "mutants.py"), "analysis/chinchilla.py", "--count", "1"]
    done = subprocess.run(
        [*command, "--verbose"],
        capture_output=True,
        cwd=tmp_path,
        env={"TMPDIR": str(tmp_path), "HOME": str(tmp_path)},
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("named tests: ") == 2
    assert "1 killed (100.0% of the others)" in done.stdout
    assert (ROOT / CHINCHILLA).read_bytes() == before
    assert not list(tmp_path.iterdir())

"""Mutated input of every kind through every command, drawn by hypothesis from the fuzzer's generators."""

from __future__ import annotations

import inspect
import time
from pathlib import Path
from random import Random

import pytest
import typer.main
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzzing import run
from tests.fuzzing.checks import CHECKS, Outcome, findings
from tests.fuzzing.inputs import KINDS, LLAMA, LLAMA_TENSORS, TOY, TOY_TENSORS, Case, encode_json, make_case
from tests.fuzzing.known_gaps import KNOWN_GAPS, gap_of, new_findings
from tests.fuzzing.mutate import safetensors_file
from tests.fuzzing.run import repeat_if_slow, reuse_parsers, run_here, run_process
from tinylm_cli.cli import app

EXAMPLES = {
    "yaml": 60,
    "hugging face": 60,
    "hardware": 30,
    "command line": 60,
    "set": 40,
    "plan": 10,
    "assertion": 30,
    "completion": 5,
    "model command line": 20,
    "safetensors": 30,
    "index folder": 20,
    "gguf": 30,
    "adapter": 30,
}
"""Inputs of each kind, some 15 seconds in all; ``benchmarks/fuzz.py`` tries more."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder whose parent is private too: a command line may name it as ``..``."""
    return tmp_path_factory.mktemp("fuzzing") / "run" / "case"


def cases(kind: str) -> st.SearchStrategy[Case]:
    """Draw inputs of one kind, from seeds for breadth, and from draws that hypothesis can shrink."""
    seeded = st.integers(0, 2**32).map(Random)
    return st.one_of(seeded, seeded, st.randoms(use_true_random=False)).map(KINDS[kind][0])


def assert_sound(case: Case, folder: Path) -> None:
    outcome = repeat_if_slow(run_here, case, folder)
    new = new_findings(case.kind, findings(case, outcome))
    assert not new, f"{case.script()}\n{case.files}\n{outcome}"


@pytest.mark.usefixtures("_reused_parsers")
@pytest.mark.parametrize("kind", KINDS)
def test_any_input(kind: str, folder: Path) -> None:
    quick = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example]

    @settings(max_examples=EXAMPLES[kind], suppress_health_check=quick)
    @given(case=cases(kind))
    def check(case: Case) -> None:
        assert_sound(case, folder)

    check()


@pytest.mark.parametrize("number", range(6))
def test_real_processes(number: int, folder: Path) -> None:
    """What runs in this process runs alike as a process: the same exit code, the same output."""
    case = make_case(7, number, ("yaml", "hugging face", "command line", "set"))
    here, process = run_here(case, folder), run_process(case, folder)
    assert not new_findings(case.kind, findings(case, process))
    assert (process.code, process.out, process.err) == (here.code, here.out, here.err)


@pytest.mark.parametrize(
    ("seconds", "reference", "slow"),
    [
        ([1.9, 0, 0], 0.045, False),
        ([2.1, 2.3, 2.2], 0.045, True),
        ([2.1, 2.3, 1.9], 0.045, False),
        ([2.1, 2.3, 2.2], 0.09, False),
        ([4.1, 4.3, 4.2], 0.09, True),
        ([2.1, 2.3, 2.2], 0.02, True),
    ],
)
def test_slow_case(
    seconds: list[float], reference: float, slow: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The fastest of three runs decides, in proportion to the speed of the machine."""
    runs = iter(seconds)
    monkeypatch.setattr(run, "reference_seconds", lambda: reference)
    case = Case("set", ("params", "tiny"))
    outcome = repeat_if_slow(lambda *_: Outcome(0, "x\n", "", next(runs)), case, tmp_path)
    assert [finding.check for finding in findings(case, outcome)] == ["time"] * slow


def test_reused_parsers(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A parser that was built for another command line and reused gives the same outcome."""
    for module, name in ((app, "create_app"), (typer.main, "get_command")):
        monkeypatch.setattr(module, name, inspect.unwrap(getattr(module, name)))  # which other tests reuse
    cases = [make_case(11, number, ("command line", "set", "completion")) for number in range(60)]
    fresh = [run_here(case, folder)[:3] for case in cases]
    reuse_parsers()
    assert [run_here(case, folder)[:3] for case in cases] == fresh
    assert app.create_app(("params",)) is app.create_app(("params",))


def test_hangs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that waits hangs, and one that computes for too long; one that shares its core does not."""
    case, seconds = Case("set", ("list",)), 0.25

    def compute(until: float) -> int:
        while time.process_time() < until:
            pass
        return 0

    def share_the_core() -> int:
        for _ in range(8):  # more than 0.7 s, including 0.12 s of computing
            compute(time.process_time() + 0.015)
            time.sleep(0.075)
        return 0

    outcomes = {}
    for name, command in (
        ("waits", lambda: time.sleep(5)),
        ("computes", lambda: compute(time.process_time() + 5)),
        ("shares", share_the_core),
    ):
        monkeypatch.setattr(app, "run", lambda _, command=command: command())
        outcomes[name] = run_here(case, folder, timeout=seconds).code
    assert outcomes == {"waits": None, "computes": None, "shares": 0}


def test_a_process_can_get_every_word() -> None:
    assert "\0" not in "".join(make_case(2035, 372_800).arguments)  # the name of a GPU had one


def test_cases_are_reproducible() -> None:
    for number in range(60):
        assert make_case(3, number) == make_case(3, number)
    assert make_case(3, 1) != make_case(4, 1)


def test_inputs_reach_every_exit_code(folder: Path) -> None:
    """Mutations leave some inputs valid: wrong ones alone would never reach the reports."""
    kinds = ("yaml", "hugging face", "set", "assertion")
    codes = {run_here(make_case(0, number, kinds), folder).code for number in range(60)}
    assert codes == {0, 1, 2}


@pytest.mark.parametrize("kind", ["saved", "hub"])
def test_weights_are_valid_before_they_are_mutated(kind: str, folder: Path) -> None:
    tensors = TOY_TENSORS if kind == "saved" else LLAMA_TENSORS
    config = {"w/config.yaml": TOY.encode()} if kind == "saved" else {"w/config.json": encode_json(LLAMA)}
    files = {**config, "w/model.safetensors": safetensors_file(tensors)}
    outcome = run_here(Case("", ("build", "--weights", "w"), files, uses_torch=True), folder)
    assert outcome.code == 0, outcome


def test_command_lines_stay_in_their_folder() -> None:
    """Commands write where they are told, and search the folders that they are given."""
    for number in range(400):
        case = make_case(5, number, ("command line", "model command line"))
        for word in case.arguments:
            name = word.partition("=")[2] if word.startswith("-") else word
            assert not name.startswith("/"), case.arguments
            assert "../" not in word, case.arguments
        assert not {"--install-completion", "--debug"} & set(case.arguments)


def test_known_gaps(folder: Path) -> None:
    """A gap whose example passes is mended: delete its entry from ``known_gaps.py``."""
    for gap in KNOWN_GAPS:
        assert gap.check in CHECKS
        if gap.example is not None:
            found = findings(gap.example, run_here(gap.example, folder))
            assert gap in [gap_of(gap.example.kind, each) for each in found], f"mended, delete the gap: {gap.reason}"


@pytest.mark.parametrize("name", ["w/config.json", "w/model.safetensors"])
@pytest.mark.parametrize("what", ["fifo", "folder", "sparse", "/dev/zero", "absent"])
def test_special_files(name: str, what: str, folder: Path) -> None:
    files = {"w/config.json": encode_json(LLAMA), "w/model.safetensors": safetensors_file(LLAMA_TENSORS)}
    del files[name]
    case = Case("safetensors", ("import", "w", "--weights", "-o", "out"), files, special={name: what}, uses_torch=True)
    outcome = run_here(case, folder, timeout=10)
    assert outcome.code == 2
    assert not new_findings(case.kind, findings(case, outcome)), outcome


def test_kinds() -> None:
    assert EXAMPLES.keys() == KINDS.keys()
    for generator, share in KINDS.values():
        assert share > 0
        assert generator(Random(1)).kind in KINDS


@pytest.mark.parametrize("code_points", [(0xDCFF,), (0xD800,), (0xDCFF, 0xD800)])
def test_words_with_surrogates(code_points: tuple[int, ...], tmp_path: Path) -> None:
    """A process can be given any word that an input has."""
    word = "".join(map(chr, code_points))
    assert run_process(Case("command line", ("show", word)), tmp_path / "case").code == 2

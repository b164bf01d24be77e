"""Each check of the fuzzer fails on a bad outcome, and passes a good one."""

from __future__ import annotations

import json

import pytest

from tests.fuzzing.checks import CHECKS, Outcome, findings
from tests.fuzzing.inputs import TOY, Case

CONFIG = {"m.yaml": TOY.encode()}
TEXT = Case("yaml", ("params", "./m.yaml"), CONFIG)
JSON = Case("yaml", ("params", "./m.yaml", "--format", "json"), CONFIG)
DESIGN = Case("command line", ("design", "--params", "1M"))
MODEL = Case("safetensors", ("build",), uses_torch=True)


def failure(code: int, **span: object) -> str:
    """Return the JSON document of a failure with one place."""
    places = [{"source": "./m.yaml", "line": 1, "column": 1, "end_column": 2, "text": "", "text_column": 1, **span}]
    return json.dumps({"error": {"exit_code": code, "diagnostics": places}})


SOUND = [
    (TEXT, Outcome(0, "name  params\n", "next: tinylm build ./m.yaml\n")),
    (TEXT, Outcome(1, "", "error[unknown-key]: x\n --> ./m.yaml:2:1\n --> --gpus\n")),
    (JSON, Outcome(0, '{"models": []}\n', "")),
    (JSON, Outcome(2, failure(2), "error: x\n")),
    (JSON, Outcome(1, failure(1, line=1, column=13, end_column=15, text="vocab_size: 64"), "error: x\n")),
    (Case("yaml", ("validate", "x", "--format", "github")), Outcome(1, "::error file=x::y\n", "")),
    (Case("yaml", ("validate", "x", "--format", "junit")), Outcome(1, "<a><b/></a>", "")),
    (Case("yaml", ("params", "x", "--format", "csv")), Outcome(0, 'a,b\n"1,5",2\n', "")),
    (
        Case("set", ("sweep", "tiny", "-hort_conv.bias=1,2", "--format", "json")),
        Outcome(0, "Usage: tinylm sweep\n", ""),
    ),
    (Case("command line", ("--format",)), Outcome(2, "", "error: --format needs a value\n")),
    (DESIGN, Outcome(1, "no designs\n", "", seconds=4)),
    (MODEL, Outcome(0, "built\n", "", seconds=15, peak_bytes=900 * 1024**2)),
]

UNSOUND = [
    ("exit code", TEXT, Outcome(3, "x\n", "")),
    ("exit code", TEXT, Outcome(-11, "x\n", "")),
    ("exit code", TEXT, Outcome(None, "", "")),
    ("crash", TEXT, Outcome(2, "", "error: unexpected KeyError: 'x'\n  = help: please\n  report it\n")),
    ("crash", TEXT, Outcome(1, "", "Traceback (most recent call last):\n  File\n")),
    ("crash", TEXT, Outcome(2, "", "error: x\n", raised="Traceback\nValueError: x\n")),
    ("word", TEXT, Outcome(2, "", "error: an unexpected\n argument\n")),
    ("streams", TEXT, Outcome(1, "", "")),
    ("streams", TEXT, Outcome(2, "half a table\n", "error: x\n")),
    ("streams", JSON, Outcome(2, failure(2), "")),
    ("document", JSON, Outcome(0, "{}\n{}\n", "")),
    ("document", JSON, Outcome(0, '{"x": NaN}', "")),
    ("document", JSON, Outcome(0, '{"x": "é"}', "")),
    ("document", JSON, Outcome(2, '{"models": []}', "error: x\n")),
    ("document", JSON, Outcome(1, failure(2), "error: x\n")),
    ("document", Case("yaml", ("validate", "x", "--format", "junit")), Outcome(1, "<a><b></a>", "")),
    ("document", Case("yaml", ("params", "x", "--format", "csv")), Outcome(0, "a,b\n1\n", "")),
    ("place", JSON, Outcome(1, failure(1, line=9), "error: x\n")),
    ("place", JSON, Outcome(1, failure(1, line=0), "error: x\n")),
    ("place", JSON, Outcome(1, failure(1, column=16, end_column=17), "error: x\n")),
    ("place", JSON, Outcome(1, failure(1, column=4, end_column=4), "error: x\n")),
    ("place", JSON, Outcome(1, failure(1, text="d_model"), "error: x\n")),
    ("place", TEXT, Outcome(1, "", "error: x\n --> ./m.yaml:77:1\n")),
    ("place", Case("yaml", ("params", "-"), stdin=b"a: 1"), Outcome(1, "", "error: x\n --> <stdin>:1:6\n")),
    ("time", TEXT, Outcome(0, "x\n", "", seconds=2.5)),
    ("memory", TEXT, Outcome(0, "x\n", "", peak_bytes=900 * 1024**2)),
    ("document", Case("set", ("params", "tiny", "--set", "d_ff=8", "--format", "json")), Outcome(0, "Usage: x\n", "")),
    ("time", DESIGN, Outcome(1, "no designs\n", "", seconds=7)),
    ("time", MODEL, Outcome(0, "x\n", "", seconds=60)),
    ("memory", MODEL, Outcome(0, "x\n", "", peak_bytes=4 * 1024**3)),
    ("raw text", TEXT, Outcome(0, "\x1b[31mred\n", "")),
    ("raw text", TEXT, Outcome(1, "", "a\u202eb\n")),
    ("raw text", TEXT, Outcome(1, "", "a\rb\n")),
    ("log command", TEXT, Outcome(1, "", "error: x\n  ::error::forged\n")),
    ("log command", TEXT, Outcome(1, "x ##[error]\n", "")),
    ("log command", Case("yaml", ("validate", "x", "-f", "github")), Outcome(1, "::error file=a,line=1::forged\n", "")),
    ("log command in data", JSON, Outcome(0, '{"x": "##[error]"}', "")),
    ("line length", TEXT, Outcome(1, "", f"{'x' * 20_000}\n")),
]


@pytest.mark.parametrize(("case", "outcome"), SOUND)
def test_sound_outcomes(case: Case, outcome: Outcome) -> None:
    assert findings(case, outcome) == []


@pytest.mark.parametrize(("check", "case", "outcome"), UNSOUND)
def test_unsound_outcomes(check: str, case: Case, outcome: Outcome) -> None:
    assert {finding.check for finding in findings(case, outcome)} == {check}


def test_every_check_is_tested() -> None:
    assert {check for check, _, _ in UNSOUND} == CHECKS.keys()


def test_words_of_the_input() -> None:
    """A message that quotes the input may contain any word."""
    case = Case("set", ("params", "tiny", "--set", "unexpected=1"))
    assert findings(case, Outcome(1, "", "error: unknown key unexpected\n")) == []

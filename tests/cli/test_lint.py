"""``tinylm lint``: its output, its exit codes and its formats for CI services."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.lint_cases import CLEAN, FILE
from tinylm_cli.reports.lint import TARGETS

Here = Callable[..., Any]
Golden = Callable[[str, str], None]

MIXED = ["gpt-oss-20b", "--for", "hf,vllm,gguf", "--tp", "16", "--set", "vocab_size=201083", "--set", "n_heads=40"]
"""A model with an error, warnings and notes, in a line too long for the terminal."""


@pytest.fixture
def mini(folder: Path) -> Path:
    (folder / FILE).write_text(CLEAN, encoding="utf-8")
    return folder


@pytest.mark.usefixtures("mini")
def test_clean(here: Here) -> None:
    done = here("lint", FILE, "--tp", "4")
    assert (done.code, done.err) == (0, f"next: tinylm estimate {FILE}\n")
    assert [line.split()[:2] for line in done.out.splitlines()[3:]] == [[target, "yes"] for target in TARGETS]


@pytest.mark.usefixtures("mini")
def test_verdict_of_one_target(here: Here) -> None:
    """Only requested targets decide the exit code."""
    words = ["lint", FILE, "--tp", "8"]
    assert here(*words).code == 1
    assert here(*words, "--for", "hf,gguf").code == 0
    failed = here(*words, "--for", "vllm")
    assert (failed.code, failed.err) == (1, "")
    assert "vllm    no, with 1 error" in failed.out
    assert f"--> {FILE}:4:10" in failed.out
    assert "= help: use --tp 4" in failed.out


@pytest.mark.usefixtures("mini")
def test_targets_of_a_finding(here: Here) -> None:
    """A message names the engine, or the targets that it concerns, unless there is only one."""
    change = ["--set", "d_ff=776"]
    both = " ".join(here("lint", FILE, "--for", "hf,vllm,gguf", *change).out.split())
    assert "(FP8 needs 16, MXFP4 needs 32) [hf, vllm]" in both
    assert both.count("[") == 3  # of two codes and of these targets
    assert "MXFP4 needs 32) [" not in " ".join(here("lint", FILE, "--for", "vllm", *change).out.split())


@pytest.mark.usefixtures("mini")
def test_strict(here: Here) -> None:
    words = ["lint", FILE, "--for", "vllm", "--tp", "4", "--set", "attention.n_kv_heads=2"]
    lenient, strict = here(*words), here(*words, "--strict")
    assert (lenient.code, strict.code) == (0, 1)
    assert "yes, with 1 warning" in lenient.out
    assert "no, with 1 error" in strict.out
    assert strict.out.count("error[tp-kv-replication]") == lenient.out.count("warning[tp-kv-replication]") == 1


@pytest.mark.usefixtures("mini")
def test_gpu(here: Here) -> None:
    """A V100 has no bfloat16, and an A100 no FP8; the guide of tensor cores is about NVIDIA."""

    def codes(gpu: str) -> list[str]:
        report = json.loads(here("lint", FILE, "--for", "hf", "--set", "d_ff=776", "--gpu", gpu, "-f", "json").out)
        return [each["diagnostic"]["code"] for each in report["findings"]]

    assert codes("v100") == []
    assert codes("a100") == ["tensor-core-multiple"]
    assert codes("h100") == ["tensor-core-multiple", "fp8-multiple"]
    assert codes("mi300x") == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--for", "vlm"], "unknown target vlm"),
        (["--for", ""], "unknown target"),
        (["--for", "hf,,vllm"], "unknown target"),
        (["--gpu", "h1000"], 'unknown GPU "h1000"'),
        (["--hardware", "own.yaml"], "--hardware has no effect without --gpu"),
        (["--tp", "0"], "--tp"),
    ],
)
def test_wrong_options(words: list[str], message: str, here: Here) -> None:
    done = here("lint", "toy.yaml", *words)
    assert (done.code, done.out) == (2, "")
    assert message in done.err
    assert "= help: " in done.err


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_screens(columns: int, here: Here, golden_words: Golden) -> None:
    done = here("lint", *MIXED, columns=columns)
    assert done.code == 1
    assert max(map(len, done.out.splitlines())) <= columns
    golden_words(f"lint-{columns}.txt", done.out)


def test_documents(here: Here, golden_json: Golden, golden_words: Golden) -> None:
    golden_json("lint", here("lint", *MIXED, "--format", "json").out)
    for format_, suffix in (("markdown", "md"), ("github", "github"), ("sarif", "sarif"), ("junit", "junit")):
        golden_words(f"lint.{suffix}", here("lint", *MIXED, "--format", format_).out)


def test_severities(here: Here) -> None:
    """Each format tells errors, warnings and notes apart."""
    document = json.loads(here("lint", *MIXED, "--format", "json").out)
    severities = [each["diagnostic"]["severity"] for each in document["findings"]]
    assert severities == sorted(severities, key=["error", "warning", "note"].index)
    count = {severity: severities.count(severity) for severity in ("error", "warning", "note")}
    assert min(count.values()) >= 1
    github = here("lint", *MIXED, "--format", "github").out
    assert [github.count(f"::{command} ") for command in ("error", "warning", "notice")] == [*count.values()]
    markdown = here("lint", *MIXED, "--format", "markdown").out
    assert [markdown.count(f"** {severity} ") for severity in ("warning", "note")] == [count["warning"], count["note"]]
    results = json.loads(here("lint", *MIXED, "--format", "sarif").out)["runs"][0]["results"]
    assert [each["level"] for each in results] == severities
    suite = ElementTree.fromstring(here("lint", *MIXED, "--format", "junit").out)[0]
    assert suite.attrib["failures"] == str(count["error"])
    assert [case[0].tag for case in suite] == ["failure"] * count["error"] + ["system-out"] * (
        count["warning"] + count["note"]
    )


def test_hugging_face_file(here: Here, folder: Path) -> None:
    """Findings about a config.json point at its keys."""
    (folder / "hub").mkdir()
    document = {"model_type": "llama", "hidden_size": 256, "num_attention_heads": 4, "num_hidden_layers": 2,
                "intermediate_size": 700, "vocab_size": 512}  # fmt: skip
    (folder / "hub" / "config.json").write_text(json.dumps(document, indent=1), encoding="utf-8")
    done = here("lint", "hub", "--for", "hf")
    assert done.code == 0
    assert "warning[tensor-core-multiple]: d_ff 700 is not a multiple of 8" in " ".join(done.out.split())
    assert "--> hub/config.json:6:23" in done.out

"""``tinylm check``: the checks of a model from the command line."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tinylm_cli.model.checks import run
from tinylm_cli.model.checks.check import Check, CheckContext, Outcome
from tinylm_cli.model.checks.tensors import closed_form

Here = Callable[..., Any]
Golden = Callable[[str, str], None]

TOY = ("check", "--config", "toy.yaml")


@pytest.fixture
def broken(here: Here, folder: Path) -> str:
    """Return a folder of weights that contain one NaN."""
    here("build", "--config", "toy.yaml", "--save", "model")
    path = folder / "model" / "model.safetensors"
    tensors = load_file(path)
    tensors["blocks.1.ln_2.weight"][3] = float("nan")
    save_file(tensors, path, metadata={"format": "pt"})
    return "model"


def test_documents(here: Here, golden_json: Golden) -> None:
    """Measurements depend on the machine; their presence, the statements and the results do not."""
    result = here(*TOY, "--format", "json")
    assert result.code == 0
    document = json.loads(result.out)
    for check in document["checks"]:
        assert check["measured"]
        check["measured"] = "<measured>"
        check["value"] = None if check["value"] is None else "<measured>"
        check["limit"] = "<of the machine's precision>" if check["limit"] else check["limit"]
    golden_json("check", json.dumps(document, indent=2) + "\n")


def test_csv(here: Here) -> None:
    rows = list(csv.DictReader(here(*TOY, "--format", "csv").out.splitlines()))
    assert list(rows[0]) == ["status", "name", "statement", "measured"]
    assert {row["status"] for row in rows} == {"pass"}
    assert all(row["statement"] and row["measured"] for row in rows)


def test_screen(here: Here) -> None:
    page = here(*TOY)
    lines = page.out.splitlines()
    assert lines[:2] == ["toy  float32 on cpu, seed 0", ""]
    checks = [line for line in lines if line.startswith("✓  ")]
    assert len(checks) >= 10
    assert len(lines) == 2 + len(checks) + 2, "one line each at 80 columns"
    full = here(*TOY, "--full").out.splitlines()
    assert len(full) == 2 + 2 * len(checks) + 2, "a statement and a measurement in one line each"
    assert lines[-2:] == ["", f"All {len(checks)} checks passed."]
    assert page.err == "next: tinylm generate toy.yaml\n"


def test_file_equals_screen(here: Here, folder: Path) -> None:
    page = here(*TOY, columns=100).out
    assert here(*TOY, "-o", "check.txt").out == ""
    written = (folder / "check.txt").read_text(encoding="utf-8")
    assert [line.split() for line in written.splitlines()] == [line.split() for line in page.splitlines()]


def test_results_come_one_by_one(
    here: Here, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A result is on the screen before the next check runs; JSON is whole or absent."""

    class Stop(BaseException):
        pass

    def stop(_: CheckContext) -> Outcome:
        raise Stop

    monkeypatch.setattr(run, "checks_for", lambda _: (closed_form, Check("stops", "never ends", stop)))
    with pytest.raises(Stop):
        here(*TOY)
    assert capsys.readouterr().out.splitlines()[2].startswith("✓  closed-form  ")
    with pytest.raises(Stop):
        here(*TOY, "--format", "json")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("columns", [40, 60, 80, 120])
def test_nothing_is_cut(columns: int, here: Here) -> None:
    changed = (*TOY, "--set", "max_len=1", "--dtype", "bfloat16")
    checks = json.loads(here(*changed, "--format", "json").out)["checks"]
    assert {check["status"] for check in checks} >= {"pass", "skip"}
    page = here(*changed, "--full", columns=columns).out
    assert "…" not in page
    words = " ".join(page.split())
    assert all(f"{check['name']} {check['statement']} {check['measured']}" in words for check in checks)


def test_markdown(here: Here) -> None:
    document = json.loads(here(*TOY, "--format", "json").out)
    page = here(*TOY, "--format", "markdown").out
    assert all(check["statement"].replace("_", r"\_") in page for check in document["checks"])


def test_failed_checks_exit_1(broken: str, here: Here) -> None:
    result = here("check", "--weights", broken, "--format", "json")
    assert result.code == 1
    document = json.loads(result.out)
    assert "error" not in document, "a failed check is the report, not a failure to report"
    failed = [check for check in document["checks"] if check["status"] == "fail"]
    assert failed
    assert (document["failed"], document["weights"]) == (len(failed), broken)

    page = here("check", "--weights", broken)
    assert page.code == 1
    noted = "1 of 51 parameter tensors in model contain NaN or infinity:\nblocks.1.ln_2.weight."
    assert page.err == f"{noted}\nnext: tinylm forward --weights model\n", "which shows where values go wrong"
    words = " ".join(page.out.split())
    names = ", ".join(check["name"] for check in failed)
    assert f"{len(failed)} of {document['passed'] + len(failed)} checks failed" in words
    assert words.endswith(f": {names}.")
    for check in failed:
        assert f"✗ {check['name']} {check['statement']} {' '.join(check['measured'].split())}" in words, "in full"


def test_loaded_weights(here: Here) -> None:
    here("build", "--config", "toy.yaml", "--dtype", "float64", "--save", "model")
    document = json.loads(here("check", "--weights", "model", "--format", "json").out)
    assert (document["dtype"], document["weights"], document["failed"]) == ("float64", "model", 0)
    assert document["seed"] is None, "which is of new weights"


def test_options_reach_the_model(here: Here) -> None:
    document = json.loads(
        here(*TOY, "--seed", "3", "--dtype", "float64", "--set", "tie_weights=false", "--format", "json").out
    )
    assert (document["seed"], document["dtype"]) == (3, "float64")
    names = {check["name"] for check in document["checks"]}
    assert "untied" in names
    assert "tied-identity" not in names
    assert here(*TOY, "--device", "abacus").code == 2


def test_model_too_large(here: Here) -> None:
    result = here("check", "--config", "base", "--set", "n_layers=30000")
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith("error: building base needs ")
    assert "--meta" not in result.err


def test_global_generator_kept(here: Here) -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    here(*TOY)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("kind", "outputs"),
    [("sequence_classification", "scores"), ("token_classification", "scores"), ("none", "hidden states")],
)
def test_other_heads(kind: str, outputs: str, here: Here) -> None:
    """Statements name the outputs of the head, and the next step is a command that the model supports."""
    head = ("--set", f"head.kind={kind}", "--set", "tie_weights=false")
    page = here(*TOY, *head)
    assert page.code == 0
    assert "logit" not in page.out
    assert f"a sequence has the same {outputs} alone and in a batch" in " ".join(page.out.split())
    assert page.err == f"next: tinylm forward toy.yaml {' '.join(head)}\n"

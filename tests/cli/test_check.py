"""``tinylm check``: the laws of a model from the command line."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

Here = Callable[..., Any]
Golden = Callable[[str, str], None]

TOY = ("check", "--config", "toy.yaml")


@pytest.fixture
def broken(here: Here, folder: Path) -> str:
    """Return a folder of weights, one of which is not a number."""
    here("build", "--config", "toy.yaml", "--save", "model")
    path = folder / "model" / "model.safetensors"
    tensors = load_file(path)
    tensors["blocks.1.ln_2.weight"][3] = float("nan")
    save_file(tensors, path, metadata={"format": "pt"})
    return "model"


def test_documents(here: Here, golden_json: Golden) -> None:
    """What was measured depends on the machine; that it was, on which law and against what, does not."""
    result = here(*TOY, "--format", "json")
    assert result.code == 0
    document = json.loads(result.out)
    for law in document["laws"]:
        assert law["figure"]
        law["figure"] = "<measured>"
        law["value"] = None if law["value"] is None else "<measured>"
        law["limit"] = "<of the machine's precision>" if law["limit"] else law["limit"]
    golden_json("check", json.dumps(document, indent=2) + "\n")


def test_csv_names_each_law_and_how_it_went(here: Here) -> None:
    rows = list(csv.DictReader(here(*TOY, "--format", "csv").out.splitlines()))
    assert list(rows[0]) == ["status", "name", "claim", "figure"]
    assert {row["status"] for row in rows} == {"pass"}
    assert all(row["claim"] and row["figure"] for row in rows)


def test_the_screen_in_outline(here: Here) -> None:
    page = here(*TOY, columns=120)
    lines = page.out.splitlines()
    assert lines[0] == "toy  float32 on cpu, seed 0"
    laws = lines[3 : lines.index("", 3)]
    assert len(laws) >= 10
    assert all(line.startswith("✓ pass  ") for line in laws)
    assert lines[-1] == f"All {len(laws)} laws hold."
    assert page.err == "next: tinylm generate toy.yaml --tokens\n"


@pytest.mark.parametrize("columns", [40, 60, 80, 120])
def test_no_figure_and_no_reason_is_cut(columns: int, here: Here) -> None:
    changed = (*TOY, "--set", "max_len=1", "--dtype", "bfloat16")
    laws = json.loads(here(*changed, "--format", "json").out)["laws"]
    assert {law["status"] for law in laws} >= {"pass", "skip"}
    page = here(*changed, columns=columns).out
    assert "…" not in page
    words = " ".join(page.split())
    assert all(f"{law['name']} {law['figure']}" in words for law in laws)


def test_markdown_says_what_each_law_claims(here: Here) -> None:
    document = json.loads(here(*TOY, "--format", "json").out)
    page = here(*TOY, "--format", "markdown").out
    assert all(law["claim"].replace("_", r"\_") in page for law in document["laws"])


def test_weights_that_break_a_law_are_status_1(broken: str, here: Here) -> None:
    result = here("check", "--weights", broken, "--format", "json")
    assert result.code == 1
    document = json.loads(result.out)
    assert "error" not in document, "a law that fails is the report, not a failure to report"
    failed = [law for law in document["laws"] if law["status"] == "fail"]
    assert failed
    assert (document["failed"], document["weights"]) == (len(failed), broken)

    page = here("check", "--weights", broken, columns=60)
    assert page.code == 1
    assert page.err == "next: tinylm forward --weights model --tokens\n", "which shows where values go wrong"
    assert f"{len(failed)} of {document['passed'] + len(failed)} laws broken" in page.out
    for law in failed:
        words = " ".join(page.out.split())
        assert f"✗ {law['name']}: {law['claim']}; measured: {' '.join(law['figure'].split())}" in words, "in full"


def test_loaded_weights_are_checked_where_they_are(here: Here) -> None:
    here("build", "--config", "toy.yaml", "--dtype", "float64", "--save", "model")
    document = json.loads(here("check", "--weights", "model", "--format", "json").out)
    assert (document["dtype"], document["weights"], document["failed"]) == ("float64", "model", 0)
    assert document["seed"] is None, "which is of new weights"


def test_options_reach_the_model(here: Here) -> None:
    document = json.loads(
        here(*TOY, "--seed", "3", "--dtype", "float64", "--set", "tie_weights=false", "--format", "json").out
    )
    assert (document["seed"], document["dtype"]) == (3, "float64")
    names = {law["name"] for law in document["laws"]}
    assert "untied" in names
    assert "tied-identity" not in names
    assert here(*TOY, "--device", "abacus").code == 2


def test_a_model_that_does_not_fit_is_refused(here: Here) -> None:
    result = here("check", "--config", "base", "--set", "n_layers=100000")
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith("error: building base needs ")
    assert "--meta" not in result.err


def test_the_caller_keeps_its_random_stream(here: Here) -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    here(*TOY)
    assert torch.equal(torch.get_rng_state(), before)

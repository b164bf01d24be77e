"""``tinylm list``: the shipped configs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Here = Callable[..., Any]
Golden = Callable[[str, str], None]


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_screens(columns: int, here: Here, golden_text: Golden) -> None:
    golden_text(f"list-{columns}.txt", here("list", columns=columns).out)


def test_documents(here: Here, golden_json: Golden, golden_text: Golden) -> None:
    document = json.loads(here("list", "--format", "json").out)
    for preset in document["presets"]:
        path = Path(preset["path"])
        assert path.is_file()
        preset["path"] = path.name
    golden_json("list", json.dumps(document, indent=2) + "\n")
    for format_, ending in (("markdown", "md"), ("csv", "csv"), ("latex", "tex")):
        golden_text(f"list.{ending}", here("list", "--format", format_).out)


def test_every_preset(here: Here) -> None:
    presets = json.loads(here("list", "--format", "json").out)["presets"]
    for preset in presets:
        (model,) = json.loads(here("params", "--config", preset["name"], "--format", "json").out)["models"]
        assert model["total_params"] == preset["total_params"]
    assert here("validate", *(preset["path"] for preset in presets)).code == 0


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_the_gallery_on_screen(columns: int, here: Here, golden_text: Golden) -> None:
    golden_text(f"list-gallery-{columns}.txt", here("list", "--gallery", columns=columns).out)


def test_gallery_counts_are_exact(here: Here) -> None:
    models = json.loads(here("list", "--gallery", "--format", "json").out)["presets"]
    assert {model["name"] for model in models} >= {"gpt2", "llama-3-8b", "deepseek-v2-lite"}
    for model in models:
        assert model["nominal_params"] == model["total_params"]
        assert Path(model["path"]).is_file()
    assert "the exact count equals it" in here("params", "--config", "gemma-2-2b").out
    assert here("list", "--gallery").err == "next: tinylm show llama-3-8b --origin\n"


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_accelerators_on_screen(columns: int, here: Here, golden_text: Golden) -> None:
    shown = here("list", "--hardware", columns=columns).out
    assert all(len(line) <= columns for line in shown.splitlines())
    golden_text(f"list-hardware-{columns}.txt", shown)


def test_accelerators_as_documents(here: Here, golden_json: Golden, golden_text: Golden) -> None:
    golden_json("list-hardware", here("list", "--hardware", "--format", "json").out)
    for format_, ending in (("markdown", "md"), ("csv", "csv"), ("latex", "tex")):
        golden_text(f"list-hardware.{ending}", here("list", "--hardware", "--format", format_).out)


def test_exclusive_options(here: Here) -> None:
    asked = here("list", "--hardware", "--gallery")
    assert (asked.code, asked.out) == (2, "")
    assert "remove one of them" in asked.err


def test_next_step(here: Here) -> None:
    assert here("list").err == "next: tinylm show small --origin\n"

"""``tinylm list``: the shipped configs."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tinylm_cli.interop.families import FAMILIES

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
    assert here("list", "--mixer", "rg_lru").err == "next: tinylm show recurrentgemma-2b --origin\n"


@pytest.mark.parametrize(
    ("filters", "others"),
    [
        ("--mixer mlstm --family phi", " of mlstm: xlstm-7b."),
        ("--mixer mamba --max-params 1M", " of mamba: falcon-mamba-7b, jamba-v0.1, zamba-7b."),
        ("--family phi --max-params 1", " of phi: phi-3-mini."),
        ("--mixer attention --max-params 1", " of attention: "),
        ("--max-params 1", ": "),
    ],
)
def test_list_without_a_match_names_the_nearest(filters: str, others: str, here: Here) -> None:
    found = here("list", *filters.split(), columns=400)
    assert found.out.startswith(f"No published model matches. Published models{others}")
    assert found.err == "", "no next step leads to a model that does not match"


def test_many_models_without_a_match(here: Here) -> None:
    """Many models are counted, with the smallest and largest of them."""
    sizes = [each["total_params"] for each in json.loads(here("list", "--gallery", "--format", "json").out)["presets"]]
    counted = f"Published models: {len(sizes)} models of {min(sizes):,} to {max(sizes):,} parameters.\n"
    assert here("list", "--max-params", "1", columns=400).out.endswith(counted)


@pytest.mark.parametrize(("columns", "hidden"), [(60, "active"), (80, "other mixers"), (120, "n_layers")])
def test_gallery_states_caches_and_hidden_columns(columns: int, hidden: str, here: Here) -> None:
    """A recurrent model has states and no cache, and the columns that do not fit are named at every width."""
    shown = here("list", "--gallery", columns=columns).out
    header, *lines = shown.splitlines()
    assert "  KV/token " in header
    assert hidden not in header
    (named,) = re.findall(r"Hidden columns?: ([^.]*)\.", shown)
    assert hidden in named
    (mamba,) = [line for line in lines if line.startswith("falcon-mamba-7b")]
    assert "  35.0 MiB" in mamba
    assert " 0 B" not in shown
    assert all(len(line) <= columns for line in lines)


def test_notes_explain_the_shown_columns(here: Here) -> None:
    """Without attention there is no column of the KV cache, and without recurrences none of states."""
    recurrent, attention = here("list", "--mixer", "rwkv").out, here("list", "--family", "phi").out
    assert "KV/token" not in recurrent
    assert "states: recurrent states of a sequence" in recurrent
    assert "KV/token: KV cache per token in bfloat16." in attention
    assert "states" not in attention


@pytest.mark.parametrize(
    ("filters", "matching"),
    [
        (("--family", "gemma", "--max-params", "4B"), ["gemma-2-2b", "gemma-3-1b", "gemma-3-4b", "recurrentgemma-2b"]),
        (("--mixer", "short_conv"), ["lfm2-1.2b"]),
        (("--mixer", "mamba2", "--max-params", "3B"), ["falcon-h1-0.5b", "mamba2-2.7b", "zamba2-2.7b"]),
        (("--min-params", "1026408209408"), ["kimi-k2"]),
        (("--min-params", "124439808", "--max-params", "124439808"), ["gpt2"]),
        (("--gallery", "--family", "phi", "--mixer", "attention"), ["phi-3-mini"]),
        (("--family", "phi", "--max-params", "1"), []),
    ],
)
def test_filters(filters: tuple[str, ...], matching: list[str], here: Here) -> None:
    asked = here("list", *filters, "--format", "json")
    assert [each["name"] for each in json.loads(asked.out)["presets"]] == matching
    shown = here("list", *filters).out
    if matching:
        assert [line.split()[0] for line in shown.partition("\n\n")[0].splitlines()[1:]] == matching
    else:
        assert shown.startswith("No published model matches. ")
        assert here("list", *filters, "--format", "csv").out.startswith("name,year,total_params,")
        for format_ in ("markdown", "latex"):
            assert "No published model matches." in here("list", *filters, "--format", format_).out


@pytest.mark.parametrize(
    ("wrong", "message", "remedy"),
    [
        (("--family", "qen"), "--family qen: no such name", "did you mean qwen?"),
        (("--mixer", "mamba-2"), "--mixer mamba-2: no such name", "did you mean mamba2?"),
        (("--mixer", "?"), "--mixer ?: no such name", "the names are attention, short_conv, mamba,"),
        (("--min-params", "2B", "--max-params", "1b"), "--min-params 2B exceeds --max-params 1b", "exchange them"),
        (("--max-params", "0"), "--max-params 0: expected a count >= 1", "for example --max-params 8B"),
        (("--hardware", "--mixer", "mamba2"), "--mixer cannot be combined with --hardware", "remove one of them"),
    ],
)
def test_invalid_filters(wrong: tuple[str, ...], message: str, remedy: str, here: Here) -> None:
    asked = here("list", *wrong)
    assert asked.code == 2
    assert message in asked.err
    assert remedy in asked.err


def test_cache_and_state_of_a_hybrid(here: Here) -> None:
    (model,) = json.loads(here("list", "--mixer", "short_conv", "--format", "json").out)["presets"]
    assert model["kv_cache_bytes_per_token"] == 6 * 2 * 8 * 64 * 2, (
        "layers with attention × K and V × heads × d_head × 2"
    )
    assert model["state_bytes_per_sequence"] == 10 * 2048 * 2 * 2, "convolutions × channels × kernel - 1 × 2"


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_accelerators_on_screen(columns: int, here: Here, golden_text: Golden) -> None:
    shown = here("list", "--hardware", columns=columns).out
    assert all(len(line) <= columns for line in shown.splitlines())
    golden_text(f"list-hardware-{columns}.txt", shown)


def test_accelerators_as_documents(here: Here, golden_json: Golden, golden_text: Golden) -> None:
    golden_json("list-hardware", here("list", "--hardware", "--format", "json").out)
    for format_, ending in (("markdown", "md"), ("csv", "csv"), ("latex", "tex")):
        golden_text(f"list-hardware.{ending}", here("list", "--hardware", "--format", format_).out)


@pytest.mark.parametrize("columns", [60, 120])
def test_families(columns: int, here: Here) -> None:
    lines = here("list", "--families", columns=columns).out.splitlines()
    assert all(len(line) <= columns for line in lines)
    reported = json.loads(here("list", "--families", "--format", "json").out)["families"]
    assert [each["model_type"] for each in reported] == sorted(FAMILIES)
    assert {"model_type": "llama", "title": "Llama", "architecture": "LlamaForCausalLM"} in reported


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--hardware", "--gallery"), "--gallery cannot be combined with --hardware"),
        (("--families", "--hardware"), "--families cannot be combined with --hardware"),
        (("--families", "--family", "llama"), "--family cannot be combined with --families"),
    ],
)
def test_exclusive_options(options: tuple[str, ...], message: str, here: Here) -> None:
    asked = here("list", *options)
    assert (asked.code, asked.out) == (2, "")
    assert asked.err.startswith(f"error: {message}\n")
    assert "remove one of them" in asked.err


def test_next_step(here: Here) -> None:
    assert here("list").err == "next: tinylm show small --origin\n"

"""``tinylm estimate``: its options, and what it shows."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

Here = Callable[..., Any]
Golden = Callable[[str, str], None]


def report(result: Any) -> dict[str, Any]:
    assert result.code == 0
    document: dict[str, Any] = json.loads(result.out)
    assert document["schema_version"] == 1
    return document


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_screens(columns: int, here: Here, golden_text: Golden) -> None:
    pages = (
        ["estimate", "--config", "toy.yaml"],
        ["estimate", "--config", "mixtral-8x7b", "--seq-len", "4096", "--batch-size", "4", "--recompute", "full"],
        ["estimate", "--config", "gemma-2-2b", "--by", "layer", "--attention", "full"],
    )
    shown = [f"$ tinylm {' '.join(page)}\n{here(*page, columns=columns).out}" for page in pages]
    assert all(len(line) <= columns for page in shown for line in page.splitlines()[1:])
    golden_text(f"estimate-{columns}.txt", "\n".join(shown))


def test_documents(here: Here, golden_json: Golden, golden_text: Golden) -> None:
    golden_json("estimate", here("estimate", "--config", "toy.yaml", "--format", "json").out)
    golden_text("estimate.md", here("estimate", "--config", "toy.yaml", "--format", "markdown").out)


def test_a_step_is_as_long_as_the_model_reads_unless_told(here: Here) -> None:
    assert report(here("estimate", "--format", "json"))["flops"]["seq_len"] == 1024
    told = report(here("estimate", "--seq-len", "12", "--batch-size", "3", "--dtype", "float32", "--format", "json"))
    assert (told["flops"]["seq_len"], told["flops"]["batch_size"]) == (12, 3)
    assert told["weights_bytes"] == 4 * told["total_params"]
    assert told["kv_cache_bytes"] == 3 * 12 * 4 * 2 * 128 * 4


def test_the_whole_square_costs_more_than_what_is_seen(here: Here) -> None:
    causal, full = (
        report(here("estimate", "--attention", attention, "--format", "json"))["flops"]["forward_flops"]
        for attention in ("causal", "full")
    )
    assert causal < full


def test_a_sequence_too_long_is_told_at_both_places(here: Here) -> None:
    result = here("estimate", "--config", "toy.yaml", "--set", "max_len=9", "--seq-len", "10")
    assert result.code == 1
    assert "--seq-len 10 is longer than max_len 9" in result.err
    assert "--seq-len:1:11" in result.err
    assert "1 | max_len=9" in result.err
    assert "--set max_len=10" in result.err


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--seq-len", "0"], 2, "--seq-len 0"),
        (["--batch-size", "-1"], 2, "--batch-size -1"),
        (["--by", "tensor"], 2, "expected component or layer"),
        (["--recompute", "ful"], 2, "did you mean full?"),
        (["--config", "llama-3-8"], 2, "did you mean llama-3-8b?"),
        (["--set", "n_heads=3"], 1, "n_heads 3"),
    ],
)
def test_what_does_not_fit_is_refused(words: list[str], code: int, said: str, here: Here) -> None:
    result = here("estimate", *words)
    assert result.code == code
    assert said in result.err
    assert "Traceback" not in result.err

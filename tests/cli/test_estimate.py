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
        ["estimate", "--config", "llama-3-8b", "--gpu", "h100", "--gpus", "16", "--price", "2"],
        ["estimate", "--config", "llama-3-8b", "--gpus", "8", "--plan", "pp=8,mb=16"],
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
    assert told["inference"]["cache_bytes"] == 3 * 12 * 4 * 2 * 128 * 4
    assert told["training"]["gradients_bytes"] == 4 * told["total_params"]
    assert told["training"]["master_bytes"] == 0


def test_the_whole_square_costs_more_than_what_is_seen(here: Here) -> None:
    causal, full = (
        report(here("estimate", "--attention", attention, "--format", "json"))["flops"]["forward_flops"]
        for attention in ("causal", "full")
    )
    assert causal < full


def test_a_kernel_is_that_of_training_and_of_inference_and_said_of_both(here: Here) -> None:
    words = ["estimate", "--config", "gemma-2-2b", "--attention-kernel"]
    told = {kernel: report(here(*words, kernel, "--format", "json")) for kernel in ("flash", "sdpa", "math")}
    for kernel, each in told.items():
        assert each["training"]["activations"]["attention_kernel"] == each["inference"]["attention_kernel"] == kernel
    for purpose, size in (("training", "peak_bytes"), ("inference", "prefill_bytes")):
        flash, own, written = (told[kernel][purpose][size] for kernel in ("flash", "sdpa", "math"))
        assert flash < own == written
    screen = " ".join(here(*words, "flash").out.split())
    assert "tinylm's own model keeps scores (soft-caps), as --attention-kernel sdpa counts." in screen
    assert "attention by flash" in screen
    assert "tinylm's own model keeps" not in here(*words, "sdpa").out


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
        (["--gpu", "h1000"], 2, "did you mean h100"),
        (["--gpu", "t4"], 2, "t4 does not multiply bfloat16"),
        (["--price", "2"], 2, "--price is about a GPU"),
        (["--hardware", "mine.yaml"], 2, "--hardware is about a GPU"),
        (["--gpu", "h100", "--hardware", "absent.yaml"], 2, "no such file"),
        (["--plan", "tp=2"], 2, "--plan divides work among GPUs"),
        (["--gpus", "4", "--plan", "auto"], 2, "--plan auto ranks by time"),
        (["--gpus", "0"], 2, "--gpus 0"),
        (["--gpus", "4", "--plan", "tp=8"], 1, "is 8 GPUs, and there are 4"),
        (["--gpus", "4", "--plan", "tp=2,tp=2"], 1, "tp is given twice"),
        (["--gpus", "4", "--plan", "zero=4"], 1, "zero is one of 0, 1, 2, 3"),
        (["--gpus", "4", "--plan", "tp=x,qq"], 1, "tp must be an integer"),
        (["--gpus", "4", "--plan", "tp=0"], 1, "not 0"),
        (["--gpus", "4", "--plan", ""], 1, "a plan has no"),
        (["--gpus", "3", "--plan", "tp=3"], 1, "tensor parallelism 3 does not divide n_heads 4"),
        (["--budget-tokens", "many"], 2, "--budget-tokens many"),
        (["--budget-tokens", "0"], 2, "--budget-tokens 0"),
        (["--utilisation", "2"], 2, "--utilisation 2"),
        (["--config", "llama-3-8b", "--gpu", "t4", "--dtype", "float16", "--gpus", "2"], 1, "no way to divide"),
    ],
)
def test_what_does_not_fit_is_refused(words: list[str], code: int, said: str, here: Here) -> None:
    result = here("estimate", *words)
    assert result.code == code
    assert said in result.err
    assert "Traceback" not in result.err


def test_a_plan_is_reported_with_what_would_make_it_fit(here: Here) -> None:
    words = ["--config", "llama-3-8b", "--gpu", "h100", "--gpus", "8", "--plan", "zero=0", "--seq-len", "512"]
    told = report(here("estimate", *words, "--format", "json"))
    assert told["plan"]["fits"] is False
    assert told["plan"]["fullest"]["total_bytes"] > told["capacity_bytes"] == told["plan"]["capacity_bytes"]
    assert told["plan"]["remedies"]
    assert told["alternatives"] == []


def test_the_quickest_plan_is_taken_where_none_is_given(here: Here) -> None:
    told = report(here("estimate", "--config", "llama-3-8b", "--gpu", "h100", "--gpus", "8", "--format", "json"))
    assert told["plan"] == told["alternatives"][0]
    assert all(plan["fits"] for plan in told["alternatives"])
    assert {plan["tokens_per_step"] for plan in told["alternatives"]} == {told["plan"]["tokens_per_step"]}


def test_a_budget_and_a_price_make_a_bill(here: Here) -> None:
    words = ["--gpu", "h100", "--budget-tokens", "1.5B", "--price", "2", "--utilisation", "0.5"]
    told = report(here("estimate", *words, "--format", "json"))["training_time"]
    assert told["budget_tokens"] == 1_500_000_000
    assert told["usd"] == pytest.approx(2 * told["gpu_hours"])
    assert told["seconds"] == pytest.approx(told["train_flops"] / (989.4e12 * 0.5), rel=0.01)

"""``tinylm estimate``: options and output."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.cli.json_report import report
from tinylm_cli.analysis.setups import PREFILL_TOKENS
from tinylm_cli.render.views.estimate import SECTIONS

Here = Callable[..., Any]
Golden = Callable[[str, str], None]


ANSWERS = (
    ["estimate", "toy.yaml"],
    ["estimate", "llama-3-8b", "--gpu", "rtx-4090", "--quantize", "int4"],
    ["estimate", "llama-3-8b", "--gpu", "h100", "--gpus", "16", "--price", "2"],
    ["estimate", "mixtral-8x7b", "--gpu", "h100", "--gpus", "2"],
    ["estimate", "llama-3-8b", "--gpu", "h100", "--gpus", "8", "--plan", "tp=2,zero=1", "--for", "training"],
    ["estimate", "gemma-2-2b", "--for", "serving", "--serving-batch-size", "16", "--serving-seq-len", "4k"],
)


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_the_answer_first(columns: int, here: Here, golden_text: Golden) -> None:
    shown = [here(*page, columns=columns) for page in ANSWERS]
    for page in shown:
        lines = [*page.out.splitlines(), *page.err.splitlines()]
        assert columns < 80 or len(lines) <= 23, "a screen of 24 rows, with the prompt"
        assert all(len(line) <= columns for line in page.out.splitlines())
    pages = [f"$ tinylm {' '.join(page)}\n{result.out}" for page, result in zip(ANSWERS, shown, strict=True)]
    golden_text(f"estimate-{columns}.txt", "\n".join(pages))


@pytest.mark.parametrize("price", ["", "--price 2"])
@pytest.mark.parametrize("model", ["gpt-oss-120b", "jamba-v0.1", "gemma-4-e2b", "kimi-linear-48b-a3b"])
def test_one_screen(model: str, price: str, here: Here) -> None:
    shown = here("estimate", model, "--gpu", "h100", "--gpus", "64", *price.split(), columns=80)
    assert ("--price USD adds the cost" in shown.out) == ("GPU hours" in shown.out and not price)
    assert len([*shown.out.splitlines(), *shown.err.splitlines()]) <= 23, "a screen of 24 rows, with the prompt"


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_full(columns: int, here: Here, golden_text: Golden) -> None:
    pages = (
        ["estimate", "toy.yaml"],
        ["estimate", "mixtral-8x7b", "--seq-len", "4k", "--batch-size", "4", "--recompute", "full"],
        ["estimate", "gemma-2-2b", "--by", "layer", "--attention-flops", "full"],
        ["estimate", "llama-3-8b", "--gpu", "h100", "--gpus", "16", "--price", "2"],
        ["estimate", "llama-3-8b", "--gpus", "8", "--plan", "pp=8,mb=16"],
        ["estimate", "llama-3-8b", "--gpu", "h100", "--gpus", "4", "--plan", "zero=1", "--batch-size", "2"],
        ["estimate", "gemma-2-2b", "--gpu", "t4", "--dtype", "float16", "--gpus", "2"],
        ["estimate", "gemma-2-2b", "--gpu", "rtx-4090", "--quantize", "int4", "--kv-cache-dtype", "int8"],
        [
            *("estimate", "gpt2", "--gpu", "t4", "--dtype", "float16"),
            *("--serving-batch-size", "1,2k", "--serving-seq-len", "1,8,64,512,1k"),
        ],
    )
    shown = [f"$ tinylm {' '.join(page)} --full\n{here(*page, '--full', columns=columns).out}" for page in pages]
    assert all(len(line) <= columns for page in shown for line in page.splitlines()[1:])
    golden_text(f"estimate-full-{columns}.txt", "\n".join(shown))


class TestSummary:
    """The summary shows figures of the full report."""

    def test_training(self, here: Here) -> None:
        words = ["estimate", "llama-3-8b", "--gpu", "h100", "--gpus", "16", "--price", "2", "--format", "json"]
        told = report(here(*words))
        summary, training = told["summary"]["training"], told["training"]
        assert summary["needed_bytes"] == training["plan"]["peak_stage"]["total_bytes"]
        assert summary["spare_bytes"] == told["capacity_bytes"] - summary["needed_bytes"]
        assert (summary["fits"], summary["plan"]) == (True, "cp=2,zero=1,mb=64")
        assert summary["step_seconds"] == pytest.approx(training["plan"]["step_seconds"])
        assert (summary["seconds"], summary["usd"]) == (training["time"]["seconds"], training["time"]["usd"])

    def test_serving(self, here: Here) -> None:
        words = ["estimate", "llama-3-8b", "--gpu", "rtx-4090", "--quantize", "int4", "--format", "json"]
        told = report(here(*words))
        summary, serving = told["summary"]["serving"], told["serving"]
        assert (summary["fits"], summary["weights_dtype"]) == (True, "int4")
        assert told["summary"]["training"]["fits"] is False
        assert summary["needed_bytes"] == serving["memory"]["total_bytes"]
        assert summary["kv_cache_bytes_per_token"] == 2 * 32 * 8 * 128 * 2
        assert summary["largest_batch_size"] == serving["grid"]["largest_batch_sizes"][-1]

    def test_training_before_serving(self, here: Here) -> None:
        out = here("estimate", "llama-3-8b", "--gpu", "rtx-4090", "--quantize", "int4").out
        assert out.index("Training on rtx-4090: does not fit") < out.index("Serving on rtx-4090: fits")
        both = here("estimate", "gpt2", "--gpu", "h100").out
        assert both.index("Training on h100-sxm: fits") < both.index("Serving on h100-sxm: fits")
        several = here("estimate", "qwen3-0.6b", "--gpu", "h100", "--gpus", "8").out
        assert several.index("Training on 8 × h100-sxm: fits") < several.index("Serving on one h100-sxm: fits")

    @pytest.mark.parametrize(("purpose", "other"), [("training", "serving"), ("serving", "training")])
    def test_one_purpose(self, purpose: str, other: str, here: Here) -> None:
        words = ["estimate", "gpt2", "--gpu", "h100", "--for", purpose]
        told = report(here(*words, "--format", "json"))
        assert (told[other], told["summary"][other]) == (None, None)
        assert told[purpose] == report(here(*words[:-2], "--format", "json"))[purpose]
        assert f"{other.title()} on" not in here(*words).out


class TestSection:
    def test_sections_are_parts_of_full(self, here: Here) -> None:
        words = ["estimate", "llama-3-8b", "--gpu", "h100", "--gpus", "2"]
        full = here(*words, "--full").out
        for section in SECTIONS:
            shown = here(*words, "--section", section).out
            assert shown.strip() in full

    def test_markdown(self, here: Here) -> None:
        out = here("estimate", "gpt2", "--section", "serving", "--format", "markdown").out
        assert out.startswith("### Serving")

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (["--section", "plan"], "add --gpu NAME and --gpus N"),
            (["--section", "plan", "--gpu", "h100"], "add --gpus N"),
            (["--section", "serving", "--for", "training"], "--section serving cannot be combined with --for training"),
            (["--section", "servin"], "did you mean serving?"),
            (["--section", "serving", "--full"], "remove one of them"),
            (["--section", "serving", "--format", "json"], "--section has no effect on JSON"),
            (["--full", "--format", "json"], "--full has no effect on JSON"),
        ],
    )
    def test_refused(self, words: list[str], said: str, here: Here) -> None:
        result = here("estimate", *words)
        assert (result.code, result.out) == (2, result.out)
        assert said in result.err


def test_amounts_with_units(here: Here) -> None:
    words = ["--seq-len", "8k", "--batch-size", "1k", "--serving-seq-len", "4k", "--prefill-tokens", "2k"]
    told = report(here("estimate", "llama-3-8b", *words, "--train-tokens", "500k", "--format", "json"))
    assert (told["training"]["memory"]["seq_len"], told["training"]["memory"]["batch_size"]) == (8192, 1000)
    assert (told["serving"]["memory"]["seq_len"], told["serving"]["memory"]["prefill_tokens"]) == (4096, 2048)
    assert told["summary"]["training"]["train_tokens"] == 500_000


def test_documents(here: Here, golden_json: Golden, golden_text: Golden) -> None:
    golden_json("estimate", here("estimate", "--config", "toy.yaml", "--format", "json").out)
    golden_text("estimate.md", here("estimate", "--config", "toy.yaml", "--format", "markdown", "--full").out)
    words = ["estimate", "--config", "toy.yaml", "--gpu", "h100", "--gpus", "4", "--plan", "auto", "--format"]
    tables = ("flops", "flops_per_token", "training_memory", "layouts", "plan", "traffic", "training_time")
    golden_text("estimate.csv", "\n".join(here(*words, "csv", "--table", table).out for table in tables))
    golden_text("estimate.tex", here(*words, "latex", "--full").out)


def test_default_seq_len_is_max_len(here: Here) -> None:
    assert report(here("estimate", "--format", "json"))["flops"]["seq_len"] == 1024
    told = report(here("estimate", "--seq-len", "12", "--batch-size", "3", "--dtype", "float32", "--format", "json"))
    assert (told["flops"]["seq_len"], told["flops"]["batch_size"]) == (12, 3)
    assert told["serving"]["memory"]["cache_bytes"] == 3 * 12 * 4 * 2 * 128 * 4
    assert told["training"]["memory"]["gradients_bytes"] == 4 * told["total_params"]
    assert told["training"]["memory"]["master_bytes"] == 0


def test_full_attention_costs_more_than_causal(here: Here) -> None:
    causal, full = (
        report(here("estimate", "--attention-flops", attention, "--format", "json"))["flops"]["forward_flops"]
        for attention in ("causal", "full")
    )
    assert causal < full


def test_attention_kernel(here: Here) -> None:
    words = ["estimate", "--config", "gemma-2-2b", "--attention-kernel"]
    told = {kernel: report(here(*words, kernel, "--format", "json")) for kernel in ("flash", "sdpa", "math")}
    for kernel, each in told.items():
        assert each["training"]["memory"]["activations"]["attention_kernel"] == kernel
        assert each["serving"]["memory"]["attention_kernel"] == kernel
    for purpose, size in (("training", "peak_bytes"), ("serving", "prefill_bytes")):
        flash, own, written = (told[kernel][purpose]["memory"][size] for kernel in ("flash", "sdpa", "math"))
        assert flash < own == written
    screen = " ".join(here(*words, "flash", "--full").out.split())
    assert "tinylm's own model saves the scores (because of soft-caps); --attention-kernel sdpa counts them." in screen
    assert "tinylm's own model saves" not in here(*words, "sdpa", "--full").out


SHORT_OF_MEMORY = (
    "llama-3-8b --gpu h100 --gpus 8 --plan zero=0 --seq-len 512",
    "llama-3-8b --gpu h100 --gpus 8 --plan tp=2,zero=1 --batch-size 16",
    "llama-3-8b --gpu h100 --gpus 8 --plan tp=4,pp=2,mb=4,schedule=gpipe --batch-size 8",
    "llama-3.1-8b --gpu h100 --gpus 8 --batch-size 8",
    "llama-3-8b --gpu t4 --dtype float16 --gpus 2",
    "mixtral-8x7b --gpu h100",
    "gpt2 --gpu rtx-4090 --batch-size 64",
    "llama-3-8b --gpu rtx-4090 --seq-len 2k --lora r=16",
    "llama-3-8b --gpu rtx-4090 --seq-len 2k --batch-size 4 --lora r=16",
    "gpt2 --gpu t4 --dtype float32 --batch-size 64 --optimizer sgd --recompute full",
)


OPTIONS = {
    "recompute": "--recompute",
    "optimizer": "--optimizer",
    "quantization": "--quantize",
    "n_gpus": "--gpus",
    "accelerator": "--gpu",
    "layout": "--plan",
}


OWN = {
    "training": {"batch_size": "--batch-size", "seq_len": "--seq-len"},
    "serving": {"batch_size": "--serving-batch-size", "seq_len": "--serving-seq-len"},
}


@pytest.mark.parametrize("words", SHORT_OF_MEMORY)
def test_remedies_make_it_fit(words: str, here: Here) -> None:
    asked = ["estimate", "--format", "json", "--config", *words.split()]
    told = report(here(*asked))
    short = [purpose for purpose in ("training", "serving") if not told[purpose]["fit"]["fits"]]
    assert "training" in short
    for purpose in short:
        fit, options = told[purpose]["fit"], {**OPTIONS, **OWN[purpose]}
        assert fit["needed_bytes"] > fit["capacity_bytes"] == told["capacity_bytes"]
        assert fit["remedies"]
        table = here("estimate", "--config", *words.split(), "--format", "csv", "--table", f"{purpose}_fit").out
        for remedy, row in zip(fit["remedies"], csv.DictReader(table.splitlines()), strict=True):
            changes = dict(change.split("=", 1) for change in row["changes"].split())
            assert list(changes) == [change["field"] for change in remedy["changes"]]
            more = [word for field, value in changes.items() for word in (options[field], value)]
            changed = report(here(*asked, *(word.replace("None", "auto") for word in more)))
            assert changed[purpose]["fit"]["fits"], more
            assert changed[purpose]["fit"]["remedies"] == []
            assert remedy["needed_bytes"] <= remedy["capacity_bytes"] == changed["capacity_bytes"]
            assert changed[purpose]["fit"]["needed_bytes"] == remedy["needed_bytes"]


def test_smallest_layout_where_none_fits(here: Here) -> None:
    words = ["--config", "llama-3-8b", "--gpu", "t4", "--dtype", "float16", "--gpus", "2"]
    told = report(here("estimate", *words, "--format", "json"))["training"]
    assert (told["plan"]["fits"], told["alternatives"], told["layouts_tried"]) == (False, [], 10)
    assert told["plan"]["peak_stage"]["total_bytes"] == told["fit"]["needed_bytes"]
    shown = here("estimate", *words, "--full")
    assert "None of the 10 layouts fits on t4; the smallest is 72.2 GiB short." in shown.out
    assert "--gpus 16" in shown.out
    assert "Inference memory" in shown.out
    assert shown.code == 0


def test_no_remedies_if_it_fits(here: Here) -> None:
    told = report(here("estimate", "--config", "gpt2", "--gpu", "h100", "--format", "json"))
    for purpose in ("training", "serving"):
        assert told[purpose]["fit"]["fits"]
        assert told[purpose]["fit"]["remedies"] == []
    assert "makes it fit" not in here("estimate", "--config", "gpt2", "--gpu", "h100", "--full").out
    unknown = report(here("estimate", "--config", "gpt2", "--format", "json"))
    assert (unknown["training"]["fit"], unknown["serving"]["fit"]) == (None, None)
    assert unknown["training"]["layouts_tried"] is None


def test_plan_is_a_valid_option(here: Here) -> None:
    words = ("estimate", "llama-3-8b", "--gpu", "h100", "--gpus", "8")
    summary, section = here(*words).out, here(*words, "--section", "plan").out
    assert "fastest of 48 that fit (68 tried)" in section
    plan = "--plan cp=2,zero=1,mb=128"
    assert f"\n        {plan}  (fastest of 48 that fit)\n" in summary
    assert f"\n{plan}\n" in section
    assert here(*words, *plan.split()).out == summary.replace("  (fastest of 48 that fit)", "")


def test_fastest_plan_by_default(here: Here) -> None:
    told = report(here("estimate", "--config", "llama-3-8b", "--gpu", "h100", "--gpus", "8", "--format", "json"))
    assert told["training"]["plan"] == told["training"]["alternatives"][0]
    assert all(plan["fits"] for plan in told["training"]["alternatives"])
    assert {plan["tokens_per_step"] for plan in told["training"]["alternatives"]} == {
        told["training"]["plan"]["tokens_per_step"]
    }


@pytest.mark.parametrize("plan", ["tp=2,zero=1", "pp=4,zero=1", "zero=3", "auto"])
def test_days_and_cost_of_the_plan(plan: str, here: Here) -> None:
    words = ["--config", "llama-3-8b", "--seq-len", "4096", "--gpu", "h100", "--gpus", "16", "--price", "2"]
    told = report(here("estimate", *words, "--plan", plan, "--format", "json"))
    made, time = told["training"]["plan"], told["training"]["time"]
    speed = made["tokens_per_step"] / made["step_seconds"]
    assert time["tokens_per_second"] == pytest.approx(speed)
    assert time["seconds"] == pytest.approx(time["train_tokens"] / speed)
    assert time["usd"] == pytest.approx(2 * 16 * time["seconds"] / 3600)
    assert time["utilization"] == made["utilization"] < made["kernel_efficiency"] == 0.55
    slower = report(here("estimate", *words, "--plan", plan, "--kernel-efficiency", "0.3", "--format", "json"))
    assert slower["training"]["time"]["usd"] > 1.5 * time["usd"]


def test_recomputation_takes_time(here: Here) -> None:
    words = ["--config", "llama-3-8b", "--seq-len", "4096", "--gpu", "h100", "--gpus", "16", "--plan", "zero=3"]
    none, full = (
        report(here("estimate", *words, "--recompute", how, "--format", "json"))["training"]["time"]["seconds"]
        for how in ("none", "full")
    )
    assert 1.2 < full / none < 4 / 3


def test_global_batch_and_micro_batches(here: Here) -> None:
    def batches(*words: str) -> tuple[int, int]:
        told = report(here("estimate", "--config", "llama-3-8b", "--gpus", "8", *words, "--format", "json"))[
            "training"
        ]["plan"]
        return told["layout"]["micro_batches"], told["tokens_per_step"]

    assert batches("--plan", "tp=2", "--global-batch-size", "64", "--batch-size", "2") == (8, 64 * 8192)
    assert batches("--plan", "tp=2,mb=3") == (3, 12 * 8192)
    assert batches("--plan", "tp=2,mb=3", "--global-batch-size", "12") == (3, 12 * 8192)
    assert batches("--plan", "tp=2") == (128, 2**22)
    assert batches() == (64, 2**22)
    assert batches("--gpu", "h100", "--global-batch-size", "24")[1] == 24 * 8192


def test_cost_from_tokens_and_price(here: Here) -> None:
    words = ["--gpu", "h100", "--train-tokens", "1.5B", "--price", "2", "--utilization", "0.5"]
    told = report(here("estimate", *words, "--format", "json"))["training"]["time"]
    assert told["train_tokens"] == 1_500_000_000
    assert told["usd"] == pytest.approx(2 * told["gpu_hours"])
    assert told["seconds"] == pytest.approx(told["train_flops"] / (989.4e12 * 0.5), rel=0.01)


def test_serving_grid(here: Here) -> None:
    words = ["--config", "llama-3-8b", "--serving-batch-size", "8,1", "--serving-seq-len", "2k,512,2048"]
    told = report(here("estimate", *words, "--format", "json"))["serving"]["grid"]
    assert (told["batch_sizes"], told["seq_lens"]) == ([1, 8], [512, 2048])
    asked = [(1, 512), (1, 2048), (8, 512), (8, 2048)]
    assert [(cell["batch_size"], cell["seq_len"]) for cell in told["cells"]] == asked
    assert all(cell["fits"] is None and cell["decode"] is None for cell in told["cells"])
    usual = report(here("estimate", "--seq-len", "100", "--batch-size", "3", "--format", "json"))
    assert usual["serving"]["grid"]["seq_lens"] == [64, 100, 256, 1024]
    assert usual["serving"]["grid"]["batch_sizes"] == [1, 3, 4, 16, 64, 256]
    assert usual["serving"]["memory"]["prefill_tokens"] == PREFILL_TOKENS


def test_decode_reads_quantized(here: Here) -> None:
    words = ["estimate", "--config", "llama-3-8b", "--gpu", "h100", "--format", "json"]
    plain = report(here(*words))
    small = report(here(*words, "--quantize", "int4", "--group-size", "64", "--kv-cache-dtype", "float8"))
    assert small["serving"]["memory"]["cache_bytes"] * 2 == plain["serving"]["memory"]["cache_bytes"]
    embedding, angles = 2 * 128_256 * 4096, 4 * 64
    for told in (plain, small):
        read = (
            told["serving"]["memory"]["weights_bytes"] - embedding - angles + told["serving"]["memory"]["cache_bytes"]
        )
        assert told["serving"]["time"]["decode"]["moved_bytes"] == read


def test_gradients_and_master_weights(here: Here) -> None:
    words = ["estimate", "--gpus", "2", "--plan", "zero=0", "--format", "json"]
    plain, wide = (report(here(*words, *more)) for more in ((), ("--grad-dtype", "float32", "--no-master-weights")))
    params = plain["total_params"]
    assert (plain["training"]["memory"]["gradients_bytes"], wide["training"]["memory"]["gradients_bytes"]) == (
        2 * params,
        4 * params,
    )
    assert (plain["training"]["memory"]["master_bytes"], wide["training"]["memory"]["master_bytes"]) == (4 * params, 0)
    named = {part["name"]: part["part_bytes"] for part in wide["training"]["plan"]["peak_stage"]["parts"]}
    assert named["gradients"] == 4 * params
    assert "master weights" not in named


def test_recomputation_row(here: Here) -> None:
    out = here("estimate", "--config", "llama-3-8b", "--recompute", "full", "--full", columns=100).out
    assert "recomputation" in out
    assert "of training without recomputation" in out
    assert "recomputation" not in here("estimate", "--config", "llama-3-8b", "--full", columns=100).out


def test_multi_token_prediction(here: Here) -> None:
    """Rows of training count the modules, serving does not run them, and the last stage has them."""
    modules = ("--set", "head.n_mtp_layers=2")
    document, plain = (json.loads(here("estimate", "tiny", *more, "--format", "json").out) for more in (modules, ()))
    flops = document["flops"]
    assert flops["train_flops"] == 3 * (flops["forward_flops"] + flops["mtp_flops"])
    assert flops["forward_flops"] == plain["flops"]["forward_flops"]
    assert document["serving"] == plain["serving"]
    assert document["training"]["memory"]["peak_bytes"] > plain["training"]["memory"]["peak_bytes"]
    assert "MTP modules" in here("estimate", "tiny", *modules, "--section", "flops").out
    assert "MTP modules" not in here("estimate", "tiny", "--section", "flops").out
    planned = here("estimate", "tiny", *modules, "--gpus", "4", "--plan", "pp=4", "--section", "plan").out
    assert "because of the head and the MTP modules" in " ".join(planned.split())


def test_csv_is_the_summary(here: Here) -> None:
    assert here("estimate", "--format", "csv").out.splitlines()[0] == "figure,value"


@pytest.mark.parametrize(
    ("kind", "n_labels"), [("sequence_classification", 2), ("token_classification", 2), ("none", 0)]
)
def test_other_heads(kind: str, n_labels: int, here: Here) -> None:
    """Fewer parameters by the LM head, in all figures; nothing is decoded, so that there is no KV cache."""
    d_model, vocab_size, tokens = 8, 256, 32
    untied = ("estimate", "toy.yaml", "--set", "tie_weights=false", "--set", "nominal_params=null")
    lm, other = (
        json.loads(here(*untied, "--set", f"head.kind={each}", "--format", "json").out) for each in ("lm", kind)
    )
    head = d_model * (vocab_size - n_labels)
    assert lm["total_params"] - other["total_params"] == head
    assert lm["flops"]["forward_flops"] - other["flops"]["forward_flops"] == 2 * tokens * head
    assert lm["serving"]["memory"]["weights_bytes"] - other["serving"]["memory"]["weights_bytes"] == 2 * head
    read = {"sequence_classification": 1, "token_classification": tokens, "none": 0}[kind]  # by the loss
    # scores in bfloat16 and log-probabilities in float32, with their gradients
    assert other["training"]["memory"]["logits_bytes"] == 2 * tokens * n_labels * 2 + 2 * read * n_labels * 4
    serving = other["serving"]
    assert serving["cache"] is None
    assert [serving["memory"][name] for name in ("cache_bytes", "decode_bytes")] == [0, 0]
    assert other["flops"]["decode_flops_per_token"] == 0
    page = here(*untied, "--set", f"head.kind={kind}").out
    assert "logit" not in page
    assert "KV" not in page
    assert ("no head, so no loss is counted" in " ".join(page.split())) == (kind == "none")

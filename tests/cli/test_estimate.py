"""``tinylm estimate``: its options, and what it shows."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tinylm_cli.analysis.setups import PREFILL_TOKENS
from tinylm_cli.render.views.estimate import SECTIONS

Here = Callable[..., Any]
Golden = Callable[[str, str], None]


def report(result: Any) -> dict[str, Any]:
    assert result.code == 0
    document: dict[str, Any] = json.loads(result.out)
    assert document["schema_version"] == 2
    return document


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
    """The few figures are those of the whole report."""

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

    def test_what_fits_leads(self, here: Here) -> None:
        out = here("estimate", "llama-3-8b", "--gpu", "rtx-4090", "--quantize", "int4").out
        assert out.index("Serving on rtx-4090: fits") < out.index("Training on 1 × rtx-4090: does not fit")
        both = here("estimate", "gpt2", "--gpu", "h100").out
        assert both.index("Training on 1 × h100-sxm: fits") < both.index("Serving on h100-sxm: fits")

    @pytest.mark.parametrize(("purpose", "other"), [("training", "serving"), ("serving", "training")])
    def test_for_one(self, purpose: str, other: str, here: Here) -> None:
        words = ["estimate", "gpt2", "--gpu", "h100", "--for", purpose]
        told = report(here(*words, "--format", "json"))
        assert (told[other], told["summary"][other]) == (None, None)
        assert told[purpose] == report(here(*words[:-2], "--format", "json"))[purpose]
        assert f"{other.title()} on" not in here(*words).out


class TestSection:
    def test_each_is_a_part_of_all(self, here: Here) -> None:
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
            (["--section", "plan"], "--section plan: there is nothing in it here"),
            (["--section", "servin"], "did you mean serving?"),
            (["--section", "serving", "--full"], "leave one of them out"),
            (["--section", "serving", "--format", "json"], "--section has no effect on JSON"),
            (["--full", "--format", "json"], "--full has no effect on JSON"),
        ],
    )
    def test_refused(self, words: list[str], said: str, here: Here) -> None:
        result = here("estimate", *words)
        assert (result.code, result.out) == (2, result.out)
        assert said in result.err


def test_amounts_as_they_are_typed(here: Here) -> None:
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


def test_a_step_is_as_long_as_the_model_reads_unless_told(here: Here) -> None:
    assert report(here("estimate", "--format", "json"))["flops"]["seq_len"] == 1024
    told = report(here("estimate", "--seq-len", "12", "--batch-size", "3", "--dtype", "float32", "--format", "json"))
    assert (told["flops"]["seq_len"], told["flops"]["batch_size"]) == (12, 3)
    assert told["serving"]["memory"]["cache_bytes"] == 3 * 12 * 4 * 2 * 128 * 4
    assert told["training"]["memory"]["gradients_bytes"] == 4 * told["total_params"]
    assert told["training"]["memory"]["master_bytes"] == 0


def test_the_whole_square_costs_more_than_what_is_seen(here: Here) -> None:
    causal, full = (
        report(here("estimate", "--attention-flops", attention, "--format", "json"))["flops"]["forward_flops"]
        for attention in ("causal", "full")
    )
    assert causal < full


def test_a_kernel_is_that_of_training_and_of_inference_and_said_of_both(here: Here) -> None:
    words = ["estimate", "--config", "gemma-2-2b", "--attention-kernel"]
    told = {kernel: report(here(*words, kernel, "--format", "json")) for kernel in ("flash", "sdpa", "math")}
    for kernel, each in told.items():
        assert each["training"]["memory"]["activations"]["attention_kernel"] == kernel
        assert each["serving"]["memory"]["attention_kernel"] == kernel
    for purpose, size in (("training", "peak_bytes"), ("serving", "prefill_bytes")):
        flash, own, written = (told[kernel][purpose]["memory"][size] for kernel in ("flash", "sdpa", "math"))
        assert flash < own == written
    screen = " ".join(here(*words, "flash", "--full").out.split())
    assert "tinylm's own model saves scores (soft-caps); --attention-kernel sdpa counts them." in screen
    assert "tinylm's own model saves" not in here(*words, "sdpa", "--full").out


def test_a_sequence_too_long_is_told_at_both_places(here: Here) -> None:
    result = here("estimate", "--config", "toy.yaml", "--set", "max_len=9", "--seq-len", "10")
    assert result.code == 1
    assert "--seq-len 10 is longer than max_len 9" in result.err
    assert "--seq-len:1:11" in result.err
    assert "1 | max_len=9" in result.err
    assert "--set max_len=10" in result.err


def test_everything_wrong_with_what_is_asked_is_told_at_once(here: Here) -> None:
    words = "--gpu h100sxm --seq-len 99999999 --gpus 8 --plan tp=3,foo=2 --train-tokens 15X"
    result = here("estimate", *words.split())
    assert (result.code, result.out) == (2, "")
    said = " ".join(result.err.split())
    for says in (
        "error[contradiction]: --seq-len 99999999 is longer than max_len 1024 of tiny",
        "error[contradiction]: tp 3 is 3 GPUs, and 8 is no multiple of that",
        "write --gpus 9, or change the plan",
        "tensor parallelism 3 does not divide n_heads 4",
        "tensor parallelism 3 does not divide d_ff 512",
        "error[unknown-key]: a plan has no foo=2 --> --plan:1:13",
        "error[unknown-gpu]: no GPU is called h100sxm --> --gpu:1:7",
        "did you mean h100-sxm?",
        "error[wrong-type]: --train-tokens 15X: expected a count",
        "for example --train-tokens 15B",
    ):
        assert says in said
    document = json.loads(here("estimate", *words.split(), "--format", "json").out)
    assert len(document["error"]["diagnostics"]) == result.err.count("error[") == 8


def test_a_shell_sees_mistakes_on_one_stream_and_a_report_on_the_other(tinylm: Here) -> None:
    wrong = tinylm("estimate", "--gpu", "h100sxm", "--gpus", "8", "--plan", "tp=3,\x1b[31m=2", "--train-tokens", "15X")
    assert (wrong.code, wrong.out) == (2, "")
    assert wrong.err.count("error[") == 7
    assert "\x1b" not in wrong.err
    short = tinylm("estimate", "--config", "llama-3.1-8b", "--gpu", "rtx-4090", "--gpus", "2", "--full")
    assert (short.code, short.err) == (
        0,
        "next: tinylm design --family llama --params 8030261248 --vocab-size 128256\n",
    )
    assert "The smallest is" in short.out
    assert "makes it fit" in short.out


def test_what_is_asked_is_read_beside_a_config_and_a_table_of_gpus_that_are_wrong(here: Here, folder: Path) -> None:
    (folder / "gpus.yaml").write_text("mine:\n  titel: A GPU\n", encoding="utf-8")
    words = "--set n_heads=3 --gpu mine --hardware gpus.yaml --gpus 6 --plan tp=4,cp=x --seq-len 9999999"
    result = here("estimate", *words.split())
    assert result.code == 2
    for place in ("--set:1:9", "gpus.yaml:2:3", "--plan:1:16"):
        assert f"--> {place}\n" in result.err
    assert "tp 4 is 4 GPUs, and 6 is no multiple of that" in result.err
    assert "--seq-len" not in result.err, "nothing is known of the longest sequence"


def test_what_the_sequence_and_the_replicas_decide_is_told_once_they_are_sure(here: Here) -> None:
    def said(*words: str) -> str:
        return str(here("estimate", "--gpus", "8", *words).err)

    assert "context parallelism 8 does not divide seq_len 12" in said("--plan", "cp=8", "--seq-len", "12")
    assert "context parallelism" not in said("--plan", "cp=8", "--seq-len", "99999")
    mixtral = ("--config", "mixtral-8x7b", "--seq-len", "64")
    assert "does not divide the 2 GPUs of data" in said(*mixtral, "--plan", "tp=4,ep=4")
    assert "GPUs of data" not in said(*mixtral, "--plan", "tp=4,ep=4,foo=1")


def test_a_type_that_a_gpu_does_not_multiply_is_told_with_those_it_does(here: Here) -> None:
    said = here("estimate", "--gpu", "V100").err
    assert "1 | --gpu V100" in said
    assert "1 | --dtype bfloat16" in said
    assert "write --dtype float16 or float32, or name another GPU" in " ".join(said.split())


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--seq-len", "0"], 2, "--seq-len 0"),
        (["--batch-size", "-1"], 2, "--batch-size -1"),
        (["--batch-size", "2G"], 2, "--batch-size 2G: expected an integer from 1 to 1,000,000,000"),
        (["--batch-size", "99999999999"], 2, "expected an integer from 1 to 1,000,000,000"),
        (["--seq-len", "8kk"], 2, "for example --seq-len 8k"),
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
        (["--gpus", "4", "--plan", "tp=8"], 2, "is 8 GPUs, and there are 4"),
        (["--gpus", "4", "--plan", "tp=2,tp=2"], 2, "tp is given twice"),
        (["--gpus", "4", "--plan", "zero=4"], 2, "zero is one of 0, 1, 2, 3"),
        (["--gpus", "4", "--plan", "tp=x,qq"], 2, "tp must be an integer"),
        (["--gpus", "4", "--plan", "tp=0"], 2, "not 0"),
        (["--gpus", "4", "--plan", "pp=1,vp=2"], 2, "chunks of layers need an interleaved 1f1b pipeline"),
        (["--gpus", "4", "--plan", "pp=2,schedule=gpipe,vp=2"], 2, "give pp=2 or more, and no gpipe"),
        (["--serving-seq-len", "1kk"], 2, "for example --serving-seq-len 4k,32k"),
        (["--gpus", "4", "--plan", ""], 2, "a word of the plan is empty"),
        (["--gpus", "3", "--plan", "tp=3"], 1, "tensor parallelism 3 does not divide n_heads 4"),
        (["--train-tokens", "many"], 2, "--train-tokens many"),
        (["--train-tokens", "0"], 2, "--train-tokens 0"),
        (["--utilization", "0.5"], 2, "--utilization is about a GPU"),
        (["--kernel-efficiency", "0.5"], 2, "--kernel-efficiency is about a GPU"),
        (["--gpu", "h100", "--kernel-efficiency", "0.5"], 2, "give --utilization for one GPU"),
        (["--gpu", "h100", "--gpus", "8", "--utilization", "0.5"], 2, "give --kernel-efficiency"),
        (["--global-batch-size", "8"], 2, "--global-batch-size is divided among several GPUs"),
        (["--gpus", "4", "--plan", "tp=2", "--global-batch-size", "3"], 2, "for example --global-batch-size 4"),
        (["--gpus", "4", "--plan", "tp=2,mb=3", "--global-batch-size", "4"], 2, "leave mb out of the plan"),
        (["--gpus", "4", "--plan", "pp=2,vp=2,mb=3"], 2, "for example mb=4"),
        (["--gpus", "4", "--plan", "pp=2,vp=2", "--global-batch-size", "6"], 1, "for example mb=4"),
        (["--gpu", "h100", "--gpus", "5", "--global-batch-size", "7"], 1, "for example a global batch of 5 sequences"),
        (["--quantize", "int3"], 2, "expected none, int8, float8 or int4"),
        (["--quantize", "int8", "--group-size", "64"], 2, "--group-size is for int4"),
        (["--quantize-head"], 2, "--quantize-head needs --quantize"),
        (["--dtype", "float32", "--no-master-weights"], 2, "--no-master-weights is about weights in 16 bits"),
        (["--kv-cache-dtype", "int4"], 2, "expected bfloat16, float16, float32"),
        (["--serving-batch-size", "1,x,0"], 2, "--serving-batch-size lists numbers of sequences, not x"),
        (["--serving-batch-size", ""], 2, "--serving-batch-size lists numbers of sequences, not nothing"),
        (["--serving-batch-size", ",".join("1" * 17)], 2, "17 numbers; the most is 16"),
        (["--serving-seq-len", "1k,2k"], 1, "--serving-seq-len 2048 is longer than max_len 1024 of tiny"),
        (["--serving-seq-len", "1k,2k"], 1, "write --serving-seq-len 1024 or less, or add --set max_len=2048"),
        (["--serving-seq-len", "900000k"], 1, "write --serving-seq-len 1024 or less"),
        (["--utilization", "2"], 2, "--utilization 2"),
    ],
)
def test_what_does_not_fit_is_refused(words: list[str], code: int, said: str, here: Here) -> None:
    result = here("estimate", *words)
    assert result.code == code
    assert said in result.err
    assert "Traceback" not in result.err


SHORT_OF_MEMORY = (
    "llama-3-8b --gpu h100 --gpus 8 --plan zero=0 --seq-len 512",
    "llama-3-8b --gpu h100 --gpus 8 --plan tp=2,zero=1 --batch-size 16",
    "llama-3-8b --gpu h100 --gpus 8 --plan tp=4,pp=2,mb=4,schedule=gpipe --batch-size 8",
    "llama-3.1-8b --gpu h100 --gpus 8 --batch-size 8",
    "llama-3-8b --gpu t4 --dtype float16 --gpus 2",
    "mixtral-8x7b --gpu h100",
    "gpt2 --gpu rtx-4090 --batch-size 64",
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
def test_what_makes_it_fit_does_when_it_is_added_to_the_command(words: str, here: Here) -> None:
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
            if purpose == "serving" or not changed["training"]["alternatives"]:
                assert changed[purpose]["fit"]["needed_bytes"] == remedy["needed_bytes"]


def test_the_nearest_layout_is_shown_where_none_fits(here: Here) -> None:
    words = ["--config", "llama-3-8b", "--gpu", "t4", "--dtype", "float16", "--gpus", "2"]
    told = report(here("estimate", *words, "--format", "json"))["training"]
    assert (told["plan"]["fits"], told["alternatives"], told["layouts_tried"]) == (False, [], 10)
    assert told["plan"]["peak_stage"]["total_bytes"] == told["fit"]["needed_bytes"]
    shown = here("estimate", *words, "--full")
    assert "None of 10 layouts fits in t4. The smallest is 72.2 GiB short." in shown.out
    assert "--gpus 16" in shown.out
    assert "Inference memory" in shown.out
    assert shown.code == 0


def test_what_fits_needs_no_change(here: Here) -> None:
    told = report(here("estimate", "--config", "gpt2", "--gpu", "h100", "--format", "json"))
    for purpose in ("training", "serving"):
        assert told[purpose]["fit"]["fits"]
        assert told[purpose]["fit"]["remedies"] == []
    assert "makes it fit" not in here("estimate", "--config", "gpt2", "--gpu", "h100", "--full").out
    unknown = report(here("estimate", "--config", "gpt2", "--format", "json"))
    assert (unknown["training"]["fit"], unknown["serving"]["fit"]) == (None, None)
    assert unknown["training"]["layouts_tried"] is None


def test_the_quickest_plan_is_taken_where_none_is_given(here: Here) -> None:
    told = report(here("estimate", "--config", "llama-3-8b", "--gpu", "h100", "--gpus", "8", "--format", "json"))
    assert told["training"]["plan"] == told["training"]["alternatives"][0]
    assert all(plan["fits"] for plan in told["training"]["alternatives"])
    assert {plan["tokens_per_step"] for plan in told["training"]["alternatives"]} == {
        told["training"]["plan"]["tokens_per_step"]
    }


@pytest.mark.parametrize("plan", ["tp=2,zero=1", "pp=4,zero=1", "zero=3", "auto"])
def test_days_and_cost_are_those_of_the_plan(plan: str, here: Here) -> None:
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


def test_what_is_computed_again_is_paid_for(here: Here) -> None:
    words = ["--config", "llama-3-8b", "--seq-len", "4096", "--gpu", "h100", "--gpus", "16", "--plan", "zero=3"]
    none, full = (
        report(here("estimate", *words, "--recompute", how, "--format", "json"))["training"]["time"]["seconds"]
        for how in ("none", "full")
    )
    assert 1.2 < full / none < 4 / 3


def test_a_global_batch_is_shared_by_replicas_and_micro_batches(here: Here) -> None:
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


def test_a_budget_and_a_price_make_a_bill(here: Here) -> None:
    words = ["--gpu", "h100", "--train-tokens", "1.5B", "--price", "2", "--utilization", "0.5"]
    told = report(here("estimate", *words, "--format", "json"))["training"]["time"]
    assert told["train_tokens"] == 1_500_000_000
    assert told["usd"] == pytest.approx(2 * told["gpu_hours"])
    assert told["seconds"] == pytest.approx(told["train_flops"] / (989.4e12 * 0.5), rel=0.01)


def test_serving_is_shown_for_what_is_asked(here: Here) -> None:
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


def test_rounded_weights_and_a_small_cache_are_what_decoding_reads(here: Here) -> None:
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


def test_gradients_and_master_weights_are_in_memory_and_in_plans(here: Here) -> None:
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


def test_recomputing_stands_beside_what_it_adds_to(here: Here) -> None:
    out = here("estimate", "--config", "llama-3-8b", "--recompute", "full", "--full", columns=100).out
    assert "recomputation" in out
    assert "of training without recomputation" in out
    assert "recomputation" not in here("estimate", "--config", "llama-3-8b", "--full", columns=100).out


def test_csv_is_the_summary(here: Here) -> None:
    assert here("estimate", "--format", "csv").out.splitlines()[0] == "figure,value"

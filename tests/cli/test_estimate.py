"""``tinylm estimate``: its options, and what it shows."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tinylm_cli.analysis.setups import PREFILL_TOKENS

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
        ["estimate", "--config", "llama-3-8b", "--gpu", "h100", "--gpus", "4", "--plan", "zero=1", "--batch-size", "2"],
        ["estimate", "--config", "gemma-2-2b", "--gpu", "t4", "--dtype", "float16", "--gpus", "2"],
        ["estimate", "--config", "gemma-2-2b", "--gpu", "rtx-4090", "--quantize", "int4", "--cache-dtype", "int8"],
        [
            *("estimate", "--config", "gpt2", "--gpu", "t4", "--dtype", "float16"),
            *("--serve-batch", "1,2k", "--serve-len", "1,8,64,512,1k"),
        ],
    )
    shown = [f"$ tinylm {' '.join(page)}\n{here(*page, columns=columns).out}" for page in pages]
    assert all(len(line) <= columns for page in shown for line in page.splitlines()[1:])
    golden_text(f"estimate-{columns}.txt", "\n".join(shown))


def test_documents(here: Here, golden_json: Golden, golden_text: Golden) -> None:
    golden_json("estimate", here("estimate", "--config", "toy.yaml", "--format", "json").out)
    golden_text("estimate.md", here("estimate", "--config", "toy.yaml", "--format", "markdown").out)
    words = ["estimate", "--config", "toy.yaml", "--gpu", "h100", "--gpus", "4", "--plan", "auto", "--format"]
    tables = ("flops", "flops_per_token", "training_memory", "layouts", "plan", "traffic", "training_time")
    golden_text("estimate.csv", "\n".join(here(*words, "csv", "--table", table).out for table in tables))
    golden_text("estimate.tex", here(*words, "latex").out)


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
    assert "tinylm's own model keeps" not in here(*words, "sdpa").out


def test_a_sequence_too_long_is_told_at_both_places(here: Here) -> None:
    result = here("estimate", "--config", "toy.yaml", "--set", "max_len=9", "--seq-len", "10")
    assert result.code == 1
    assert "--seq-len 10 is longer than max_len 9" in result.err
    assert "--seq-len:1:11" in result.err
    assert "1 | max_len=9" in result.err
    assert "--set max_len=10" in result.err


def test_everything_wrong_with_what_is_asked_is_told_at_once(here: Here) -> None:
    words = "--gpu h100sxm --seq-len 99999999 --gpus 8 --plan tp=3,foo=2 --budget-tokens 15b"
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
        "error[wrong-type]: --budget-tokens 15b: expected a count",
        "did you mean 15B?",
    ):
        assert says in said
    document = json.loads(here("estimate", *words.split(), "--format", "json").out)
    assert len(document["error"]["diagnostics"]) == result.err.count("error[") == 8


def test_a_shell_sees_mistakes_on_one_stream_and_a_report_on_the_other(tinylm: Here) -> None:
    wrong = tinylm("estimate", "--gpu", "h100sxm", "--gpus", "8", "--plan", "tp=3,\x1b[31m=2", "--budget-tokens", "15X")
    assert (wrong.code, wrong.out) == (2, "")
    assert wrong.err.count("error[") == 7
    assert "\x1b" not in wrong.err
    short = tinylm("estimate", "--config", "llama-3.1-8b", "--gpu", "rtx-4090", "--gpus", "2")
    assert (short.code, short.err) == (
        0,
        "next: tinylm design --family llama --params 8030261248 --vocab-size 128256\n",
    )
    assert "This one comes nearest" in short.out
    assert "what makes it fit" in short.out


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
        (["--gpus", "4", "--plan", "pp=1,vp=2"], 2, "chunks take turns in a 1f1b pipeline alone"),
        (["--gpus", "4", "--plan", "pp=2,schedule=gpipe,vp=2"], 2, "give pp=2 or more, and no gpipe"),
        (["--serve-len", "1kk"], 2, "for example --serve-len 4k,32k"),
        (["--gpus", "4", "--plan", ""], 2, "a word of the plan is empty"),
        (["--gpus", "3", "--plan", "tp=3"], 1, "tensor parallelism 3 does not divide n_heads 4"),
        (["--budget-tokens", "many"], 2, "--budget-tokens many"),
        (["--budget-tokens", "0"], 2, "--budget-tokens 0"),
        (["--utilization", "0.5"], 2, "--utilization is about a GPU"),
        (["--kernel-efficiency", "0.5"], 2, "--kernel-efficiency is about a GPU"),
        (["--gpu", "h100", "--kernel-efficiency", "0.5"], 2, "give --utilization for one GPU"),
        (["--gpu", "h100", "--gpus", "8", "--utilization", "0.5"], 2, "give --kernel-efficiency"),
        (["--global-batch", "8"], 2, "--global-batch is read by several GPUs"),
        (["--gpus", "4", "--plan", "tp=2", "--global-batch", "3"], 2, "for example --global-batch 4"),
        (["--gpus", "4", "--plan", "tp=2,mb=3", "--global-batch", "4"], 2, "leave mb out of the plan"),
        (["--gpus", "4", "--plan", "pp=2,vp=2,mb=3"], 2, "for example mb=4"),
        (["--gpus", "4", "--plan", "pp=2,vp=2", "--global-batch", "6"], 1, "for example mb=4"),
        (["--gpu", "h100", "--gpus", "5", "--global-batch", "7"], 1, "for example a global batch of 5 sequences"),
        (["--quantize", "int3"], 2, "expected none, int8, float8 or int4"),
        (["--quantize", "int8", "--group-size", "64"], 2, "--group-size is of int4's groups"),
        (["--quantize-head"], 2, "--quantize-head rounds as --quantize does"),
        (["--dtype", "float32", "--no-master-weights"], 2, "--no-master-weights is about weights in 16 bits"),
        (["--cache-dtype", "int4"], 2, "expected bfloat16, float16, float32"),
        (["--serve-batch", "1,x,0"], 2, "not x"),
        (["--serve-batch", ""], 2, "not nothing"),
        (["--serve-batch", ",".join("1" * 17)], 2, "17 numbers, and 16 at most"),
        (["--serve-len", "1k,2k"], 1, "--serve-len 2048 is longer than max_len 1024 of tiny"),
        (["--serve-len", "1k,2k"], 1, "write --serve-len 1024 or less, or add --set max_len=2048"),
        (["--serve-len", "1000001k"], 1, "write --serve-len 1024 or less\n"),
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
    "batch_size": "--batch-size",
    "seq_len": "--seq-len",
    "n_gpus": "--gpus",
    "accelerator": "--gpu",
    "layout": "--plan",
}


@pytest.mark.parametrize("words", SHORT_OF_MEMORY)
def test_what_makes_it_fit_does_when_it_is_added_to_the_command(words: str, here: Here) -> None:
    asked = ["estimate", "--format", "json", "--config", *words.split()]
    told = report(here(*asked))
    short = [fit for fit in ("training_fit", "inference_fit") if not told[fit]["fits"]]
    assert "training_fit" in short
    for fit in short:
        assert told[fit]["needed_bytes"] > told[fit]["capacity_bytes"] == told["capacity_bytes"]
        assert told[fit]["remedies"]
        table = here("estimate", "--config", *words.split(), "--format", "csv", "--table", fit).out
        for remedy, row in zip(told[fit]["remedies"], csv.DictReader(table.splitlines()), strict=True):
            changes = dict(change.split("=", 1) for change in row["changes"].split())
            assert list(changes) == [change["field"] for change in remedy["changes"]]
            options = [word for field, value in changes.items() for word in (OPTIONS[field], value)]
            changed = report(here(*asked, *(word.replace("None", "auto") for word in options)))
            assert changed[fit]["fits"], options
            assert changed[fit]["remedies"] == []
            assert remedy["needed_bytes"] <= remedy["capacity_bytes"] == changed["capacity_bytes"]
            if not changed["alternatives"]:
                assert changed[fit]["needed_bytes"] == remedy["needed_bytes"]


def test_the_nearest_layout_is_shown_where_none_fits(here: Here) -> None:
    words = ["--config", "llama-3-8b", "--gpu", "t4", "--dtype", "float16", "--gpus", "2"]
    told = report(here("estimate", *words, "--format", "json"))
    assert (told["plan"]["fits"], told["alternatives"], told["layouts_tried"]) == (False, [], 10)
    assert told["plan"]["fullest"]["total_bytes"] == told["training_fit"]["needed_bytes"]
    shown = here("estimate", *words)
    assert "None of 10 layouts fits in t4. This one comes nearest: 72.2 GiB too much." in shown.out
    assert "--gpus 16" in shown.out
    assert "Inference memory" in shown.out
    assert shown.code == 0


def test_what_fits_needs_no_change(here: Here) -> None:
    told = report(here("estimate", "--config", "gpt2", "--gpu", "h100", "--format", "json"))
    for fit in ("training_fit", "inference_fit"):
        assert told[fit]["fits"]
        assert told[fit]["remedies"] == []
    assert "makes it fit" not in here("estimate", "--config", "gpt2", "--gpu", "h100").out
    unknown = report(here("estimate", "--config", "gpt2", "--format", "json"))
    assert (unknown["training_fit"], unknown["inference_fit"], unknown["layouts_tried"]) == (None, None, None)


def test_the_quickest_plan_is_taken_where_none_is_given(here: Here) -> None:
    told = report(here("estimate", "--config", "llama-3-8b", "--gpu", "h100", "--gpus", "8", "--format", "json"))
    assert told["plan"] == told["alternatives"][0]
    assert all(plan["fits"] for plan in told["alternatives"])
    assert {plan["tokens_per_step"] for plan in told["alternatives"]} == {told["plan"]["tokens_per_step"]}


@pytest.mark.parametrize("plan", ["tp=2,zero=1", "pp=4,zero=1", "zero=3", "auto"])
def test_days_and_cost_are_those_of_the_plan(plan: str, here: Here) -> None:
    words = ["--config", "llama-3-8b", "--seq-len", "4096", "--gpu", "h100", "--gpus", "16", "--price", "2"]
    told = report(here("estimate", *words, "--plan", plan, "--format", "json"))
    made, time = told["plan"], told["training_time"]
    speed = made["tokens_per_step"] / made["step_seconds"]
    assert time["tokens_per_second"] == pytest.approx(speed)
    assert time["seconds"] == pytest.approx(time["budget_tokens"] / speed)
    assert time["usd"] == pytest.approx(2 * 16 * time["seconds"] / 3600)
    assert time["utilization"] == made["utilization"] < made["kernel_efficiency"] == 0.55
    slower = report(here("estimate", *words, "--plan", plan, "--kernel-efficiency", "0.3", "--format", "json"))
    assert slower["training_time"]["usd"] > 1.5 * time["usd"]


def test_what_is_computed_again_is_paid_for(here: Here) -> None:
    words = ["--config", "llama-3-8b", "--seq-len", "4096", "--gpu", "h100", "--gpus", "16", "--plan", "zero=3"]
    none, full = (
        report(here("estimate", *words, "--recompute", how, "--format", "json"))["training_time"]["seconds"]
        for how in ("none", "full")
    )
    assert 1.2 < full / none < 4 / 3


def test_a_global_batch_is_shared_by_replicas_and_micro_batches(here: Here) -> None:
    def batches(*words: str) -> tuple[int, int]:
        told = report(here("estimate", "--config", "llama-3-8b", "--gpus", "8", *words, "--format", "json"))["plan"]
        return told["layout"]["micro_batches"], told["tokens_per_step"]

    assert batches("--plan", "tp=2", "--global-batch", "64", "--batch-size", "2") == (8, 64 * 8192)
    assert batches("--plan", "tp=2,mb=3") == (3, 12 * 8192)
    assert batches("--plan", "tp=2,mb=3", "--global-batch", "12") == (3, 12 * 8192)
    assert batches("--plan", "tp=2") == (128, 2**22)
    assert batches() == (64, 2**22)
    assert batches("--gpu", "h100", "--global-batch", "24")[1] == 24 * 8192


def test_a_budget_and_a_price_make_a_bill(here: Here) -> None:
    words = ["--gpu", "h100", "--budget-tokens", "1.5B", "--price", "2", "--utilization", "0.5"]
    told = report(here("estimate", *words, "--format", "json"))["training_time"]
    assert told["budget_tokens"] == 1_500_000_000
    assert told["usd"] == pytest.approx(2 * told["gpu_hours"])
    assert told["seconds"] == pytest.approx(told["train_flops"] / (989.4e12 * 0.5), rel=0.01)


def test_serving_is_shown_for_what_is_asked(here: Here) -> None:
    words = ["--config", "llama-3-8b", "--serve-batch", "8,1", "--serve-len", "2k,512,2048"]
    told = report(here("estimate", *words, "--format", "json"))["serving"]
    assert (told["batch_sizes"], told["seq_lens"]) == ([1, 8], [512, 2048])
    asked = [(1, 512), (1, 2048), (8, 512), (8, 2048)]
    assert [(cell["batch_size"], cell["seq_len"]) for cell in told["cells"]] == asked
    assert all(cell["fits"] is None and cell["decode"] is None for cell in told["cells"])
    usual = report(here("estimate", "--seq-len", "100", "--batch-size", "3", "--format", "json"))
    assert usual["serving"]["seq_lens"] == [64, 100, 256, 1024]
    assert usual["serving"]["batch_sizes"] == [1, 3, 4, 16, 64, 256]
    assert usual["inference"]["prefill_tokens"] == PREFILL_TOKENS


def test_rounded_weights_and_a_small_cache_are_what_decoding_reads(here: Here) -> None:
    words = ["estimate", "--config", "llama-3-8b", "--gpu", "h100", "--format", "json"]
    plain = report(here(*words))
    small = report(here(*words, "--quantize", "int4", "--group-size", "64", "--cache-dtype", "float8"))
    assert small["inference"]["cache_bytes"] * 2 == plain["inference"]["cache_bytes"]
    embedding, angles = 2 * 128_256 * 4096, 4 * 64
    for told in (plain, small):
        read = told["inference"]["weights_bytes"] - embedding - angles + told["inference"]["cache_bytes"]
        assert told["serving_time"]["decode"]["moved_bytes"] == read


def test_gradients_and_master_weights_are_in_memory_and_in_plans(here: Here) -> None:
    words = ["estimate", "--gpus", "2", "--plan", "zero=0", "--format", "json"]
    plain, wide = (report(here(*words, *more)) for more in ((), ("--grad-dtype", "float32", "--no-master-weights")))
    params = plain["total_params"]
    assert (plain["training"]["gradients_bytes"], wide["training"]["gradients_bytes"]) == (2 * params, 4 * params)
    assert (plain["training"]["master_bytes"], wide["training"]["master_bytes"]) == (4 * params, 0)
    named = {part["name"]: part["part_bytes"] for part in wide["plan"]["fullest"]["parts"]}
    assert named["gradients"] == 4 * params
    assert "master weights" not in named


def test_recomputing_stands_beside_what_it_adds_to(here: Here) -> None:
    out = here("estimate", "--config", "llama-3-8b", "--recompute", "full", columns=100).out
    assert "recomputing" in out
    assert "of what it is without" in out
    assert "recomputing" not in here("estimate", "--config", "llama-3-8b", columns=100).out


def test_the_table_of_csv_is_operations_by_component(here: Here) -> None:
    assert here("estimate", "--format", "csv").out.splitlines()[0] == "name,forward_flops,share"

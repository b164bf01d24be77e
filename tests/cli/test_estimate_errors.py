"""Usage and analysis errors of ``tinylm estimate``."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Here = Callable[..., Any]


def test_seq_len_over_max_len_has_two_labels(here: Here) -> None:
    result = here("estimate", "--config", "toy.yaml", "--set", "max_len=9", "--seq-len", "10")
    assert result.code == 2
    assert "--seq-len 10 is longer than max_len 9" in result.err
    assert "--seq-len:1:11" in result.err
    assert "1 | max_len=9" in result.err
    assert "--set max_len=10" in result.err


def test_all_errors_at_once(here: Here) -> None:
    words = "--gpu h100sxm --seq-len 99999999 --gpus 8 --plan tp=3,foo=2 --train-tokens 15X"
    result = here("estimate", *words.split())
    assert (result.code, result.out) == (2, "")
    said = " ".join(result.err.split())
    for says in (
        "error[contradiction]: --seq-len 99999999 is longer than max_len 1024 of tiny",
        "error[contradiction]: tp 3 uses 3 GPUs, but 8 is not a multiple of that",
        "write tp=1, 2 or 4",
        "error[unknown-key]: unknown plan key foo=2 --> --plan:1:13",
        'error[unknown-gpu]: unknown GPU "h100sxm" --> --gpu:1:7',
        "did you mean h100-sxm?",
        "error[wrong-type]: --train-tokens 15X: expected a count",
        "for example --train-tokens 15B",
    ):
        assert says in said
    document = json.loads(here("estimate", *words.split(), "--format", "json").out)
    assert len(document["error"]["diagnostics"]) == result.err.count("error[") == 5


def test_errors_on_stderr_report_on_stdout(tinylm: Here) -> None:
    wrong = tinylm("estimate", "--gpu", "h100sxm", "--gpus", "8", "--plan", "tp=3,\x1b[31m=2", "--train-tokens", "15X")
    assert (wrong.code, wrong.out) == (2, "")
    assert wrong.err.count("error[") == 4
    assert "\x1b" not in wrong.err
    short = tinylm("estimate", "--config", "llama-3.1-8b", "--gpu", "rtx-4090", "--gpus", "2", "--full")
    assert (short.code, short.err) == (
        0,
        "next: tinylm estimate llama-3.1-8b --gpu rtx-4090 --gpus 64\n",
    )
    assert "GiB short." in short.out
    assert "makes it fit" in short.out


def test_wrong_options_with_wrong_files(here: Here, folder: Path) -> None:
    (folder / "gpus.yaml").write_text("mine:\n  titel: A GPU\n", encoding="utf-8")
    words = "--set n_heads=3 --gpu mine --hardware gpus.yaml --gpus 6 --plan tp=4,cp=x --seq-len 9999999"
    result = here("estimate", *words.split())
    assert result.code == 2
    for place in ("--set:1:9", "gpus.yaml:2:3", "--plan:1:16"):
        assert f"--> {place}\n" in result.err
    assert "tp 4 uses 4 GPUs, but 6 is not a multiple of that" in result.err
    assert "--seq-len" not in result.err, "nothing is known of the longest sequence"


def test_no_follow_up_errors(here: Here) -> None:
    def said(*words: str) -> str:
        return str(here("estimate", "--gpus", "8", *words).err)

    assert "context parallelism 8 does not divide seq_len 12" in said("--plan", "cp=8", "--seq-len", "12")
    assert "context parallelism" not in said("--plan", "cp=8", "--seq-len", "99999")
    mixtral = ("--config", "mixtral-8x7b", "--seq-len", "64")
    assert "does not divide the 2 GPUs of data" in said(*mixtral, "--plan", "tp=4,ep=4")
    assert "GPUs of data" not in said(*mixtral, "--plan", "tp=4,ep=4,foo=1")


@pytest.mark.parametrize(
    ("gpus", "plan", "help_"),
    [
        ("8", "tp=3", "write tp=1, 2, 4 or 8"),
        ("3", "tp=3", "write tp=1"),
        ("8", "tp=3,dp=2", "write tp=4"),
        ("8", "pp=3,dp=2", "write pp=4, or write --gpus 6"),
        ("9", "tp=5,dp=2", "remove dp, and write tp=1"),
        ("8", "tp=4,dp=3", "remove dp; it then follows from --gpus"),
        ("4", "tp=8", "write tp=1, 2 or 4, or write --gpus 8"),
        ("3", "tp=2", "write tp=1, or write --gpus 4"),
    ],
)
def test_one_error_for_one_degree(gpus: str, plan: str, help_: str, here: Here) -> None:
    said = here("estimate", "llama-3-8b", "--gpus", gpus, "--plan", plan).err
    assert said.count("error[") == 1
    assert said.endswith(f"= help: {help_}\n")


@pytest.mark.parametrize(("plan", "errors"), [("tp=3,pp=5", 2), ("tp=3,pp=5,cp=7", 3), ("tp=16,pp=2", 1)])
def test_one_error_for_each_wrong_degree(plan: str, errors: int, here: Here) -> None:
    assert here("estimate", "tiny", "--gpus", "8", "--plan", plan).err.count("error[") == errors


def test_context_parallelism_of_recurrent_layers(here: Here) -> None:
    for plan, instead in (("pp=2,cp=4", "tp=4"), ("tp=4,cp=2", "tp=8"), ("tp=8,cp=2", "pp=2")):
        words = ("estimate", "lfm2-1.2b", "--gpus", "16", "--plan")
        assert f"write {instead} instead of cp" in here(*words, plan).err
        assert here(*words, re.sub("(tp=.,)?cp=.", instead, plan)).code == 0


def test_values_are_quoted_as_typed(here: Here) -> None:
    said = here("estimate", "--seq-len", "8k", columns=200).err
    assert "--seq-len 8k (8,192 tokens) is longer than max_len 1024 of tiny" in said
    assert "1 | --seq-len 8k\n" in said
    assert "1 | --gpus 1e1\n" in here("estimate", "--gpus", "1e1", "--plan", "tp=4").err


def test_help_of_a_degree_works(here: Here) -> None:
    for words in ("--gpus 8 --plan tp=8", "--gpus 8 --plan tp=4,pp=2", "--gpus 12 --plan tp=2,pp=3"):
        assert here("estimate", "llama-3-8b", *words.split()).code == 0


def test_config_as_hardware(here: Here, folder: Path) -> None:
    (folder / "mine.yaml").write_text("vocab_size: 256\nd_model: 8\nattention: {bias: false}\n", encoding="utf-8")
    result = here("estimate", "--gpu", "h100", "--hardware", "mine.yaml")
    assert (result.code, result.out, result.err.count("error")) == (1, "", 1)
    assert "mine.yaml is a model config, not a hardware file" in result.err
    (folder / "config.json").write_text('{"model_type": "gpt2", "n_embd": 8}', encoding="utf-8")
    result = here("estimate", "--gpu", "h100", "--hardware", "config.json")
    assert (result.code, result.out, result.err.count("error")) == (1, "", 1)
    assert "config.json is a model config, not a hardware file" in result.err


def test_dtype_not_supported_by_gpu(here: Here) -> None:
    said = here("estimate", "--gpu", "V100").err
    assert "1 | --gpu V100" in said
    assert "does not support bfloat16 matmuls, and --dtype defaults to bfloat16" in " ".join(said.split())
    assert "1 | --dtype" not in said
    assert "1 | --dtype bfloat16" in here("estimate", "--gpu", "V100", "--dtype", "bfloat16").err
    assert "write --dtype float16 or float32, or name another GPU" in " ".join(said.split())


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--seq-len", "0"], 2, "--seq-len 0"),
        (["--batch-size", "-1"], 2, "--batch-size -1"),
        (["--batch-size", "2G"], 2, "--batch-size 2G: expected a count from 1 to 1,000,000,000"),
        (["--batch-size", "99999999999"], 2, "expected a count from 1 to 1,000,000,000"),
        (["--seq-len", "8kk"], 2, "for example --seq-len 8k"),
        (["--by", "tensor"], 2, "expected component or layer"),
        (["--recompute", "ful"], 2, "did you mean full?"),
        (["--config", "llama-3-8"], 2, "did you mean llama-3-8b?"),
        (["--set", "n_heads=3"], 1, "n_heads 3"),
        (["--gpu", "h10"], 2, "did you mean h100"),
        (["--gpu", "t4"], 2, "t4 does not support bfloat16 matmuls"),
        (["--price", "2"], 2, "--price needs a GPU"),
        (["--hardware", "mine.yaml"], 2, "--hardware needs a GPU"),
        (["--gpu", "h100", "--hardware", "absent.yaml"], 2, "no such file"),
        (["--plan", "tp=2"], 2, "--plan needs several GPUs"),
        (["--gpus", "4", "--plan", "auto"], 2, "--plan auto needs a GPU"),
        (["--gpus", "0"], 2, "--gpus 0"),
        (["--gpus", "4", "--plan", "tp=8"], 2, "uses 8 GPUs, but --gpus is 4"),
        (["--gpus", "4", "--plan", "tp=2,tp=2"], 2, "tp is given twice"),
        (["--gpus", "4", "--plan", "zero=4"], 2, "zero is one of 0, 1, 2, 3"),
        (["--gpus", "4", "--plan", "tp=x,qq"], 2, "tp must be an integer"),
        (["--gpus", "4", "--plan", "tp=0"], 2, "not 0"),
        (["--gpus", "4", "--plan", "pp=1,vp=2"], 2, "virtual stages need an interleaved 1f1b pipeline"),
        (["--gpus", "4", "--plan", "pp=2,schedule=gpipe,vp=2"], 2, "use pp=2 or more and schedule=1f1b"),
        (["--serving-seq-len", "1kk"], 2, "for example --serving-seq-len 4k,32k"),
        (["--gpus", "4", "--plan", ""], 2, "an entry of the plan is empty"),
        (["--gpus", "3", "--plan", "tp=3"], 2, "tensor parallelism 3 does not divide n_heads 4"),
        (["--train-tokens", "many"], 2, "--train-tokens many"),
        (["--train-tokens", "0"], 2, "--train-tokens 0"),
        (["--utilization", "0.5"], 2, "--utilization needs a GPU"),
        (["--kernel-efficiency", "0.5"], 2, "--kernel-efficiency needs a GPU"),
        (["--gpu", "h100", "--kernel-efficiency", "0.5"], 2, "use --utilization for one GPU"),
        (["--gpu", "h100", "--gpus", "8", "--utilization", "0.5"], 2, "use --kernel-efficiency"),
        (["--global-batch-size", "8"], 2, "--global-batch-size needs several GPUs"),
        (["--gpus", "4", "--plan", "tp=2", "--global-batch-size", "3"], 2, "for example --global-batch-size 4"),
        (["--gpus", "4", "--plan", "tp=2,mb=3", "--global-batch-size", "4"], 2, "remove mb from the plan"),
        (["--gpus", "4", "--plan", "pp=2,vp=2,mb=3"], 2, "for example mb=4"),
        (["--gpus", "4", "--plan", "pp=2,vp=2", "--global-batch-size", "6"], 2, "for example mb=4"),
        (["--gpu", "h100", "--gpus", "5", "--global-batch-size", "7"], 2, "for example a global batch of 5 sequences"),
        (["--quantize", "int3"], 2, "expected none, int8, float8, int4 or nf4"),
        (["--quantize", "int8", "--group-size", "64"], 2, "--group-size needs --quantize int4"),
        (["--quantize-head"], 2, "--quantize-head needs --quantize"),
        (["--dtype", "float32", "--no-master-weights"], 2, "--no-master-weights needs 16-bit weights"),
        (["--kv-cache-dtype", "int4"], 2, "expected bfloat16, float16, float32"),
        (["--serving-batch-size", "1,x,0"], 2, "--serving-batch-size lists numbers of sequences, not x"),
        (["--serving-batch-size", ""], 2, "--serving-batch-size lists numbers of sequences, not nothing"),
        (["--serving-batch-size", ",".join("1" * 17)], 2, "17 numbers; the maximum is 16"),
        (["--serving-seq-len", "1k,2k"], 2, "--serving-seq-len 2k (2,048 tokens) is longer than"),
        (["--serving-seq-len", "1k,2k"], 2, "write --serving-seq-len 1024 or less, or add --set max_len=2048"),
        (["--serving-seq-len", "900000k"], 2, "write --serving-seq-len 1024 or less"),
        (["--utilization", "2"], 2, "--utilization 2"),
        (["--for", "serving", "--optimizer", "sgd"], 2, "--optimizer has no effect on serving"),
        (["--for", "serving", "--optimizer", "adamw"], 2, "remove it, or --for serving"),
        (["--for", "serving", "--gpus", "8"], 2, "--gpus has no effect on serving"),
        (["--for", "training", "--quantize", "int4"], 2, "--quantize has no effect on training"),
        (["--for", "training", "--serving-seq-len", "9"], 2, "--serving-seq-len has no effect on training"),
    ],
)
def test_refused(words: list[str], code: int, said: str, here: Here) -> None:
    result = here("estimate", *words)
    assert result.code == code
    assert said in " ".join(result.err.split())
    assert "Traceback" not in result.err

"""``--lora``: its settings, files and folders, errors, and the report of ``tinylm params``."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import tinylm_cli as tinylm_api
from tests.cli.json_report import report
from tests.interop.changes import CONFIGS
from tinylm_cli.cli.lora_option import complete_lora

Here = Callable[..., Any]

ADAPTER = {"peft_type": "LORA", "r": 16, "target_modules": ["q_proj", "v_proj"], "base_model_name_or_path": "a/b"}
LLAMA = "meta-llama/Meta-Llama-3-8B"


def write(folder: Path, **keys: Any) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "adapter_config.json").write_text(json.dumps({**ADAPTER, **keys}, indent=1), encoding="utf-8")
    return folder


def lora(here: Here, *words: str) -> dict[str, Any]:
    (model,) = report(here("params", *words, "--format", "json"))["models"]
    found: dict[str, Any] = model["lora"]
    return found


def test_answer(tinylm: Here) -> None:
    """One screen, the answer first; 32 layers × 16 × (4096 + 4096 + 4096 + 1024)."""
    result = tinylm("params", "llama-3-8b", "--lora", "r=16,target_modules=q_proj,v_proj", env={"COLUMNS": "80"})
    assert result.code == 0
    lines = result.out.splitlines()
    assert lines[0] == "llama-3-8b  LoRA rank 16: 6.82M of 8.04B parameters are trained (0.08%)"
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 80
    assert "6,815,744 parameters are trained; with the frozen ones there are 8,037,076,992." in lines
    assert "The adapter's file has 26.0 MiB in float32, as peft stores it." in lines


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_widths(columns: int, here: Here) -> None:
    for words in (["llama-3-8b"], ["qwen3-30b-a3b"], ["gpt2", "--by", "tensor"]):
        lines = here("params", *words, "--lora", "r=8", columns=columns).out.splitlines()
        assert max(map(len, lines)) <= columns
        assert "LoRA rank 8" in " ".join(lines[:2])


def test_files_and_settings(here: Here, folder: Path) -> None:
    write(folder / "adapter")
    expected = lora(here, "llama-3-8b", "--lora", "r=16,target_modules=q_proj,v_proj")
    for reference in ("adapter", "adapter/adapter_config.json"):
        found = lora(here, "llama-3-8b", "--lora", reference)
        assert {**found, "source": ""} == {**expected, "source": ""}
    assert (expected["trainable_params"], expected["total_params"]) == (6_815_744, 8_030_261_248 + 6_815_744)
    assert expected["trainable_share"] == 6_815_744 / 8_037_076_992
    tensors = lora(here, "gpt2", "--lora", "r=2,target_modules=c_attn", "--by", "tensor", "--expand")["tensors"]
    assert len(tensors) == 2 * 12
    assert tensors[0]["name"] == "base_model.model.transformer.h.0.attn.c_attn.lora_A.weight"
    everything = lora(here, "tiny", "--lora", "r=8")  # without target_modules: all-linear
    assert everything["trainable_params"] == 4 * 8 * (4 * (128 + 128) + 2 * (128 + 512))


def test_next_step(here: Here, folder: Path) -> None:
    words = ["--lora", "r=8,target_modules=q_proj"]
    assert here("params", "tiny", *words).err == "next: tinylm estimate tiny --lora r=8,target_modules=q_proj\n"
    (write(folder / "both") / "config.json").write_bytes((CONFIGS / "qwen3.json").read_bytes())
    assert here("params", "both").err == "next: tinylm estimate both\n"


def test_keys(here: Here) -> None:
    words = "r=4,target_modules=q_proj,modules_to_save=lm_head,layers_to_transform=0,2,lora_dropout=0.1,use_dora=true"
    found = lora(here, "tiny", "--lora", words)
    assert found["adapter_params"] == 2 * (4 * 256 + 128)
    assert found["saved_params"] == 256 * 128


def test_folder_with_both(here: Here, folder: Path) -> None:
    """A folder with a model and its adapter needs no option; another adapter may be named."""
    (write(folder / "both") / "config.json").write_bytes((CONFIGS / "qwen3.json").read_bytes())
    assert lora(here, "both")["trainable_params"] == 28 * 16 * (1024 + 2048 + 1024 + 1024)
    assert lora(here, "both", "--lora", "r=1,target_modules=q_proj")["trainable_params"] == 28 * (1024 + 2048)
    (base,) = report(here("params", "both/config.json", "--format", "json"))["models"]
    assert base["lora"] is None
    assert "--lora" not in here("params", "both", "--explain").err


@pytest.mark.parametrize(
    ("base", "remedy"),
    [
        (LLAMA, "tinylm params llama-3-8b --lora adapter/adapter_config.json counts its parameters"),
        ("a/b", "tinylm params hf://a/b --lora adapter/adapter_config.json counts its parameters, with the config"),
        ("x" * 5000, "where BASE is the config.json of"),
    ],
)
def test_adapter_alone(base: str, remedy: str, here: Here, folder: Path) -> None:
    write(folder / "adapter", base_model_name_or_path=base)
    for command in ("params", "estimate", "show"):
        for reference in ("adapter", "adapter/adapter_config.json"):
            result = here(command, reference)
            said = " ".join(result.err.split())
            assert result.code == 1
            assert "this file describes an adapter, not a model" in said
            assert remedy in said


@pytest.mark.parametrize(
    ("words", "code", "message", "help_"),
    [
        ("tiny --lora r=8,target_modules=gate", 2, "target_modules gate: no linear module", "the names are embedding"),
        ("tiny --lora r=0", 2, "r must be from 1 to 1,048,576, not 0", "for example 16"),
        ("tiny --lora r=x", 2, 'r must be an integer, not "x"', "for example 16"),
        ("tiny --lora rank=8,targets=q_proj,v_proj", 2, "unknown key rank of a LoRA adapter", "did you mean r?"),
        ("tiny --lora r=8,r=9", 2, "r is given twice", "remove one"),
        ("tiny --lora r=", 2, "r= is not key=value", "for example --lora r=16"),
        ("tiny --lora =8", 2, "=8 is not key=value", "for example"),
        ("tiny --lora r=8,", 2, "an entry of --lora is empty", "for example"),
        ("tiny --lora nowhere", 2, "no such file or folder: nowhere", "name an adapter_config.json"),
        ("tiny --lora .", 2, ". has no adapter_config.json", "name the folder of an adapter"),
        ("tiny --lora prefix", 1, "this adapter is prefix tuning, which is not supported", "reads LoRA adapters"),
        ("tiny --lora wrong", 1, "target_modules q_porj: no linear module", "did you mean q_proj?"),
        ("--lora r=8", 2, "--lora r=8 needs one model", "for example tinylm params small --lora r=8"),
        ("tiny --lora r=8 --explain", 2, "--lora cannot be combined with --explain", "remove one"),
        ("tiny --lora r=8 --by layer", 2, "--lora cannot be combined with --by layer", "remove one"),
        ("tiny --lora r=8 --convention hub", 2, "--lora cannot be combined with --convention hub", "remove one"),
    ],
)
def test_errors(words: str, code: int, message: str, help_: str, here: Here, folder: Path) -> None:
    write(folder / "prefix", peft_type="PREFIX_TUNING")
    write(folder / "wrong", target_modules=["q_porj"])
    result = here("params", *words.split())
    said = " ".join(result.err.split())
    assert (result.code, result.out) == (code, "")
    assert message in said
    assert help_ in said


def test_places(here: Here, folder: Path) -> None:
    write(folder / "wrong", target_modules=["q_proj", "v_porj"])
    assert "--> wrong/adapter_config.json:6:3" in here("params", "tiny", "--lora", "wrong").err
    assert "--> --lora:1:34" in here("params", "tiny", "--lora", "r=8,target_modules=q_proj,gate").err


def test_notes(here: Here) -> None:
    out = " ".join(here("params", "tiny", "--lora", "r=200,target_modules=q_proj,modules_to_save=lm_head").out.split())
    assert "Rank 200 is above the rank of blocks.{0..3}.attention.q_proj, which is at most 128." in out
    assert f"{4 * 200 * 256:,} of them are in adapters, {256 * 128:,} in copies of modules and token rows." in out


def test_completion() -> None:
    assert complete_lora("ta") == ["target_modules=", "target_parameters="]
    assert complete_lora("r=8,target_modules=a") == ["r=8,target_modules=all-linear"]
    assert complete_lora("r=8,bias=l") == ["r=8,bias=lora_only"]
    assert "r=8,r=" not in complete_lora("r=8,")


def test_python(tmp_path: Path) -> None:
    model = tinylm_api.load("llama-3-8b")
    by_keys = model.params(lora={"r": 16, "target_modules": ["q_proj", "v_proj"]})
    assert by_keys.lora is not None
    assert by_keys.lora.trainable_params == 6_815_744
    by_file = model.params(lora=write(tmp_path / "adapter"), by="tensor").lora
    assert by_file is not None
    assert len(by_file.tensors) == 4
    assert str(by_keys).startswith("llama-3-8b  LoRA rank 16")
    every = model.params(lora={"r": 16}).lora
    assert every is not None
    assert every.trainable_params == 41_943_040
    for arguments in ({"explain": True}, {"by": "layer"}, {"convention": "hub"}):
        with pytest.raises(tinylm_api.UsageError, match="cannot be combined"):
            model.params(lora={"r": 1}, **arguments)
    with pytest.raises(tinylm_api.UsageError, match="give a dictionary of text"):
        model.params(lora={"r": object()})
    with pytest.raises(tinylm_api.ConfigError, match="no linear module"):
        model.params(lora={"target_modules": ["x"]})


def training(here: Here, *words: str) -> dict[str, Any]:
    found: dict[str, Any] = report(here("estimate", "llama-3-8b", "--for", "training", *words, "--format", "json"))
    return found


def test_estimate(here: Here) -> None:
    """LoRA on one screen, and QLoRA, whose frozen weights have 4 bits."""
    words = ["--seq-len", "2k", "--lora", "r=16,target_modules=q_proj,v_proj"]
    plain, quantized = training(here, *words), training(here, *words, "--quantize", "nf4")
    memory = plain["training"]["memory"]
    assert memory["lora"] == {
        "rank": 16,
        "modules": ["q_proj", "v_proj"],
        "trainable_params": 6_815_744,
        "base_bytes": 2 * 8_030_261_248 + 4 * 64,
        "base_dtype": "bfloat16",
        "adapter_bytes": 2 * 6_815_744,
        "dequantized_bytes": 0,
    }
    assert memory["gradients_bytes"] == 2 * 6_815_744
    parts = [part["name"] for part in memory["parts"]]
    assert parts[:4] == ["frozen weights", "adapters", "master weights", "optimizer state"]
    assert sum(part["part_bytes"] for part in memory["parts"]) == memory["peak_bytes"]
    assert quantized["training"]["memory"]["lora"]["base_dtype"] == "nf4"
    assert 0.26 < quantized["training"]["memory"]["lora"]["base_bytes"] / memory["lora"]["base_bytes"] < 0.36
    full = training(here, "--seq-len", "2k")
    assert full["training"]["memory"]["lora"] is None
    assert 1.9 < plain["flops"]["train_flops"] / plain["flops"]["forward_flops"] < 2.1 < 3
    assert full["flops"]["train_flops"] == 3 * full["flops"]["forward_flops"]


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_estimate_view(columns: int, here: Here) -> None:
    words = ["--seq-len", "2k", "--lora", "r=16,target_modules=q_proj,v_proj", "--quantize", "nf4", "--gpu", "rtx-4090"]
    result = here("estimate", "llama-3-8b", "--for", "training", *words, columns=columns)
    lines = result.out.splitlines()
    assert max(map(len, lines)) <= columns
    said = " ".join(result.out.split())
    assert "LoRA rank 16 on q_proj, v_proj: 6.82M parameters; 5.31 GiB frozen in nf4" in said
    assert "run --train-tokens COUNT adds its time and cost" in said
    assert "compute-optimal" not in said
    everything = " ".join(here("estimate", "llama-3-8b", *words, "--full", columns=columns).out.split())
    assert "Quantized weights are dequantized one at a time; the largest takes 112.0 MiB." in everything
    assert "Frozen weights have neither gradients nor optimizer state." in everything
    timed = here("estimate", "llama-3-8b", *words, "--train-tokens", "50M", columns=columns).out
    assert "50M tokens" in " ".join(timed.split())


def test_estimate_of_a_stored_quantization(here: Here, folder: Path) -> None:
    """A checkpoint in 4 bits is trained in 4 bits; --quantize none trains it in --dtype."""
    body = json.loads((CONFIGS / "qwen3.json").read_text(encoding="utf-8"))
    body["quantization_config"] = {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}
    (write(folder / "both") / "config.json").write_text(json.dumps(body), encoding="utf-8")
    for words, dtype in (([], "nf4"), (["--quantize", "none"], "bfloat16"), (["--quantize", "int8"], "int8")):
        found = report(here("estimate", "both", "--for", "training", "--seq-len", "64", *words, "--format", "json"))
        assert found["training"]["memory"]["lora"]["base_dtype"] == dtype


@pytest.mark.parametrize(
    ("words", "message", "help_"),
    [
        ("llama-3-8b --lora r=8 --gpus 8", "--lora trains on one GPU", "remove --gpus, or --lora"),
        ("llama-3-8b --lora r=8 --for serving", "--lora has no effect on serving", "remove it"),
        (
            "jamba-v0.1 --lora r=8",
            "of the mixer mamba is not computed",
            "tinylm params MODEL --lora LORA counts",
        ),
        ("llama-3-8b --lora r=8,target_modules=x", "target_modules x: no linear module", "the names are"),
        ("tiny --lora r=8,use_dora=true", "the training memory of DoRA is not computed", "tinylm params"),
    ],
)
def test_estimate_errors(words: str, message: str, help_: str, here: Here) -> None:
    result = here("estimate", *words.split())
    said = " ".join(result.err.split())
    assert (result.code, result.out) == (2, "")
    assert message in said
    assert help_ in said


def test_remedies(here: Here) -> None:
    """No remedy adds GPUs, and the next command keeps the adapters."""
    result = here(
        "estimate", "llama-3-8b", "--gpu", "rtx-4090", "--lora", "r=8", "--for", "training", "--format", "json"
    )
    remedies = report(result)["training"]["fit"]["remedies"]
    assert remedies
    assert all("n_gpus" not in remedy["changes"] for remedy in remedies)
    assert "--lora r=8" in here("estimate", "llama-3-8b", "--gpu", "rtx-4090", "--lora", "r=8", "--for", "training").err


def test_estimate_in_python() -> None:
    model = tinylm_api.load("llama-3-8b")
    keys = {"r": 16, "target_modules": ["q_proj", "v_proj"]}
    found = model.estimate(lora=keys, quantize="nf4", seq_len="2k", for_="training").training
    assert found is not None
    assert found.memory.lora is not None
    assert (found.memory.lora.base_dtype, found.memory.lora.trainable_params) == ("nf4", 6_815_744)
    with pytest.raises(tinylm_api.UsageError, match="lora trains on one GPU"):
        model.estimate(lora=keys, gpus=8)

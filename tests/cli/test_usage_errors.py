"""Misspelled commands and options."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Here = Callable[..., Any]


@pytest.mark.parametrize(
    ("arguments", "message", "remedy"),
    [
        # commands
        (["parms"], "no such command: parms", "did you mean params?"),
        (["--debug", "biuld"], "no such command: biuld", "did you mean build?"),
        (["help"], "no such command: help", "did you mean --help?"),
        (["help", "build"], "no such command: help", "did you mean tinylm build --help?"),
        (["help", "parms"], "no such command: help", "did you mean --help?"),
        (["version"], "no such command: version", "did you mean --version?"),
        (["Params"], "no such command: Params", "did you mean params?"),
        (
            ["xyzzy"],
            "no such command: xyzzy",
            "the commands are params, build, show, list, estimate, compare, sweep, design, new, forward, generate,"
            " check, validate, verify, lint, schema, import, export",
        ),
        ([""], "no such command: (empty)", None),
        # options
        (["params", "--confg", "small"], "no such option: --confg", "did you mean --config?"),
        (["build", "--wieghts", "x"], "no such option: --wieghts", "did you mean --weights?"),
        (["check", "--meta"], "no such option: --meta", "--meta is an option of build, forward"),
        (
            ["params", "--weigths", "x"],
            "no such option: --weigths",
            "--weights is an option of build, forward, generate, check, import, export",
        ),
        (["params", "--text", "hi"], "no such option: --text", "--text is an option of forward, generate"),
        (["--gpu", "h100"], "no such option: --gpu", "--gpu is an option of estimate, compare, design, lint"),
        (["new", "--fix"], "no such option: --fix", "--fix is an option of validate"),
        (["new", "--fixx"], "no such option: --fixx", "see tinylm new --help"),
        (["generate", "--prompt", "hi"], "no such option: --prompt", "did you mean --text?"),
        (["params", "--prompt", "hi"], "no such option: --prompt", "--text is an option of forward, generate"),
        (["--hlp"], "no such option: --hlp", "did you mean --help?"),
        (["validate", "--fixx", "tiny"], "no such option: --fixx", "see tinylm validate --help"),
        (["params", "--xyzzy"], "no such option: --xyzzy", "see tinylm params --help"),
        (["params", "-z"], "no such option: -z", "see tinylm params --help"),
        (["params", "--fo"], "no such option: --fo", "did you mean --format?"),
        (
            ["new", "zz", "--format", "x"],
            "no such option: --format",
            "--format is an option of params, build, show, list, estimate, compare, sweep, design, forward, generate,"
            " check, validate, verify, lint, schema, import, export",
        ),
        (["build", "--n-layers", "8"], "no such option: --n-layers", "did you mean --set n_layers=…?"),
        (["build", "--d_model", "8"], "no such option: --d_model", "did you mean --set d_model=…?"),
        (["params", "--config"], "--config takes a value: CONFIG", "see tinylm params --help"),
        (["params", "-f"], "-f takes a value: text, json, markdown, csv or latex", "see tinylm params --help"),
        (["params", "--by"], "--by takes a value: component, layer or tensor", "see tinylm params --help"),
        (["build", "--save"], "--save takes a value: DIR", "see tinylm build --help"),
        (["build", "--meta=yes"], "--meta takes no value", "see tinylm build --help"),
        # values
        (["params", "--by", "tensr"], "--by tensr: expected component, layer or tensor", "did you mean tensor?"),
        (["params", "--by=Layers"], "--by Layers: expected component, layer or tensor", "did you mean layer?"),
        (["list", "-f", "jsn"], "--format jsn: expected text, json, markdown, csv or latex", "did you mean json?"),
        (["generate", "-f", "csv"], "--format csv: expected text, json or markdown", "see tinylm generate --help"),
        (["export", "x", "-f", "latex"], "--format latex: expected text, json or markdown", None),
        (["import", "x", "-f", "csv"], "--format csv: expected text, json or markdown", None),
        (["schema", "-f", "csv"], "--format csv: expected text, json or markdown", None),
        (["validate", "x", "-f", "csv"], "--format csv: expected text, json, markdown, github, sarif or junit", None),
        (
            ["export", "x", "--to", "onnx"],
            "--to onnx: expected hf, gguf, litgpt, megatron or torchtitan",
            "see tinylm export --help",
        ),
        (
            ["validate", "--format", "gihub", "tiny"],
            "--format gihub: expected text, json, markdown, github, sarif or junit",
            "did you mean github?",
        ),
        (
            ["build", "--dtype", "bfloat"],
            "--dtype bfloat: expected bfloat16, float16, float32 or float64",
            "did you mean bfloat16?",
        ),
        (
            ["estimate", "--dtype", "fp16"],
            "--dtype fp16: expected bfloat16, float16, float32 or float64",
            "did you mean float16?",
        ),
        (
            ["build", "--dtype", "BF16"],
            "--dtype BF16: expected bfloat16, float16, float32 or float64",
            "did you mean bfloat16?",
        ),
        (["params", "--by", "xyzzy"], "--by xyzzy: expected component, layer or tensor", "see tinylm params --help"),
        (["params", "--by", ""], "--by : expected component, layer or tensor", "see tinylm params --help"),
        (
            ["build", "--seed", "one"],
            "--seed one: expected an integer from 0 to 18,446,744,073,709,551,615",
            "see tinylm build --help",
        ),
        (
            ["estimate", "--batch-size", "99999999999"],
            "--batch-size 99999999999: expected a count from 1 to 1,000,000,000",
            "for example --batch-size 8",
        ),
        (["new", ""], "an empty string is not a file name", "for example tinylm new mine"),
        (["compare", "tiny", "@n_layers"], "@n_layers: expected @key=value", "for example @n_layers=8"),
        (["compare", "tiny", "n_layers=8"], "n_layers=8 is not a config", "write a change with @: @n_layers=8"),
        (["compare", "tiny", "@@n_layers=2"], "@@n_layers=2: expected @key=value", "for example @n_layers=8"),
        (["build", "--depth", "1.5"], "--depth 1.5: expected an integer >= 0", "see tinylm build --help"),
        (["generate", "--stop-token", "x"], "--stop-token x: expected an integer", "see tinylm generate --help"),
        (
            ["generate", "--top-p", "2"],
            "--top-p 2: expected a number above 0 and up to 1",
            "for example --top-p 0.9",
        ),
        (
            ["design", "--gpu", "h100", "--min-decode-tokens-per-second", "0"],
            "--min-decode-tokens-per-second 0: expected a finite number above 0",
            "for example --min-decode-tokens-per-second 50",
        ),
        (
            ["generate", "--temperature", "-1"],
            "--temperature -1: expected a finite number >= 0",
            "for example --temperature 0.8",
        ),
        (
            ["generate", "-n", "0"],
            "--max-new-tokens 0: expected a number of tokens >= 1",
            "for example --max-new-tokens 100",
        ),
        (
            ["generate", "--temperature", "inf"],
            "--temperature inf: expected a finite number >= 0",
            "for example --temperature 0.8",
        ),
        (
            ["generate", "--temperature", "nan"],
            "--temperature nan: expected a finite number >= 0",
            "for example --temperature 0.8",
        ),
        (
            ["estimate", "--utilization", "nan"],
            "--utilization nan: expected a number from 0.001 to 1",
            "for example --utilization 0.4",
        ),
        (
            ["estimate", "--price", "1e300"],
            "--price 1e300: expected a number from 0 to 1,000,000",
            "for example --price 2.50",
        ),
        (
            ["estimate", "--price", "inf"],
            "--price inf: expected a number from 0 to 1,000,000",
            "for example --price 2.50",
        ),
        # options without the argument that they need
        (["params", "--expand"], "--expand needs one model", "for example tinylm params small --expand"),
        (["params", "--by", "layer"], "--by layer needs one model", "for example tinylm params small --by layer"),
        (
            ["params", "--convention", "hub"],
            "--convention hub needs one model",
            "for example tinylm params small --convention hub",
        ),
        # empty words
        (["params", "--config", ""], "the config name is empty", "is a shell variable unset?"),
        (["params", "--get", ""], "the path of --get is empty", "is a shell variable unset?"),
        (["list", "-o", ""], "the name of a file or folder is empty", "is a shell variable unset?"),
        (["build", "--save", ""], "the name of a file or folder is empty", "is a shell variable unset?"),
        (["forward", "--weights="], "the name of a file or folder is empty", "is a shell variable unset?"),
        # words too many and too few
        (
            ["build", "small", "tiny"],
            "build got one argument too many: tiny",
            "to compare models: tinylm compare small tiny",
        ),
        (["build", "smal"], "no such preset or file: smal", "did you mean small?"),
        (
            ["build", "small", "--weights", "out"],
            "out does not exist",
            "name a folder that build --save wrote, or a Hugging Face folder; tinylm build small --save out writes one",
        ),
        (["build", "small", "-c", "tiny"], "the config is given twice: small and --config tiny", None),
        (["export", "smal"], "no such preset or file: smal", "did you mean small?"),
        (["export", "smal", "-o", "out"], "no such preset or file: smal", "did you mean small?"),
        (
            ["export", "base", "base-hf"],
            "export got one argument too many: base-hf",
            "to name the output: tinylm export base --output base-hf",
        ),
        (
            ["import", "base-hf", "base.yaml"],
            "import got one argument too many: base.yaml",
            "to name the output: tinylm import base-hf --output base.yaml",
        ),
        (["export"], "export needs a folder to write", "for example tinylm export tiny --output tiny-hf"),
        (
            ["export", "toy.yaml", "-o", "-"],
            "export needs a folder to write",
            "for example tinylm export toy.yaml --output toy-hf",
        ),
        (["new", "small"], "small is a built-in config", "to start from it: tinylm new mine small"),
        (
            ["params", "meta-llama/Llama-3-8B"],
            "no such file: meta-llama/Llama-3-8B",
            "tinylm downloads nothing; name the folder of a model on this machine",
        ),
        (
            ["params", "https://huggingface.co/gpt2/config.json"],
            "not a file: https://huggingface.co/gpt2/config.json",
            "tinylm downloads nothing; download the file, and name it",
        ),
        (["import", "."], "'.' has no config.json", "name the folder of a Hugging Face model"),
        (["list", "small"], "list got one argument too many: small", "to show one config: tinylm show small"),
        (["list", "smal"], "list got one argument too many: smal", "to show one config: tinylm show small"),
        (["list", "h100"], "list got one argument too many: h100", "see tinylm list --help"),
        (["list", "hardware"], "list got one argument too many: hardware", "did you mean --hardware?"),
        (["list", "qwen"], "list got one argument too many: qwen", "did you mean --family qwen?"),
        (["schema", "json"], "schema got one argument too many: json", "did you mean --format json?"),
        (["design", "125M"], "design got one argument too many: 125M", "for a size: tinylm design --params 125M"),
        (["design", "llama"], "design got one argument too many: llama", "did you mean --family llama?"),
        (
            ["design", "smal"],
            "design got one argument too many: smal",
            "design takes no config; to vary one: tinylm sweep small n_layers=4..24:4",
        ),
        (["compare", "smal"], "no such preset or file: smal", "did you mean small?"),
        (["sweep", "smal"], "no such preset or file: smal", "did you mean small?"),
        (
            ["compare", "small"],
            "nothing to compare small with",
            "add another model or a change: tinylm compare small @n_layers=8",
        ),
        (
            ["estimate", "small", "n_layers=8", "norm.eps=1e-6"],
            "estimate got several arguments too many: n_layers=8 norm.eps=1e-6",
            "to change fields: tinylm estimate small --set n_layers=8 --set norm.eps=1e-6",
        ),
        (
            ["build", "n_layers=8", "d_ff=8"],
            "build got one argument too many: d_ff=8",
            "to change fields: tinylm build --set n_layers=8 --set d_ff=8",
        ),
        (["list", "a", "b"], "list got several arguments too many: a b", "see tinylm list --help"),
        (
            ["new", "a", "b;", "c"],
            "new got one argument too many: c",
            "quote arguments that contain spaces: tinylm new 'a b; c'",
        ),
        (
            ["new", "my models/mine"],
            "cannot write my models/mine.yaml: No such file or directory",
            "create its folder first: mkdir -p 'my models'",
        ),
        (
            ["export", "tiny", "-o", "absent/hf"],
            "cannot write absent/hf: No such file or directory",
            "create its folder first: mkdir -p absent",
        ),
        (["new", "mine", "smal"], "no such preset or file: smal", "did you mean small?"),
        (["new"], "NAME is missing", "for example tinylm new mine"),
        (["validate"], "FILE... is missing", "for example tinylm validate my.yaml"),
        # names and overrides
        (["params", "--config", "smal"], "no such preset or file: smal", "did you mean small?"),
        (
            ["estimate", "llama-3-70b"],
            "no such preset or file: llama-3-70b",
            "did you mean llama-3.1-70b? tinylm list --gallery shows all",
        ),
        (["params", "--config", "toy.yml"], "no such preset or file: toy.yml", "did you mean toy.yaml?"),
        (["params", "--set", "n_layers"], "--set n_layers: expected key=value", "for example --set n_layers=8"),
        (
            ["params", "--set", "n_layers=5\nd_model: 6"],
            "--set n_layers: the value spans several lines",
            "set one field per --set",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_usage_errors(arguments: list[str], message: str, remedy: str | None, here: Here) -> None:
    result = here(*arguments, columns=200)
    assert (result.code, result.out) == (2, "")
    told, *helped = result.err.splitlines()
    assert re.sub(r"^error(\[[a-z-]+\])?: ", "", told) == message
    if remedy is not None:
        assert helped[-1] == f"  = help: {remedy}"


@pytest.mark.parametrize(
    ("words", "place", "value"),
    [
        ("estimate small --gpu h10", "--gpu:1:7", "h10"),
        ("estimate small --optimizer adam", "--optimizer:1:13", "adam"),
        ("estimate small --section pln --gpu h100", "--section:1:11", "pln"),
        ("estimate small --price x --gpu h100", "--price:1:9", "x"),
        ("estimate small --batch-size x", "--batch-size:1:14", "x"),
        ("params small --table prms -f csv", "--table:1:9", "prms"),
        ("build small --depth 1.5", "--depth:1:9", "1.5"),
        ("list --min-params x", "--min-params:1:14", "x"),
        ("list --family qwn", "--family:1:10", "qwn"),
        ("design --params 7Bn", "--params:1:10", "7Bn"),
        ("design --params 7B --d-model x", "--d-model:1:11", "x"),
        ("sweep small n_layer=2..4", "KEY=VALUES:1:1", "n_layer"),
        ("sweep small n_layers=4..2", "KEY=VALUES:1:1", "n_layers=4..2"),
    ],
)
def test_wrong_values_have_a_caret(words: str, place: str, value: str, here: Here) -> None:
    result = here(*words.split(), columns=80)
    assert (result.code, result.out) == (2, "")
    lines = [line.rstrip() for line in result.err.splitlines()]
    shown, carets = lines[lines.index(f" --> {place}") + 1 :][:2]
    assert shown[carets.index("^") : carets.rindex("^") + 1] == value


def test_config_and_file_of_similar_names(here: Here) -> None:
    Path("small.yaml").touch()
    assert "= help: did you mean small or small.yaml?\n" in here("check", "smal").err


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (["params", "--set", "n_layer=3"], "did you mean n_layers?"),
        (["params", "--set", "norm.knd=rmsnorm"], "did you mean norm.kind?"),
        (["params", "--set", "norm.kind=rmsnrom"], "did you mean rmsnorm?"),
        (["params", "--config", "toy.yaml", "--set", "hidden_size=64"], "did you mean d_model?"),
    ],
)
def test_field_typo(arguments: list[str], meant: str, here: Here) -> None:
    result = here(*arguments)
    assert (result.code, result.out) == (1, "")
    assert f"= help: {meant}\n" in result.err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["params", "--by", "tensr"], 2, "--by:1:6: --by tensr: expected component, layer or tensor"),
        (["parms"], 2, "no such command: parms"),
        (["params", "--config", "absent"], 2, "no such preset or file: absent"),
        (["params", "--set", "n_layers=0"], 1, "--set:1:10: n_layers must be an integer from 1 to 100,000, not 0"),
        (["build", "--device", "abacus"], 2, "--device abacus: expected cpu, cuda or mps"),
        (["build", "--config", "base", "--set", "n_layers=100000"], 2, None),
        (["forward", "--tokens", "256"], 2, "token 1 is 256, outside the vocabulary of 256"),
        (["generate", "--weights", "absent"], 2, None),
        (["list", "--output", "absent/out"], 2, "cannot write absent/out: No such file or directory"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_errors_as_json(arguments: list[str], code: int, message: str | None, here: Here) -> None:
    for asked in (["--format", "json"], ["--format=json"], ["-f", "json"], ["-fjson"]):
        result = here(*arguments, *asked)
        document = json.loads(result.out)
        assert result.code == code
        assert document["schema_version"] == 2
        assert document["error"]["exit_code"] == code
        assert bool(document["error"]["diagnostics"]) == (message is not None and ":1:" in message)
        if message is not None:
            assert document["error"]["message"].startswith(message)
        assert result.err.startswith("error"), "people are told as well, on the other stream"


def test_failure_document(here: Here, golden_json: Callable[[str, str], None]) -> None:
    golden_json("failure", here("params", "--config", "toy.yaml", "--set", "n_layers=0", "--format", "json").out)


def test_two_dashes(here: Here) -> None:
    assert here("validate", "--", "--debug").code == 2
    assert "no such preset or file: --debug" in here("validate", "--", "--debug").out

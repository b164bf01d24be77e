"""Arguments of the Python API: their names, types, amounts and defaults, and the error for a wrong one."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
import typer

import tinylm_cli as tinylm
from tinylm_cli.analysis.design.families import FAMILIES
from tinylm_cli.api.setups import SetupFields
from tinylm_cli.cli.app import create_app
from tinylm_cli.cli.serving_options import ServingOptions
from tinylm_cli.cli.training_options import ClusterOptions, TrainingOptions
from tinylm_cli.cli.wording import option_name
from tinylm_cli.quantities import MAX_DESIGNS
from tinylm_cli.reports.plan import Layout

TINY = tinylm.load("tiny")
UNTYPED: Any = TINY
UNTYPED_API: Any = tinylm


@pytest.mark.parametrize(
    ("setup", "error", "message"),
    [
        ({"gpu": "h1000"}, tinylm.ConfigError, "h1000"),
        ({"batchsize": 2}, tinylm.UsageError, r"estimate\(\) has no argument batchsize"),
        ({"plan": "xp=2"}, tinylm.UsageError, "invalid plan entry xp=2"),
        ({"plan": "dp=4", "gpus": 8}, tinylm.UsageError, "uses 4 GPUs, but gpus is 8"),
        ({"seq_len": 4096}, tinylm.AnalysisError, "4,?096"),
        ({"train_tokens": "many"}, tinylm.UsageError, "train_tokens"),
        ({"dtype": "float64", "gpu": "h100"}, tinylm.UsageError, "float64"),
        ({"for_": "foo"}, tinylm.UsageError, "for_: expected training or serving, got 'foo'"),
        ({"attention_flops": "x"}, tinylm.UsageError, "attention_flops: expected causal or full, got 'x'"),
        ({"by": "tensor"}, tinylm.UsageError, "by: expected component or layer, got 'tensor'"),
        ({"full": "yes"}, tinylm.UsageError, "full: expected True or False, got 'yes'"),
        ({"batch_size": "x"}, tinylm.UsageError, "batch_size: .* from 1 to 1,000,000,000 such as \"1k\", got 'x'"),
        ({"batch_size": "2G"}, tinylm.UsageError, "batch_size: .* from 1 to 1,000,000,000 such as .*, got '2G'"),
        ({"batch_size": 0}, tinylm.UsageError, "batch_size: .*, got 0"),
        ({"batch_size": True}, tinylm.UsageError, "batch_size: .*, got True"),
        ({"seq_len": 0}, tinylm.UsageError, 'seq_len: expected an integer >= 1 such as "8k", got 0'),
        ({"gpus": "x"}, tinylm.UsageError, "gpus: expected an integer from 1 to 1,000,000 such as \"1k\", got 'x'"),
        ({"dtype": "foo"}, tinylm.UsageError, "dtype: expected bfloat16, float16, float32 or float64, got 'foo'"),
        ({"kv_cache_dtype": "int4"}, tinylm.UsageError, "kv_cache_dtype: .* float8 or int8, got 'int4'"),
        ({"quantize": "int2"}, tinylm.UsageError, "int4 or nf4, got 'int2'"),
        ({"utilization": 1.5}, tinylm.UsageError, "utilization: expected a number from 0.001 to 1, got 1.5"),
        ({"price": "2$"}, tinylm.UsageError, "price: expected a number from 0 to 1,000,000, got '2\\$'"),
        ({"utilization": "nan"}, tinylm.UsageError, "utilization: .* got 'nan'"),
        ({"price": -1}, tinylm.UsageError, "price: expected a number from 0 to"),
        ({"serving_batch_size": (1, 0)}, tinylm.UsageError, "serving_batch_size: .* or a tuple, each an integer"),
        ({"train_tokens": 0}, tinylm.UsageError, "train_tokens: expected an integer >= 1 such as"),
        ({"train_tokens": 1.5}, tinylm.UsageError, "train_tokens: .* got 1.5"),
        ({"plan": 3}, tinylm.UsageError, "plan: expected text or Layout, got 3"),
        ({"plan": "tp=3", "gpus": 8}, tinylm.UsageError, "tp=3 uses 3 GPUs per replica, .* gpus=8\n.*write gpus=9, or"),
        ({"plan": "tp=3", "gpus": 1}, tinylm.UsageError, "does not divide gpus=1\n.*write gpus=3"),
        ({"plan": Layout(data=2), "gpus": 8}, tinylm.UsageError, "uses 2 GPUs, but gpus is 8\n.*write gpus=2"),
        ({"group_size": 64}, tinylm.UsageError, 'group_size needs quantize="int4"'),
        ({"quantize_head": True}, tinylm.UsageError, "quantize_head needs quantize"),
        ({"plan": "tp=0"}, tinylm.UsageError, "plan: tp: expected an integer from 1 to 1,000,000, got 0"),
        ({"plan": "zero=7"}, tinylm.UsageError, "plan: zero: expected 0, 1, 2 or 3, got 7"),
        ({"plan": Layout(data=0)}, tinylm.UsageError, "plan: dp: .* got 0"),
    ],
)  # fmt: skip
def test_invalid_estimates(setup: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        tinylm.load("tiny").estimate(**setup)


def test_a_wrong_choice_suggests_the_nearest() -> None:
    with pytest.raises(tinylm.UsageError, match="optimizer: expected adamw, adamw_8bit") as raised:
        TINY.estimate(optimizer="adam_w")  # type: ignore[arg-type]
    assert raised.value.help == "did you mean adamw?"
    with pytest.raises(tinylm.UsageError, match="by: expected component, layer or tensor, got 'foo'"):
        TINY.params(by="foo")  # type: ignore[arg-type]
    with pytest.raises(tinylm.UsageError, match="convention: expected unique, untied") as raised:
        TINY.params(convention="hubs")  # type: ignore[arg-type]
    assert raised.value.help == "did you mean hub?"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: TINY.estimate(gpuss=8), "estimate() has no argument gpuss\n  = help: did you mean gpus?"),  # type: ignore[call-arg]
        (
            lambda: UNTYPED_API.design(params="1M", famly="llama"),
            "design() has no argument famly\n  = help: did you mean family?",
        ),
        (lambda: tinylm.load(3), "config: expected text, a path, a dictionary or ModelConfig, got 3"),  # type: ignore[arg-type]
        (lambda: tinylm.load("tiny", set=[3]), "set: expected text, a list of text or a dictionary, got"),  # type: ignore[list-item]
        (lambda: TINY.validate(assert_=[3]), "assert_: expected text or a list of text, got"),  # type: ignore[list-item]
        (lambda: TINY.compare("small", 3), "others: expected Model, a dictionary, text or a path, got 3"),  # type: ignore[arg-type]
        (lambda: tinylm.sweep(3, "n_layers=1,2"), "model: expected Model, text or a path, got 3"),  # type: ignore[arg-type]
        (lambda: tinylm.sweep("tiny", {"n_layers": 3}), "fields: expected text, a list of text or a dictionary"),
        (lambda: tinylm.design(params="1M", d_model=512), "d_model: expected a range, got 512"),  # type: ignore[arg-type]
        (lambda: tinylm.design(params="1M", n_layers=range(1, 4)), "n_layers: expected ascending values >= 2"),
        (lambda: tinylm.design(params="1M", d_head=(64, 32)), "d_head: expected ascending values >= 1"),
        (lambda: tinylm.design(params="1M", tolerance=-1), "tolerance: expected a number from 0 to 1, got -1"),
        (lambda: tinylm.design(params="1M", vocab_size=0), "vocab_size: expected an integer from 1 to"),
        (lambda: TINY.build(seed="x"), "seed: expected an integer from 0 to"),  # type: ignore[arg-type]
        (lambda: TINY.build(seed=-1), "seed: expected an integer from 0 to"),
        (lambda: TINY.build(weights=3), "weights: expected text or a path, got 3"),  # type: ignore[arg-type]
    ],
)
def test_a_wrong_argument_is_named(call: Callable[[], object], message: str) -> None:
    """Whether it is given by position or by keyword."""
    with pytest.raises(tinylm.UsageError, match=re.escape(message)):
        call()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: UNTYPED.estimate(sel=1), "estimate() has no argument sel\n  = help: did you mean seq_len?"),
        (lambda: UNTYPED.compare(set={}), "compare() has no argument set\n  = help: the arguments are gpu,"),
        (lambda: UNTYPED.params(bye="layer"), "params() has no argument bye\n  = help: did you mean by?"),
        (lambda: UNTYPED.build(sead=1), "build() has no argument sead\n  = help: did you mean seed?"),
        (
            lambda: UNTYPED.params("layer"),
            "params() takes no positional arguments, got 'layer'\n  = help: write it as a keyword argument: by='layer'",
        ),
        (lambda: UNTYPED.estimate("h100"), "write it as a keyword argument: gpu='h100'"),
        (
            lambda: UNTYPED.build(7),
            "build() takes no positional arguments, got 7\n  = help: write it as a keyword argument: se",
        ),
        (lambda: UNTYPED_API.design("125M"), "write it as a keyword argument: params='125M'"),
        (
            lambda: UNTYPED_API.load("tiny", {}),
            "load() takes 1 positional argument, got {}\n  = help: write it as a keyword argument: set={}",
        ),
        (lambda: UNTYPED_API.load(), "load(): missing a required argument: 'config'"),
        (
            lambda: UNTYPED_API.sweep("tiny", fields="n_layers=1,2", model=2),
            "sweep(): multiple values for argument 'model'",
        ),
    ],
)
def test_misplaced_arguments(call: Callable[[], object], message: str) -> None:
    with pytest.raises(tinylm.UsageError, match=re.escape(message)):
        call()


def test_every_function_reads_its_arguments() -> None:
    model = tinylm.Model
    methods = [each for name, each in vars(model).items() if inspect.isfunction(each) and not name.startswith("_")]
    functions = [each for name in tinylm.__all__ if inspect.isfunction(each := getattr(tinylm, name))]
    for function in (*methods, *functions):
        if inspect.signature(function).parameters.keys() - {"self"}:
            assert hasattr(function, "__wrapped__"), f"{function.__name__} is not checked"


def test_amounts_as_text() -> None:
    """A number with a unit is read as the commands read it."""
    base = tinylm.load("llama-3-8b")
    as_text = base.estimate(
        seq_len="4k", serving_seq_len=("1k", "8k"), serving_batch_size="1k", global_batch_size="1k", gpus="8",
        gpu="h100", price="2", kernel_efficiency="50%", train_tokens="15B", prefill_tokens="2k", batch_size="2",
    )  # fmt: skip
    as_numbers = base.estimate(
        seq_len=4096, serving_seq_len=(1024, 8192), serving_batch_size=1000, global_batch_size=1000, gpus=8,
        gpu="h100", price=2, kernel_efficiency=0.5, train_tokens=15 * 10**9, prefill_tokens=2048, batch_size=2,
    )  # fmt: skip
    assert as_text.to_dict() == as_numbers.to_dict()
    small = tinylm.design(params="5M", vocab_size="32k", max_len="8k", tolerance="2%", top=1, seq_len="1k")
    assert small.to_dict() == tinylm.design(params=5e6, vocab_size=32_000, max_len=8192, top=1, seq_len=1024).to_dict()
    swept = tinylm.sweep("tiny", "n_layers=2,4", seq_len="1k", batch_size="2")
    assert swept.to_dict() == tinylm.sweep("tiny", "n_layers=2,4", seq_len=1024, batch_size=2).to_dict()


def test_numbers_of_numpy() -> None:
    import numpy as np

    assert UNTYPED.estimate(seq_len=np.int64(512), price=None).to_dict() == TINY.estimate(seq_len=512).to_dict()


def test_accepted_argument_types() -> None:
    report = TINY.estimate(train_tokens=15e9, serving_batch_size=[1, 8], seq_len=None)  # type: ignore[arg-type]
    assert report.to_dict() == TINY.estimate(train_tokens="15B", serving_batch_size=(1, 8)).to_dict()


def options_of(command: str) -> set[str]:
    parameters = vars(typer.main.get_command(create_app((command,))))["commands"][command].params
    return {name for each in parameters for name in each.opts}


def test_keyword_arguments_are_named_like_options() -> None:
    model, search = tinylm.Model, (tinylm.sweep, tinylm.design)
    functions = (model.params, model.compare, model.estimate, model.validate, model.build, *search)
    for function in functions:
        parameters = inspect.signature(function).parameters.values()
        names = [each.name for each in parameters if each.kind is inspect.Parameter.KEYWORD_ONLY]
        assert {option_name(name) for name in names} <= options_of(function.__name__), function


def test_defaults_are_those_of_the_options() -> None:
    compared = 0
    for function in (tinylm.sweep, tinylm.design, tinylm.Model.params, tinylm.Model.estimate):
        command = vars(typer.main.get_command(create_app((function.__name__,))))["commands"][function.__name__]
        options = {name: each.default for each in command.params for name in each.opts}
        for name, parameter in inspect.signature(function).parameters.items():
            default = options.get(option_name(name))
            if default not in (None, ""):
                assert parameter.default == default, f"{function.__name__}: {name}"
                compared += 1
    assert compared > 12


def test_training_and_serving_arguments() -> None:
    groups = (TrainingOptions, ServingOptions, ClusterOptions)
    options = {option_name(each.name) for group in groups for each in dataclasses.fields(group)}
    own = {"--gpu", "--plan", "--hardware"}  # parameters of the functions
    keywords = {option_name(name) for name in SetupFields.__annotations__}
    assert keywords - {"--device"} == {"--attention-kernel" if each == "--kernel" else each for each in options} - own


def test_arguments_of_design() -> None:
    described = inspect.getdoc(tinylm.design) or ""
    (families,) = re.findall(r"^ +family: (.*\n.*)", described, re.MULTILINE)
    assert re.findall("``(.*?)``", families) == list(FAMILIES)
    assert f"designs to return, 1 to {MAX_DESIGNS:,}." in described


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({}, "no target or limit is given"),
        ({"params": "many"}, "params: expected an integer >= 1 such as \"125M\", got 'many'"),
        ({"params": "1M", "family": "lama"}, "unknown family lama"),
        ({"params": 0}, "params: expected an integer >= 1"),
        ({"params": "1M", "for_": "x"}, "for_: expected training or serving, got 'x'"),
        ({"params": "1M", "gpus": "x"}, "gpus: expected an integer"),
        ({"params": "1M", "top": 0}, "top: expected an integer from 1 to 500, got 0"),
    ],
)
def test_invalid_designs(asked: Any, message: str) -> None:
    with pytest.raises(tinylm.UsageError, match=message):
        tinylm.design(**asked)


@pytest.mark.parametrize(
    ("asked", "error", "message"),
    [
        ({"dtype": "int128"}, tinylm.UsageError, "dtype: expected .*, got 'int128'"),
        ({"dtype": "int8"}, tinylm.UsageError, "dtype: expected bfloat16, float16, float32 or float64, got 'int8'"),
        ({"dtype": torch.int8}, tinylm.UsageError, "got 'int8'"),
        ({"device": "gpu"}, tinylm.UsageError, "device: expected cpu, cuda or mps, got 'gpu'"),
        ({"device": "cuda:99"}, tinylm.UnableError, "no usable device cuda:99"),
    ],
)
def test_invalid_builds(asked: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        TINY.build(**asked)

"""``tinylm sweep``: figures of a config while one or two of its fields change."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tinylm_cli.analysis.figures import figure
from tinylm_cli.interop.load import load_config

Here = Callable[..., Any]
Golden = Callable[[str, str], None]

ONE = ["small", "n_layers=4..24:4"]
TWO = ["small", "n_layers=4,8", "d_model=256,500,512"]


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_screens(columns: int, here: Here, golden_text: Golden) -> None:
    shown = []
    for page in (ONE, TWO):
        result = here("sweep", *page, columns=columns)
        assert result.code == 0
        assert max(map(len, result.out.splitlines())) <= columns
        shown.append(f"$ tinylm sweep {' '.join(page)}\n{result.out}")
    golden_text(f"sweep-{columns}.txt", "\n".join(shown))


def test_documents(here: Here, golden_json: Golden, golden_text: Golden) -> None:
    golden_json("sweep", here("sweep", *TWO, "--format", "json").out)
    for format_, ending in (("markdown", "md"), ("csv", "csv"), ("latex", "tex")):
        golden_text(f"sweep.{ending}", "\n".join(here("sweep", *page, "--format", format_).out for page in (ONE, TWO)))


def test_figures(here: Here) -> None:
    words = ["toy.yaml", "n_layers=1..3", "--set", "d_ff=32", "--seq-len", "7"]
    report = json.loads(here("sweep", *words, "--format", "json").out)
    totals = [each["figures"]["total_params"] for each in report["points"]]
    assert totals == [
        figure("total_params", load_config("toy.yaml", [f"n_layers={n}", "d_ff=32"]).config) for n in (1, 2, 3)
    ]


def test_stdin(here: Here) -> None:
    text = Path("toy.yaml").read_text(encoding="utf-8")
    piped, named = (here("sweep", name, "n_layers=1..3", "-f", "csv", stdin=text).out for name in ("-", "toy.yaml"))
    assert piped == named
    assert piped.count("\n") == 4


def test_config_option(here: Here) -> None:
    named = here("sweep", "--config", "small", "n_layers=2,4", "d_ff=64,128")
    assert named.code == 0
    assert named.out == here("sweep", "small", "n_layers=2,4", "d_ff=64,128").out


def test_chart(here: Here) -> None:
    chart = here("sweep", "small", "n_layers=4,8", "--figure", "kv_cache_bytes").out
    assert re.search(r" 4 .* 4\.00 MiB  █{10} .*\n +8 .* 8\.00 MiB  █{20} ", chart)


def test_figure_and_unit_in_json(here: Here) -> None:
    words = ("sweep", "small", "n_layers=4,8", "--format", "json")
    for name, unit in (("kv_cache_bytes", "bytes"), ("decode_flops_per_token", "flops")):
        report = json.loads(here(*words, "--figure", name).out)
        assert (report["figure"], report["unit"]) == (name, unit)
    assert json.loads(here(*words).out)["figure"] == "total_params"


def test_exit_code(here: Here) -> None:
    result = here("sweep", "small", "n_layers=1.5,x")
    assert result.code == 1
    assert result.out.count("invalid") >= 2
    assert here("sweep", "small", "n_layers=1.5,2").code == 0


def test_invalid_config(here: Here) -> None:
    result = here("sweep", "small", "n_layers=4,8", "--set", "n_heads=7")
    assert result.code == 1
    assert "heads-do-not-divide" in result.err


def test_all_errors_at_once(here: Here) -> None:
    words = ("n_layers=4,8", "--seq-len", "9999", "--figure", "total_param")
    result = here("sweep", "small", *words)
    assert (result.code, result.out) == (2, "")
    said = " ".join(result.err.split())
    assert "error[contradiction]: --seq-len 9999 is longer than max_len 1024 of small" in said
    assert "error[unknown-figure]:" in said
    assert "did you mean total_params?" in said
    assert here("sweep", "small", *words, "--set", "n_heads=7").err.count("error[") == 2


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("small", "no field to sweep"),
        ("", "no config to sweep"),
        ("--config small", "no field to sweep"),
        ("--config small tiny n_layers=2", "tiny: expected key=values"),
        ("n_layers=4 d_model=256", "name the config first: tinylm sweep small n_layers=4"),
        ("absent n_layers=4", "no such preset or file: absent"),
        ("small n_layers=4 --set n_layers=5", "--set n_layers=5 has no effect: n_layers is swept"),
        ("small n_layers=4 --params 1M", "no such option: --params"),
    ],
)
def test_usage_errors(words: str, says: str, here: Here) -> None:
    result = here("sweep", *words.split())
    assert (result.code, result.out) == (2, "")
    assert says in " ".join(result.err.split())


def test_errors_have_remedies(here: Here) -> None:
    out = here("sweep", "small", "n_heads=2,3,300", columns=120).out
    assert "\nd_model 256 is not divisible by n_heads 3; write n_heads: 2 or 4, or d_model: 252 or 258.\n" in out
    assert "\nn_heads 300 exceeds d_model 256: each head needs at least one dimension; write n_heads: 256, or" in out
    assert "\nn_layers x: n_layers must be an integer" in here("sweep", "small", "n_layers=2,x", columns=120).out


def test_many_errors_are_counted(here: Here) -> None:
    out = here("sweep", "small", "norm.kind=a,b,c,d,e,f,g").out
    assert "2 more are invalid; the JSON report has their errors." in out


def test_similar_errors(here: Here) -> None:
    out = here("sweep", "lfm2-1.2b", "n_layers=4..40:4", columns=60).out
    (note,) = re.findall("n_layers 4 is .*", " ".join(out.split()))
    assert note == (
        "n_layers 4 is not a multiple of the 16 layers of layers.pattern; write n_layers: 16."
        " Likewise n_layers 8, 12, 20 and 4 more."
    )
    out = here("sweep", "small", "n_heads=300,400", "d_model=256,512", columns=120).out
    assert "or d_model: 300. Likewise n_heads 400, d_model 256." in " ".join(out.split())


def test_kinds_of_layers(here: Here) -> None:
    swept = ("layers.pattern=(3 conv, full),'conv, full'", "layers.kinds.full.attention.n_kv_heads=2,3")
    out = here("sweep", "lfm2-1.2b", *swept, columns=60).out
    assert re.search(r"^layers\.pattern +n_kv_heads +parameters .*\n\(3 conv, full\) +2 +1,176,644,096 ", out, re.M)
    assert "in layers of kind full, n_heads 32 is not divisible by attention.n_kv_heads 3" in " ".join(out.split())
    report = json.loads(here("sweep", "lfm2-1.2b", *swept, "--format", "json").out)
    overrides = ["layers.pattern=conv, full", "layers.kinds.full.attention.n_kv_heads=2"]
    expected = figure("total_params", load_config("lfm2-1.2b", overrides).config)
    assert report["points"][2]["figures"]["total_params"] == expected


def test_hostile_values(here: Here) -> None:
    result = here("sweep", "small", "norm.kind=\x1b[31m,[/nope],rmsnorm")
    assert result.code == 0
    assert "\x1b" not in result.out
    assert "[/nope]" in result.out

"""``tinylm design``: from targets to configs."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tinylm_cli.analysis.design.families import FAMILIES
from tinylm_cli.analysis.figures import figure
from tinylm_cli.cli.design_options import Family
from tinylm_cli.config.base import MAX_LEN
from tinylm_cli.config.loader import load_config
from tinylm_cli.config.schema import ModelConfig

Here = Callable[..., Any]
Run = Callable[..., Any]
Golden = Callable[[str, str], None]

PAGES = (
    ["--params", "125M"],
    ["--params", "47B", "--family", "mixtral", "--top", "3"],
    ["--max-weights-bytes", "16GB", "--family", "llama", "--front", "--top", "4"],
    ["--params", "8B", "--family", "llama", "--max-kv-bytes", "64MiB", "--max-flops-per-token", "20G"],
    ["--gpu", "rtx-4090", "--family", "llama", "--seq-len", "2048", "--top", "4"],
    ["--gpu", "l4", "--for", "serving", "--family", "qwen3-moe", "--batch-size", "8", "--seq-len", "999", "--top", "2"],
    ["--params", "1.3B", "--family", "llama", "--gpu", "l4", "--min-decode-tokens-per-second", "900"],
    ["--compute", "1e21", "--family", "llama", "--top", "3"],
    ["--compute", "1e21", "--budget-tokens", "100B", "--family", "mixtral", "--top", "3"],
)
IMPOSSIBLE = (3, 6)


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_screens(columns: int, here: Here, golden_text: Golden) -> None:
    shown = []
    for index, page in enumerate(PAGES):
        result = here("design", *page, columns=columns)
        assert result.code == (1 if index in IMPOSSIBLE else 0)
        assert max(map(len, result.out.splitlines())) <= columns
        shown.append(f"$ tinylm design {' '.join(page)}\n{result.out}")
    golden_text(f"design-{columns}.txt", "\n".join(shown))


def test_documents(here: Here, golden_json: Golden, golden_text: Golden) -> None:
    golden_json("design", here("design", *PAGES[1], "--format", "json").out)
    golden_json("design-gpu", here("design", *PAGES[5], "--format", "json").out)
    for format_, ending in (("markdown", "md"), ("csv", "csv"), ("latex", "tex")):
        golden_text(f"design.{ending}", "\n".join(here("design", *page, "--format", format_).out for page in PAGES))


def test_the_families_are_those_there_are() -> None:
    assert [each.value for each in Family] == list(FAMILIES)


@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_written_is_valid_builds_and_meets_its_target(family: str, here: Here, folder: Path) -> None:
    words = ["--params", "1.2B", "--family", family, "--vocab-size", "32000", "--max-kv-bytes", "8GiB"]
    result = here("design", *words, "--output", "mine.yaml")
    assert (result.code, result.out) == (0, "")
    assert here("validate", "mine.yaml").code == 0
    config = load_config("mine.yaml").config
    assert abs(figure("total_params", config) / 1.2e9 - 1) <= 0.02
    assert figure("kv_cache_bytes", config) <= 2**33
    built = here("build", "--config", "mine.yaml", "--meta")
    assert built.code == 0
    assert "✓ closed form = instantiated module" in built.out
    again = re.search(r"^# .* of (tinylm design .*)$", (folder / "mine.yaml").read_text(encoding="utf-8"), re.MULTILINE)
    assert again is not None
    assert here(*shlex.split(again[1])[1:], "--pick", "1").out == (folder / "mine.yaml").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("words", "claims"),
    [
        ("--gpu rtx-4090 --family llama --seq-len 1024 --batch-size 2", {"train_bytes_per_gpu"}),
        ("--gpu l4 --for serving --family gemma2 --min-decode-tokens-per-second 40 --max-kv-bytes 2GiB",
         {"kv_cache_bytes"}),
        ("--max-train-bytes-per-gpu 24GiB --max-serve-bytes 3GB --family gpt2 --dtype float32",
         {"train_bytes_per_gpu"}),
        ("--active-params 500M --family mixtral --max-flops-per-token 2G",
         {"active_params", "forward_flops_per_token"}),
        ("--params 1.25B --gpu h100 --utilization 0.5 --recompute full --optimizer muon", {"nominal_error"}),
        ("--compute 2.5e20 --family qwen3", set()),
        ("--compute 1e20 --budget-tokens 30B --tolerance 0.01", set()),
    ],
)  # fmt: skip
def test_what_is_written_holds_itself_to_what_was_asked(
    words: str, claims: set[str], tinylm: Run, tmp_path: Path
) -> None:
    """Each by a process of its own: written, validated with its budget, built without weights, and found again."""
    written = tinylm("design", *words.split(), "-o", "mine.yaml")
    assert (written.code, written.out) == (0, "")
    checked = json.loads(tinylm("validate", "mine.yaml", "--format", "json").out)
    assertions = checked["files"][0]["assertions"]
    assert {each["figure"] for each in assertions} == claims
    assert all(each["holds"] for each in assertions)
    built = tinylm("build", "--config", "mine.yaml", "--meta")
    assert "✓ closed form = instantiated module" in built.out
    text = (tmp_path / "mine.yaml").read_text(encoding="utf-8")
    again = re.search(r"^# .* of (tinylm design .*)$", text, re.MULTILINE)
    assert again is not None
    assert tinylm(*shlex.split(again[1])[1:], "--pick", "1").out == text


def test_pick_writes_another(here: Here) -> None:
    report = json.loads(here("design", "--params", "125M", "--top", "12", "--format", "json").out)
    for rank in (1, 12):
        text = here("design", "--params", "125M", "--pick", str(rank), "-o", "-").out
        labels = {"nominal_params": 125_000_000, "budget": {"nominal_tolerance": 0.02}}
        wanted = ModelConfig.model_validate({**report["designs"][rank - 1]["config"], **labels})
        assert f", rank {rank} of tinylm design --params 125M\n" in text
        Path("picked.yaml").write_text(text, encoding="utf-8")
        assert load_config("picked.yaml").config == wanted


def test_a_config_is_replaced_only_with_force(here: Here, folder: Path) -> None:
    words = ("design", "--params", "125M", "-o", "mine.yaml")
    assert here(*words).code == 0
    first = (folder / "mine.yaml").read_text(encoding="utf-8")
    again = here(*words, "--pick", "2")
    assert (again.code, again.out) == (2, "")
    assert "mine.yaml exists" in again.err
    assert "add --force to replace it" in " ".join(again.err.split())
    assert (folder / "mine.yaml").read_text(encoding="utf-8") == first
    assert here(*words, "--pick", "2", "--force").code == 0
    assert (folder / "mine.yaml").read_text(encoding="utf-8") != first


@pytest.mark.parametrize("columns", [60, 80])
@pytest.mark.parametrize(
    ("words", "heading"),
    [
        ("--params 8B --max-kv-bytes 1GiB", "KV cache"),
        ("--max-weights-bytes 15GB", "weights"),
        ("--max-serve-bytes 15GB", "to serve"),
        ("--max-train-bytes-per-gpu 80GB", "to train"),
        ("--params 8B --max-flops-per-token 18G", "FLOPs a token"),
        ("--max-kv-bytes 1GiB --max-weights-bytes 15GB", "KV cache"),
        ("--gpu l4 --for serving --min-decode-tokens-per-second 20", "decodes"),
    ],
)
def test_what_is_aimed_at_is_shown(words: str, heading: str, columns: int, here: Here) -> None:
    shown = here("design", "--family", "llama", *words.split(), "--front", "--top", "3", columns=columns).out
    assert re.search(rf"^ *#  .*{heading}", shown, re.MULTILINE)
    assert len(re.findall(r"^ *\d+  ✓  \d+ × \d+", shown, re.MULTILINE)) == 3
    assert "marked ✓" in shown


def test_a_mark_is_spoken_of_only_where_it_is_seen(here: Here) -> None:
    marked = {count: here("design", "--params", "125M", "--top", count).out for count in ("3", "213")}
    assert "✓" not in marked["3"]
    assert "On the front, listed by --front: 13" in marked["3"]
    assert "On the front, marked ✓ and listed by" in marked["213"]
    assert marked["213"].count("✓") == 1 + 13


@pytest.mark.parametrize(
    ("words", "echoed"),
    [
        ("--max-weights-bytes 15GB", "at most 15 GB of weights"),
        ("--max-weights-bytes 1.5GiB", "at most 1.5 GiB of weights"),
        ("--max-weights-bytes 123456789", "at most 123,456,789 B of weights"),
        ("--max-flops-per-token 2.5e9", "at most 2.5 GFLOP a token"),
        ("--params 1e9", "1B parameters ± 2%"),
        ("--params 1000T", "1000T parameters ± 2%"),
        ("--params 125M --tolerance 5%", "125M parameters ± 5%"),
        ("--params 124439808", "124,439,808 parameters ± 2%"),
    ],
)
def test_a_limit_is_echoed_as_it_is_typed(words: str, echoed: str, here: Here) -> None:
    assert f"course: {echoed}" in " ".join(here("design", *words.split(), "--top", "1").out.split())


def test_a_speed_of_training_is_told_only_where_the_gpu_trains(here: Here) -> None:
    trained = here("design", "--gpu", "l4", "--top", "1", columns=120).out
    assert "trains on" in trained
    assert "what l4 can do at most; training takes 40% of its peak." in trained
    words = ("design", "--gpu", "l4", "--for", "serving")
    served = here(*words, "--top", "1", columns=120).out
    assert "decodes" in served
    assert "trains on" not in served
    assert "Speeds are in tokens: decoding is bound by what l4 can do at most.\n" in served
    report = json.loads(here(*words, "--top", "1", "--format", "json").out)
    (design,) = report["designs"]
    assert (report["utilization"], design["train_tokens_per_second"]) == (None, None)
    assert design["decode_tokens_per_second"] > 0
    nothing = here(*words, "--params", "1K")
    assert nothing.code == 1
    assert "Speeds" not in nothing.out


def test_json_tells_what_training_takes_however_it_is_aimed(here: Here) -> None:
    words = ("design", "--params", "125M", "--top", "1", "--format", "json")
    takes = [
        json.loads(here(*words, "--recompute", each).out)["designs"][0]["figures"]["train_bytes_per_gpu"]
        for each in ("none", "full")
    ]
    assert takes[0] > takes[1]


def test_the_size_asked_for_is_the_vocabulary_length_and_head(here: Here) -> None:
    words = ["--vocab-size", "777", "--max-len", "99", "--no-tie", "--params", "50M", "--family", "gpt2", "--pick", "1"]
    Path("mine.yaml").write_text(here("design", *words).out, encoding="utf-8")
    config = load_config("mine.yaml").config
    assert (config.vocab_size, config.max_len, config.tie_weights) == (777, 99, False)


def test_the_next_step_is_the_same_search_written_down(here: Here) -> None:
    words = (
        "--params 2B --max-flops-per-token 9G --max-kv-bytes 3GiB --max-weights-bytes 9GB --tolerance 0.05"
        " --family llama --vocab-size 5000 --max-len 4000 --tie --seq-len 300 --dtype float32"
    )
    said = here("design", *words.split()).err
    assert said == f"next: tinylm design {words} --output llama.yaml\n"
    assert here(*said.removeprefix("next: tinylm ").split()).err == (
        "wrote llama.yaml\nnext: tinylm build llama.yaml --meta\n"
    )


def test_the_next_step_names_what_the_model_is_for(here: Here, folder: Path) -> None:
    (folder / "my gpus.yaml").write_text(MINE, encoding="utf-8")
    words = (
        "--max-train-bytes-per-gpu 30GB --max-serve-bytes 8GiB --min-decode-tokens-per-second 12.5 --compute 2.5e20"
        " --budget-tokens 30B --gpu mine --hardware 'my gpus.yaml' --for serving --batch-size 2"
        " --optimizer adafactor --recompute selective"
    )
    said = here("design", *shlex.split(words)).err
    assert said == f"next: tinylm design {words} --output course.yaml\n"


MINE = """mine:
  title: My own
  memory_bytes: 96 GB
  memory_bytes_per_second: 1 TB/s
  peak_flops_per_second: {float32: 50 TFLOP/s, bfloat16: 200 TFLOP/s}
  link_bytes_per_second: 64 GB/s
  gpus_per_node: 1
  network_bytes_per_second: 1 GB/s
"""


def test_nothing_found_fails_and_writes_nothing(here: Here, folder: Path) -> None:
    result = here("design", "--params", "900T")
    assert result.code == 1
    assert "nearest is a model of 16384 × 128" in " ".join(result.out.split())
    report = json.loads(here("design", "--params", "900T", "--format", "json").out)
    assert (report["designs"], report["matches"]) == ([], 0)
    assert report["obstacles"][0]["alone"] is True
    written = here("design", "--params", "900T", "-o", "mine.yaml")
    assert (written.code, written.out) == (1, "")
    assert "nearest is a model" in " ".join(written.err.split())
    assert not (folder / "mine.yaml").exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("", "there is nothing to aim at"),
        ("--params 1M --family llamma", "did you mean llama?"),
        ("--params 1M --tolerance 2", "--tolerance 2: expected a number from 0 to 1"),
        ("--params 1M --tolerance 101%", "--tolerance 101%: expected a number from 0 to 1"),
        ("--params 1M --tolerance nan", "--tolerance nan: expected a number from 0 to 1"),
        ("--params 125M --pick 5000", "--pick 5000: there is no such rank"),
        ("--params 125M --hardware mine.yaml", "--hardware is about a GPU"),
        ("--params 125M --for serving", "--for is about a GPU"),
        ("--params 125M --min-decode-tokens-per-second 5", "--min-decode-tokens-per-second is about a GPU"),
        ("--params 125M --utilization 0.4", "--utilization is about a GPU"),
        ("--gpu l4 --for serving --utilization 0.4", "--utilization is about training"),
        ("--params 125M --recompute full", "--recompute is about memory for training, and none is asked for"),
        ("--params 125M --recompute none --pick 1", "--recompute is about memory for training"),
        ("--params 125M --optimizer sgd -f markdown", "--optimizer is about memory for training"),
        ("--gpu l4 --for serving --optimizer sgd", "--optimizer is about memory for training"),
        ("--params 125M --pick 3 -f csv", "--pick writes a design as YAML, and --format asks for a report"),
        ("--params 125M --pick 3 -f markdown -o out.md", "--pick writes a design as YAML"),
        ("--params 125M --force", "--force lets --output replace a file, and none is named"),
        ("--params 125M --pick 8 --front", "--pick 8: another beats that one, and --front leaves it out"),
        ("--params 125M --pick 214 --front", "there is no such rank among the 213 designs found"),
        ("--gpu l4 --min-decode-tokens-per-second 0", "expected more than 0"),
        ("--gpu l4 --min-decode-tokens-per-second nan", "expected more than 0"),
        ("--gpu l4 --optimizer adamw_8bit", "its memory grows unevenly"),
        ("--params 125M --compute 1e21", "--compute finds the size of the model, and the size is given"),
        ("--params 125M --budget-tokens 1B", "--budget-tokens are what --compute is spent on"),
    ],
)
def test_what_does_not_fit_is_told(words: str, says: str, here: Here) -> None:
    result = here("design", *words.split())
    assert (result.code, result.out) == (2, "")
    assert says in " ".join(result.err.split())
    assert "Traceback" not in result.err


def test_everything_wrong_with_what_is_asked_is_told_at_once(here: Here) -> None:
    limits = ("--max-kv-bytes", "4G", "--max-flops-per-token", "0")
    result = here("design", "--params", "8Q", *limits, "--seq-len", "4096", "--gpu", "l4", "--dtype", "float64")
    assert (result.code, result.out) == (2, "")
    assert result.err.count("error[") == 5
    for says in (
        "error[wrong-type]: --params 8Q: expected a count such as 125M",
        "error[wrong-type]: --max-kv-bytes 4G: expected a size such as 24GiB",
        "4GiB",
        "error[out-of-range]: --max-flops-per-token 0: expected more than 0",
        "error[contradiction]: --seq-len 4096 is longer than max_len 1024 of the family course",
        "or add --max-len 4096",
        "error[contradiction]: l4 does not multiply float64",
    ):
        assert says in " ".join(result.err.split())
    short = here("design", "--params", "1M", "--max-len", "64", "--seq-len", "99").err
    assert "1 | --max-len 64" in short
    assert "or write --max-len 99" in short
    assert here("design", "--params", "1M", "--seq-len", str(MAX_LEN + 1)).err.endswith("--seq-len 1024 or less\n")


@pytest.mark.parametrize(
    ("compute", "says"),
    [("1e31", "--compute 1e31: larger than anything here"), ("1e", "--compute 1e: expected a number of operations")],
)
def test_a_compute_that_is_none(here: Here, compute: str, says: str) -> None:
    result = here("design", "--compute", compute)
    assert result.code == 2
    assert says in " ".join(result.err.split())


def test_a_gpu_that_there_is_not(here: Here) -> None:
    result = here("design", "--gpu", "rtx-4091")
    assert result.code
    assert result.out == ""
    assert "did you mean rtx-4090?" in " ".join(result.err.split())


@pytest.mark.parametrize("option", ["--vocab-size", "--max-len", "--top", "--pick"])
@pytest.mark.parametrize("value", ["0", "-1", "99999999999", "x"])
def test_sizes_that_are_none(option: str, value: str, here: Here) -> None:
    result = here("design", "--params", "125M", option, value)
    assert (result.code, result.out) == (2, "")


def test_the_longest_sequence_is_that_of_configs(here: Here) -> None:
    assert here("design", "--params", "1B", "--max-len", str(MAX_LEN), "--top", "1").code == 0

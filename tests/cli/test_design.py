"""``tinylm design``: from targets to configs."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest

from tinylm_cli.analysis.design.families import FAMILIES
from tinylm_cli.analysis.design.find_designs import DesignRequest, find_designs
from tinylm_cli.analysis.design.search import OnProgress
from tinylm_cli.analysis.figures import figure
from tinylm_cli.cli.design_options import Family
from tinylm_cli.config.base import MAX_LEN
from tinylm_cli.config.hardware import load_hardware
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop.load import load_config
from tinylm_cli.reports.design import DesignReport

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
    ["--compute", "1e21", "--train-tokens", "100B", "--family", "mixtral", "--top", "3"],
)
IMPOSSIBLE = (3, 6)


_reports: dict[DesignRequest, DesignReport] = {}


@pytest.fixture(autouse=True)
def each_search_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Search once for what several tests show in different widths and formats."""

    def find_once(request: DesignRequest, on_progress: OnProgress) -> DesignReport:
        if request not in _reports:
            _reports[request] = find_designs(request, on_progress)
        return _reports[request]

    monkeypatch.setattr("tinylm_cli.analysis.design.find_designs.find_designs", find_once)


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


def test_families() -> None:
    assert list(get_args(Family)) == list(FAMILIES)


@pytest.mark.parametrize("family", FAMILIES)
def test_written_config_builds(family: str, here: Here, folder: Path) -> None:
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
        ("--compute 1e20 --train-tokens 30B --tolerance 0.01", set()),
    ],
)  # fmt: skip
def test_written_budget_holds(words: str, claims: set[str], here: Here, folder: Path) -> None:
    """Write, validate against the budget, build on meta, and search again with the command in the comment."""
    written = here("design", *words.split(), "-o", "mine.yaml")
    assert (written.code, written.out) == (0, "")
    checked = json.loads(here("validate", "mine.yaml", "--format", "json").out)
    assertions = checked["files"][0]["assertions"]
    assert {each["figure"] for each in assertions} == claims
    assert all(each["holds"] for each in assertions)
    assert "✓ closed form = instantiated module" in here("build", "mine.yaml", "--meta").out
    text = (folder / "mine.yaml").read_text(encoding="utf-8")
    again = re.search(r"^# .* of (tinylm design .*)$", text, re.MULTILINE)
    assert again is not None
    assert here(*shlex.split(again[1])[1:], "--pick", "1").out == text


def test_installed_command(tinylm: Run, tmp_path: Path) -> None:
    """The same in processes of their own, where nothing is remembered."""
    assert tinylm("design", "--params", "125M", "-o", "mine.yaml").code == 0
    text = (tmp_path / "mine.yaml").read_text(encoding="utf-8")
    assert tinylm("design", "--params", "125M", "--pick", "1").out == text


def test_pick(here: Here) -> None:
    report = json.loads(here("design", "--params", "125M", "--top", "12", "--format", "json").out)
    for rank in (1, 12):
        text = here("design", "--params", "125M", "--pick", str(rank), "-o", "-").out
        labels = {"nominal_params": 125_000_000, "budget": {"nominal_tolerance": 0.02}}
        wanted = ModelConfig.model_validate({**report["designs"][rank - 1]["config"], **labels})
        assert f", rank {rank} of tinylm design --params 125M\n" in text
        Path("picked.yaml").write_text(text, encoding="utf-8")
        assert load_config("picked.yaml").config == wanted


def test_table_in_a_file(here: Here, folder: Path) -> None:
    words = ("design", "--params", "10M", "--top", "3")
    assert here(*words, "-o", "found.txt").code == 0
    assert (folder / "found.txt").read_text(encoding="utf-8") == here(*words).out
    assert here(*words, "-o", "picked.txt", "--pick", "1").code == 0
    assert load_config("picked.txt").config.nominal_params == 10_000_000


def test_force(here: Here, folder: Path) -> None:
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
        ("--max-serve-bytes 15GB", "serving"),
        ("--max-train-bytes-per-gpu 80GB", "training"),
        ("--params 8B --max-flops-per-token 18G", "FLOPs/token"),
        ("--max-kv-bytes 1GiB --max-weights-bytes 15GB", "KV cache"),
        ("--gpu l4 --for serving --min-decode-tokens-per-second 20", "decode/s"),
    ],
)
def test_constrained_columns(words: str, heading: str, columns: int, here: Here) -> None:
    shown = here("design", "--family", "llama", *words.split(), "--front", "--top", "3", columns=columns).out
    assert re.search(rf"^ *#  .*{heading}", shown, re.MULTILINE)
    assert len(re.findall(r"^ *\d+  ✓  \d+ × \d+", shown, re.MULTILINE)) == 3
    assert "Pareto front (✓)" in shown


def test_front_mark(here: Here) -> None:
    marked = {count: here("design", "--params", "125M", "--top", count).out for count in ("3", "213")}
    assert "✓" not in marked["3"]
    assert "Pareto front: 13 designs" in marked["3"]
    assert "Pareto front (✓): 13 designs" in marked["213"]
    assert marked["213"].count("✓") == 1 + 13
    words = "--params 826112 --vocab-size 256 --d-model 128 --n-layers 4 --d-head 64"
    assert "1 design that no other design dominates" in here("design", *words.split(), "--full").out


@pytest.mark.parametrize(
    ("words", "echoed"),
    [
        ("--max-weights-bytes 15GB", "at most 15 GB of weights"),
        ("--max-weights-bytes 1.5GiB", "at most 1.5 GiB of weights"),
        ("--max-weights-bytes 123456789", "at most 123,456,789 B of weights"),
        ("--max-flops-per-token 2.5e9", "at most 2.5 GFLOP per token"),
        ("--params 1e9", "1B parameters ± 2%"),
        ("--params 1000T", "1000T parameters ± 2%"),
        ("--params 125M --tolerance 5%", "125M parameters ± 5%"),
        ("--params 124439808", "124,439,808 parameters ± 2%"),
    ],
)
def test_constraint_as_typed(words: str, echoed: str, here: Here) -> None:
    assert f"course: {echoed}" in " ".join(here("design", *words.split(), "--top", "1").out.split())


def test_training_rate(here: Here) -> None:
    trained = here("design", "--gpu", "l4", "--top", "1", columns=120).out
    assert "train/s" in trained
    assert "Training speed assumes 40% of its peak." in trained
    words = ("design", "--gpu", "l4", "--for", "serving")
    served = here(*words, "--top", "1", columns=120).out
    assert "decode/s" in served
    assert "train/s" not in served
    assert "Decode speed is the roofline bound of l4, in tokens/s.\n" in served
    report = json.loads(here(*words, "--top", "1", "--format", "json").out)
    (design,) = report["designs"]
    assert (report["utilization"], design["train_tokens_per_second"]) == (None, None)
    assert design["decode_tokens_per_second"] > 0
    nothing = here(*words, "--params", "1K")
    assert nothing.code == 1
    assert "Speeds" not in nothing.out


def test_training_memory_in_json(here: Here) -> None:
    words = ("design", "--params", "125M", "--top", "1", "--format", "json")
    takes = [
        json.loads(here(*words, "--recompute", each).out)["designs"][0]["figures"]["train_bytes_per_gpu"]
        for each in ("none", "full")
    ]
    assert takes[0] > takes[1]


def test_vocabulary_length_and_head(here: Here) -> None:
    words = ["--vocab-size", "777", "--max-len", "99", "--no-tie", "--params", "50M", "--family", "gpt2", "--pick", "1"]
    Path("mine.yaml").write_text(here("design", *words).out, encoding="utf-8")
    config = load_config("mine.yaml").config
    assert (config.vocab_size, config.max_len, config.tie_weights) == (777, 99, False)


def test_next_step(here: Here) -> None:
    words = (
        "--params 2B --max-flops-per-token 9G --max-kv-bytes 3GiB --max-weights-bytes 9GB --tolerance 0.05"
        " --family llama --vocab-size 5000 --max-len 4000 --tie --seq-len 300 --dtype float32"
    )
    said = here("design", *words.split()).err
    assert said == f"next: tinylm design {words} --output llama.yaml\n"
    written = here(*said.removeprefix("next: tinylm ").split()).err
    assert written.startswith("wrote llama.yaml: rank 1 of ")
    assert written.endswith(" parameters\nnext: tinylm estimate llama.yaml --seq-len 300 --dtype float32\n")


@pytest.mark.parametrize(
    ("words", "conditions"),
    [
        ("--gpus 8 --recompute full", "--gpus 8 --plan tp=8 --recompute full"),
        ("--for serving --batch-size 8 --seq-len 2k", "--for serving --serving-batch-size 8 --serving-seq-len 2048"),
    ],
)
def test_design_fits_as_found(words: str, conditions: str, here: Here) -> None:
    """The next command estimates the design under the conditions of the search, under which it fits."""
    written = here("design", "--gpu", "h100", "--family", "llama", *words.split(), "-o", "one.yaml").err
    said = f"tinylm estimate one.yaml --gpu h100-sxm {conditions}"
    assert written.endswith(f"next: {said}\n")
    purpose = "serving" if "serving" in words else "training"
    assert here(*said.split()[1:], "--get", f"summary.{purpose}.fits").out == "true\n"


def test_next_step_with_gpu(here: Here, folder: Path) -> None:
    (folder / "my gpus.yaml").write_text(MINE, encoding="utf-8")
    words = (
        "--max-train-bytes-per-gpu 30GB --max-serve-bytes 8GiB --min-decode-tokens-per-second 12.5 --compute 2.5e20"
        " --train-tokens 30B --gpu mine --hardware 'my gpus.yaml' --for serving --batch-size 2"
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


def test_nothing_found(here: Here, folder: Path) -> None:
    result = here("design", "--params", "900T")
    assert result.code == 1
    assert "the nearest is 481,229,570,048, with d_model 16384 and 128 layers" in " ".join(result.out.split())
    report = json.loads(here("design", "--params", "900T", "--format", "json").out)
    assert (report["designs"], report["matches"]) == ([], 0)
    assert report["failures"][0]["alone"] is True
    written = here("design", "--params", "900T", "-o", "mine.yaml")
    assert (written.code, written.out) == (1, "")
    assert "the nearest is" in " ".join(written.err.split())
    assert not (folder / "mine.yaml").exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("", "design needs a target"),
        ("--params 1M --family llamma", "did you mean llama?"),
        ("--params 1M --tolerance 2", "--tolerance 2: expected a number from 0 to 1"),
        ("--params 1M --tolerance 101%", "--tolerance 101%: expected a number from 0 to 1"),
        ("--params 1M --tolerance nan", "--tolerance nan: expected a number from 0 to 1"),
        ("--params 125M --pick 500", "--pick 500: the search found 213 designs"),
        ("--params 125M --top 501", "--top 501: expected an integer from 1 to 500"),
        ("--params 125M --pick 10000", "--pick 10000: expected an integer from 1 to 500"),
        ("--params 8B --tolerance 0.9", "more than 70,000 of 422,537 models satisfy the constraints"),
        ("--params 125M --family llama --d-head 16,7", "d_head 7 is odd; RoPE rotates pairs of dimensions"),
        ("--params 125M --hardware mine.yaml", "--hardware needs a GPU"),
        ("--params 125M --for serving", "--for needs a GPU"),
        ("--params 125M --min-decode-tokens-per-second 5", "--min-decode-tokens-per-second needs a GPU"),
        ("--params 125M --utilization 0.4", "--utilization needs a GPU"),
        ("--gpu l4 --for serving --utilization 0.4", "--utilization has no effect on serving"),
        ("--params 125M --recompute full", "--recompute has no effect: training memory is not computed"),
        ("--params 125M --recompute none --pick 1", "--recompute has no effect"),
        ("--params 125M --optimizer sgd -f markdown", "--optimizer has no effect"),
        ("--gpu l4 --for serving --optimizer sgd", "--optimizer has no effect"),
        ("--params 125M --pick 3 -f csv", "--pick cannot be combined with --format"),
        ("--params 125M --pick 3 -f markdown -o out.md", "--pick cannot be combined with --format"),
        ("--params 125M --force", "--force needs --output"),
        ("--params 125M --pick 8 --front", "--pick 8: that design is not on the Pareto front"),
        ("--params 125M --pick 214 --front", "--pick 214: the search found 213 designs"),
        ("--gpu l4 --min-decode-tokens-per-second 0", "expected a finite number above 0"),
        ("--gpu l4 --min-decode-tokens-per-second nan", "expected a finite number above 0"),
        ("--gpu l4 --optimizer adamw_8bit", "design does not support --optimizer adamw_8bit"),
        ("--params 125M --compute 1e21", "--compute cannot be combined with --params or --active-params"),
        ("--params 125M --figure kv_cache_bytes", "no such option: --figure"),
        ("--params 125M --gpus 8 --plan auto", "--plan auto needs a model"),
        ("--params 125M --plan tp=8", "--plan needs several GPUs"),
        (
            "--gpu h100 --gpus 8 --plan pp=8 --family qwen3.5",
            "can only be searched for a given size",
        ),
        ("--params 1T --gpus 40000 --plan pp=40000 --n-layers 40000", "40,000 pipeline chunks are too many to search"),
        (
            "--params 3B --gpus 8 --plan tp=8 --family granite-4-h",
            "tensor parallelism 8 does not divide mamba2.n_groups 1 of granite-4-h",
        ),
        ("--gpu h100 --gpus 8 --for serving --params 1B", "--gpus cannot be combined with --for serving"),
        ("--gpu h100 --gpus 8 --params 1B --utilization 0.3", "--utilization has no effect with several GPUs"),
        ("--params 1M --d-model 0..64", "--d-model 0..64: expected a range from 2 to 1,048,576"),
        ("--params 1M --d-model wide", "--d-model wide: expected a range or a number"),
        ("--params 1M --d-model 2..9999", "at most 1,000 values are searched"),
        ("--params 1M --n-layers 1..4", "--n-layers 1..4: expected a range from 2"),
        ("--params 1M --n-layers 9..4", "--n-layers 9..4: expected a range from 2"),
        ("--params 1M --n-layers 2..4:0", "--n-layers 2..4:0: the step must be positive"),
        ("--params 1M --d-head 16,x", "--d-head 16,x: expected numbers from 1 to 1,024"),
        ("--params 125M --train-tokens 1B", "--train-tokens needs --compute"),
    ],
)
def test_usage_errors(words: str, says: str, here: Here) -> None:
    result = here("design", *words.split())
    assert (result.code, result.out) == (2, "")
    assert says in " ".join(result.err.split())
    assert "Traceback" not in result.err


def test_all_errors_at_once(here: Here) -> None:
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
        "error[contradiction]: l4 does not support float64 matmuls",
    ):
        assert says in " ".join(result.err.split())
    short = here("design", "--params", "1M", "--max-len", "64", "--seq-len", "99").err
    assert "1 | --max-len 64" in short
    assert "or write --max-len 99" in short
    assert here("design", "--params", "1M", "--seq-len", str(MAX_LEN + 1)).err.endswith("--seq-len 1024 or less\n")


@pytest.mark.parametrize(
    ("compute", "says"),
    [
        ("1e31", "--compute 1e31: expected at most 1e30"),
        ("1e", "--compute 1e: expected a number of operations"),
    ],
)
def test_bad_compute(here: Here, compute: str, says: str) -> None:
    result = here("design", "--compute", compute)
    assert result.code == 2
    assert says in " ".join(result.err.split())


def test_unknown_gpu(here: Here) -> None:
    result = here("design", "--gpu", "rtx4090")
    assert result.code
    assert result.out == ""
    assert "did you mean rtx-4090?" in " ".join(result.err.split())


def test_several_gpus(here: Here) -> None:
    """For a node of 8 H100s, a shape whose 21 heads share 7 key and value heads never ranks first."""
    alone = json.loads(here("design", "--compute", "1e21", "--family", "llama", "-f", "json").out)
    assert (alone["designs"][0]["sizes"]["n_heads"], alone["designs"][0]["sizes"]["n_kv_heads"]) == (21, 7)
    node = ("--gpu", "h100", "--gpus", "8", "--plan", "tp=8", "--seq-len", "2048", "--recompute", "full")
    report = json.loads(here("design", "--compute", "1e21", "--family", "llama", *node, "-f", "json").out)
    assert (report["n_gpus"], report["layout"]["tensor"]) == (8, 8)
    for design in report["designs"]:
        sizes = design["sizes"]
        assert (sizes["n_heads"] % 8, sizes["n_kv_heads"] % 8, sizes["d_ff"] % 8) == (0, 0, 0)
    shown = here("design", "--compute", "1e21", "--family", "llama", *node, "--top", "1").out
    assert "Training uses 8 GPUs with the plan tp=8." in shown


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("--family gpt2 --gpus 8 --plan tp=8", "tensor parallelism 8 does not divide vocab_size 50257"),
        ("--family gpt2 --gpus 8", "pad the vocabulary to 50264"),
        ("--family llama --gpus 8 --plan ep=8", "expert parallelism 8 does not divide n_experts 0"),
        ("--family mixtral --gpus 16 --plan ep=16", "expert parallelism 16 does not divide n_experts 8"),
        ("--family llama --gpus 6 --plan cp=6", "context parallelism 6 does not divide seq_len 8192"),
    ],
)
def test_plan_does_not_divide_the_family(words: str, says: str, here: Here) -> None:
    result = here("design", "--params", "1B", *words.split())
    assert (result.code, result.out) == (2, "")
    assert says in " ".join(result.err.split())


def test_plan_over_a_node(here: Here) -> None:
    """Without a plan, tensor parallelism spans each node, and replicas share the optimizer state."""
    words = ("design", "--params", "2B", "--family", "llama", "--gpus", "16", "--top", "1", "-f", "json")
    layout = json.loads(here(*words).out)["layout"]
    assert (layout["tensor"], layout["data"], layout["zero"]) == (8, 2, 1)


def test_relaxations(here: Here) -> None:
    """Each change that is shown admits models when it is typed."""
    result = here("design", "--params", "500K")
    assert result.code == 1
    changes = re.findall(r"^(--\S+ .*?)  +(?:[\d,]+  +)?\d+ × \d+ ", result.out, re.MULTILINE)
    assert [change.split()[0] for change in changes] == ["--params", "--vocab-size", "--d-model"]
    for change in changes:
        words = ("--params", "500K") if "--params" not in change else ()
        assert here("design", *words, *change.split(), "--top", "1").code == 0, change


def test_grid_options(here: Here) -> None:
    words = ("--d-model", "32..128:32", "--n-layers", "2..8", "--d-head", "16,32", "--vocab-size", "256")
    report = json.loads(here("design", "--params", "400K", *words, "-f", "json").out)
    for design in report["designs"]:
        sizes = design["sizes"]
        assert sizes["d_model"] in (32, 64, 96, 128)
        assert sizes["n_layers"] in range(2, 9)
        assert sizes["d_head"] in (16, 32)
    said = here("design", "--params", "400K", *words).err
    assert said == (
        "next: tinylm design --params 400K --vocab-size 256 --d-model 32..128:32 --n-layers 2..8 --d-head 16,32"
        " --output course.yaml\n"
    )


def test_amounts_in_the_written_config(here: Here, folder: Path) -> None:
    """The memory of a GPU is rounded down to a short number in the written config."""
    assert here("design", "--gpu", "h100", "--family", "llama", "-o", "mine.yaml").code == 0
    text = (folder / "mine.yaml").read_text(encoding="utf-8")
    assert re.search(r"^  max_train_bytes_per_gpu: 78\.\d{1,2}GiB$", text, re.MULTILINE)
    limit = load_config("mine.yaml").config.budget.max_train_bytes_per_gpu
    assert limit is not None
    assert limit <= load_hardware("h100-sxm").capacity_bytes
    assert here("design", "--params", "125M", "--max-kv-bytes", "123456789", "-o", "two.yaml").code == 0
    text = (folder / "two.yaml").read_text(encoding="utf-8")
    assert "nominal_params: 125M\n" in text
    assert "  max_kv_bytes: 123456789\n" in text


def test_no_progress_in_a_pipe(here: Here) -> None:
    assert "searching" not in here("design", "--params", "125M", "--top", "1").err


@pytest.mark.parametrize("option", ["--vocab-size", "--max-len", "--top", "--pick"])
@pytest.mark.parametrize("value", ["0", "-1", "99999999999", "x"])
def test_bad_sizes(option: str, value: str, here: Here) -> None:
    result = here("design", "--params", "125M", option, value)
    assert (result.code, result.out) == (2, "")


def test_longest_sequence(here: Here) -> None:
    assert here("design", "--params", "1B", "--max-len", str(MAX_LEN), "--top", "1").code == 0

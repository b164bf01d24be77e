"""``tinylm compare``: options, output and exit codes."""

from __future__ import annotations

import csv
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.json_report import report

Here = Callable[..., Any]
Golden = Callable[[str, str], None]

PAGES = (
    ["toy.yaml", "--set", "n_layers=8", "--set", "norm.kind=rmsnorm"],
    ["toy.yaml", "@n_layers=4", "tiny"],
    ["llama-3-8b", "mixtral-8x7b", "--dtype", "bfloat16", "--seq-len", "8192"],
    ["toy.yaml", "@dropout=0.0"],
    ["llama-3-8b", "@attention.kind=latent,kv_rank=512", "--gpu", "h100", "--gpus", "64", "--price", "2"],
)

KINDS = ("field", "figure")


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_screens(columns: int, here: Here, golden_text: Golden) -> None:
    shown = [f"$ tinylm compare {' '.join(page)}\n{here('compare', *page, columns=columns).out}" for page in PAGES]
    golden_text(f"compare-{columns}.txt", "\n".join(shown))


@pytest.mark.parametrize("columns", [60, 80])
def test_many_models(columns: int, here: Here) -> None:
    models = ["tiny", "small", "medium", "base", "gpt2", "llama-3-8b", "qwen3-0.6b", "mistral-7b"]
    page = here("compare", *models, columns=columns).out
    assert max(map(len, page.splitlines())) <= columns
    assert columns < 80 or "…" not in page
    heads = {kind: [line.split() for line in page.splitlines() if line.startswith(f"{kind} ")] for kind in KINDS}
    for kind, lines in heads.items():
        assert [word for line in lines for word in line[2:] if word != "ratio"] == models[1:]
        assert all(line[:2] == [kind, "tiny"] for line in lines)
    assert "11.3137" in page, "√128"


def test_documents(here: Here, golden_json: Golden, golden_text: Golden) -> None:
    golden_json("compare", here("compare", *PAGES[1], "--format", "json").out)
    for format_, ending in (("markdown", "md"), ("csv", "csv"), ("latex", "tex")):
        golden_text(f"compare.{ending}", "\n".join(here("compare", *page, "--format", format_).out for page in PAGES))


def test_csv(here: Here) -> None:
    rows = list(csv.DictReader(here("compare", "small", "@n_layers=8", "--format", "csv").out.splitlines()))
    assert rows[0] == {
        "name": "total_params",
        "unit": "params",
        "values.small": "4995072",
        "values.n_layers=8": "6574592",
        "differences.n_layers=8": "1579520",
        "ratios.n_layers=8": "1.3162156621566217",
    }
    same = here("compare", "small", "tiny", "--set", "vocab_size=9", "--format", "csv")
    assert same.out.startswith("name,unit,values.small,values.tiny,")
    nothing = here("compare", "small", "small", "--format", "csv")
    header = "name,unit,values.small,values.small (2),differences.small (2),ratios.small (2)\n"
    assert (nothing.out, nothing.err) == (header, "")


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["tiny", "tiny"], 0),
        (["tiny", "tiny", "--exit-code"], 0),
        (["tiny", "small"], 0),
        (["tiny", "small", "--exit-code"], 1),
        (["tiny", "@dropout=0.0", "--exit-code"], 1),
        (["tiny", "@max_len=1024", "--exit-code"], 0),
        (["tiny", "absent", "--exit-code"], 2),
        (["tiny", "HEAD:absent.yaml", "--exit-code"], 2),
        (["tiny", "--exit-code"], 2),
        (["tiny", "", "--exit-code"], 2),
        (["", "tiny", "--exit-code"], 2),
        (["tiny", "@n_layers=0"], 1),
        (["tiny", "@n_layers=0", "--exit-code"], 2),
        (["tiny", "small", "--seq-len", "1025"], 2),
        (["tiny", "small", "--seq-len", "1025", "--exit-code"], 2),
        ([], 2),
    ],
    ids=str,
)
def test_exit_codes(arguments: list[str], code: int, here: Here) -> None:
    for format_ in ("text", "json"):
        assert here("compare", *arguments, "--format", format_).code == code


def test_exit_codes_of_the_process(tinylm: Callable[..., Any], folder: Path) -> None:
    (folder / "wrong.yaml").write_text("d_model: 3\n", encoding="utf-8")
    for words, code in ((["tiny"], 0), (["small"], 1), (["wrong.yaml"], 2), (["absent.yaml"], 2), ([""], 2)):
        assert tinylm("compare", "tiny", *words, "--exit-code", cwd=folder).code == code


def test_config_option(here: Here) -> None:
    assert here("compare", "--config", "tiny", "small").out == here("compare", "tiny", "small").out
    assert here("compare", "small", "--set", "n_layers=8").out == here("compare", "-c", "small", "@n_layers=8").out


def test_next_step_repeats_the_conditions(here: Here) -> None:
    said = here("compare", "tiny", "small", "--gpu", "h100", "--seq-len", "1k", "--price", "2.5").err
    assert said == "next: tinylm estimate small --seq-len 1k --gpu h100 --price 2.5\n"


def test_no_difference(here: Here) -> None:
    assert here("compare", "toy.yaml", "toy.yaml").out == "toy.yaml → toy.yaml (2)\n\nNo differences.\n"
    document = report(here("compare", "toy.yaml", "toy.yaml", "--format", "json"))
    assert (document["equal"], document["fields"], document["figures"]) == (True, [], [])


def test_seq_len_beyond_some_models(here: Here) -> None:
    result = here("compare", "tiny", "toy.yaml", "toy.yaml@max_len=16", "--seq-len", "33")
    assert "--seq-len 33 is longer than max_len 32 of toy and 16 of toy@max_len=16" in " ".join(result.err.split())
    assert "1 | --seq-len 33" in result.err
    assert "7 | max_len: 32" in result.err
    assert "1 | max_len=16" in result.err
    assert "1024" not in result.err
    assert "write --seq-len 16 or less, or add @max_len=33 to the name" in " ".join(result.err.split())
    assert here("compare", "tiny", "toy.yaml@max_len=33", "--seq-len", "33").code == 0


def test_conditions_of_budgets(here: Here, folder: Path) -> None:
    text = (folder / "toy.yaml").read_text(encoding="utf-8")
    for name, layers in (("one", 3), ("two", 4)):
        held = text.replace("n_layers: 3", f"n_layers: {layers}") + "budget: {batch_size: 8, seq_len: 16}\n"
        (folder / f"{name}.yaml").write_text(held, encoding="utf-8")
    said = "Figures are for 8 sequences of 16 tokens in bfloat16.\n"
    assert here("compare", "one.yaml", "two.yaml").out.endswith(said)
    asked = ("--batch-size", "2", "--seq-len", "32", "--dtype", "float32")
    assert "for 2 sequences of 32 tokens in float32." in here("compare", "one.yaml", "two.yaml", *asked).out
    assert "for 1 sequence of 32 tokens, the smallest max_len, in" in here("compare", "one.yaml", "tiny").out


@pytest.mark.parametrize(
    ("models", "said"),
    [
        (["toy.yaml", "@norm.eps=1.0e-3"], "No figure differs for 1 sequence of 32 tokens in bfloat16."),
        (
            ["llama-3-8b", "llama-3.1-8b"],
            "No figure differs for 1 sequence of 8,192 tokens, the smallest max_len, in bfloat16.",
        ),
    ],
    ids=str,
)
def test_conditions_without_a_difference(models: list[str], said: str, here: Here) -> None:
    assert here("compare", *models, columns=120).out.endswith(f"\n\n{said}\n")


@pytest.mark.parametrize(
    ("words", "place", "text", "remedy"),
    [
        (["tiny", "@n_layer=8"], " --> MODEL:1:2\n", "1 | @n_layer=8\n  |  ^^^^^^^\n", "did you mean n_layers?"),
        (["tiny", "small@n_layers=0"], " --> MODEL:1:11\n", "1 | @n_layers=0\n", "for example @n_layers=4"),
        (["tiny@d_ff=8", "--set", "n_layers=0"], " --> --set:1:10\n", "1 | n_layers=0\n", "example --set n_layers=4"),
        (["tiny", "small", "--set", "n_layers=0"], " --> --set:1:10\n", "1 | n_layers=0\n", "--set n_layers=4"),
    ],
    ids=str,
)
def test_wrong_change(words: list[str], place: str, text: str, remedy: str, here: Here) -> None:
    result = here("compare", *words)
    assert result.code == 1
    for part in (place, text, remedy):
        assert part in result.err


def test_budget_is_a_field(here: Here, folder: Path) -> None:
    text = (folder / "toy.yaml").read_text(encoding="utf-8")
    (folder / "held.yaml").write_text(f"{text}budget: {{max_params: 4M}}\n", encoding="utf-8")
    result = here("compare", "held.yaml", "@budget.max_params=5M", "--exit-code")
    assert result.code == 1
    assert "budget.max_params    4M                    5M\n" in result.out


def test_standard_input(here: Here, folder: Path) -> None:
    text = (folder / "toy.yaml").read_text(encoding="utf-8")
    document = report(here("compare", "-", "@n_layers=5", "@d_ff=8", "--format", "json", stdin=text))
    assert [model["source"] for model in document["models"]] == ["<stdin>"] * 3
    assert [field["values"] for field in document["fields"]] == [[3, 5, 3], [16, 16, 8]]
    assert here("compare", "tiny", "-", stdin=text).err == "", "no command can name it again"


def test_revisions_of_a_file(here: Here, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    identity = ("-c", "user.name=x", "-c", "user.email=x@example.com")
    for words in (["init", "-q"], ["add", "."], [*identity, "commit", "-q", "-m", "one"]):
        subprocess.run(["git", *words], check=True, capture_output=True)
    file = folder / "toy.yaml"
    file.write_text(file.read_text(encoding="utf-8").replace("n_layers: 3", "n_layers: 4"), encoding="utf-8")
    result = here("compare", "HEAD:toy.yaml", "toy.yaml")
    assert result.out.startswith("HEAD:toy → toy  1 field and ")
    assert result.err == "next: tinylm estimate toy.yaml\n"


@pytest.mark.parametrize("reference", ["qwen", "qwen/config.json", "qwen3-0.6b"])
def test_hub_config(reference: str, here: Here, folder: Path) -> None:
    (folder / "qwen").mkdir()
    hub = Path(__file__).resolve().parents[1] / "docs" / "qwen" / "config.json"
    (folder / "qwen" / "config.json").write_bytes(hub.read_bytes())
    assert report(here("compare", "qwen3-0.6b", reference, "--format", "json"))["equal"]


def test_long_list(here: Here) -> None:
    factors = f"[{', '.join(['1.5'] * 16)}]"
    changed = ["position.kind=rope", "position.scaling=longrope", "position.original_max_len=64"]
    words = [word for each in changed for word in ("--set", each)]
    lists = [f"position.short_factors={factors}", f"position.long_factors={factors}"]
    result = here("compare", "tiny", *words, *(word for each in lists for word in ("--set", each)))
    assert result.code == 0, result.err
    assert "[1.5, 1.5, …, 1.5] (16)" in result.out


def test_next_step(here: Here) -> None:
    assert here("compare", "tiny", "--set", "n_layers=8").err == "next: tinylm estimate tiny --set n_layers=8\n"
    assert here("compare", "tiny", "small", "--set", "n_layers=8").err == (
        "next: tinylm estimate small --set n_layers=8\n"
    )


def test_gpu_agrees_with_estimate(here: Here) -> None:
    words = ["--gpu", "h100", "--gpus", "8", "--price", "2.5", "--train-tokens", "10B"]
    compared = report(here("compare", "base", "@n_layers=24", *words, "--format", "json"))
    cluster = compared["cluster"]
    assert (cluster["accelerator"], cluster["n_gpus"]) == ("h100-sxm", 8)
    figures = {each["name"]: each for each in cluster["figures"]}
    for index, changes in enumerate(([], ["--set", "n_layers=24"])):
        estimate = json.loads(here("estimate", "base", *changes, *words, "--format", "json").out)
        training, serving = estimate["training"], estimate["serving"]
        time = training["time"]
        expected = {
            "plan_bytes_per_gpu": training["fit"]["needed_bytes"],
            "step_seconds": pytest.approx(training["plan"]["step_seconds"]),
            "utilization": time["utilization"],
            "train_tokens": 10**10,
            "train_seconds": time["seconds"],
            "train_usd": time["usd"],
            "prefill_seconds": serving["time"]["prefill"]["seconds"],
            "decode_tokens_per_second": serving["time"]["decode_tokens_per_second"],
        }
        for name, value in expected.items():
            assert figures[name]["values"][index] == value, name
        assert figures["largest_batch_size"]["values"][index] > 0
    assert figures["train_tokens"]["ratios"] == [1, 1]
    assert figures["train_usd"]["ratios"][1] > 1.9
    assert cluster["training_fits"] == cluster["serving_fits"] == [True, True]


def test_fields_of_a_block_are_counted(here: Here) -> None:
    changes = "n_layers=8,norm.eps=1e-6,attention.n_kv_heads=2,attention.d_head=48"
    out = here("compare", "tiny", f"tiny@{changes}", "--gpu", "h100").out
    assert "Fields that differ: n_layers, norm.eps, attention (2). --full shows" in " ".join(out.split())


def test_one_gpu(here: Here) -> None:
    words = ("llama-3-8b", "small", "--gpu", "rtx-4090")
    cluster = report(here("compare", *words, "--format", "json"))["cluster"]
    assert (cluster["n_gpus"], cluster["plans"]) == (1, [None, None])
    assert (cluster["training_fits"], cluster["serving_fits"]) == ([False, True], [True, True])
    steps = next(each for each in cluster["figures"] if each["name"] == "step_seconds")
    times = next(each for each in cluster["figures"] if each["name"] == "train_seconds")
    tokens = next(each for each in cluster["figures"] if each["name"] == "train_tokens")
    assert steps["values"][1] == pytest.approx(times["values"][1] / tokens["values"][1] * 1024)
    assert not {"train_usd", "plan_bytes_per_gpu"} & {each["name"] for each in cluster["figures"]}
    assert here("compare", "small", "tiny").out.count("training fits") == 0


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--gpus", "8"], "--gpus needs a GPU"),
        (["--train-tokens", "1B"], "--train-tokens needs a GPU"),
        (["--gpu", "h100", "--plan", "tp=2"], "--plan needs several GPUs"),
        (["--price", "2"], "--price needs a GPU"),
        (["--gpu", "h100", "--gpus", "8", "--plan", "tp=3"], "tp 3 uses 3 GPUs, but 8 is not a multiple"),
        (["--gpu", "h1000"], "h1000"),
    ],
)
def test_cluster_options(words: list[str], says: str, here: Here) -> None:
    result = here("compare", "small", "tiny", *words)
    assert result.code == 2
    assert (result.out, says in " ".join(result.err.split())) == ("", True)


def test_plan(here: Here) -> None:
    words = ("llama-3-8b", "mistral-7b", "--gpu", "h100", "--gpus", "16", "--plan", "tp=4,zero=1")
    cluster = report(here("compare", *words, "--format", "json"))["cluster"]
    assert [plan.split(",")[0] for plan in cluster["plans"]] == ["tp=4", "tp=4"]
    wrong = here("compare", "small", "llama-3-8b", "--gpu", "h100", "--gpus", "16", "--plan", "tp=16")
    assert "n_heads" in wrong.err


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_change_and_ratio_columns(columns: int, here: Here) -> None:
    for words in (["small", "tiny"], ["llama-3-8b", "mistral-7b", "qwen3-0.6b"], ["small", "@n_layers=8"]):
        lines = here("compare", *words, columns=columns).out.splitlines()
        heads = [line.split() for line in lines if line.startswith("figure ")]
        for head in heads:
            others = [word for word in head[2:] if word not in ("change", "ratio")]
            assert head.count("ratio") == len(others) > 0
            assert columns < 80 or head.count("change") == len(others)


class TestChanged:
    """``compare --changed``: every config of a pull request."""

    @pytest.fixture(autouse=True)
    def repository(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Change configs in every way that there is, and a YAML file that is no config."""
        for name in [name for name in os.environ if name.startswith("GIT_")]:
            monkeypatch.delenv(name)
        monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
        toy = (folder / "toy.yaml").read_text(encoding="utf-8")
        for name in ("modified", "removed", "old", "relabeled"):
            (folder / f"{name}.yaml").write_text(f"# {name}\n{toy}", encoding="utf-8")
        (folder / "repaired.yaml").write_text("d_model: 3\n", encoding="utf-8")
        (folder / "ci.yaml").write_text("on: push\n", encoding="utf-8")
        self.git("init", "--quiet")
        self.commit()
        self.git("branch", "base")
        (folder / "modified.yaml").write_text(toy.replace("n_layers: 3", "n_layers: 6"), encoding="utf-8")
        (folder / "relabeled.yaml").write_text(f"# another comment\n{toy}", encoding="utf-8")
        (folder / "repaired.yaml").write_text(toy, encoding="utf-8")
        (folder / "added.yaml").write_text(
            "vocab_size: 9\nd_model: 8\nn_heads: 2\nn_layers: 1\nd_ff: 4\n", encoding="utf-8"
        )
        (folder / "ci.yaml").write_text("on: pull_request\n", encoding="utf-8")
        self.git("mv", "old.yaml", "renamed.yaml")
        self.git("rm", "--quiet", "removed.yaml")
        self.commit()

    def git(self, *words: str) -> None:
        identity = ("-c", "user.name=x", "-c", "user.email=x@example.com", "-c", "commit.gpgsign=false")
        subprocess.run(["git", *identity, *words], check=True, capture_output=True)

    def commit(self) -> None:
        self.git("add", ".")
        self.git("commit", "--quiet", "-m", "one")

    def test_json(self, here: Here) -> None:
        document = report(here("compare", "--changed", "base", "--format", "json"))
        configs = {each["path"]: each for each in document["configs"]}
        assert {path: each["status"] for path, each in configs.items()} == {
            "added.yaml": "added",
            "modified.yaml": "modified",
            "relabeled.yaml": "modified",
            "removed.yaml": "removed",
            "renamed.yaml": "renamed",
            "repaired.yaml": "modified",
        }
        assert (document["revision"], document["equal"], len(document["commit"])) == ("base", False, 40)
        modified = configs["modified.yaml"]
        assert modified["difference_params"] == modified["after_params"] - modified["before_params"] > 0
        assert modified["comparison"]["fields"] == [{"field": "n_layers", "values": [3, 6]}]
        assert [each["name"] for each in modified["comparison"]["models"]] == ["base", "now"]
        assert configs["relabeled.yaml"]["comparison"]["equal"] is True
        assert configs["renamed.yaml"]["old_path"] == "old.yaml"
        params = {path: (each["before_params"], each["after_params"]) for path, each in configs.items()}
        toy = modified["before_params"]
        assert params["added.yaml"][0] is params["removed.yaml"][1] is params["repaired.yaml"][0] is None
        assert (params["removed.yaml"][0], params["repaired.yaml"][1]) == (toy, toy)

    @pytest.mark.parametrize("columns", [60, 80])
    def test_screens(self, columns: int, here: Here, golden_text: Golden) -> None:
        golden_text(f"compare-changed-{columns}.txt", here("compare", "--changed", "base", columns=columns).out)

    def test_markdown(self, here: Here, golden_text: Golden) -> None:
        golden_text("compare-changed.md", here("compare", "--changed", "base", "--format", "markdown").out)

    def test_csv(self, here: Here) -> None:
        rows = list(csv.DictReader(here("compare", "--changed", "base", "--format", "csv").out.splitlines()))
        assert [row["path"] for row in rows][:2] == ["added.yaml", "modified.yaml"]
        assert (rows[0]["before_params"], rows[1]["ratio"] != "") == ("", True)

    @pytest.mark.parametrize(
        ("words", "code"),
        [
            (["base"], 0),
            (["base", "--exit-code"], 1),
            (["base", "relabeled.yaml", "--exit-code"], 0),
            (["base", "added.yaml", "--exit-code"], 1),
            (["HEAD", "--exit-code"], 0),
            (["absent", "--exit-code"], 2),
            (["base", "absent.yaml"], 2),
            (["base", "--set", "n_layers=3"], 2),
            (["", "--exit-code"], 2),
        ],
        ids=str,
    )
    def test_exit_codes(self, words: list[str], code: int, here: Here) -> None:
        assert here("compare", "--changed", *words).code == code

    def test_untracked(self, here: Here, folder: Path) -> None:
        (folder / "new.yaml").write_text((folder / "toy.yaml").read_text(encoding="utf-8"), encoding="utf-8")
        (folder / "ignored.yaml").write_text("d_model: 3\n", encoding="utf-8")
        (folder / ".gitignore").write_text("ignored.yaml\n", encoding="utf-8")
        document = report(here("compare", "--changed", "base", "--format", "json"))
        added = [each["path"] for each in document["configs"] if each["status"] == "added"]
        assert added == ["added.yaml", "new.yaml"]
        only = report(here("compare", "--changed", "base", "new.yaml", "--format", "json"))
        assert [each["path"] for each in only["configs"]] == ["new.yaml"]

    def test_paths(self, here: Here) -> None:
        document = report(here("compare", "--changed", "base", "added.yaml", "removed.yaml", "--format", "json"))
        assert [each["path"] for each in document["configs"]] == ["added.yaml", "removed.yaml"]
        assert "No config has changed." in here("compare", "--changed", "base", "ci.yaml").out

    def test_invalid_configs(self, here: Here, folder: Path) -> None:
        for name in ("modified", "renamed"):
            (folder / f"{name}.yaml").write_text("d_model: 8\nn_heads: 3\n", encoding="utf-8")
        for format_ in ("text", "markdown"):
            result = here("compare", "--changed", "base", "--format", format_, columns=200)
            assert (result.code, result.err) == (1, "")
            assert "2 invalid" in result.out
            assert "modified.yaml:1:1: vocab_size is missing (and 3 more)" in result.out.replace("\\", "")
            assert "added.yaml" in result.out
        document = here("compare", "--changed", "base", "--format", "json")
        assert document.code == 1
        configs = {each["path"]: each for each in json.loads(document.out)["configs"]}
        wrong = [path for path, each in configs.items() if each["status"] == "invalid"]
        assert wrong == ["modified.yaml", "renamed.yaml"]
        assert all(configs[path]["error"].startswith(path) for path in wrong)
        assert configs["modified.yaml"]["after_params"] is None
        assert (configs["added.yaml"]["status"], configs["added.yaml"]["error"]) == ("added", "")
        assert here("compare", "--changed", "base", "--exit-code").code == 2

    def test_gpu(self, here: Here) -> None:
        text = here("compare", "--changed", "base", "modified.yaml", "--gpu", "h100", "--full").out
        assert "on h100-sxm" in text
        assert "step time" in text

    def test_short_on_gpus(self, here: Here) -> None:
        """The figures that the GPU was named for; --full adds all others."""
        text = here("compare", "--changed", "base", "modified.yaml", "--gpu", "h100").out
        assert "step time" in text
        assert "--full shows their values and every other figure." in text
        assert "forward FLOPs/token" not in text

    def test_short(self, here: Here) -> None:
        """The changed fields of each config; --full has the figures."""
        short, full = (here("compare", "--changed", "base", *words).out for words in ((), ("--full",)))
        assert "modified.yaml: n_layers 3 → 6.\n" in short
        assert "train FLOPs/token" not in short
        assert "train FLOPs/token" in full


@pytest.mark.parametrize("format_", ["text", "json", "markdown"])
def test_named_kinds_of_layers(format_: str, here: Here, folder: Path) -> None:
    """A field of a kind that the other model does not have."""
    kinds = "layers: {pattern: 'a, b, a', kinds: {a: {attention: {window: 4}}, b: {d_ff: 24}}}\n"
    text = (folder / "toy.yaml").read_text(encoding="utf-8")
    (folder / "kinds.yaml").write_text(text + "position: {kind: rope}\n" + kinds, encoding="utf-8")
    done = here("compare", "kinds.yaml", "toy.yaml", "--format", format_)
    assert done.code == 0, done.err
    assert "layers.kinds.a.attention.window" in done.out


@pytest.mark.parametrize(("gpu", "fits"), [("rtx-4090", False), ("b200", True)])
def test_times_of_a_model_that_does_not_fit(gpu: str, fits: bool, here: Here) -> None:
    out = here("compare", "llama-3-8b", "@n_layers=28", "--gpu", gpu).out
    assert ("a model that does not fit" in out) is not fits

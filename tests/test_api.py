"""The Python API: loading, figures equal to the commands' JSON, and the display of reports."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import tinylm_cli as tinylm
from tests.checkpoints import FAULTS, write_padded
from tinylm_cli.api.references import Changes

TINY = tinylm.load("tiny")
TOY = "vocab_size: 256\nd_model: 8\nn_heads: 2\nn_layers: 3\nd_ff: 16\nbudget: {max_params: 2000}\n"


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "toy.yaml"
    path.write_text(TOY, encoding="utf-8")
    return path


@pytest.fixture
def printed(here: Callable[..., Any]) -> Callable[..., dict[str, Any]]:
    """Return the JSON that a command prints."""

    def run(*words: str) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(here(*words, "--format", "json").out)
        return document

    return run


def test_every_public_name_is_there() -> None:
    for name in tinylm.__all__:
        assert getattr(tinylm, name).__name__ == name
    assert set(tinylm.__all__) <= set(dir(tinylm))
    with pytest.raises(AttributeError, match="has no attribute laod"):
        tinylm.laod  # type: ignore[attr-defined]  # noqa: B018


def test_only_building_imports_torch() -> None:
    script = (
        "import sys, tinylm_cli as tinylm; assert 'tinylm_cli.api' not in sys.modules\n"
        "model = tinylm.load('tiny'); model.params(); model.validate(); str(model.compare('small'))\n"
        "assert 'torch' not in sys.modules; model.build(device='meta'); assert 'torch' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)


# load


@pytest.mark.parametrize(
    "changes",
    [
        ["n_layers=8", "norm.kind=rmsnorm", "tie_weights=false"],
        {"n_layers": 8, "norm.kind": "rmsnorm", "tie_weights": False},
        {"n_layers": 8, "norm": {"kind": "rmsnorm"}, "tie_weights": False},
    ],
)
def test_changes_in_any_form(changes: Changes) -> None:
    config = tinylm.load("tiny", set=changes).config
    assert (config.n_layers, config.norm.kind, config.tie_weights) == (8, "rmsnorm", False)
    assert tinylm.load("tiny", set="n_layers=8").config.n_layers == 8


def test_header_names_the_changes() -> None:
    model = tinylm.load("tiny", set={"d_model": 64})
    for report in (model.params(), model.estimate()):
        assert str(report).startswith("tiny@d_model=64  ")
    assert str(tinylm.load("tiny").params()).startswith("tiny  ")


def test_path_is_never_a_preset(toy: Path) -> None:
    assert tinylm.load(toy).name == "toy"
    assert tinylm.load("toy.yaml").config == tinylm.load(Path("toy.yaml")).config
    Path("tiny").write_text(TOY, encoding="utf-8")
    assert tinylm.load(Path("tiny")).config.d_model == 8
    assert tinylm.load("tiny").config.d_model == 128


def test_a_hugging_face_folder() -> None:
    folder = Path(__file__).parent / "docs" / "qwen"
    assert tinylm.load(folder).config == tinylm.load(folder / "config.json").config
    assert tinylm.load(folder).config.n_layers == 28


def test_a_git_revision(toy: Path) -> None:
    git = ["git", "-c", "user.name=x", "-c", "user.email=x@example.com"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "x"]):
        subprocess.run([*git, *words], check=True)
    toy.write_text(TOY.replace("n_layers: 3", "n_layers: 4"), encoding="utf-8")
    assert [tinylm.load(name).config.n_layers for name in ("HEAD:toy.yaml", "toy.yaml")] == [3, 4]


def test_every_error_is_reported(toy: Path) -> None:
    toy.write_text(TOY.replace("n_heads: 2", "n_heads: 3").replace("d_ff", "d_fff"), encoding="utf-8")
    with pytest.raises(tinylm.ConfigError) as raised:
        tinylm.load(toy)
    assert {each.field for each in raised.value.diagnostics} >= {"n_heads", "d_fff"}
    with pytest.raises(tinylm.InputError, match="absent"):
        tinylm.load("absent")
    with pytest.raises(tinylm.UsageError, match="key=value"):
        tinylm.load("tiny", set="n_layers")


# the same figures as the commands'


@pytest.mark.parametrize("by", ["component", "layer", "tensor"])
def test_params(by: Any, printed: Callable[..., dict[str, Any]]) -> None:
    report = tinylm.load("small", set={"n_layers": 3}).params(by=by)
    words = ("--config", "small", "--set", "n_layers=3", "--by", by)
    assert report.to_dict() == printed("params", *words)
    assert report.data.total_params == report.total_params


def test_params_gguf(printed: Callable[..., dict[str, Any]]) -> None:
    report = tinylm.load("llama-3.1-8b").params(gguf="IQ4_XS", imatrix=True)
    assert report.to_dict() == printed("params", "llama-3.1-8b", "--gguf", "IQ4_XS", "--imatrix")
    assert report.gguf is not None
    assert "IQ4_XS" in str(report)


def test_params_explained(printed: Callable[..., dict[str, Any]]) -> None:
    report = tinylm.load("tiny").params(explain=True)
    assert report.to_dict() == printed("params", "tiny", "--explain")
    assert sum(formula.params for formula in report.explanation.formulas) == 826_112
    assert "256 × 128" in str(report)


@pytest.mark.usefixtures("toy")
def test_compare(printed: Callable[..., dict[str, Any]]) -> None:
    base = tinylm.load("toy.yaml")
    report = base.compare("tiny", "@n_layers=8", tinylm.load("toy.yaml", set="n_layers=8"), seq_len=64)
    assert report.to_dict() == printed("compare", "toy.yaml", "tiny", "@n_layers=8", "@n_layers=8", "--seq-len", "64")
    assert base.compare(base).equal
    assert tinylm.load("tiny", set="n_layers=8").compare("tiny").data.fields[0].values == (8, 4)


def test_compare_on_a_cluster(printed: Callable[..., dict[str, Any]]) -> None:
    report = tinylm.load("tiny").compare("small", gpu="h100", gpus=4, plan="tp=2", price=2)
    words = ("compare", "tiny", "small", "--gpu", "h100", "--gpus", "4", "--plan", "tp=2", "--price", "2")
    assert report.to_dict() == printed(*words)
    assert report.cluster is not None


@pytest.mark.parametrize(
    ("setup", "options"),
    [
        ({}, ""),
        ({"gpu": "h100", "quantize": "int4", "recompute": "full"}, "--gpu h100 --quantize int4 --recompute full"),
        ({"gpus": 8, "batch_size": 2}, "--gpus 8 --batch-size 2"),
        ({"gpu": "h100", "gpus": 16}, "--gpu h100 --gpus 16"),
        ({"gpu": "h100", "plan": "dp=2,tp=2,zero=1"}, "--gpu h100 --gpus 4 --plan tp=2,zero=1"),
        ({"gpu": "h100", "train_tokens": "15B"}, "--gpu h100 --train-tokens 15B"),
        ({"plan": "tp=2", "gpus": 8, "seq_len": 512}, "--gpus 8 --plan tp=2 --seq-len 512"),
        ({"plan": "tp=2,mb=4", "gpus": 8}, "--gpus 8 --plan tp=2,mb=4"),
        ({"attention_flops": "full", "kv_cache_dtype": "int8"}, "--attention-flops full --kv-cache-dtype int8"),
        (
            {"serving_seq_len": (512, 1024), "serving_batch_size": (8, 1), "batch_size": 2},
            "--serving-seq-len 512,1k --serving-batch-size 8,1 --batch-size 2",
        ),
        ({"serving_batch_size": 8, "serving_seq_len": 512}, "--serving-seq-len 512 --serving-batch-size 8"),
        (
            {"quantize": "int4", "group_size": 64, "quantize_head": True},
            "--quantize int4 --group-size 64 --quantize-head",
        ),
        ({"gpu": "h100", "gpus": 8, "price": 2, "for_": "training"}, "--gpu h100 --gpus 8 --price 2 --for training"),
    ],
)  # fmt: skip
def test_estimate(setup: Any, options: str, printed: Callable[..., dict[str, Any]]) -> None:
    report = tinylm.load("small", set={"n_layers": 8}).estimate(**setup)
    assert report.to_dict() == printed("estimate", "small", "--set", "n_layers=8", *options.split())


def test_nothing_to_compare_with() -> None:
    with pytest.raises(tinylm.UsageError, match="nothing to compare with"):
        TINY.compare()


def test_report_without_a_table() -> None:
    report = TINY.validate()
    assert report.status == "valid"
    with pytest.raises(tinylm.UsageError, match="this report has no table"):
        report.to_frame()
    with pytest.raises(tinylm.UsageError, match=r"no such table: componets\n.*did you mean components?"):
        TINY.params().to_frame("componets")


def test_an_estimate_shows_the_answer_first(here: Callable[..., Any]) -> None:
    command = here("estimate", "tiny", "--gpu", "h100").out
    *answer, more = str(TINY.estimate(gpu="h100")).splitlines()
    assert answer == command.splitlines()[: len(answer)]
    assert more == "price=USD adds the cost, full=True the breakdown."
    full = here("estimate", "tiny", "--gpu", "h100", "--full").out
    assert f"{TINY.estimate(gpu='h100', full=True)}\n" == full.replace("--train-tokens", "train_tokens")
    assert "weights" in TINY.estimate().to_frame("training_memory")["name"].tolist()


def test_changes_add_up() -> None:
    changed = tinylm.load("tiny", set={"d_model": 64}).with_changes({"n_layers": 8}).with_changes("d_ff=128")
    assert (changed.config.d_model, changed.config.n_layers, changed.config.d_ff) == (64, 8, 128)
    compared = tinylm.load("tiny", set={"d_model": 64}).compare({"n_layers": 8, "norm": {"kind": "rmsnorm"}})
    assert {each.field: each.values for each in compared.fields if each.field in ("d_model", "n_layers")} == {
        "n_layers": (4, 8)
    }


LLAMA = tinylm.load("llama-3-8b")


@pytest.mark.parametrize(
    ("report", "words"),
    [
        (lambda: LLAMA.estimate(), ["add gpu=NAME for time", "full=True shows the breakdown."]),
        (lambda: LLAMA.estimate(gpu="rtx-4090"), ["to fit gpus=8 (", 'gpu="b200" (']),
        (lambda: LLAMA.estimate(gpu="h100", gpus=8, full=True), ['plan="cp=2,zero=1,', "(train_tokens)"]),
        (lambda: LLAMA.estimate(gpu="h100", gpus=2, full=True), ['optimizer="adamw_8bit"', "gpus=4 "]),
        (lambda: LLAMA.estimate(gpu="rtx-4090", seq_len=8192, batch_size=8, full=True), ["serving_batch_size="]),
        (lambda: TINY.params(), ["convention shows other counts."]),
        (lambda: TINY.compare("small", "base"), ["total params"]),
        (lambda: TINY.validate(assert_="total_params < 1"), ["fails 1 of 1 assertion."]),
        (lambda: tinylm.sweep("tiny", "n_heads=3,x"), ['for example set="n_heads=4"']),
        (lambda: tinylm.design(params="500K"), ['params="1.61M"', "vocab_size="]),
        (lambda: tinylm.design(gpu="h100", family="llama", max_len=10**6), ["seq_len=", "vocab_size="]),
    ],
)
def test_reports_show_keyword_arguments(report: Callable[[], object], words: list[str]) -> None:
    shown = str(report())
    assert all(each in " ".join(shown.split()) for each in words), shown
    assert not re.search(r"(^|\s)--[a-z]|tinylm [a-z]+ -", shown), shown


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: tinylm.load("tiny", set="d_modl=5"), "<set>:1:1: unknown key"),
        (
            lambda: tinylm.load("tiny", set="n_layers"),
            'set n_layers: expected key=value\n  = help: for example set="n_',
        ),
        (lambda: tinylm.load("tiny", set="norm=rms"), 'help: write set="norm.kind='),
        (lambda: tinylm.load("xyzzyx"), "; the list command lists more"),
        (lambda: TINY.estimate(gpu="h1000"), '<gpu>:1:1: unknown GPU "h1000"'),
        (lambda: TINY.estimate(gpu="quantum"), "; hardware=FILE adds your own"),
        (lambda: TINY.validate(assert_="total_params 1M"), "<assert_>:1:"),
        (lambda: tinylm.load(""), "the config name is empty"),
        (lambda: tinylm.sweep("tiny", ["n_layers=1", "d_ff=8", "d_model=8"]), "set the others with set"),
    ],
)
def test_errors_show_keyword_arguments(call: Callable[[], object], words: str) -> None:
    with pytest.raises(tinylm.TinylmError) as raised:
        call()
    assert words in str(raised.value)
    assert not re.search("--|shell", str(raised.value))


@pytest.mark.parametrize("fields", ["n_layers=4..8:2", {"n_layers": range(4, 9, 2)}])
def test_sweep(fields: Any, printed: Callable[..., dict[str, Any]]) -> None:
    report = tinylm.sweep("tiny", fields, figure="serve_bytes", batch_size=2)
    assert report.to_dict() == printed(
        "sweep", "tiny", "n_layers=4..8:2", "--figure", "serve_bytes", "--batch-size", "2"
    )
    swept = tinylm.sweep(tinylm.load("tiny", set="n_layers=8"), ["n_heads=2,3"])
    assert [point.error == "" for point in swept.points] == [True, False]
    assert swept.points[0].figures["total_params"] == tinylm.load("tiny", set="n_layers=8").params().total_params
    kinds = tinylm.load("tiny", set={"layers": {"pattern": "a, b", "kinds": {"a": {}, "b": {"d_ff": 64}}}})
    patterns = tinylm.sweep(kinds, {"layers.pattern": ["a, b", "3 a, b"]}).points
    assert [point.values for point in patterns] == [('"a, b"',), ('"3 a, b"',)]
    assert [point.error for point in patterns] == ["", ""]
    with pytest.raises(tinylm.ConfigError, match=r'^<fields>:1:1: unknown field "n_layer"'):
        tinylm.sweep("tiny", "n_layer=4,8")
    with pytest.raises(tinylm.UsageError, match="unknown figure parms"):
        tinylm.sweep("tiny", "n_layers=4,8", figure="parms")
    with pytest.raises(tinylm.UsageError, match="one or two fields, but none is given"):
        tinylm.sweep("small", {})
    with pytest.raises(tinylm.UsageError, match="or sgd_momentum, got 'zz'"):
        tinylm.sweep("tiny", "n_layers=4,8", optimizer="zz")  # type: ignore[arg-type]


def test_design_is_short_unless_full() -> None:
    short, full = (str(tinylm.design(params="125M", top=2, full=full)) for full in (False, True))
    assert "full=True explains the front and the ranking" in short
    assert "d_model / n_layers" not in short
    assert "d_model / n_layers" in full


@pytest.mark.parametrize(
    ("asked", "options"),
    [
        ({"params": "1M", "top": 3}, "--params 1M --top 3"),
        ({"params": 10**9, "family": "llama", "front": True, "tie": True}, "--params 1e9 --family llama --front --tie"),
        (
            {"gpu": "rtx-4090", "for_": "serving", "family": "qwen3", "seq_len": 4096},
            "--gpu rtx-4090 --for serving --family qwen3 --seq-len 4k",
        ),
        (
            {"params": "8B", "family": "llama", "gpu": "h100", "gpus": 16},
            "--params 8B --family llama --gpu h100 --gpus 16",
        ),
        ({"compute": "1e20", "train_tokens": "10B"}, "--compute 1e20 --train-tokens 10B"),
        (
            {"max_kv_bytes": "1GiB", "d_model": range(512, 1025, 256), "n_layers": range(4, 9), "d_head": (64,)},
            "--max-kv-bytes 1GiB --d-model 512..1024:256 --n-layers 4..8 --d-head 64",
        ),
        ({"params": "1M", "max_weights_bytes": "1KiB"}, "--params 1M --max-weights-bytes 1KiB"),
    ],
)
def test_design(asked: Any, options: str, printed: Callable[..., dict[str, Any]]) -> None:
    report = tinylm.design(**asked)
    assert report.to_dict() == printed("design", *options.split())
    assert str(report)


@pytest.mark.usefixtures("toy")
def test_validate(printed: Callable[..., dict[str, Any]]) -> None:
    report = tinylm.load("toy.yaml").validate(assert_="total_params < 1M")
    document = printed("validate", "toy.yaml", "--assert", "total_params < 1M")
    document["files"][0]["assertions"][1]["origin"] = "<assert_>"
    assert report.to_dict() == document
    assert repr(report) == "<FileResult toy.yaml fails 1 of 2 assertions.>"
    assert (report.status, [each.holds for each in report.assertions]) == ("failed", [False, True])
    assert tinylm.load("tiny").validate().status == "valid"
    with pytest.raises(tinylm.ConfigError, match="total_parms"):
        tinylm.load("tiny").validate(assert_=["total_parms < 1M"])


@pytest.mark.usefixtures("toy")
def test_lint(printed: Callable[..., dict[str, Any]]) -> None:
    model = tinylm.load("toy.yaml")
    assert model.lint().findings != ()
    assert model.lint(for_="hf", tp=2).targets[0].warnings == 2
    words = ["toy.yaml", "--for", "vllm,gguf", "--tp", "3", "--gpu", "a100", "--strict"]
    report = model.lint(for_=["vllm", "gguf"], tp=3, gpu="a100", strict=True)
    shown = printed("lint", *words)
    assert report.to_dict()["targets"] == shown["targets"]
    assert [each["padding"] for each in report.to_dict()["findings"]] == [each["padding"] for each in shown["findings"]]
    assert ("use tp=2" in str(report), "use --tp 2" in json.dumps(shown)) == (True, True)
    with pytest.raises(tinylm.UsageError, match="for_"):
        model.lint(for_="vlm")  # type: ignore[arg-type]


@pytest.mark.usefixtures("toy")
def test_verify(printed: Callable[..., dict[str, Any]]) -> None:
    write_padded(Path("padded"))
    report = tinylm.verify("padded")
    assert report.to_dict() == printed("verify", "padded")
    assert tinylm.load("padded").verify().to_dict() == printed("verify", "padded")
    assert repr(report) == "<VerifyReport padded: llama checkpoint, 1 difference from its config>"
    assert tinylm.verify(Path("padded"), set={"vocab_size": 512}).status == "equal"
    with pytest.raises(tinylm.InputError, match="is not a folder"):
        tinylm.load("toy.yaml").verify()
    with pytest.raises(tinylm.InputError, match="tiny"):
        tinylm.verify("tiny")
    FAULTS["missing-file"](Path("part"))
    assert tinylm.verify("part").status == "different"
    assert "partial=True" in str(tinylm.verify("part"))
    assert tinylm.verify("part", partial=True).name_only_tensors == 20


def test_build() -> None:
    model = tinylm.load("tiny", set="n_layers=2")
    built = model.build(seed=7, dtype="bfloat16")
    assert sum(parameter.numel() for parameter in built.parameters()) == model.params().total_params
    same = tinylm.TinyTransformerLM.from_config(model.config, seed=7, dtype=torch.bfloat16)
    assert all(map(torch.equal, built.state_dict().values(), same.state_dict().values()))
    assert model.build(device="meta").lm_head.weight.is_meta


DEEP = tinylm.load("tiny", set="n_layers=100000")


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: DEEP.build(device="meta"), tinylm.CapacityError, "1,600,004 parameter tensors"),
        (lambda: DEEP.build(), tinylm.CapacityError, "1,600,004 parameter tensors"),
        (lambda: TINY.compare(*[TINY] * 100), tinylm.UsageError, "101 models to compare; the limit is 100"),
        (lambda: TINY.compare(*["@n_layers=2"] * 1000), tinylm.UsageError, "1,001 models to compare"),
        (lambda: DEEP.params(by="layer", expand=True), tinylm.AnalysisError, "100,004 rows"),
    ],
)
def test_giant_requests(call: Callable[[], object], error: type[Exception], message: str) -> None:
    """Each is rejected before the work begins."""
    began = time.process_time()
    with pytest.raises(error, match=message):
        call()
    assert time.process_time() - began < 1


def test_build_from_weights(tinylm_folder: Path) -> None:
    loaded = tinylm.load(tinylm_folder / "config.yaml").build(weights=tinylm_folder)
    drawn = tinylm.load("tiny").build(seed=7)
    assert torch.equal(loaded.lm_head.weight, drawn.lm_head.weight)


@pytest.fixture
def tinylm_folder(tmp_path: Path, here: Callable[..., Any]) -> Path:
    assert here("build", "--config", "tiny", "--seed", "7", "--save", tmp_path / "saved").code == 0
    return tmp_path / "saved"

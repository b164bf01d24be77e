"""``tinylm build``: the model, options and errors."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.cli.json_report import report
from tinylm_cli.model import TinyTransformerLM

Here = Callable[..., Any]
Golden = Callable[[str, str], None]

TOY = ("build", "--config", "toy.yaml")
HYBRID = """\
{vocab_size: 256, d_model: 64, n_heads: 8, n_layers: 26, d_ff: 100000, max_len: 64, dropout: 0.0,
attention: {n_kv_heads: 2}, gated_deltanet: {n_key_heads: 16, n_value_heads: 16}, feed_forward: {n_experts: 8},
layers: {pattern: "2 dense, local, 3 linear, 2 dense, 5 local",
kinds: {dense: {feed_forward: {n_experts: null}}, linear: {block: {mixer: gated_deltanet}},
local: {position: {kind: rope}, attention: {window: 1024}}}}}
"""
HUGE = ("--set", "n_layers=30000", "--set", "n_heads=64", "--set", "d_model=65536", "--set", "d_ff=262144")
"""A model of 10¹⁵ parameters and more."""


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_screens(columns: int, here: Here, golden_text: Golden) -> None:
    pages = (
        ["build", "--config", "toy.yaml"],
        ["build", "--meta", "--depth", "1"],
        ["build", "hybrid.yaml", "--meta", "--set", "position.kind=rope"],
    )
    Path("hybrid.yaml").write_text(HYBRID, encoding="utf-8")
    shown = [f"$ tinylm {' '.join(page)}\n{here(*page, columns=columns).out}" for page in pages]
    golden_text(f"build-{columns}.txt", "\n".join(shown))


def test_documents(here: Here, golden_json: Golden, golden_text: Golden) -> None:
    golden_json("build", here(*TOY, "--format", "json").out)
    for format_, ending in (("markdown", "md"), ("csv", "csv"), ("latex", "tex")):
        golden_text(f"build.{ending}", here(*TOY, "--format", format_).out)


def test_the_proof_is_part_of_the_report(here: Here) -> None:
    proof = report(here(*TOY, "--format", "json"))["proof"]
    assert proof == {"closed_form_params": 3864, "instantiated_params": 3864, "n_tensors": 52, "differences": []}


def test_failed_proof(here: Here, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import tinylm_cli.analysis.proof as proof

    honest = proof.closed_form
    monkeypatch.setattr(proof, "closed_form", lambda config: {**honest(config), "blocks.9.ln_1.weight": (8,)})
    result = here(*TOY, "--save", "model")
    assert result.code == 1
    assert "✗ " in result.out
    assert "blocks.9.ln_1.weight" in result.out
    assert not (folder / "model").exists()
    assert json.loads(here(*TOY, "--format", "json").out)["proof"]["differences"]


class TestTree:
    def test_expand(self, here: Here) -> None:
        assert "0..2 × 3, each" in here(*TOY).out
        expanded = here(*TOY, "--expand").out
        assert "0..2" not in expanded
        assert expanded.count("q_proj") == 3

    def test_depth_cuts_the_tree(self, here: Here) -> None:
        lines = {depth: here(*TOY, "--depth", depth).out.count("─ ") for depth in ("0", "1", "2", "99")}
        assert lines["0"] == 0
        assert lines["1"] == 4
        assert lines["1"] < lines["2"] < here(*TOY).out.count("─ ") < lines["99"]
        assert "attention (2 heads) …" in here(*TOY).out, "the mark of what is not shown"
        assert lines["99"] == here(*TOY, "--format", "csv").out.count("\n") - 2, "but for header and root"

    def test_json_is_complete(self, here: Here) -> None:
        assert here(*TOY, "--depth", "0", "--format", "json").out == here(*TOY, "--format", "json").out


class TestWeights:
    def test_save_and_load(self, here: Here, folder: Path) -> None:
        saved = report(here(*TOY, "--set", "n_layers=2", "--seed", "7", "--save", "model", "--format", "json"))
        assert saved["saved_to"] == "model"
        assert sorted(path.name for path in (folder / "model").iterdir()) == ["config.yaml", "model.safetensors"]
        loaded = report(here("build", "--weights", "model", "--format", "json"))
        assert (loaded["weights"], loaded["seed"]) == ("model", None)
        assert loaded["architecture"] == saved["architecture"], "the config comes with the weights"
        assert (loaded["model"]["name"], loaded["model"]["source"]) == ("model", "model/config.yaml")
        assert here("forward", "--weights", "model").code == 0

    def test_saved_screen(self, here: Here) -> None:
        result = here(*TOY, "--save", "my model")
        assert "Saved to my model.\n" in result.out
        assert result.err == "next: tinylm forward --weights 'my model'\n"
        assert "weights of my model" in here("build", "--weights", "my model").out

    def test_folder_kept_without_force(self, here: Here, folder: Path) -> None:
        here(*TOY, "--save", "model")
        before = (folder / "model" / "model.safetensors").read_bytes()
        again = here(*TOY, "--seed", "1", "--save", "model", columns=400)
        assert (again.code, again.out) == (2, "")
        assert again.err.endswith("model is not empty\n  = help: choose another name, or add --force to replace it\n")
        assert (folder / "model" / "model.safetensors").read_bytes() == before
        assert here(*TOY, "--seed", "1", "--save", "model", "--force").code == 0
        assert (folder / "model" / "model.safetensors").read_bytes() != before

    def test_force_keeps_foreign_files(self, here: Here, folder: Path) -> None:
        here(*TOY, "--save", "model")
        (folder / "model" / "thesis.tex").touch()
        assert here(*TOY, "--save", "model", "--force").code == 2
        assert (folder / "model" / "thesis.tex").exists()

    @pytest.mark.parametrize("place", ["model", "full", "toy.yaml", "absent/model", "toy.yaml/model"])
    def test_folder_checked_first(self, place: str, here: Here, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        here(*TOY, "--save", "model")
        (folder / "full").mkdir()
        (folder / "full" / "thesis.tex").touch()
        monkeypatch.setattr(TinyTransformerLM, "_assemble", lambda *_: pytest.fail("went on"))
        result = here(*TOY, "--save", place, columns=400)
        assert (result.code, result.out) == (2, "")
        assert ("--force" in result.err) == (place == "model"), "which would not help elsewhere"

    def test_force_without_save(self, here: Here) -> None:
        result = here(*TOY, "--force")
        assert (result.code, result.out) == (2, "")
        assert result.err == (
            "error: --force needs --save or --output\n  = help: add --save or --output, or remove --force\n"
        )

    def test_seed(self, here: Here, folder: Path) -> None:
        for name, seed in (("a", "3"), ("b", "3"), ("c", "4")):
            assert report(here(*TOY, "--seed", seed, "--save", name, "-f", "json"))["seed"] == int(seed)
        a, b, c = ((folder / name / "model.safetensors").read_bytes() for name in "abc")
        assert a == b != c
        assert "seed 3\n" in here(*TOY, "--seed", "3").out

    def test_stored_dtype(self, here: Here, folder: Path) -> None:
        for dtype, width in (("float32", 4), ("bfloat16", 2), ("float16", 2), ("float64", 8)):
            built = report(here(*TOY, "--dtype", dtype, "--save", dtype, "--format", "json"))
            assert (built["dtype"], built["model"]["dtype"]) == (dtype, dtype)
            assert built["model"]["params_bytes"] == width * 3864
            stored = load_file(folder / dtype / "model.safetensors")
            assert {tensor.dtype for tensor in stored.values()} == {getattr(torch, dtype)}
            assert report(here("build", "--weights", dtype, "--format", "json"))["dtype"] == dtype

    @pytest.mark.parametrize(
        ("arguments", "told"),
        [
            (["--weights", "absent"], "absent does not exist\n  = help: name a folder that build --save wrote"),
            (
                ["--weights", "model/model.safetensors"],
                "takes a folder\n  = help: name its folder: model",
            ),
            (["--weights", "."], ". contains neither config.yaml nor config.json"),
            (["--weights", "toy.yaml"], "toy.yaml is a file, but --weights takes a folder"),
            (
                ["--weights", "hf://a/b"],
                "--weights takes a folder, not the repository hf://a/b\n  = help: hf download a/b",
            ),
            (["--config", "toy.yaml", "--weights", "absent"], "absent does not exist\n  = help: name a folder"),
            (["--config", "toy.yaml", "--weights", "."], "model.safetensors does not exist\n  = help: choose a folder"),
            (
                ["--config", "tiny", "--weights", "model"],
                "model belong to another model: d_model is 8 in its config, not 128; n_",
            ),
            (
                ["--weights", "model", "--set", "n_layers=1"],
                "model belong to another model: n_layers is 3 in its config, not 1\n",
            ),
            (
                ["--weights", "model", "--dtype", "bfloat16"],
                "all 51 tensors are float32, not bfloat16\n  = help: use the dtype with which the weights were saved",
            ),
        ],
    )
    def test_wrong_weights(self, arguments: list[str], told: str, here: Here) -> None:
        here(*TOY, "--save", "model")
        result = here("build", *arguments, columns=400)
        assert (result.code, result.out) == (2, "")
        assert told in result.err

    @pytest.mark.parametrize("place", ["absent/model", "toy.yaml", "toy.yaml/model", "/proc/model"])
    def test_unwritable_folder(self, place: str, here: Here, folder: Path) -> None:
        result = here(*TOY, "--save", place)
        assert (result.code, result.out) == (2, "")
        assert result.err.startswith("error:")
        assert [path.name for path in folder.iterdir()] == ["toy.yaml"]


class TestDevice:
    @pytest.mark.parametrize(
        ("device", "told"),
        [
            ("abacus", "--device abacus: expected cpu, cuda or mps"),
            ("", "--device : expected cpu, cuda or mps"),
            ("cuda:x", "--device cuda:x: expected cpu, cuda or mps"),
            ("meta", "the meta device has no values"),
            ("cuda:99", "this machine has no usable device cuda:99"),
            ("hpu", "this machine has no usable device hpu"),
            ("privateuseone", "this machine has no usable device privateuseone"),
        ],
    )
    def test_invalid_options(self, device: str, told: str, here: Here) -> None:
        result = here(*TOY, "--device", device)
        assert (result.code, result.out) == (2, "")
        assert result.err.startswith(f"error: {told}\n  = help: ")

    def test_cpu_device(self, here: Here) -> None:
        assert report(here(*TOY, "--device", "cpu", "--format", "json"))["device"] == "cpu"


class TestSize:
    def test_meta_allocates_nothing(self, here: Here) -> None:
        built = report(here(*TOY, "--meta", "--format", "json"))
        assert (built["device"], built["seed"]) == ("meta", None)
        assert built["proof"] == report(here(*TOY, "--format", "json"))["proof"]
        assert "on meta, shapes only\n" in here(*TOY, "--meta").out
        assert here(*TOY, "--meta").err == "next: tinylm estimate toy.yaml\n"

    def test_meta_has_nothing_to_save(self, here: Here, folder: Path) -> None:
        result = here(*TOY, "--meta", "--save", "model")
        assert result.code == 2
        assert "--save has nothing to write" in result.err
        assert not (folder / "model").exists()

    def test_model_too_large(self, here: Here) -> None:
        began = time.perf_counter()
        (huge,) = json.loads(here("params", "--config", "base", *HUGE, "--format", "json").out)["models"]
        assert huge["total_params"] > 10**15
        result = here("build", "--config", "base", *HUGE)
        assert time.perf_counter() - began < 2
        assert (result.code, result.out) == (2, "")
        assert result.err.startswith("error: building base needs ")
        assert "--meta" in result.err

    def test_huge_model_on_meta(self, here: Here) -> None:
        wide = ("--set", "d_model=65536", "--set", "d_ff=262144", "--set", "n_layers=64", "--set", "n_heads=64")
        assert here("build", "--config", "base", *wide).code == 2
        built = report(here("build", "--config", "base", *wide, "--meta", "--format", "json"))
        assert built["model"]["params_bytes"] > 10 * 1024**4
        assert built["proof"]["instantiated_params"] == built["model"]["total_params"]

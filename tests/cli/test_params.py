"""``tinylm params``: options and output."""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest

from tinylm_cli.reports.choices import GgufType

Here = Callable[..., Any]
Golden = Callable[[str, str], None]


def models(result: Any) -> list[dict[str, Any]]:
    """Return the models of a JSON report."""
    assert result.code == 0
    document = json.loads(result.out)
    assert document["schema_version"] == 2
    found: list[dict[str, Any]] = document["models"]
    return found


def test_json(here: Here) -> None:
    (small,) = models(here("params", "--config", "small", "--format", "json"))
    assert small["name"] == "small"
    assert small["total_params"] == 4_995_072
    assert small["tying"]["untied"]["params"] == 5_251_072
    assert small["tying"]["saved"]["params"] == 256_000
    assert small["nominal_params"] == 5_000_000
    assert [component["name"] for component in small["components"]] == [
        "token_embedding",
        "attention",
        "feed_forward",
        "norm",
        "lm_head",
    ]
    assert sum(component["params"] for component in small["components"]) == small["total_params"]
    assert sum(component["share"] for component in small["components"]) == pytest.approx(1)


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_screens(columns: int, here: Here, golden_text: Golden) -> None:
    pages = (
        ["params"],
        ["params", "--config", "toy.yaml"],
        ["params", "--config", "small", "--by", "tensor"],
        ["params", "--config", "base", "--explain"],
        ["params", "--config", "deepseek-v2-lite", "--explain"],
        ["params", "lfm2-1.2b", "--by", "layer"],
        ["params", "llama-3.1-8b", "--gguf", "all"],
        ["params", "deepseek-v3", "--gguf", "Q4_K_M"],
    )
    shown = [f"$ tinylm {' '.join(page)}\n{here(*page, columns=columns).out}" for page in pages]
    golden_text(f"params-{columns}.txt", "\n".join(shown))


def test_documents(here: Here, golden_json: Golden, golden_text: Golden) -> None:
    golden_json("params", here("params", "--config", "toy.yaml", "--by", "layer", "--format", "json").out)
    markdown = [here("params", *words, "--format", "markdown").out for words in ([], ["--config", "toy.yaml"])]
    golden_text("params.md", "\n".join(markdown))
    pages: list[list[str]] = [[], ["--config", "toy.yaml"], ["--config", "toy.yaml", "--by", "tensor"]]
    for format_, ending in (("csv", "csv"), ("latex", "tex")):
        golden_text(f"params.{ending}", "\n".join(here("params", *page, "--format", format_).out for page in pages))


def test_csv(here: Here) -> None:
    """By component, or by convention; what ties save besides is said to be left out."""
    result = here("params", "--config", "toy.yaml", "--format", "csv")
    assert result.out.splitlines()[0] == "name,params,share,tied_to"
    assert result.err == "CSV holds one table; --table writes another: tying.\n"
    for convention, difference in (("untied", 2_048), ("non-embedding", -2_048)):
        result = here("params", "--config", "toy.yaml", "--convention", convention, "--format", "csv")
        header, unique, other = csv.reader(result.out.splitlines())
        assert header == ["convention", "params", "difference_params", "explanation"]
        assert unique[:3] == ["unique", "3864", "0"]
        assert other[:3] == [convention, str(3864 + difference), str(difference)]
    assert here("params", "--format", "csv").err == ""


def test_every_preset(here: Here) -> None:
    assert [model["name"] for model in models(here("params", "--format", "json"))] == [
        "tiny",
        "small",
        "medium",
        "base",
    ]


@pytest.mark.parametrize("option", ["--config", "-c"])
@pytest.mark.parametrize("reference", ["toy.yaml", "./toy.yaml", "-", "tiny"])
def test_config(option: str, reference: str, here: Here, folder: Path) -> None:
    text = (folder / "toy.yaml").read_text(encoding="utf-8")
    (model,) = models(here("params", option, reference, "-f", "json", stdin=text))
    assert model["name"] == {"-": "stdin", "tiny": "tiny"}.get(reference, "toy")
    assert model["source"] == {"-": "<stdin>"}.get(reference, reference)
    assert model["total_params"] == (826_112 if reference == "tiny" else 3_864)


def test_by(here: Here) -> None:
    (model,) = models(here("params", "--config", "toy.yaml", "--format", "json"))
    assert model["parts"] == []
    for by, count in (("component", 0), ("layer", 5), ("tensor", 20)):
        (model,) = models(here("params", "--config", "toy.yaml", "--by", by, "--format", "json"))
        assert len(model["parts"]) == count
        assert sum(part["params"] for part in model["parts"]) == (model["total_params"] if count else 0)


def test_expand_needs_parts(here: Here) -> None:
    result = here("params", "tiny", "--expand")
    assert (result.code, result.out) == (2, "")
    assert "--expand has no effect on components" in result.err


def test_expand(here: Here) -> None:
    for by, held, written in (("layer", 5, 7), ("tensor", 20, 52)):
        (folded,) = models(here("params", "--config", "toy.yaml", "--by", by, "--format", "json"))
        (spread,) = models(here("params", "--config", "toy.yaml", "--by", by, "--expand", "--format", "json"))
        assert (len(folded["parts"]), len(spread["parts"])) == (held, written)
        assert sum(part["params"] for part in spread["parts"]) == spread["total_params"]
    assert "blocks.{0..2} " in here("params", "--config", "toy.yaml", "--by", "layer").out
    assert "blocks.2 " in here("params", "--config", "toy.yaml", "--by", "layer", "--expand").out


def test_set(here: Here) -> None:
    changed = ["--set", "n_layers=6", "--set", "tie_weights=false", "--set", "norm.kind=rmsnorm"]
    (usual,) = models(here("params", "--config", "toy.yaml", "--format", "json"))
    (model,) = models(here("params", "--config", "toy.yaml", *changed, "--format", "json"))
    assert model["total_params"] > 2 * usual["total_params"] - 256 * 8
    assert (model["tying"]["saved"]["params"], usual["tying"]["saved"]["params"]) == (0, 2_048)
    for each in models(here("params", *changed, "-f", "json")):
        assert each["tying"]["untied"]["params"] == each["total_params"]


def test_nominal_size(here: Here) -> None:
    pages = {
        "4K": "toy has a nominal size of 4K; the exact count is within 3.4%.",
        "5K": "toy has a nominal size of 5K; the exact count is 22.7% lower.",
        "3K": "toy has a nominal size of 3K; the exact count is 28.8% higher.",
        "1K": "toy has a nominal size of 1K; the exact count is 3.9 times as large.",
        "3864": "toy has a nominal size of 3,864; the exact count equals it.",
        "3855": "toy has a nominal size of 3,855; the exact count is within 0.3%.",
        "3865": "toy has a nominal size of 3,865; the exact count is within 0.03%.",
    }
    for size, sentence in pages.items():
        assert sentence in here("params", "--config", "toy.yaml", "--set", f"nominal_params={size}").out


def test_changed_fields_drop_the_nominal_size(here: Here) -> None:
    assert "nominal size" not in here("params", "--config", "toy.yaml", "--set", "n_layers=6").out
    assert "nominal size" in here("params", "--config", "toy.yaml", "--set", "dropout=0.5").out
    assert not {"nominal", "differs"} & set(here("params", "--set", "n_layers=7").out.split())


def test_largest_config(here: Here) -> None:
    largest = ("vocab_size=100000000", "d_model=1048576", "n_heads=8", "n_layers=100000", "d_ff=16777216")
    words = [word for field in largest for word in ("--set", field)]
    began = time.perf_counter()
    (model,) = models(here("params", *words, "--config", "base", "--by", "tensor", "--format", "json"))
    assert time.perf_counter() - began < 1
    assert model["total_params"] == 3_958_349_339_035_697_152
    assert here("params", *words, "--config", "base").code == 0


@pytest.mark.parametrize(
    ("asked", "shown"),
    [
        ("unique", ["unique"]),
        ("non-embedding", ["unique", "non-embedding"]),
        ("hub", ["unique", "hub", "hub-tied-head", "hub-masks"]),
    ],
)
def test_convention(asked: str, shown: list[str], here: Here) -> None:
    for columns in (60, 80, 120):
        lines = here("params", "--config", "gpt2", "--convention", asked, columns=columns).out.splitlines()
        table = lines[next(i for i, line in enumerate(lines) if line.startswith("convention ")) + 1 :]
        assert [line.split()[0] for line in table if line and line[0] != " "] == shown


def test_explain(here: Here) -> None:
    (base,) = models(here("params", "--config", "base", "--explain", "--format", "json"))
    explanation = base["explanation"]
    assert sum(each["params"] for each in explanation["formulas"]) == base["total_params"] == 92_736_000
    attention = next(each for each in explanation["formulas"] if each["component"] == "attention")
    assert attention["formula"] == "12 layers × 4 × (768 × 768 + 768)"
    text = here("params", "--config", "base", "--explain").out
    assert "attention        12 layers × 4 × (768 × 768 + 768)" in text
    assert "to reach 125M" in text
    first = explanation["nominal_changes"][0]
    changes = [word for field, value in first["values"].items() for word in ("--set", f"{field}={value}")]
    (changed,) = models(here("params", "--config", "base", *changes, "--format", "json"))
    assert changed["total_params"] == first["total_params"]
    assert abs(first["total_params"] / 125e6 - 1) < 0.01


def test_explain_active_experts(here: Here) -> None:
    text = here("params", "--config", "mixtral-8x7b", "--explain", columns=120).out
    assert "32 layers × 2 experts per token × 3 × 14336 × 4096  11,274,289,152" in text
    assert "to reach" not in text
    result = here("params", "--config", "mixtral-8x7b", "--explain", "--format", "csv", "--table", "active")
    assert result.out.splitlines()[0] == "component,active_formula,active_params"


def test_explain_excludes_by(here: Here) -> None:
    result = here("params", "--config", "tiny", "--explain", "--by", "layer")
    assert (result.code, result.out) == (2, "")
    assert "--explain cannot be combined with --by layer" in result.err
    assert "--explain needs one model" in here("params", "--explain").err


def test_vision_encoder(here: Here) -> None:
    """Gemma 3 4B has 4,300,079,472 parameters at https://huggingface.co/google/gemma-3-4b-pt."""
    config = Path(__file__).resolve().parents[1] / "interop" / "configs" / "gemma3.json"
    (model,) = models(here("params", config, "--format", "json"))
    parts = {part["name"]: part["params"] for part in model["other_parts"]}
    assert parts == {"vision_encoder": 416_866_032, "projector": 2_950_272}
    assert model["total_params"] + sum(parts.values()) == 4_300_079_472
    shown = here("params", config)
    assert "Not counted above: 416,866,032 of the vision encoder and 2,950,272 of the projector." in " ".join(
        shown.out.split()
    )
    assert "With them, the model has 4,300,079,472 parameters." in " ".join(shown.out.split())
    assert "language model" not in shown.err
    assert "without its vision encoder (416,866,032 parameters)" in " ".join(here("estimate", config).err.split())


def test_gguf(here: Here) -> None:
    """One type by type of tensor, in any case; all types in one table."""
    (model,) = models(here("params", "llama-3.1-8b", "--gguf", "q4_k_m", "--format", "json"))
    (file,) = model["gguf"]["files"]
    assert (model["gguf"]["architecture"], file["type"]) == ("llama", "Q4_K_M")
    assert file["tensor_bytes"] == sum(row["tensor_bytes"] for row in file["tensors"]) == 4_912_898_304
    rows = here("params", "llama-3.1-8b", "--gguf", "all", "--format", "csv").out.splitlines()
    assert rows[0] == "type,bits_per_weight,tensor_bytes,importance_matrix"
    assert len(rows) == 1 + len(get_args(GgufType))
    assert [row.split(",")[2] for row in rows if row.startswith("Q4_K_M,")] == [str(file["tensor_bytes"])]
    (model,) = models(here("params", "llama-3.1-8b", "--format", "json"))
    assert model["gguf"] is None


def test_imatrix(here: Here) -> None:
    words = ["params", "llama-3.1-8b", "--gguf", "IQ4_XS", "--get", "models.0.gguf.files.0.tensor_bytes"]
    assert int(here(*words, "--imatrix").out) < int(here(*words).out)
    result = here("params", "tiny", "--imatrix")
    assert (result.code, result.out) == (2, "")
    assert "--imatrix has no effect without --gguf" in result.err


@pytest.mark.parametrize("other", [["--explain"], ["--by", "layer"], ["--expand"], ["--convention", "hub"]])
def test_gguf_excludes(other: list[str], here: Here) -> None:
    result = here("params", "tiny", "--gguf", "all", *other)
    assert (result.code, result.out) == (2, "")
    assert f"--gguf all cannot be combined with {' '.join(other)}" in result.err


def test_gguf_needs_one_model(here: Here) -> None:
    assert "--gguf Q8_0 needs one model" in here("params", "--gguf", "Q8_0").err


def test_gguf_needs_the_package(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tinylm_cli.interop.gguf.package.find_spec", lambda _: None)
    result = here("params", "tiny", "--gguf", "all")
    assert (result.code, result.out) == (2, "")
    assert "the sizes of GGUF files need the package gguf" in result.err
    assert "pip install 'tinylm-cli[gguf]'" in result.err

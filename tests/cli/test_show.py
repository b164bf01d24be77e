"""``tinylm show``: the resolved config, and where each value came from."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tinylm_cli.interop.load import load_config

Here = Callable[..., Any]
Golden = Callable[[str, str], None]

MIXERS = (
    "short_conv",
    "mamba",
    "mamba2",
    "gated_deltanet",
    "kimi_delta_attention",
    "lightning_attention",
    "mlstm",
    "rg_lru",
    "rwkv",
)
CHANGES = ("--set", "norm.kind=rmsnorm", "--set", "n_layers=5")


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_screens(columns: int, here: Here, golden_text: Golden) -> None:
    pages = (["show", "--config", "toy.yaml"], ["show", "--config", "toy.yaml", "--origin", *CHANGES])
    shown = [f"$ tinylm {' '.join(page)}\n{here(*page, columns=columns).out}" for page in pages]
    golden_text(f"show-{columns}.txt", "\n".join(shown))


def test_documents(here: Here, golden_json: Golden, golden_text: Golden) -> None:
    golden_json("show", here("show", "--config", "toy.yaml", *CHANGES, "--format", "json").out)
    pages = [here("show", "--config", "toy.yaml", *words, "--format", "markdown").out for words in ([], ["--origin"])]
    golden_text("show.md", "\n".join(pages))
    for format_, ending in (("csv", "csv"), ("latex", "tex")):
        page = here("show", "--config", "toy.yaml", *CHANGES, "--origin", "--format", format_)
        golden_text(f"show.{ending}", page.out)


@pytest.mark.parametrize("format_", ["csv", "latex"])
def test_config_has_no_table(format_: str, here: Here) -> None:
    result = here("show", "--config", "toy.yaml", "--format", format_)
    assert (result.code, result.out) == (2, "")
    assert f"--format {format_} needs a table, but show prints a config" in result.err
    assert "add --origin" in result.err


@pytest.mark.parametrize("reference", ["tiny", "small", "medium", "base", "toy.yaml"])
@pytest.mark.parametrize("changes", [(), CHANGES], ids=["as-it-is", "changed"])
def test_round_trip(reference: str, changes: tuple[str, ...], here: Here, folder: Path) -> None:
    shown = here("show", "--config", reference, *changes)
    (folder / "again.yaml").write_text(shown.out, encoding="utf-8")
    fields = [word for word in changes if word != "--set"]
    assert load_config("again.yaml").config == load_config(reference, fields).config
    assert here("show", "--config", "-", stdin=shown.out).out == shown.out


def test_outputs_agree(here: Here, folder: Path) -> None:
    here("show", "--config", "toy.yaml", "--output", "again.yaml")
    assert (folder / "again.yaml").read_text(encoding="utf-8") == here("show", "--config", "toy.yaml").out
    document = json.loads(here("show", "--config", "toy.yaml", "--format", "json").out)
    config = load_config("again.yaml").config.model_dump(mode="json")
    assert document["config"] == {name: value for name, value in config.items() if name not in MIXERS}


def test_kinds_of_layers(here: Here) -> None:
    words = ("--set", "layers.kinds.full.attention.window=9", "--set", "layers.kinds.conv.block.feed_forward=false")
    lines = here("show", "lfm2-1.2b", "--origin", *words, columns=120).out.splitlines()
    shown = {line.split()[0]: line.split()[1:] for line in lines[3:]}
    assert shown["layers.kinds.conv.block.mixer"] == ["short_conv", "lfm2-1.2b:22"]
    assert shown["layers.kinds.full.attention.window"] == ["9", "--set"]
    assert "layers.kinds" not in shown
    report = json.loads(here("show", "lfm2-1.2b", "--format", "json").out)
    assert set(MIXERS) & report["config"].keys() == {"short_conv"}
    (empty,) = [each for each in report["origins"] if each["field"] == "layers.kinds.full"]
    assert empty == {"field": "layers.kinds.full", "value": {}, "source": "lfm2-1.2b", "line": 23, "column": 11}


def test_budget(here: Here) -> None:
    assert "budget" not in here("show", "--config", "toy.yaml").out
    shown = here("show", "--config", "toy.yaml", "--set", "budget.max_kv_bytes=1.5GiB", "--set", "budget.seq_len=9")
    assert shown.out.endswith("nominal_params: 4000\nbudget:\n  max_kv_bytes: 1610612736\n  seq_len: 9\n")


def test_default_config(here: Here) -> None:
    assert here("show").out == here("show", "--config", "tiny").out


def test_origins(here: Here, folder: Path) -> None:
    lines = here("show", "--config", "toy.yaml", "--origin", *CHANGES).out.splitlines()
    places = {line.split()[0]: line.split()[-1] for line in lines[3:]}
    assert places["vocab_size"] == "toy.yaml:2"
    assert places["n_layers"] == places["norm.kind"] == "--set"
    assert places["norm.eps"] == "default"
    source = (folder / "toy.yaml").read_text(encoding="utf-8")
    (folder / "toy.yaml").write_text("# one more line\n" + source, encoding="utf-8")
    assert "toy.yaml:3\n" in here("show", "--config", "toy.yaml", "--origin").out
    assert "<stdin>:2\n" in here("show", "--config", "-", "--origin", stdin=source).out
    assert "toy.yaml:3" not in here("show", "--config", "toy.yaml").out


def test_origins_of_fields_with_effect(here: Here) -> None:
    def fields(*changes: str) -> set[str]:
        words = [word for change in changes for word in ("--set", change)]
        origins = json.loads(here("show", "--config", "toy.yaml", *words, "--format", "json").out)["origins"]
        return {origin["field"] for origin in origins}

    plain = fields()
    assert "attention.n_kv_heads" not in plain
    assert "position.theta" not in plain
    assert fields("position.kind=rope") - plain == {
        *(f"position.{name}" for name in ("theta", "rotary_fraction", "proportional", "pairing", "scaling")),
    }
    assert fields("attention.n_kv_heads=1") - plain == {"attention.n_kv_heads"}
    latent = fields("position.kind=rope", "attention.kind=latent")
    positions = {"position.sinusoids", "position.offset"}
    # nominal_params is the size of another model
    names = ("qk_norm", "v_norm", "keys_as_values", "sub_norm", "differential")
    switches = {f"attention.{name}" for name in names}
    assert plain - latent == {*switches, "nominal_params", *positions}


def test_json_gives_line_and_column(here: Here) -> None:
    document = json.loads(here("show", "--config", "toy.yaml", *CHANGES, "--format", "json").out)
    origins = {origin["field"]: origin for origin in document["origins"]}
    assert origins["d_model"] == {"field": "d_model", "value": 8, "source": "toy.yaml", "line": 3, "column": 10}
    assert origins["max_len"]["source"] == "toy.yaml"
    assert (origins["norm.eps"]["source"], origins["norm.eps"]["line"]) == ("default", None)
    assert origins["n_layers"] == {"field": "n_layers", "value": 5, "source": "--set", "line": 1, "column": 10}

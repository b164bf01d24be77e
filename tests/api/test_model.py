"""A model of the Python API: from a dictionary, as YAML, with weights, and how it is displayed."""

from __future__ import annotations

import re
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

import tinylm_cli as tinylm

SMALL = tinylm.load("small", set={"n_layers": 8})
SIZES = {"vocab_size": 32, "d_model": 8, "n_heads": 2, "n_layers": 1, "d_ff": 16}


class TestDictionary:
    def test_a_design(self) -> None:
        design = tinylm.design(params="10M", top=1).designs[0]
        model = tinylm.load(design.config, set={"dropout": 0})
        assert model.params().total_params == design.figures["total_params"]
        assert model.name == "config"
        assert model.config.dropout == 0

    @pytest.mark.parametrize("name", ["gemma-4-e2b", "mixtral-8x7b", "falcon-h1-0.5b"])
    def test_a_config(self, name: str) -> None:
        config = tinylm.load(name).config
        assert tinylm.load(config).config == config
        assert tinylm.load(config.model_dump()).config == config

    def test_a_hugging_face_config(self) -> None:
        transformers = pytest.importorskip("transformers")
        model = tinylm.load(transformers.GPT2Config(n_layer=3).to_dict())
        assert model.params().total_params == tinylm.load("gpt2", set={"n_layers": 3}).params().total_params
        assert model.name == "config"

    def test_errors_point_at_the_entry(self) -> None:
        with pytest.raises(tinylm.ConfigError, match='unknown key "d_modle"') as raised:
            tinylm.load({**SIZES, "d_modle": 8})
        (error,) = raised.value.diagnostics
        assert error.span is not None
        assert error.source == "<config>"
        assert error.span.text[error.span.column - 1 : error.span.end_column - 1].strip('"') == "d_modle"

    def test_no_config(self) -> None:
        itself: dict[str, Any] = {}
        itself["block"] = itself
        with pytest.raises(tinylm.UsageError, match="config: Circular reference"):
            tinylm.load(itself)

    def test_its_name_is_not_a_preset(self) -> None:
        """A model named like a preset is compared with the preset."""
        model = tinylm.load({**SIZES, "name": "tiny"})
        assert model.name == "tiny"
        assert not model.compare("tiny").equal
        assert model.compare({"n_layers": 2}).data.figures


class TestSave:
    def test_yaml(self, tmp_path: Path) -> None:
        SMALL.save(tmp_path / "mine.yaml")
        assert (tmp_path / "mine.yaml").read_text(encoding="utf-8") == SMALL.to_yaml()
        assert tinylm.load(tmp_path / "mine.yaml").config == SMALL.config
        with pytest.raises(tinylm.OutputError, match="exists"):
            SMALL.save(tmp_path / "mine.yaml")
        tinylm.load("tiny").save(tmp_path / "mine.yaml", overwrite=True)
        assert tinylm.load(tmp_path / "mine.yaml").config == tinylm.load("tiny").config

    def test_another_format(self, tmp_path: Path) -> None:
        with pytest.raises(tinylm.UsageError, match=r"mine\.json is not a YAML file"):
            SMALL.save(tmp_path / "mine.json")

    def test_weights(self, tmp_path: Path) -> None:
        model = tinylm.load(SIZES)
        module = model.build(seed=3)
        model.save(tmp_path / "saved", weights=module)
        again = tinylm.load(tmp_path / "saved")
        assert again.config == model.config
        assert torch.equal(again.build(weights=tmp_path / "saved").lm_head.weight, module.lm_head.weight)
        with pytest.raises(tinylm.OutputError, match="saved"):
            model.save(tmp_path / "saved", weights=module)
        model.save(tmp_path / "saved", weights=module, overwrite=True)

    def test_weights_that_do_not_belong_to_it(self, tmp_path: Path) -> None:
        model = tinylm.load(SIZES)
        with pytest.raises(tinylm.UsageError, match="the module has another config"):
            model.save(tmp_path / "saved", weights=SMALL.build(device="meta"))
        with pytest.raises(tinylm.UsageError, match="a module on meta has no values"):
            model.save(tmp_path / "saved", weights=model.build(device="meta"))
        with pytest.raises(tinylm.UsageError, match="weights: expected TinyTransformerLM, got 3"):
            model.save(tmp_path / "saved", weights=3)  # type: ignore[arg-type]
        assert not (tmp_path / "saved").exists()


class TestDisplay:
    def test_text(self) -> None:
        assert repr(SMALL) == "<Model small@n_layers=8: 6,574,592 parameters>"
        heading, _, *lines = str(SMALL).splitlines()
        assert heading == "small@n_layers=8  6,574,592 parameters"
        assert "n_layers: 8" in lines
        assert len(lines) < 12, "fields at their defaults are left out"

    def test_notebook(self) -> None:
        html = SMALL._repr_html_()
        assert "<b>small@n_layers=8</b>" in html
        assert re.search(r"<pre>vocab_size: 1000\n.*n_layers: 8\n", html, re.DOTALL)

    def test_rich(self) -> None:
        console = Console(file=StringIO(), width=60)
        console.print(SMALL)
        assert console.file.getvalue().startswith("small@n_layers=8  6,574,592 parameters\n")  # type: ignore[attr-defined]


def test_equality() -> None:
    same = tinylm.load("small", set="n_layers=8")
    assert same == SMALL
    assert len({same, SMALL, tinylm.load("small")}) == 2

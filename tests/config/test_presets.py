"""The shipped configs: their order, validity and editor schema."""

from __future__ import annotations

from pathlib import Path

import pytest

from tinylm_cli.config import presets as module
from tinylm_cli.config.loader import load_presets, load_yaml_config
from tinylm_cli.config.presets import presets, presets_folder
from tinylm_cli.config.yaml_writer import SCHEMA_LINE

ROOT = Path(__file__).resolve().parents[2]


def test_the_checkout_reads_its_own_folder() -> None:
    assert presets_folder() == ROOT / "configs"


def test_course_presets_first() -> None:
    assert list(presets())[:4] == ["tiny", "small", "medium", "base"]
    assert {path.name for path in presets().values()} == {path.name for path in (ROOT / "configs").glob("*.yaml")}


def test_installed_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    package = tmp_path / "site-packages" / "tinylm_cli"
    (package / "configs").mkdir(parents=True)
    (package / "config").mkdir()
    monkeypatch.setattr(module, "__file__", str(package / "config" / "presets.py"))
    assert presets_folder.__wrapped__() == package / "configs"


@pytest.mark.parametrize("name", presets())
def test_each_is_valid_and_names_its_schema(name: str) -> None:
    loaded = load_yaml_config(name)
    assert (loaded.name, loaded.source) == (name, name)
    first = presets()[name].read_text(encoding="utf-8").splitlines()[0]
    assert first == SCHEMA_LINE
    assert (presets()[name].parent / first.partition("$schema=")[2]).is_file()


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("tiny", (256, 128, 4, 4, 512, 500_000)),
        ("small", (1000, 256, 8, 6, 1024, 5_000_000)),
        ("medium", (5000, 512, 8, 12, 2048, 40_000_000)),
        ("base", (10_000, 768, 12, 12, 3072, 125_000_000)),
    ],
)
def test_the_course_table(name: str, values: tuple[int, ...]) -> None:
    config = load_yaml_config(name).config
    shape = (config.vocab_size, config.d_model, config.n_heads, config.n_layers, config.d_ff, config.nominal_params)
    assert shape == values
    assert config.tie_weights
    assert config.max_len == 1024


def test_load_presets_with_overrides() -> None:
    loaded = load_presets(["n_layers=1"])
    assert [each.name for each in loaded] == list(presets())
    assert {each.config.n_layers for each in loaded} == {1}

"""``tinylm new``: a commented YAML to start from."""

from __future__ import annotations

import re
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tinylm_cli.config.fields import fields
from tinylm_cli.interop.load import load_config

Here = Callable[..., Any]


@pytest.mark.parametrize("preset", ["tiny", "small", "medium", "base"])
def test_writes_preset(preset: str, here: Here, folder: Path) -> None:
    result = here("new", "mine", "--config", preset)
    assert (result.code, result.out) == (0, "")
    text = (folder / "mine.yaml").read_text(encoding="utf-8")
    written, meant = load_config("mine.yaml").config, load_config(preset).config
    assert written == meant.model_copy(update={"nominal_params": None})
    words = " ".join(line.strip().removeprefix("# ") for line in text.splitlines())
    keys = [name for name in fields() if re.search(rf"^ *{name.rpartition('.')[2]}: ", text, re.MULTILINE)]
    shown = [name for name in keys if f"\n{name.partition('.')[0]}:" in text]
    assert {"vocab_size", "dropout", "position.kind", "norm.eps", "feed_forward.gated"} <= set(shown)
    assert "attention.window" not in shown
    assert fields()["d_ff"].description in words
    assert fields()["feed_forward.activation"].description in words
    assert "yaml-language-server" in text.splitlines()[0]
    assert here("validate", "mine.yaml").code == 0


def test_written_file(here: Here, folder: Path, golden_words: Callable[[str, str], None]) -> None:
    here("new", "mine")
    golden_words("new.yaml", (folder / "mine.yaml").read_text(encoding="utf-8"))


def test_next_steps(here: Here) -> None:
    assert here("new", "my model").err == (
        "wrote my model.yaml: started from tiny\n"
        "for completion in your editor: tinylm schema --output tinylm.schema.json\n"
        "next: tinylm params 'my model.yaml'\n"
    )


@pytest.mark.parametrize(("name", "file"), [("a.yaml", "a.yaml"), ("b.yml", "b.yml"), ("c.v2", "c.v2.yaml")])
def test_name_with_suffix(name: str, file: str, here: Here, folder: Path) -> None:
    assert here("new", name).code == 0
    assert (folder / file).is_file()


@pytest.mark.parametrize(("words", "title"), [((), "other: started"), (("mine",), "mine: started")])
def test_output_names_the_file(words: tuple[str, ...], title: str, here: Here, folder: Path) -> None:
    assert here("new", *words, "--output", "other.yaml").code == 0
    assert title in (folder / "other.yaml").read_text(encoding="utf-8")
    assert here("validate", "other.yaml").code == 0
    assert not (folder / "mine.yaml").exists()


def test_standard_output(here: Here) -> None:
    told = here("new", "-o", "-")
    assert told.out.splitlines()[2] == "# config: started from tiny."
    assert told.err == ""


@pytest.mark.parametrize("words", [("x.json",), ("-o", "x.json"), ("-o", "x.txt")])
def test_files_of_other_formats(words: tuple[str, ...], here: Here, folder: Path) -> None:
    told = here("new", *words)
    assert (told.code, told.out) == (2, "")
    assert "new writes YAML" in told.err
    assert not list(folder.glob("x*"))


def test_a_name_is_required(here: Here) -> None:
    assert here("new").err == "error: NAME is missing\n  = help: for example tinylm new mine\n"


def test_set_changes_the_file(here: Here) -> None:
    assert here("new", "mine", "--set", "n_layers=9", "--set", "norm.kind=rmsnorm").code == 0
    config = load_config("mine.yaml").config
    assert (config.n_layers, config.norm.kind) == (9, "rmsnorm")


def test_a_set_default_is_in_the_file(here: Here) -> None:
    """The writer chose the value, even if it is the default."""
    changes = ("--set", "feed_forward.n_experts=4", "--set", "feed_forward.top_k=2")
    assert "\n  top_k: 2\n" in here("new", "mine", *changes, "-o", "-").out


def test_budget_without_tolerance(here: Here, folder: Path) -> None:
    changes = ("budget.max_params=1M", "budget.nominal_tolerance=0.1", "nominal_params=800K")
    assert here("new", "mine", *(word for change in changes for word in ("--set", change))).code == 0
    assert "budget:\n  # Maximum parameters; tied" in (folder / "mine.yaml").read_text(encoding="utf-8")
    budget = load_config("mine.yaml").config.budget
    assert (budget.max_params, budget.nominal_tolerance) == (1_000_000, None)


def test_non_default_fields(here: Here, folder: Path) -> None:
    changes = ("position.kind=rope", "position.theta=5e5", "attention.n_kv_heads=2", "feed_forward.n_experts=8")
    assert here("new", "mine", *(word for change in changes for word in ("--set", change))).code == 0
    text = (folder / "mine.yaml").read_text(encoding="utf-8")
    assert load_config("mine.yaml").config == load_config("tiny", [*changes, "nominal_params=null"]).config
    for line in ("  theta: 500000.0", "  n_kv_heads: 2", "  n_experts: 8"):
        assert f"{line}\n" in text
    assert "n_groups" not in text


def test_preset_name(here: Here) -> None:
    result = here("new", "-o", "small.yaml")
    assert "small alone names the preset: write small.yaml for this file\n" in result.err
    assert "alone names" not in here("new", "mine").err


@pytest.mark.parametrize("name", ["", ".", "..", "there/", "/"])
def test_invalid_names(name: str, here: Here, folder: Path) -> None:
    result = here("new", name)
    assert result.code == 2
    assert "is not a file name" in result.err
    assert [path.name for path in folder.iterdir()] == ["toy.yaml"]


def test_a_wrong_config_writes_nothing(here: Here, folder: Path) -> None:
    assert here("new", "mine", "--set", "n_heads=3").code == 1
    assert not (folder / "mine.yaml").exists()


class TestNothingIsOverwritten:
    def test_force_replaces_the_file(self, here: Here, folder: Path) -> None:
        before = (folder / "toy.yaml").read_text(encoding="utf-8")
        result = here("new", "toy")
        assert (result.code, result.out) == (2, "")
        assert result.err == ("error: toy.yaml exists\n  = help: choose another name, or add --force to replace it\n")
        assert (folder / "toy.yaml").read_text(encoding="utf-8") == before
        assert here("new", "toy", "--force").code == 0
        assert (folder / "toy.yaml").read_text(encoding="utf-8") != before

    def test_link_target_is_kept(self, here: Here, folder: Path) -> None:
        (folder / "link.yaml").symlink_to("toy.yaml")
        assert here("new", "link").code == 2
        (folder / "open.yaml").symlink_to("nothing.yaml")
        assert here("new", "open").code == 0
        assert (folder / "nothing.yaml").is_file()

    def test_concurrent_writers(self, folder: Path, start: Callable[..., subprocess.Popen[bytes]], here: Here) -> None:
        running = [start("new", "mine", "--set", f"n_layers={index + 1}") for index in range(4)]
        codes = [process.wait(timeout=60) for process in running]
        assert sorted(codes) == [0, 2, 2, 2]
        assert load_config("mine.yaml").config.n_layers == codes.index(0) + 1
        assert here("validate", "mine.yaml").code == 0
        assert sorted(path.name for path in folder.iterdir()) == ["mine.yaml", "toy.yaml"]

    def test_race_of_threads(self, folder: Path) -> None:
        from tinylm_cli.atomic_write import write_file
        from tinylm_cli.errors import OutputError

        won: list[int] = []
        together = threading.Barrier(8)

        def write(index: int) -> None:
            together.wait()
            try:
                write_file(Path("mine.yaml"), f"{index}\n" * 10_000, overwrite=False)
                won.append(index)
            except OutputError:
                pass

        threads = [threading.Thread(target=write, args=(index,)) for index in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(won) == 1
        assert (folder / "mine.yaml").read_text(encoding="utf-8") == f"{won[0]}\n" * 10_000

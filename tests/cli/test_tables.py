"""CSV and LaTeX tables of every command: their values are in the JSON output, and TeX compiles them."""

from __future__ import annotations

import csv
import io
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tinylm_cli.cli.completion import TABLES
from tinylm_cli.cli.output import CommandOutput
from tinylm_cli.quantities import Quantity
from tinylm_cli.render.blocks import Cell, Stack, Table, Tree, View, single_table, tables_by_name
from tinylm_cli.render.csv import to_csv
from tinylm_cli.render.json import plain
from tinylm_cli.render.latex import to_latex
from tinylm_cli.render.stacked_bars import legend

Here = Callable[..., Any]

PAGES = (
    "params",
    "params --config small",
    "params --config small --by layer --expand",
    "params --config small --by tensor",
    "params --config gpt2 --convention hub",
    "params --config tiny --explain",
    "params --config mixtral-8x7b --explain",
    "params --config small --gguf all",
    "params --config small --gguf Q4_K_M",
    "params --config small --lora r=8,target_modules=q_proj,modules_to_save=lm_head",
    "params --config mixtral-8x7b --lora r=8 --by tensor",
    "params --config mixtral-8x7b --lora r=8",
    "estimate --config toy.yaml --by layer",
    "estimate --config gemma-2-2b --by layer --attention-kernel math",
    "estimate --config llama-3-8b --gpu rtx-4090 --price 0.4",
    "estimate --config toy.yaml --gpu h100 --gpus 4 --plan auto",
    "estimate --config mixtral-8x7b --gpu h100 --gpus 16 --plan tp=2,pp=2,ep=2,zero=1 --price 2",
    "compare small tiny base",
    "compare small @norm.kind=rmsnorm @position.kind=rope",
    "compare small small",
    "compare small tiny --gpu h100 --gpus 4 --price 2",
    "design --params 5M --top 3",
    "design --params 500M --family mixtral --top 3",
    "design --params 5M --max-kv-bytes 1KiB",
    "design --params 100M --gpu rtx-4090 --top 3",
    "design --compute 1e18 --top 2",
    "sweep small n_layers=0,4,8",
    "sweep small n_layers=4,8 d_model=256,500",
    "build --config toy.yaml --meta",
    "build --config mixtral-8x7b --meta --depth 3",
    "forward --config toy.yaml --tokens 1,2,3",
    "forward --config toy.yaml --set n_layers=20 --meta",
    "check --config toy.yaml",
    "list",
    "list --gallery",
    "list --hardware",
    "show --config llama-3-8b --origin",
    "show --config toy.yaml --origin --set norm.kind=rmsnorm",
)
DERIVED = {
    "plans": {"name", "values.small", "values.tiny"},  # JSON has a list for each row, under its name
    "hardware": {"aliases"},  # JSON has a list
    "presets": {"mixers"},  # JSON has a list
    "active": {"component", "active_params"},  # "all others" is their sum
    "formulas": {"modules"},  # q_proj, k_proj: JSON has a list
    "tying": {"tying"},  # JSON has an object for each
    "nominal_changes": {"change"},  # d_model=88: JSON has an object
    "architecture": {"depth"},  # JSON nests instead
    "layouts": {"rank", "tokens_per_second", "sent_bytes"},  # by place, by division, by sum
    "serving_time": {"pass", "tokens_per_second"},  # JSON has both in its names
    "activations": {"saved_bytes", "share"},  # of all layers of a sort
    "training_fit": {"changes"},  # recompute=full: JSON has an object for each
    "serving_fit": {"changes"},
}
"""Columns that JSON has under no name of its own, by table."""

OWNED: dict[str, set[str]] = {
    "flops_per_token": {"backward_flops_per_token", "recompute_flops_per_token", "six_n_flops"},
}
"""Tables whose first column is the beginning of a name of JSON and whose headers are its end, and the names beyond."""


@pytest.fixture
def shown(here: Here, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], tuple[dict[str, Any], View]]:
    """Return the report of a command as JSON has it, and the view of it that CSV is made of."""
    kept: list[CommandOutput] = []

    def keep(outcome: CommandOutput) -> int:
        kept.append(outcome)
        return outcome.exit_code

    def run(page: str) -> tuple[dict[str, Any], View]:
        monkeypatch.setattr("tinylm_cli.cli.app.write_output", keep)
        result = here(*shlex.split(page), "--format", "csv")
        assert result.err == "", page
        outcome = kept.pop()
        return plain(outcome.report), outcome.view()

    return run


def spelled(value: Any) -> str:
    """Return a value of JSON as CSV spells it."""
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def leaves(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, str]]:
    """Yield each value of a document with its name and its dotted names from enclosing objects: ``sizes.d_ff``."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, (*path, key))
        return
    for start in range(len(path)):
        yield ".".join(path[start:]), spelled(value)
    for inner in value if isinstance(value, list) else ():
        yield from leaves(inner, path)


def read(text: str) -> tuple[list[str], list[dict[str, str]]]:
    header, *rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    assert all(header)
    assert len(set(header)) == len(header), header
    assert {len(row) for row in rows} <= {len(header)}
    return header, [dict(zip(header, row, strict=True)) for row in rows]


@pytest.mark.parametrize("page", PAGES)
def test_csv_agrees_with_json(page: str, shown: Callable[[str], Any]) -> None:
    report, view = shown(page)
    document = set(leaves(report))
    names = {name for name, _ in document}
    for table in tables_by_name(view):
        header, rows = read(to_csv(single_table(view, table)))
        if {"figure", "value"} <= set(header):
            assert all((row["figure"], row["value"]) in document for row in rows)
            continue
        if table in OWNED:
            first, *figures = header
            found = [(f"{row[first]}_{column}", row[column]) for row in rows for column in figures if row[column]]
            assert {name for name, _ in found} - names <= OWNED[table]
            assert {(name, value) for name, value in found if name in names} <= document
            continue
        swept = [each["name"] for each in report["fields"]] if page.startswith("sweep") else []
        for column in header:
            if column in DERIVED.get(table, ()) or column in swept:
                continue
            name = column if column in names else column.partition(".")[0]
            assert name in names or not any(row[column] for row in rows), (table, column)
            for row in rows:
                known = (name, row[column].removeprefix("'")) in document or not row[column]
                assert known, (table, column, row)


@pytest.mark.parametrize("page", PAGES)
def test_names(page: str, shown: Callable[[str], Any]) -> None:
    """But for a figure that is drawn, which the table above it has."""
    _, view = shown(page)
    tables = [block for block in view if isinstance(block, Table | Tree | Stack)]
    assert set(tables_by_name(view)) <= set(TABLES[page.split()[0]])
    assert sum(not table.name for table in tables) == (page.startswith("sweep") and page.count("=") == 2), (
        "the grid of two fields"
    )


def test_names_are_documented(shown: Callable[[str], Any]) -> None:
    met: dict[str, set[str]] = {}
    for page in PAGES:
        met.setdefault(page.split()[0], set()).update(tables_by_name(shown(page)[1]))
    assert met == {command: set(names) for command, names in TABLES.items()}
    listed = (Path(__file__).parents[2] / "docs" / "cli.md").read_text(encoding="utf-8").partition("\n## ")[0]
    several = {command: names for command, names in TABLES.items() if len(names) > 1 and command != "list"}
    assert {name for names in several.values() for name in names if f"`{name}`" not in listed} == set()


@pytest.mark.parametrize("page", PAGES)
def test_numbers_are_aligned_right(page: str, shown: Callable[[str], Any]) -> None:
    for table in tables_by_name(shown(page)[1]).values():
        if isinstance(table, Tree):
            continue
        columns, rows, *_ = legend(table) if isinstance(table, Stack) else table
        for index, column in enumerate(columns):
            cells = [cell.text if isinstance(cell, Cell) else cell for cell in (row[index] for row in rows)]
            words = [cell for cell in cells if isinstance(cell, str) and cell]
            if words and all(isinstance(word, Quantity) and not isinstance(word.value, bool) for word in words):
                assert column.right, (page, column)


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="there is no TeX")
def test_latex_compiles(shown: Callable[[str], Any], tmp_path: Path) -> None:
    pages = "\n\\clearpage\n".join(to_latex(shown(page)[1]) for page in PAGES)
    assert pages.isascii()
    for page in pages.split("\\clearpage"):
        labels = re.findall(r"\\label\{(.*)\}", page)
        assert len(set(labels)) == len(labels)
    text = f"\\documentclass{{article}}\n\\usepackage{{booktabs}}\n\\begin{{document}}\n{pages}\n\\end{{document}}\n"
    (tmp_path / "paper.tex").write_text(text, encoding="ascii")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-draftmode", "paper.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace", check=False)
    assert done.returncode == 0, done.stdout[-2000:]


class TestOneTable:
    def test_single_table(self, here: Here) -> None:
        words = ["params", "--config", "small", "--table", "tying", "--format"]
        result = here(*words, "csv")
        assert (result.code, result.err) == (0, "")
        assert result.out.splitlines()[0] == "tying,params,params_bytes,adam_bytes"
        assert here(*words, "markdown").out.count("| --- |") == 1
        assert here(*words, "latex").out.count("\\begin{table}") == 1

    def test_other_tables_are_named(self, here: Here) -> None:
        said = "CSV holds one table; --table writes another: tying.\n"
        assert here("params", "--config", "small", "--format", "csv").err == said

    @pytest.mark.parametrize(
        ("name", "remedy"),
        [("tyng", "did you mean tying?"), ("", "the tables are components, tying")],
    )
    def test_unknown_table(self, name: str, remedy: str, here: Here) -> None:
        result = here("params", "--config", "small", "--format", "csv", "--table", name)
        assert (result.code, result.out) == (2, "")
        assert remedy in result.err

    def test_report_without_tables(self, here: Here) -> None:
        result = here("show", "--table", "origins", "--format", "markdown")
        assert (result.code, result.out) == (2, "")
        assert result.err.startswith("error: --table origins: this report has no table\n")

    @pytest.mark.parametrize("format_", ["text", "json"])
    def test_table_without_a_table_format(self, format_: str, here: Here) -> None:
        result = here("build", "--config", "absent", "--table", "tying", "--format", format_)
        assert result.code == 2
        assert f"--table works with csv, latex and markdown, not with {format_}" in result.err

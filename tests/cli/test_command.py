"""The grammar that all commands share: a positional config, ``--get``, ``--force``, formats inferred from suffixes."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.checkpoints import write
from tinylm_cli.cli.app import COMMANDS
from tinylm_cli.cli.options import amount_parser, option_span
from tinylm_cli.errors import ConfigError

Here = Callable[..., Any]

REPORTS = {
    "params": ["toy.yaml"],
    "build": ["toy.yaml"],
    "show": ["toy.yaml"],
    "estimate": ["toy.yaml"],
    "forward": ["toy.yaml", "--tokens", "5,12,8"],
    "generate": ["toy.yaml", "--max-new-tokens", "2"],
    "check": ["toy.yaml"],
    "compare": ["toy.yaml", "@n_layers=2"],
    "sweep": ["toy.yaml", "n_layers=1,2"],
    "design": ["--params", "5M", "--top", "1"],
    "validate": ["toy.yaml"],
    "verify": ["model"],
    "lint": ["toy.yaml", "--for", "hf"],
    "list": [],
    "schema": [],
}
VALUES = {
    "params": "models.toy.total_params",
    "build": "model.total_params",
    "show": "config.d_model",
    "estimate": "total_params",
    "forward": "seq_len",
    "generate": "generated",
    "check": "passed",
    "compare": "equal",
    "sweep": "figure",
    "design": "matches",
    "validate": "valid",
    "verify": "status",
    "lint": "path",
    "list": "presets.tiny.d_model",
    "schema": "properties.d_model.minimum",
}


class TestPositionalConfig:
    @pytest.mark.parametrize("command", ["params", "build", "show", "estimate", "forward", "generate", "check"])
    def test_same_as_the_option(self, command: str, here: Here) -> None:
        source = {"params": "models.0.source", "build": "model.source"}.get(command, "source")
        options = ["--get", source]
        assert here(command, "toy.yaml", *options).out == "toy.yaml\n"
        assert here(command, "--config", "toy.yaml", *options).out == "toy.yaml\n"

    def test_any_position(self, here: Here) -> None:
        for words in (["--by", "layer", "toy.yaml"], ["toy.yaml", "--by", "layer"], ["--by=layer", "--", "toy.yaml"]):
            assert here("params", *words).out == here("params", "-c", "toy.yaml", "--by", "layer").out

    def test_standard_input(self, here: Here, folder: Path) -> None:
        text = (folder / "toy.yaml").read_text(encoding="utf-8")
        assert here("params", "-", "--get", "models.0.d_model", stdin=text).code == 2
        assert here("params", "-", "--get", "models.0.source", stdin=text).out == "<stdin>\n"

    def test_completion(self, tinylm: Callable[..., Any]) -> None:
        env = {"_TINYLM_COMPLETE": "complete_bash", "COMP_WORDS": "tinylm\nparams\nllama-3-", "COMP_CWORD": "2"}
        assert "llama-3-8b\n" in tinylm(env=env).out

    def test_new(self, here: Here, folder: Path) -> None:
        assert here("new", "mine", "toy.yaml").code == 0
        assert "d_model: 8\n" in (folder / "mine.yaml").read_text(encoding="utf-8")

    def test_export(self, here: Here, folder: Path) -> None:
        assert here("export", "toy.yaml", "-o", "hf").code == 0
        assert json.loads((folder / "hf" / "config.json").read_text(encoding="utf-8"))["n_embd"] == 8
        assert here("export", "--config", "toy.yaml", "-o", "other").code == 0


@pytest.fixture
def model(folder: Path) -> None:
    """Write a checkpoint, ``model``."""
    write(folder / "model")


class TestGet:
    @pytest.mark.usefixtures("model")
    @pytest.mark.parametrize("command", REPORTS)
    def test_every_report(self, command: str, here: Here) -> None:
        result = here(command, *REPORTS[command], "--get", VALUES[command])
        assert (result.code, result.err) == (0, "")
        document = json.loads(here(command, *REPORTS[command], "--format", "json").out)
        for word in VALUES[command].split("."):
            document = document[0 if word in ("toy", "tiny") else word]
        assert result.out == (f"{document}\n" if isinstance(document, str) else json.dumps(document, indent=2) + "\n")

    def test_to_a_file(self, here: Here, folder: Path) -> None:
        assert here("params", "toy.yaml", "--get", "models.0.name", "-o", "name.json").code == 0
        assert (folder / "name.json").read_text(encoding="utf-8") == "toy\n"

    def test_exit_code(self, here: Here, folder: Path) -> None:
        (folder / "wrong.yaml").write_text("d_model: 0\n", encoding="utf-8")
        result = here("validate", "wrong.yaml", "--get", "invalid")
        assert (result.code, result.out) == (1, "1\n")

    @pytest.mark.parametrize("option", [["--format", "csv"], ["--table", "components"], ["-f", "text"]])
    def test_excludes_format_and_table(self, option: list[str], here: Here) -> None:
        result = here("params", "toy.yaml", "--get", "models.0.name", *option)
        assert result.code == 2
        assert "--get prints one value, so --" in result.err


class TestOutput:
    @pytest.mark.parametrize(
        ("suffix", "format_"),
        [
            (".json", "json"), (".JSON", "json"), (".md", "markdown"), (".csv", "csv"), (".tex", "latex"),
            (".txt", "text"), ("", "text"), (".markdown", "markdown"),
        ],
    )  # fmt: skip
    def test_suffix(self, suffix: str, format_: str, here: Here, folder: Path) -> None:
        assert here("params", "toy.yaml", "-o", f"out{suffix}").code == 0
        assert (folder / f"out{suffix}").read_text() == here("params", "toy.yaml", "--format", format_).out

    @pytest.mark.parametrize("suffix", [".pdf", ".log", ".1", ".sarif"])
    def test_unknown_suffix(self, suffix: str, here: Here, folder: Path) -> None:
        result = here("params", "toy.yaml", "-o", f"out{suffix}", columns=200)
        assert (result.code, result.out) == (2, "")
        assert result.err.startswith(f"error: --output out{suffix}: ")
        assert "the known suffixes are .txt, .json, .md, .csv, .tex; with --format, any suffix is allowed" in result.err
        assert here("params", "toy.yaml", "-o", f"out{suffix}", "--format", "text").code == 0
        assert (folder / f"out{suffix}").is_file()

    def test_schema_writes_json_only(self, here: Here, folder: Path) -> None:
        assert "schema does not write YAML" in here("schema", "-o", "schema.yaml").err
        assert here("schema", "-o", "schema.json").code == 0
        assert json.loads((folder / "schema.json").read_text(encoding="utf-8"))["title"]

    def test_explicit_format(self, here: Here, folder: Path) -> None:
        assert here("params", "toy.yaml", "-o", "out.json", "--format", "csv").code == 0
        with (folder / "out.json").open(encoding="utf-8") as file:
            assert next(csv.reader(file))[0] == "name"

    def test_table_to_csv(self, here: Here, folder: Path) -> None:
        assert here("params", "toy.yaml", "--table", "components", "-o", "components.csv").code == 0
        assert (folder / "components.csv").read_text(encoding="utf-8").startswith("name,")

    def test_yaml(self, here: Here, folder: Path) -> None:
        assert here("show", "toy.yaml", "-o", "shown.yaml").code == 0
        assert here("params", "shown.yaml", "--get", "models.0.total_params").code == 0
        result = here("build", "toy.yaml", "--save", "saved", "-o", "built.yaml")
        assert (result.code, result.out) == (2, "")
        assert result.err.startswith("error: --output built.yaml: build does not write YAML\n")
        assert sorted(path.name for path in folder.iterdir()) == ["shown.yaml", "toy.yaml"], "nothing is half done"

    def test_format_that_a_command_lacks(self, here: Here) -> None:
        result = here("generate", "toy.yaml", "-o", "out.csv")
        assert result.code == 2
        assert "generate does not write csv" in result.err

    @pytest.mark.usefixtures("model")
    @pytest.mark.parametrize("command", [each for each in COMMANDS if each not in ("new", "import", "export")])
    def test_force(self, command: str, here: Here, folder: Path) -> None:
        (folder / "out.json").write_text("mine", encoding="utf-8")
        refused = here(command, *REPORTS[command], "-o", "out.json")
        assert (refused.code, refused.out) == (2, "")
        assert refused.err == "error: out.json exists\n  = help: choose another name, or add --force to replace it\n"
        assert (folder / "out.json").read_text(encoding="utf-8") == "mine"
        assert here(command, *REPORTS[command], "-o", "out.json", "--force").code == 0
        assert json.loads((folder / "out.json").read_text(encoding="utf-8"))

    def test_force_without_a_file(self, here: Here) -> None:
        for words in (["params"], ["build"], ["params", "-o", "-"]):
            assert here(*words, "--force").code == 2

    def test_import_force(self, here: Here) -> None:
        assert here("export", "toy.yaml", "-o", "hf").code == 0
        assert here("import", "hf", "--weights", "-o", "ours").code == 0
        assert here("import", "hf", "--weights", "-o", "ours").code == 2
        assert here("import", "hf", "--weights", "-o", "ours", "--force").code == 0


class TestAmounts:
    @pytest.mark.parametrize(
        ("kind", "written", "value"),
        [
            ("count", "500k", 500_000),
            ("count", "1.5M", 1_500_000),
            ("count", "1e3", 1000),
            ("count", "7", 7),
            ("length", "8k", 8192),
            ("length", "128K", 131_072),
            ("length", "4096", 4096),
            ("size", "24gib", 24 * 1024**3),
            ("size", "80GB", 80 * 10**9),
            ("flops", "1e21", 10**21),
        ],
    )
    def test_amount_parser(self, kind: Any, written: str, value: int) -> None:
        assert amount_parser("--option", kind, maximum=10**21, example="8")(written) == value

    @pytest.mark.parametrize(
        ("kind", "written"),
        [("count", "0"), ("count", "8q"), ("length", "1.5k"), ("length", "-1"), ("size", "24G"), ("count", "2k")],
    )
    def test_amount_parser_errors(self, kind: Any, written: str) -> None:
        with pytest.raises(ConfigError) as caught:
            amount_parser("--option", kind, maximum=1000, example="8")(written)
        (error,) = caught.value.diagnostics
        nouns = {"count": "a count", "length": "a number of tokens", "size": "a size"}
        assert error.message == f"--option {written}: expected {nouns[kind]} from 1 to 1,000"
        assert (error.span, error.help) == (option_span("--option", written), "for example --option 8")
        assert caught.value.exit_code == 2

    def test_options(self, here: Here) -> None:
        words = ("estimate", "llama-3-8b", "--seq-len", "4k", "--batch-size", "1k", "--get")
        assert here(*words, "flops.seq_len").out == "4096\n"
        assert here(*words, "flops.batch_size").out == "1000\n"
        assert (
            here("design", "--params", "125m", "--top", "1", "--get", "constraints.total_params.value").out
            == "125000000\n"
        )
        assert here("generate", "toy.yaml", "-n", "1k", "--get", "stopped").code == 0

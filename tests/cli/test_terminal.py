"""Output on common terminals, widths and locales."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tinylm_cli.cli.app import COMMANDS

Here = Callable[..., Any]

BAD = Path(__file__).resolve().parents[1] / "bad"
TORCH_FREE = [
    ["list"],
    ["compare", "small", "medium", "toy.yaml", "@n_layers=8@tie_weights=false", "mixtral-8x7b"],
    ["compare", "toy.yaml", "--set", "attention.n_kv_heads=1"],
    ["params"],
    ["params", "--config", "base"],
    ["params", "--config", "base", "--set", "tie_weights=false"],
    ["params", "--config", "base", "--by", "layer"],
    ["params", "--config", "base", "--by", "tensor", "--set", "n_layers=100000"],
    ["params", "--config", "base", "--set", "vocab_size=100000000", "--set", "d_model=1048576", "--set", "n_heads=8"],
    ["design", "--params", "125M", "--top", "3"],
    ["design", "--params", "900T", "--max-kv-bytes", "2"],
    ["sweep", "base", "n_layers=4,8", "d_model=500,768"],
    ["show", "--origin"],
    ["validate", "tiny", "toy.yaml", "several-errors.yaml", "line-very-long.yaml", "line-wide-characters.yaml"],
    ["params", "--config", "absent"],
    ["absent"],
    ["params", "--by", "absent"],
]
MODEL = [
    ["build", "--config", "toy.yaml"],
    ["build", "--meta", "--expand"],
    ["forward", "--config", "toy.yaml", "--expand"],
    ["forward", "--meta", "--random", "4x128"],
    ["generate", "--config", "toy.yaml"],
    ["check", "--config", "toy.yaml"],
]
WIDTHS = {"40": 40, "60": 60, "80": 80, "120": 120, "200": 200}


@pytest.fixture
def errors(folder: Path) -> None:
    for name in ("several-errors.yaml", "line-very-long.yaml", "line-wide-characters.yaml"):
        (folder / name).write_bytes((BAD / name).read_bytes())


def too_wide(text: str, width: int) -> Iterator[str]:
    """Yield the lines that stand out, but for a command to copy."""
    yield from (line for line in text.splitlines() if len(line) > width and not line.startswith("next: "))


class TestWidth:
    @pytest.mark.usefixtures("errors")
    @pytest.mark.parametrize("columns", WIDTHS)
    def test_reports(self, columns: str, here: Here) -> None:
        for arguments in TORCH_FREE:
            result = here(*arguments, columns=columns)
            assert (result.code == 2) == ("absent" in arguments), result.err
            assert not list(too_wide(result.out + result.err, WIDTHS[columns])), arguments

    @pytest.mark.parametrize("columns", ["0", "-5", "abc", "99999999", ""])
    def test_columns_out_of_range(self, columns: str, here: Here) -> None:
        for arguments in (["params", "--config", "base"], ["params", "--config", "absent"], ["list"]):
            assert here(*arguments, columns=columns) == here(*arguments, columns=80)

    @pytest.mark.parametrize("columns", ["40", "60", "200"])
    def test_model_commands(self, columns: str, here: Here) -> None:
        for arguments in MODEL:
            result = here(*arguments, columns=columns)
            assert result.code == 0, result.err
            assert not list(too_wide(result.out + result.err, WIDTHS[columns])), arguments

    @pytest.mark.parametrize("columns", ["60", "80", "120"])
    def test_help(self, columns: str, here: Here) -> None:
        for arguments in ([], *([command] for command in COMMANDS)):
            page = here(*arguments, "--help", columns=columns).out
            assert page.startswith("Usage: tinylm")
            assert not list(too_wide(page, WIDTHS[columns])), arguments

    def test_wide_terminal(self, here: Here) -> None:
        narrow, usual, wide = (here("params", columns=columns).out for columns in (40, 60, 80))
        assert max(map(len, narrow.splitlines())) < max(map(len, usual.splitlines())) < max(map(len, wide.splitlines()))

    def test_invalid_columns(self, tinylm: Callable[..., Any]) -> None:
        """Libraries would convert them: typer fails on TERMINAL_WIDTH, rich on COLUMNS."""
        usual = tinylm("params")
        for words in ({"TERMINAL_WIDTH": "abc", "LINES": "x", "COLUMNS": "abc"}, {"COLUMNS": "٣", "LINES": "0"}):
            assert tinylm("params", env=words) == usual
        said = tinylm("build", "--help", env={"TERMINAL_WIDTH": "abc", "LINES": "x", "COLUMNS": "-5"})
        assert (said.code, said.err) == (0, "")
        assert said.out.startswith("Usage: tinylm build ")

    def test_width_of_the_terminal(self, on_terminal: Here) -> None:
        plain = {"NO_COLOR": "1"}
        assert max(map(len, on_terminal("params", columns=60, env=plain).out.splitlines())) <= 60
        assert max(map(len, on_terminal("params", columns=100, env=plain).out.splitlines())) > 60
        assert max(map(len, on_terminal("params", columns=100, env={**plain, "COLUMNS": "60"}).out.splitlines())) <= 60
        assert on_terminal("params", columns=0, env=plain).code == 0


class TestColor:
    @pytest.mark.parametrize(
        ("environment", "colored"),
        [
            ({}, False),
            ({"FORCE_COLOR": "1"}, True),
            ({"FORCE_COLOR": "0"}, False),
            ({"FORCE_COLOR": ""}, False),
            ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
            ({"FORCE_COLOR": "1", "NO_COLOR": ""}, True),
            ({"FORCE_COLOR": "1", "TERM": "dumb"}, True),
        ],
    )
    def test_pipe(
        self, environment: dict[str, str], colored: bool, here: Here, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        for arguments in (["params"], ["validate", "toy.yaml"], ["params", "--config", "absent"]):
            result = here(*arguments)
            assert ("\x1b[" in result.out + result.err) == colored

    @pytest.mark.parametrize(
        ("environment", "colored"),
        [({}, True), ({"NO_COLOR": "1"}, False), ({"NO_COLOR": ""}, True), ({"TERM": "dumb"}, False)],
    )
    def test_terminal(self, environment: dict[str, str], colored: bool, on_terminal: Here) -> None:
        assert ("\x1b[" in on_terminal("params", env=environment).out) == colored

    def test_same_text(self, here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
        import re

        for arguments in (["params"], ["show", "--origin"], ["params", "--config", "toy.yaml"]):
            plain = here(*arguments)
            monkeypatch.setenv("FORCE_COLOR", "1")
            colored = here(*arguments)
            monkeypatch.delenv("FORCE_COLOR")
            assert re.sub(r"\x1b\[[\d;]*m", "", colored.out) == plain.out
            assert re.sub(r"\x1b\[[\d;]*m", "", colored.err) == plain.err

    def test_documents(self, here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("FORCE_COLOR", "1")
        for arguments in (["schema"], *(["params", "--format", each] for each in ("json", "markdown", "csv", "latex"))):
            assert "\x1b" not in here(*arguments).out
        assert "\x1b" not in here("validate", "toy.yaml", "absent", "--format", "github").out


class TestCharacters:
    @pytest.mark.usefixtures("errors")
    def test_c_locale(self, here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("LC_ALL", "C")
        for arguments in [*TORCH_FREE, *MODEL, ["--help"], *([command, "--help"] for command in COMMANDS)]:
            result = here(*arguments)
            assert (result.code == 2) == ("absent" in arguments), result.err
            assert (result.out + result.err).isascii(), arguments
        for format_ in ("json", "markdown", "csv", "latex"):
            assert here("build", "--config", "toy.yaml", "--format", format_).out.isascii()

    @pytest.mark.parametrize("encoding", ["ascii", "ascii:strict", "latin-1"])
    def test_other_encodings(self, encoding: str, tinylm: Callable[..., Any], folder: Path) -> None:
        (folder / "größe☃.yaml").write_text("vocab_size: ☃\n", encoding="utf-8")
        for arguments in (["params"], ["params", "--config", "größe☃.yaml"], ["build", "--help"]):
            result = tinylm(*arguments, env={"PYTHONIOENCODING": encoding, "LC_ALL": None})
            assert result.code == (1 if "größe☃.yaml" in arguments else 0)
            assert (result.out + result.err).isascii()

    def test_tree_in_ascii(self, here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("LC_ALL", "C")
        lines = here("build", "--config", "toy.yaml").out.splitlines()
        assert any(line.startswith("|- embedding ") for line in lines)
        assert any(line.startswith("`- lm_head -> token_embedding.embedding ") for line in lines)


class TestProgress:
    SLOW = ("build", "--config", "toy.yaml", "--set", "n_layers=300", "--depth", "0")

    def test_spinner(self, on_terminal: Here, folder: Path) -> None:
        """Also where the name of the model looks like markup and holds escape sequences."""
        (folder / "[red]\x1b]2;x[").write_bytes((folder / "toy.yaml").read_bytes())
        done = on_terminal(*self.SLOW[:2], "./[red]\x1b]2;x[", *self.SLOW[3:])
        assert done.code == 0
        assert "building [red]\\x1b]2;x[" in done.out
        assert "\x1b]2;" not in done.out
        assert done.out.index("\x1b[?25l") < done.out.rindex("\x1b[?25h"), "the cursor comes back"
        dumb = on_terminal(*self.SLOW, env={"LC_ALL": "C", "NO_COLOR": "1"}).out
        assert dumb.isascii()
        assert "building toy" in dumb

    def test_no_spinner_in_a_pipe(self, here: Here) -> None:
        assert here(*self.SLOW).err.startswith("next: ")

    def test_no_spinner_for_quick_work(self, on_terminal: Here) -> None:
        assert "\x1b[?25l" not in on_terminal("params", "--config", "base").out


@pytest.mark.parametrize(
    "command",
    [
        ("build",),
        ("forward", "--tokens", "1"),
        ("generate", "--tokens", "1", "--max-new-tokens", "1"),
        ("check",),
        ("estimate", "--gpu", "h100-sxm", "--gpus", "1"),
        ("params",),
        ("compare", "toy.yaml", "@d_ff=1"),
        ("sweep", "toy.yaml", "n_layers=1"),
    ],
    ids=lambda words: words[0],
)
def test_singular(command: tuple[str, ...], here: Callable[..., Any], folder: Path) -> None:
    (folder / "toy.yaml").write_text("{vocab_size: 3, d_model: 4, n_heads: 1, n_layers: 1, d_ff: 2, max_len: 1}")
    config = () if command[0] in ("compare", "sweep") else ("--config", "toy.yaml")
    done = here(*command, *config)
    assert done.code == 0, done.err
    assert not re.findall(r"(?<![\w.,])1 [a-z]+s\b", done.out + done.err)

"""Untrusted text from any input comes out visible and inert in every format."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tinylm_cli.cli.app import COMMANDS

Here = Callable[..., Any]

ESCAPES = "\x1b[31mred\x1b]0;title\x07\x9b2J"
LINES = "one\ntwo\r\n::error::forged\u2028three"
REORDERED = "gpj.\u202egol\u2066\u200b\u2069"
MARKUP = "[bold red]x[/nope] `a` *b* <b>&amp;|~ %s %(x)s {0} {x!r} $(id) `id`"
LONE = "lone\udc80\ud800".encode("utf-8", "surrogatepass").decode("utf-8", "surrogateescape")
COMMANDS_OF_RUNNERS = "::error ::forged a ::error::forged ##[error]forged ##vso[task.complete]forged " + "a:: " * 40
HOSTILE = {
    "commands": COMMANDS_OF_RUNNERS,
    "escapes": ESCAPES,
    "lines": LINES,
    "reordered": REORDERED,
    "markup": MARKUP,
    "surrogates": LONE,
}

# controls but the line feed, C1, bidi marks and isolates, zero width, separators, lone surrogates
RAW = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")
RUNNER_COMMAND = re.compile(r"^(\s|\x1b\[[0-9;]*m)*::|##(vso|teamcity)?\[", re.MULTILINE)
FORMATS = ("text", "json", "markdown")
TABLES = ("csv", "latex")


def assert_inert(result: Any) -> None:
    own_commands = result.out.startswith("::error ")  # --format github; each takes one line
    for stream in (result.out, result.err):
        assert not RAW.search(stream), ascii(RAW.findall(stream))
        assert not RUNNER_COMMAND.search(stream) or (own_commands and "\n::error ::forged" not in stream), stream
        assert "unexpected" not in stream


@pytest.fixture(params=HOSTILE)
def hostile(request: pytest.FixtureRequest) -> str:
    return HOSTILE[request.param]


class TestNames:
    """Names of files reach every heading, message and next step."""

    def test_config_name(self, hostile: str, here: Here, folder: Path) -> None:
        (folder / f"{hostile.replace('/', '-')}.yaml").write_bytes((folder / "toy.yaml").read_bytes())
        name = f"./{hostile.replace('/', '-')}.yaml"
        for format_ in FORMATS:
            for arguments in (
                ["params"],
                ["show"],
                ["show", "--origin"],
                ["build", "--meta"],
                ["forward"],
                ["generate", "-n", "2"],
            ):
                result = here(*arguments, "--config", name, "--format", format_)
                assert result.code == 0
                assert_inert(result)
        for format_ in TABLES:
            for arguments in (["params"], ["show", "--origin"], ["build", "--meta"], ["forward"]):
                result = here(*arguments, "--config", name, "--format", format_)
                assert result.code == 0
                assert_inert(result)
                assert format_ == "csv" or result.out.isascii()
        for format_ in (*FORMATS, "github"):
            result = here("validate", name, ".", "--format", format_)
            assert result.code == 0
            assert_inert(result)

    def test_compare(self, hostile: str, here: Here, folder: Path) -> None:
        name = f"./{hostile.replace('/', '-')}.yaml"
        (folder / name).write_bytes((folder / "toy.yaml").read_bytes())
        for format_ in (*FORMATS, *TABLES):
            for models, code in (([name, "@n_layers=5", name], 0), (["tiny", name], 0), (["tiny", hostile], 2)):
                result = here("compare", *models, "--format", format_)
                assert result.code == code
                assert_inert(result)
        for wrong in (f"@n_layers={hostile}", f"@{hostile}=1"):
            result = here("compare", name, wrong)
            assert result.code in (1, 2)
            assert_inert(result)

    def test_wrong_config(self, hostile: str, here: Here, folder: Path) -> None:
        name = f"./{hostile.replace('/', '-')}.yaml"
        (folder / name).write_text("vocab_size: no\nd_modl: 3\n", encoding="utf-8")
        for format_ in (*FORMATS, "github"):
            for arguments in (["validate", name], ["validate", "."]):
                result = here(*arguments, "--format", format_)
                assert result.code == 1
                assert_inert(result)
        result = here("params", "--config", name)
        assert result.code == 1
        assert_inert(result)

    def test_missing_files(self, hostile: str, here: Here) -> None:
        for arguments in (
            ["params", "--config", hostile],
            ["params", "--config", f"{hostile}.yaml"],
            ["validate", hostile],
            ["validate", hostile, "--format", "github"],
            ["validate", hostile, "--format", "markdown"],
            ["forward", "--tokens", f"@{hostile}"],
            ["forward", "--weights", hostile],
            ["list", "--output", f"absent/{hostile}"],
            ["build", "--config", "toy.yaml", "--save", f"absent/{hostile}"],
            ["new", f"absent/{hostile}"],
        ):
            for format_ in ("text", "json"):
                asked = [] if arguments[0] == "new" or "--format" in arguments else ["--format", format_]
                result = here(*arguments, *asked)
                assert result.code == 2, arguments
                assert_inert(result)

    def test_output_file(self, hostile: str, here: Here, folder: Path) -> None:
        name = hostile.replace("/", "-")
        assert_inert(here("list", "--output", name))
        result = here("list", "--output", name, "--format", "text", "--force")
        assert result.code == 0
        assert_inert(result)
        assert (folder / name).is_file()
        assert_inert(here("build", "--config", "toy.yaml", "--save", f"{name}-model"))
        assert_inert(here("forward", "--weights", f"{name}-model"))

        result = here("new", name)
        assert result.code == 0
        assert_inert(result)
        written = folder / (name if name.endswith(".yaml") else f"{name}.yaml")
        assert here("validate", f"./{written.name}").code == 0, "a line break in the name does not end the comment"
        assert not RAW.search(written.read_text(encoding="utf-8"))


class TestWords:
    def test_options(self, hostile: str, here: Here) -> None:
        key_code = 1 if hostile.isprintable() else 2  # an unknown key, or not a key at all
        one_line = len(hostile.splitlines()) == 1
        for arguments, code in (
            ([hostile], 2),
            (["params", hostile], 2),
            (["params", f"--{hostile}"], 2),
            (["params", f"--{hostile}=1"], 2),
            (["params", "--by", hostile], 2),
            (["params", "--set", hostile], 2),
            (["params", "--set", f"{hostile}=1"], key_code),
            (["params", "--set", f"n_layers={hostile}"], 1 if one_line else 2),
            (["params", "--set", f"norm.{hostile}={hostile}"], key_code),
            (["build", "--device", hostile], 2),
            (["build", "--dtype", hostile], 2),
            (["build", "--seed", hostile], 2),
            (["forward", "--tokens", hostile], 2),
            (["forward", "--random", hostile], 2),
            (["generate", "--stop-token", hostile], 2),
        ):
            for format_ in ("text", "json"):
                result = here(*arguments, "--format", format_)
                assert result.code == code, arguments
                assert_inert(result)

    def test_unknown_format(self, hostile: str, here: Here) -> None:
        result = here("list", "--format", hostile)
        assert result.code == 2
        assert_inert(result)

    def test_prompt(self, hostile: str, here: Here) -> None:
        for format_ in FORMATS:
            for arguments in (
                ["generate", "--text", hostile, "--seed", "3"],
                ["forward", "--text", hostile, "--set", "max_len=256"],
            ):
                result = here(*arguments, "--format", format_)
                assert result.code == 0
                assert_inert(result)

    def test_tokens_on_stdin(self, hostile: str, here: Here) -> None:
        data = hostile.encode("utf-8", "surrogateescape") + b"\xff\xfe\x00"
        result = here("forward", "--meta", "--tokens", "-", stdin=data)
        assert result.code == 2
        assert_inert(result)


class TestYaml:
    """Keys, values and comments are quoted by diagnostics."""

    @pytest.mark.parametrize("place", ["{}: 1", "vocab_size: {}", "norm: {{kind: {}}}", "vocab_size: 1 # {}", "? {}"])
    def test_config_values(self, hostile: str, place: str, here: Here) -> None:
        for written in (hostile, json.dumps(hostile)):
            text = place.format(written).encode("utf-8", "surrogateescape")
            code = 2 if written == LONE else 1  # bytes that are not UTF-8 are unreadable
            for format_ in (*FORMATS, "github"):
                result = here("validate", "-", "--format", format_, stdin=text)
                assert result.code == code
                assert_inert(result)
            for arguments in (["params"], ["show", "--format", "json"]):
                result = here(*arguments, "--config", "-", stdin=text)
                assert result.code == code
                assert_inert(result)


def test_json(here: Here, folder: Path) -> None:
    """JSON is ASCII with escapes, and reads back as the very name."""
    name = f"./{ESCAPES}{REORDERED}.yaml"
    (folder / name).write_bytes((folder / "toy.yaml").read_bytes())
    result = here("params", "--config", name, "--format", "json")
    assert result.out.isascii()
    assert json.loads(result.out)["models"][0]["source"] == name


def test_markdown(here: Here, folder: Path) -> None:
    name = f"./{MARKUP.replace('/', '-')}.yaml"
    (folder / name).write_bytes((folder / "toy.yaml").read_bytes())
    heading = here("params", "--config", name, "--format", "markdown").out.splitlines()[0]
    assert not re.search(r"(?<!\\)[`*<>|\[\]&~]", heading)


def test_invalid_utf8(tinylm: Callable[..., Any], folder: Path) -> None:
    name = os.fsdecode(b"\xff\x1b[31m.yaml")
    (folder / name).write_bytes((folder / "toy.yaml").read_bytes())
    for arguments, code in ((["params", "--config", f"./{name}"], 0), (["params", "--config", "\udcff"], 2)):
        result = tinylm(*arguments, cwd=folder)
        assert result.code == code
        assert_inert(result)


def test_color(here: Here, folder: Path, hostile: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"./{hostile.replace('/', '-')}.yaml"
    (folder / name).write_bytes((folder / "toy.yaml").read_bytes())
    monkeypatch.setenv("FORCE_COLOR", "1")
    for arguments in (["params", "--config", name], ["validate", name], ["validate", hostile], ["params", hostile]):
        result = here(*arguments)
        assert not RAW.search(re.sub(r"\x1b\[[\d;]*m", "", result.out + result.err))


@pytest.mark.parametrize("command", COMMANDS)
def test_format_strings(command: str, here: Here) -> None:
    assert_inert(here(command, "--%s%n{0}{x}", "%(x)s"))

"""``tinylm verify``: its output, its exit codes and its formats for CI services."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.checkpoints import CONFIG, FAULTS, INDEX, TENSORS, write, write_padded, write_shards
from tests.cli.json_report import report

Here = Callable[..., Any]

FORMATS = ("text", "json", "markdown", "github", "sarif", "junit")


def test_equal(here: Here, folder: Path) -> None:
    """A handful of lines says that all is well; the next step runs the model."""
    write(folder / "model")
    done = here("verify", "model")
    assert done.code == 0
    assert done.out.splitlines() == [
        "model  llama checkpoint, equal to its config",
        "",
        "tensors  39 as the config implies",
        "files    1 file, 111.1 KiB of F32",  # (2 × 500 × 16 + 4 × 3,104 + 16) × 4 bytes
    ]
    assert done.err == "next: tinylm forward --weights model\n"


PADDED = """\
model  llama checkpoint, 1 difference from its config

error[tensor-shape]: model.embed_tokens.weight and lm_head.weight have shape
  (512, 16), not (500, 16)
 --> model/config.json:6:17
6 |   "vocab_size": 500,
  |                 ^^^
  = help: these 2 tensors fit "vocab_size": 512; the last 12 rows may be padding

tensors  37 of 39 as the config implies
files    1 file, 112.6 KiB of F32
"""


def test_difference(here: Here, folder: Path) -> None:
    write_padded(folder / "model")
    done = here("verify", "model")
    assert (done.code, done.out, done.err) == (1, PADDED, "")
    assert here("verify", "model", "--set", "vocab_size=512").code == 0


@pytest.mark.parametrize("width", [60, 80, 120])
@pytest.mark.parametrize("code", FAULTS)
def test_width(code: str, width: int, here: Here, folder: Path) -> None:
    FAULTS[code](folder / "model")
    lines = here("verify", "model", columns=width).out.splitlines()
    assert max(map(len, lines)) <= width
    assert lines[0].startswith("model  llama checkpoint, ")


@pytest.mark.parametrize("code", FAULTS)
def test_formats(code: str, here: Here, folder: Path) -> None:
    """Each format names the code once for each difference; an unreadable header exits with 2."""
    FAULTS[code](folder / "model")
    done = {format_: here("verify", "model", "--format", format_) for format_ in FORMATS}
    assert {each.code for each in done.values()} == {2 if code == "unreadable-header" else 1}
    document = json.loads(done["json"].out)
    codes = [each["diagnostic"]["code"] for each in document["differences"]]
    assert code in codes
    assert done["text"].out.count(f"error[{code}]") == codes.count(code)
    assert done["markdown"].out.count(f"{code}: ") == codes.count(code)
    assert done["github"].out.count(f"title={code}::") == codes.count(code)
    assert done["github"].out.splitlines()[-1].startswith("Verified llama checkpoint, ")
    results = json.loads(done["sarif"].out)["runs"][0]["results"]
    assert [each["ruleId"] for each in results] == codes
    suites = ElementTree.fromstring(done["junit"].out)
    assert suites.get("name") == "tinylm verify"
    found = [each.get("type") for each in suites.iter() if each.tag in ("failure", "error")]
    assert found == codes


@pytest.mark.parametrize("format_", FORMATS)
def test_formats_of_an_equal_checkpoint(format_: str, here: Here, folder: Path) -> None:
    write(folder / "model")
    done = here("verify", "model", "--format", format_)
    assert done.code == 0
    if format_ == "junit":
        (suite,) = ElementTree.fromstring(done.out)
        assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("1", "0", "0")
    if format_ == "sarif":
        assert json.loads(done.out)["runs"][0]["results"] == []
    if format_ == "github":
        assert done.out == "Verified llama checkpoint, equal to its config.\n"


def test_json(here: Here, folder: Path) -> None:
    write_shards(folder / "model")
    document = report(here("verify", "model", "--format", "json"))
    assert (document["status"], document["family"], document["path"]) == ("equal", "llama", "model")
    elements = 0
    for shape in TENSORS.values():
        size = 1
        for length in shape:
            size *= length
        elements += size
    assert document["stored_bytes"] == 4 * elements
    assert document["dtypes"] == [{"dtype": "F32", "tensors": 39, "stored_bytes": 4 * elements}]
    assert [each["tensors"] for each in document["files"]] == [19, 20]


def test_get_and_output(here: Here, folder: Path) -> None:
    write_padded(folder / "model")
    assert here("verify", "model", "--get", "differences.0.value").out == "512\n"
    done = here("verify", "model", "-o", "found.json")
    assert done.code == 1
    assert json.loads((folder / "found.json").read_text(encoding="utf-8"))["status"] == "different"


def test_partial(here: Here, folder: Path) -> None:
    FAULTS["missing-file"](folder / "model")
    done = here("verify", "model")
    assert done.code == 1
    assert "= help: download it, or check the tensors by name only: --partial" in done.out
    done = here("verify", "model", "--partial")
    assert done.code == 0
    assert done.out.splitlines() == [
        "model  llama checkpoint, equal to its config where present",
        "",
        "tensors  19 of 39 as the config implies, 20 only by name",
        "files    1 of 2 files, 55.5 KiB of F32",  # (500 × 16 + 2 × 3,104) × 4 bytes
    ]
    assert done.err == "next: tinylm estimate model\n"
    next((folder / "model").glob("*.safetensors")).unlink()
    done = here("verify", "model", "--partial")
    assert done.out.startswith("model  llama checkpoint, equal to its config by names alone\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["absent"], "absent does not exist"),
        (["toy.yaml"], "toy.yaml is not a folder"),
        (["tiny"], "tiny does not exist"),
        (["."], ". contains neither config.yaml nor config.json"),
        (["weightless"], "weightless contains neither model.safetensors nor model.safetensors.index.json"),
        ([""], "the name of a file or folder is empty"),
        (["deep"], "the model has 900,003 tensors, more than 100,000"),
    ],
)
def test_unable(arguments: list[str], message: str, here: Here, folder: Path) -> None:
    (folder / "weightless").mkdir()
    (folder / "weightless" / "config.json").write_text(json.dumps(CONFIG), encoding="utf-8")
    write(folder / "deep", num_hidden_layers=100_000)
    done = here("verify", *arguments)
    assert (done.code, done.out) == (2, "")
    assert " ".join(done.err.split()).startswith(f"error: {message}")
    failure = here("verify", *arguments, "--format", "junit")
    assert ElementTree.fromstring(failure.out).get("name") == "tinylm verify"


def test_invalid_config(here: Here, folder: Path) -> None:
    write(folder / "model", hidden_size="many")
    done = here("verify", "model")
    assert done.code == 1
    assert "error[wrong-type]" in done.err


def test_keys_that_are_not_understood(here: Here, folder: Path) -> None:
    """Only a key that may change tensors is an error, unless it is ignored."""
    write(folder / "scaled", residual_multiplier=0.5)
    document = report(here("verify", "scaled", "--format", "json"))
    assert document["ignored_keys"] == {"residual_multiplier": "no_effect_here"}
    write(folder / "more", num_extra_experts=2)
    done = here("verify", "more")
    assert (done.code, done.out) == (1, "")
    assert "error[unknown-setting]" in done.err
    done = here("verify", "more", "--ignore", "num_extra_experts")
    assert done.code == 0
    assert done.err == "next: tinylm forward --weights more --ignore num_extra_experts\n"
    assert here("verify", "scaled", "--ignore", "num_extra_layers").code == 2


def test_hostile_names(here: Here, folder: Path) -> None:
    """Names of tensors and files are shown, not obeyed."""

    def change(header: dict[str, Any]) -> None:
        header["\x1b[31m::error::%0a\u202e"] = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}

    write(folder / "model", change)
    (folder / "model" / "\x1b]0;x.safetensors").write_bytes(b"")
    for format_ in FORMATS:
        done = here("verify", "model", "--format", format_)
        assert done.code == 1
        assert not {"\x1b", "\u202e"} & set(done.out)
        assert not any(line.startswith("::error::") for line in done.out.splitlines())


def test_index_alone_imports_no_torch(folder: Path) -> None:
    write_shards(folder / "model")
    for path in (folder / "model").glob("*.safetensors"):
        path.unlink()
    assert (folder / "model" / INDEX).is_file()
    code = (
        "import sys; from tinylm_cli.cli.app import run\n"
        "print(run(['verify', 'model', '--partial']), 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0 False"

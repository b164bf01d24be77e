"""``tinylm validate``: every error of every config, at its position."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tinylm_cli.cli.completion import complete_assertion
from tinylm_cli.config.fixes import fix_source
from tinylm_cli.errors import OutputError

Here = Callable[..., Any]
Golden = Callable[[str, str], None]

WRONG = "vocab_size: 256\nd_modl: 8\nn_heads: 0\nn_layers: 1\nd_ff: 16\n"


@pytest.fixture
def many(folder: Path) -> Path:
    """Return a folder of good and bad configs, at several depths."""
    good = (folder / "toy.yaml").read_bytes()
    (folder / "wrong.yaml").write_text(WRONG, encoding="utf-8")
    (folder / "there" / "deeper").mkdir(parents=True)
    (folder / "there" / "one.yml").write_bytes(good)
    (folder / "there" / "deeper" / "two.yaml").write_bytes(good)
    (folder / "there" / "notes.txt").write_text("no config\n", encoding="utf-8")
    (folder / "there" / ".hidden").mkdir()
    (folder / "there" / ".hidden" / "three.yaml").write_text("?", encoding="utf-8")
    (folder / "there" / "odd.yaml").mkdir()
    (folder / "empty").mkdir()
    (folder / "utf16").write_text("d_model: 8\n", encoding="utf-16")
    return folder


def files(result: Any) -> dict[str, str]:
    """Return the status of each file of a JSON report, by path."""
    return {file["path"]: file["status"] for file in json.loads(result.out)["files"]}


@pytest.mark.usefixtures("many")
@pytest.mark.parametrize("columns", [60, 80, 120])
def test_screens(columns: int, here: Here, golden_words: Golden) -> None:
    pages = (["toy.yaml", "tiny"], ["wrong.yaml", "there", "absent.yaml"])
    shown = [f"$ tinylm validate {' '.join(page)}\n{here('validate', *page, columns=columns).out}" for page in pages]
    golden_words(f"validate-{columns}.txt", "\n".join(shown))


@pytest.mark.usefixtures("many")
def test_documents(here: Here, golden_json: Golden, golden_words: Golden) -> None:
    given = ("wrong.yaml", "there", "absent.yaml")
    golden_json("validate", here("validate", *given, "--format", "json").out)
    golden_words("validate.md", here("validate", *given, "--format", "markdown").out)
    for format_ in ("github", "sarif", "junit"):
        golden_words(f"validate.{format_}", here("validate", *given, "--format", format_).out)


@pytest.mark.usefixtures("many")
@pytest.mark.parametrize(
    ("given", "code", "counts"),
    [
        (["toy.yaml"], 0, (1, 0, 0)),
        (["toy.yaml", "small", "there"], 0, (4, 0, 0)),
        (["wrong.yaml"], 1, (0, 1, 0)),
        (["toy.yaml", "wrong.yaml"], 1, (1, 1, 0)),
        (["absent.yaml"], 2, (0, 0, 1)),
        (["absent.yaml", "toy.yaml"], 2, (1, 0, 1)),
        (["wrong.yaml", "absent.yaml", "toy.yaml"], 2, (1, 1, 1)),
        (["empty", "toy.yaml"], 2, (1, 0, 1)),
        (["."], 1, (3, 1, 0)),
        (["utf16", "wrong.yaml"], 2, (0, 1, 1)),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_exit_code_is_the_worst(given: list[str], code: int, counts: tuple[int, int, int], here: Here) -> None:
    for format_ in ("text", "json", "markdown", "github", "sarif", "junit"):
        assert here("validate", *given, "--format", format_).code == code
    report = json.loads(here("validate", *given, "--format", "json").out)
    assert (report["valid"], report["invalid"], report["unreadable"]) == counts
    assert report["failed"] == 0
    assert len(report["files"]) == sum(counts)
    page = here("validate", *given).out
    summary = page.splitlines()[-1]
    if len(report["files"]) == 1:
        assert given[0] in (summary if code < 2 else page)
        return
    assert summary.startswith(f"{sum(counts)} configs: ")
    for count, word in zip(counts, ("valid", "invalid", "unreadable"), strict=True):
        assert (f"{count} {word}" in summary) == bool(count)


def test_folder_order(many: Path, here: Here) -> None:
    assert list(files(here("validate", "there", "--format", "json"))) == ["there/deeper/two.yaml", "there/one.yml"]
    absolute = list(files(here("validate", f"{many}/there", "--format", "json")))
    assert absolute == [f"{many}/there/deeper/two.yaml", f"{many}/there/one.yml"]


def test_a_written_file_is_counted(here: Here, folder: Path) -> None:
    (folder / "wrong.yaml").write_text("d_model: x\n", encoding="utf-8")
    said = here("validate", "wrong.yaml", "toy.yaml", "-o", "r.sarif").err
    assert said == "wrote r.sarif: 5 errors in 2 files\n"
    assert here("validate", "--config", "toy.yaml").out == here("validate", "toy.yaml").out


@pytest.mark.usefixtures("many")
def test_folder_without_yaml(here: Here) -> None:
    result = here("validate", "empty")
    assert result.code == 2
    assert "no .yaml file in empty" in result.out + result.err
    assert "name a file" not in result.out + result.err


@pytest.mark.usefixtures("many")
def test_each_file_is_counted_once(here: Here, many: Path) -> None:
    (many / "link.yaml").symlink_to("toy.yaml")
    given = ("toy.yaml", "./toy.yaml", str(many / "toy.yaml"), "link.yaml", "there", "there/one.yml", "tiny", "tiny")
    assert list(files(here("validate", *given, "--format", "json"))) == [
        "toy.yaml",
        "there/deeper/two.yaml",
        "there/one.yml",
        "tiny",
    ]


def test_stdin(here: Here, folder: Path) -> None:
    text = (folder / "toy.yaml").read_text(encoding="utf-8")
    assert files(here("validate", "-", "--format", "json", stdin=text)) == {"<stdin>": "valid"}
    assert files(here("validate", "-", "--format", "json", stdin=WRONG)) == {"<stdin>": "invalid"}
    assert here("validate", "-", stdin=text).err == ""


@pytest.mark.usefixtures("many")
def test_positions_of_errors(here: Here) -> None:
    result = here("validate", "wrong.yaml", "--set", "n_layers=1")
    for place, code in (("2:1", "unknown-key"), ("3:10", "out-of-range")):
        assert f"error[{code}]: " in result.out
        assert f" --> wrong.yaml:{place}\n" in result.out
    assert "error" not in result.err, "what was found is the output, not talk"


def test_unreadable(here: Here) -> None:
    told = here("params", "--config", "to.yaml").err
    assert (
        here("validate", "to.yaml").out
        == told
        == ("error: no such preset or file: to.yaml\n  = help: did you mean toy.yaml?\n")
    )
    assert here("validate", "no/such.yaml").out == "error: no such file: no/such.yaml\n"


@pytest.mark.parametrize("words", [[""], ["toy.yaml", ""]], ids=str)
def test_empty_word(words: list[str], here: Here) -> None:
    result = here("validate", *words)
    assert (result.code, result.out) == (2, "")
    assert result.err == ("error: the name of a file or folder is empty\n  = help: is a shell variable unset?\n")


def test_preset_before_folder(here: Here, folder: Path) -> None:
    (folder / "tiny").mkdir()
    (folder / "tiny" / "wrong.yaml").write_text(WRONG, encoding="utf-8")
    assert files(here("validate", "tiny", "--format", "json")) == {"tiny": "valid"}
    assert files(here("validate", "./tiny", "--format", "json")) == {"tiny/wrong.yaml": "invalid"}


@pytest.mark.usefixtures("many")
def test_github(here: Here) -> None:
    given = ("wrong.yaml", "toy.yaml", "absent.yaml")
    *lines, summary = here("validate", *given, "--format", "github").out.splitlines()
    assert summary == "3 configs: 1 valid, 1 invalid, 1 unreadable."
    assert [line.partition("::")[2].split(" ")[0] for line in lines] == ["error"] * 3
    assert lines[0].startswith(
        '::error file=wrong.yaml,line=2,col=1,endColumn=6,title=unknown-key::unknown key "d_modl"'
    )
    assert lines[-1].startswith("::error file=absent.yaml,title=unreadable::")
    assert here("validate", "toy.yaml", "--format", "github").out == "1 config: 1 valid.\n"


@pytest.mark.usefixtures("many")
def test_set_applies_to_each_file(here: Here) -> None:
    assert here("validate", "toy.yaml", "there", "--set", "n_heads=3").code == 1
    assert here("validate", "toy.yaml", "there", "--set", "n_heads=4").code == 0
    assert here("validate", "toy.yaml", "--set", "n_heads").code == 2


@pytest.mark.usefixtures("many")
def test_next_step_of_valid_files(here: Here) -> None:
    assert here("validate", "toy.yaml", "tiny").err == "next: tinylm params toy.yaml\n"
    assert here("validate", "toy.yaml", "wrong.yaml").err == "next: tinylm validate toy.yaml wrong.yaml --diff\n"
    assert here("validate", "absent.yaml").err == ""


def test_many_valid_files_are_only_counted(here: Here, folder: Path) -> None:
    good = (folder / "toy.yaml").read_bytes()
    for index in range(24):
        (folder / f"{index:02}.yaml").write_bytes(good)
    assert here("validate", ".").out == "25 configs: 25 valid.\n"
    (folder / "07.yaml").write_text(WRONG, encoding="utf-8")
    shown = here("validate", ".").out
    assert shown.endswith("25 configs: 24 valid, 1 invalid.\n")
    assert "08.yaml" not in shown


HELD = """\
# A model and what it may cost.
vocab_size: 256
d_model: 8
n_heads: 2
n_layers: 3
d_ff: 16
max_len: 32
nominal_params: 4K
budget:
  max_params: 3K
  max_kv_bytes: 8KiB
  nominal_tolerance: 0.05
"""
ASKED = ("--assert", "total_params < 5K", "--assert", "kv_cache_bytes<=2KiB")


@pytest.fixture
def held(folder: Path) -> Path:
    """Return a folder with a config over its budget, ``held.yaml``."""
    (folder / "held.yaml").write_text(HELD, encoding="utf-8")
    return folder


@pytest.mark.usefixtures("held")
@pytest.mark.parametrize("columns", [60, 80, 120])
def test_screens_of_budgets(columns: int, here: Here, golden_words: Golden) -> None:
    pages = (
        ["held.yaml"],
        ["toy.yaml", "held.yaml", *ASKED],
        ["toy.yaml", *ASKED[:2]],
        ["toy.yaml", "--assert", "total_parms < 5K", "--assert", "total_params < 5Q"],
    )
    results = [(page, here("validate", *page, columns=columns)) for page in pages]
    shown = [f"$ tinylm validate {shlex.join(page)}\n{result.out or result.err}" for page, result in results]
    golden_words(f"validate-budget-{columns}.txt", "\n".join(shown))
    assert [result.code for _, result in results] == [1, 1, 0, 2]


@pytest.mark.usefixtures("held")
def test_documents_of_budgets(here: Here, golden_json: Golden, golden_words: Golden) -> None:
    given = ("held.yaml", "toy.yaml", *ASKED)
    golden_json("validate-budget", here("validate", *given, "--format", "json").out)
    golden_words("validate-budget.md", here("validate", *given, "--format", "markdown").out)
    golden_words("validate-budget.github", here("validate", *given, "--format", "github").out)


@pytest.mark.usefixtures("held")
def test_budget_is_only_a_check(here: Here) -> None:
    assert here("validate", "held.yaml").code == 1
    for command in ("params", "show", "build", "forward"):
        assert here(command, "--config", "held.yaml").code == 0
    assert here("validate", "held.yaml", "--set", "budget.max_params=4K").code == 0
    assert here("validate", "held.yaml", "--set", "n_layers=1").code == 0


@pytest.mark.usefixtures("held")
def test_assertions_apply_to_every_file(here: Here) -> None:
    result = json.loads(here("validate", "held.yaml", "toy.yaml", "tiny", *ASKED, "--format", "json").out)
    counts = {file["path"]: [check["holds"] for check in file["assertions"]] for file in result["files"]}
    assert counts == {"held.yaml": [False, True, True, True, False], "toy.yaml": [True, False], "tiny": [False, False]}
    assert (result["valid"], result["failed"]) == (0, 3)
    assert {found["source"] for file in result["files"] for found in file["diagnostics"]} == set(counts)


@pytest.mark.usefixtures("held")
def test_wrong_assertion(here: Here) -> None:
    told = here("validate", "held.yaml", "toy.yaml", "--assert", "params < 1", "--format", "json")
    assert told.code == 2
    (found,) = json.loads(told.out)["error"]["diagnostics"]
    assert (found["code"], found["source"]) == ("unknown-figure", "--assert")
    assert told.err.count("error[") == 1
    annotated = here("validate", "held.yaml", "--assert", "params < 1", "--format", "github")
    assert (annotated.code, annotated.err) == (2, told.err)
    assert annotated.out.startswith('::error title=unknown-figure::unknown figure "params"; ')
    assert here("validate", "", "-fgithub").out.startswith("::error::the name of a file or folder is empty")


def test_wrong_assertion_and_config(here: Here, folder: Path) -> None:
    (folder / "wrong.yaml").write_text(HELD.replace("d_ff: 16", "d_ff: no"), encoding="utf-8")
    told = here("validate", "wrong.yaml", "toy.yaml", "--assert", "params < 1")
    assert (told.code, told.out) == (2, "")
    assert ["unknown-figure" in told.err, "--> wrong.yaml:" in told.err, told.err.count("error[")] == [True, True, 2]


def test_invalid_config_skips_the_budget(here: Here, folder: Path) -> None:
    (folder / "wrong.yaml").write_text(HELD.replace("d_ff: 16", "d_ff: no"), encoding="utf-8")
    result = json.loads(here("validate", "wrong.yaml", *ASKED, "--format", "json").out)
    assert (result["invalid"], result["failed"], result["files"][0]["assertions"]) == (1, 0, [])


def test_figures_are_completed() -> None:
    assert complete_assertion("tot") == ["total_params"]
    assert {"kv_cache_bytes", "nominal_error"} < set(complete_assertion(""))


def test_hardware_file(folder: Path, here: Here) -> None:
    (folder / "gpus").mkdir()
    right = (Path(__file__).resolve().parents[2] / "configs" / "hardware" / "accelerators.yaml").read_text("utf-8")
    path = folder / "gpus" / "mine.yaml"
    path.write_text(right, encoding="utf-8")
    checked = here("validate", "gpus/mine.yaml")
    assert (checked.code, checked.err) == (0, "")
    assert re.fullmatch(r"gpus/mine.yaml is valid: [0-9]{2} accelerators.\n", checked.out)
    (file,) = json.loads(here("validate", "gpus", "--format", "json").out)["files"]
    assert (file["status"], file["total_params"], file["diagnostics"]) == ("valid", None, [])
    assert file["accelerators"] == right.count("  title: ")
    path.write_text(right.replace("memory_bytes: 80 GiB", "memory_bytes: 80gb"), encoding="utf-8")
    checked = here("validate", "gpus", "toy.yaml")
    assert checked.code == 1
    assert "h100-sxm.memory_bytes must be a size" in checked.out
    assert checked.out.endswith("2 configs: 1 valid, 1 invalid.\n")
    path.write_bytes(b"mine: \xff\n")
    assert "not-utf8" in here("validate", "gpus").out
    assert here("params", "gpus/mine.yaml").code == 2


def test_shipped_configs_are_valid(here: Here) -> None:
    assert here("validate", Path(__file__).resolve().parents[2] / "configs").code == 0


MISSPELLED = """\
# Comments stay.\r
vocab_size: "256"  # quoted\r
d_modl: 8\r
n_heads: 2\r
n_layers: 3\r
d_ff: 16\r
norm: {kind: RMS, epsilon: small}"""
FIXED = MISSPELLED.replace('"256"', "256").replace("d_modl", "d_model").replace("RMS", "rmsnorm")


@pytest.fixture
def misspelled(folder: Path) -> Path:
    path = folder / "misspelled.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + MISSPELLED.encode())
    path.chmod(0o640)
    return path


@pytest.mark.usefixtures("misspelled")
@pytest.mark.parametrize("columns", [60, 80])
def test_fix_screens(columns: int, here: Here, golden_words: Golden) -> None:
    shown = []
    for words in (["misspelled.yaml", "--diff"], ["misspelled.yaml", "toy.yaml", "--fix"], ["misspelled.yaml"]):
        result = here("validate", *words, columns=columns)
        assert result.code == 1
        shown.append(f"$ tinylm validate {' '.join(words)}\n{result.out}{result.err}")
    golden_words(f"validate-fix-{columns}.txt", "\n".join(shown))


def test_diff_writes_nothing(misspelled: Path, here: Here) -> None:
    before = misspelled.read_bytes()
    result = here("validate", "misspelled.yaml", "--diff", "--format", "json")
    assert (result.code, misspelled.read_bytes()) == (1, before)
    report = json.loads(result.out)
    (file,) = report["files"]
    assert (report["fixed"], report["fixable"], file["status"], file["written"]) == (3, 0, "invalid", False)
    assert file["diff"].startswith("--- misspelled.yaml\n+++ misspelled.yaml\n@@ ")


def test_fix_writes_the_rest_byte_for_byte(misspelled: Path, here: Here) -> None:
    result = here("validate", "misspelled.yaml", "--fix", "--format", "json")
    assert misspelled.read_bytes() == b"\xef\xbb\xbf" + FIXED.encode()
    assert misspelled.stat().st_mode & 0o777 == 0o640
    assert result.code == 1
    (file,) = json.loads(result.out)["files"]
    assert [each["code"] for each in file["diagnostics"]] == ["unknown-key"], "what remains is reported"
    assert [each["fix"]["replacement"] for each in file["fixed"]] == ["256", "d_model", "rmsnorm"]
    assert file["written"]
    misspelled.write_text(FIXED.replace(", epsilon: small", ""), encoding="utf-8")
    assert here("validate", "misspelled.yaml", "--fix").code == 0


def test_fix_of_unwritable_files(misspelled: Path, here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    for words in (["-"], ["HEAD:misspelled.yaml"]):
        refused = here("validate", *words, "--fix", stdin=MISSPELLED)
        assert refused.code == 2
        assert "--fix cannot write to " in refused.err
    assert here("validate", "misspelled.yaml", "--fix", "--diff").code == 2
    before = misspelled.read_bytes()

    def full(path: Path, *_: object, **__: object) -> None:
        raise OutputError(f"cannot write {path}: No space left on device")

    monkeypatch.setattr("tinylm_cli.atomic_write.write_file", full)
    result = here("validate", "toy.yaml", "misspelled.yaml", "--fix")
    assert (result.code, misspelled.read_bytes()) == (2, before)
    assert "No space left" in result.out


def test_fix_of_a_file_that_changes(misspelled: Path, here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    """What its author saved while it was checked stays."""
    saved = MISSPELLED.encode() + b"# saved meanwhile\n"

    def save_and_fix(*arguments: Any) -> Any:
        misspelled.write_bytes(saved)
        return fix_source(*arguments)

    monkeypatch.setattr("tinylm_cli.config.fixes.fix_source", save_and_fix)
    result = here("validate", "misspelled.yaml", "--fix")
    assert result.code == 2
    assert "misspelled.yaml changed during the check" in " ".join(result.out.split())
    assert misspelled.read_bytes() == saved


def test_fix_of_hardware(folder: Path, here: Here) -> None:
    right = (Path(__file__).resolve().parents[2] / "configs" / "hardware" / "accelerators.yaml").read_text("utf-8")
    path = folder / "mine.yaml"
    path.write_text(right.replace("memory_bytes: 80 GiB", "memory_byts: 80gib"), encoding="utf-8")
    assert here("validate", "mine.yaml", "--fix").code == 0
    assert path.read_text(encoding="utf-8") == right.replace("memory_bytes: 80 GiB", "memory_bytes: 80GiB")


@pytest.mark.parametrize("format_", ["sarif", "junit"])
def test_wrong_assertion_in_ci_formats(format_: str, here: Here) -> None:
    told = here("validate", "toy.yaml", "--assert", "params < 1", "--format", format_)
    assert told.code == 2
    assert "unknown-figure" in told.out
    assert "error[unknown-figure]" in told.err


def test_fix_of_hugging_face_json(folder: Path, here: Here) -> None:
    shape = {"vocab_size": 256, "hidden_size": 64, "num_attention_heads": 4, "num_hidden_layers": 2}
    text = json.dumps({"model_type": "llama", **shape, "intermediate_size": 128})
    (folder / "config.json").write_text(text.replace("64", '"64"'), encoding="utf-8")
    assert here("validate", "config.json", "--fix").code == 0
    assert (folder / "config.json").read_text(encoding="utf-8") == text


def test_get_before_fixing(here: Here, folder: Path) -> None:
    file = folder / "wrong.yaml"
    written = (folder / "toy.yaml").read_text(encoding="utf-8").replace("d_model", "d_modle")
    file.write_text(written, encoding="utf-8")
    assert here("validate", "wrong.yaml", "--fix", "--get", "nope").code == 2
    assert file.read_text(encoding="utf-8") == written
    assert here("validate", "wrong.yaml", "--fix", "--get", "fixed").out == "1\n"
    assert file.read_text(encoding="utf-8") != written


def test_links_out_of_a_folder(here: Here, folder: Path) -> None:
    """A searched folder may come from anyone: what its links lead to is not printed."""
    (folder / "given").mkdir()
    (folder / "secret.yaml").write_text("password: hunter2\n", encoding="utf-8")
    (folder / "given" / "out.yaml").symlink_to("../secret.yaml")
    (folder / "given" / "environ.yaml").symlink_to("/proc/self/environ")
    (folder / "given" / "own.yaml").write_bytes((folder / "toy.yaml").read_bytes())
    (folder / "given" / "inside.yaml").symlink_to("own.yaml")
    (folder / "given" / "up").symlink_to("..")
    result = here("validate", "given", "--format", "json")
    assert [file["path"] for file in json.loads(result.out)["files"]] == ["given/inside.yaml"]
    assert "hunter2" not in result.out + result.err
    told = "given/environ.yaml and 1 more: not checked, a link to a file outside given"
    assert " ".join(result.err.split()) == told
    assert here("validate", "given/out.yaml").code == 1, "a file that is named is read"


@pytest.mark.parametrize("option", ["--fix", "--diff"])
def test_nothing_to_correct(option: str, here: Here) -> None:
    assert "there is no certain correction to apply" in here("validate", "toy.yaml", option).err

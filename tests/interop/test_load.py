"""Load a config by reference: its source and name, and files without a config."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tinylm_cli.cli.wording import worded
from tinylm_cli.config.presets import gallery, presets, shipped
from tinylm_cli.errors import ConfigError, InputError
from tinylm_cli.interop.load import import_config, load_config

LLAMA: dict[str, Any] = {"model_type": "llama", "hidden_size": 64, "num_attention_heads": 4}


def write(path: Path, content: Any) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return str(path)


def codes(reference: str) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        load_config(reference)
    return [each.code for each in raised.value.diagnostics]


def test_folder_file_and_stdin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "my-llama" / "config.json", LLAMA)
    folder = load_config(str(tmp_path / "my-llama"))
    assert (folder.name, folder.source) == ("my-llama", path)
    assert load_config(path) == folder
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(json.dumps(LLAMA).encode())))
    piped = load_config("-")
    assert (piped.name, piped.source, piped.config) == ("stdin", "<stdin>", folder.config)
    assert load_config(write(tmp_path / "tiny-llama.json", LLAMA)).name == "tiny-llama"


def test_name_of_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "my-llama" / "config.json", LLAMA)
    monkeypatch.chdir(tmp_path / "my-llama")
    assert load_config(".").name == load_config("config.json").name == "my-llama"


def test_yaml_with_a_model_type(tmp_path: Path) -> None:
    text = "model_type: llama\nhidden_size: 64\nnum_attention_heads: 4\nrope_scaling: {type: linear, factor: 2.0}\n"
    assert load_config(write(tmp_path / "x.yaml", text)).config.position.scaling == "linear"


def test_families_with_d_model(tmp_path: Path) -> None:
    sizes = {"vocab_size": 8, "d_model": 8, "n_heads": 2, "n_layers": 1}
    assert load_config(write(tmp_path / "mpt.json", {"model_type": "mpt", **sizes})).config.d_ff == 32
    with pytest.raises(ConfigError, match="the family bart is not supported"):
        load_config(write(tmp_path / "bart.json", {"model_type": "bart", "d_model": 8}))


def test_d_model_means_tinylm(tmp_path: Path) -> None:
    own = {"vocab_size": 8, "d_model": 8, "n_heads": 2, "n_layers": 1, "d_ff": 8}
    assert load_config(write(tmp_path / "own.json", own)).config.d_model == 8
    assert codes(write(tmp_path / "both.json", {**own, "model_type": "llama"})) == ["unknown-key"]
    with pytest.raises(InputError, match="is already a tinylm config"):
        import_config(str(tmp_path / "own.json"))


def test_presets_before_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "gpt2" / "config.json", LLAMA)
    monkeypatch.chdir(tmp_path)
    assert load_config("gpt2").config.d_model == 768
    assert load_config("./gpt2").config.d_model == 64


def test_folder_without_a_config(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is a folder, not a config") as raised:
        load_config(str(tmp_path))
    assert raised.value.help == "name a YAML file, or the folder of a model"
    write(tmp_path / "model" / "config.json", LLAMA)
    with pytest.raises(InputError) as raised:
        load_config(str(tmp_path))
    assert raised.value.help == f"name a config in it: {tmp_path / 'model'}"


@pytest.mark.parametrize("reference", ["x" * 5000, "/x" * 5000, "a\0b", "", "nothing.json", "no/such/folder"])
def test_missing_file(reference: str) -> None:
    for load in (load_config, import_config):
        with pytest.raises(InputError):
            load(reference)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "empty-document"),
        ("null", "empty-document"),
        ("[]", "not-a-mapping"),
        ("3", "not-a-mapping"),
        ('"llama"', "not-a-mapping"),
        ("{}", "missing-key"),
        ('{"model_type": null}', "missing-key"),
        ('{"model_type": "llama",}', "json-syntax"),
        ('{"model_type": "llama"', "json-syntax"),
        ('{"model_type": "llama" "hidden_size": 3}', "json-syntax"),
        ("{'model_type': 'llama'}", "json-syntax"),
        ('{"model_type": "llama", "model_type": "gpt2"}', "duplicate-key"),
        ("[" * 100_000, "too-deep"),
        ("[" * 5000 + "]" * 5000, "too-deep"),
        ('{"model_type": "llama", "vocab_size": ' + "9" * 5000 + "}", "number-too-long"),
        ('{"model_type": ["llama"]}', "wrong-type"),
        ('{"a\\ud800": 1}', "control-character"),
    ],
)
def test_no_config(text: str, code: str, tmp_path: Path) -> None:
    assert code in codes(write(tmp_path / "x.json", text))


def test_json_that_is_not_yaml(tmp_path: Path) -> None:
    text = '{\n\t"model_type":"llama",\n\t\t"hidden_size"\t:\t64, "n": null, "prefix": "\\ud83d\\ude00"}\n'
    loaded = load_config(write(tmp_path / "x.json", text))
    assert loaded.config.d_model == 64
    span = loaded.origins["d_model"]
    assert span is not None
    assert (span.line, span.column) == (3, 19)


def test_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_bytes(b"\xef\xbb\xbf" + json.dumps(LLAMA).encode())
    assert load_config(str(tmp_path / "x.json")).config.d_model == 64


def test_errors_of_file_and_overrides(tmp_path: Path) -> None:
    path = write(tmp_path / "x.json", {**LLAMA, "surprise": 1})
    with pytest.raises(ConfigError) as raised:
        load_config(path, ["n_layer=2"])
    assert [each.code for each in raised.value.diagnostics] == ["unknown-setting", "unknown-key"]


def test_gallery_names() -> None:
    assert list(presets()) == ["tiny", "small", "medium", "base"]
    assert set(shipped()) == set(presets()) | set(gallery())
    assert len(gallery()) >= 16
    with pytest.raises(InputError) as raised:
        load_config("llama3-8b")
    assert worded(raised.value.help) == "did you mean llama-3-8b? tinylm list --gallery shows all"


@pytest.mark.parametrize("name", gallery())
def test_gallery_files(name: str) -> None:
    lines = gallery()[name].read_text(encoding="utf-8").splitlines()
    assert lines[0] == "# yaml-language-server: $schema=../tinylm.schema.json"
    assert (gallery()[name].parent / "../tinylm.schema.json").is_file()
    assert len(lines) <= (40 if "layers:" in lines else 27)
    assert max(map(len, lines)) <= 120
    assert any("https://" in line for line in lines[:6])
    assert load_config(name).name == name

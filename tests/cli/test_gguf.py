"""Commands on GGUF files, as on any config."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import tinylm_cli as tinylm
from tests.conftest import Result
from tests.interop.gguf.test_stored_types import LLAMA, q4_k_m
from tests.interop.gguf.written_files import Written, write_model

Run = Callable[..., Result]


@pytest.fixture
def written(folder: Path) -> Written:
    """Return a small Llama in mixed types, in the current folder."""
    return write_model(folder / "model.gguf", LLAMA, q4_k_m)


def report(run: Run, *arguments: str) -> dict[str, Any]:
    result = run(*arguments, "--format", "json")
    assert result.code == 0, result.err
    document: dict[str, Any] = json.loads(result.out)
    return document


def test_params(here: Run, written: Written) -> None:
    (model,) = report(here, "params", "model.gguf", "--by", "tensor")["models"]
    assert (model["name"], model["source"], model["total_params"]) == ("model", "model.gguf", written.n_params)
    assert model["storage"]["stored_bytes"] == written.tensor_bytes
    assert sum(part["stored_bytes"] for part in model["parts"]) == written.tensor_bytes
    stored = {part["name"]: part["stored_dtype"] for part in model["parts"]}
    assert stored["blocks.{0..3}.attention.v_proj.weight"] == "q6_k, q4_k"
    assert stored["blocks.{0..3}.ln_1.weight"] == "float32"
    shown = here("params", "model.gguf").out
    # of q6_k: v and down in 2 of 4 layers, embedding and head; all other matrices in q4_k
    q6_k = 2 * (128 * 256 + 512 * 256) + 2 * 96 * 256
    q4_k = written.n_params - q6_k - 9 * 256
    assert [each["params"] for each in model["storage"]["types"]] == [q4_k, q6_k, 9 * 256]
    assert q4_k * 144 // 256 + q6_k * 210 // 256 + 4 * 9 * 256 == written.tensor_bytes
    assert "The checkpoint stores 1.39 MiB: 2.03M parameters in q4_k, 377K parameters in" in shown, shown


def test_estimate(here: Run, written: Written) -> None:
    summary = report(here, "estimate", "model.gguf", "--for", "serving")["summary"]["serving"]
    frequencies = 4 * 256 // 4 // 2  # float32, one per pair of dimensions of a head
    assert summary["weights_bytes"] == written.tensor_bytes + frequencies
    assert (summary["weights_dtype"], summary["weights_are_stored"]) == ("gguf", True)
    assert "as the file stores them" in here("estimate", "model.gguf", "--for", "serving").out
    other = report(here, "estimate", "model.gguf", "--for", "serving", "--quantize", "int8")["summary"]["serving"]
    assert other["weights_dtype"] == "int8"


def test_show_is_equal(here: Run, written: Written, folder: Path) -> None:
    """The YAML of a GGUF file is the same model in the same types."""
    for command in ("show", "import"):
        (folder / "shown.yaml").write_text(here(command, "model.gguf").out, encoding="utf-8")
        (model,) = report(here, "params", "shown.yaml")["models"]
        assert model["total_params"] == written.n_params
        assert model["storage"]["stored_bytes"] == written.tensor_bytes
        difference = report(here, "compare", "model.gguf", "shown.yaml")
        assert [each["field"] for each in difference["fields"]] == []


@pytest.mark.usefixtures("written")
def test_other_commands(here: Run, folder: Path) -> None:
    assert here("validate", "model.gguf").code == 0
    before = (folder / "model.gguf").read_bytes()
    assert here("validate", "model.gguf", "--set", "n_layer=2", "--fix").code == 1
    assert (folder / "model.gguf").read_bytes() == before
    assert here("sweep", "model.gguf", "n_layers=2,4").code == 0
    assert here("build", "model.gguf", "--meta").code == 0
    assert here("params", "model.gguf", "--set", "n_layers=2", "--get", "models.0.total_params").code == 0


@pytest.mark.usefixtures("written")
def test_api(folder: Path) -> None:
    model = tinylm.load("model.gguf")
    assert model.config.storage.quantization == "gguf"
    assert model.params().total_params == tinylm.load(folder / "model.gguf").params().total_params


EQUAL = """\
model  llama checkpoint, equal to its config

tensors  39 as the config implies
files    1 file, 1.39 MiB of Q4_K, 6 in Q6_K, 9 in F32
"""


def test_verify(here: Run, written: Written) -> None:
    done = here("verify", "model.gguf")
    assert (done.code, done.out) == (0, EQUAL)
    assert done.err == "next: tinylm estimate model.gguf\n"
    assert tinylm.verify("model.gguf").stored_bytes == written.tensor_bytes
    assert tinylm.load("model.gguf").verify().status == "equal"


def test_verify_incomplete(here: Run, written: Written) -> None:
    os.truncate(written.path, 1_000_000)
    done = here("verify", "model.gguf")
    assert done.code == 1
    assert "error[truncated-file]: the file has 1,000,000 bytes of " in done.out
    written.path.write_bytes(b"GGUF")
    assert here("verify", "model.gguf").code == 2
    assert here("verify", "model.gguf", "--partial").code == 2


def test_unreadable_files(here: Run, folder: Path) -> None:
    os.mkfifo(folder / "pipe.gguf")
    (folder / "damaged.gguf").write_bytes(b"GGUF" + bytes(9))
    (folder / "folder.gguf").mkdir()
    for name in ("pipe.gguf", "damaged.gguf", "folder.gguf", "absent.gguf"):
        result = here("params", name)
        assert (result.code, result.out) == (2, "")
        assert name in result.err
        assert here("verify", name).code == 2


def test_without_the_package(here: Run, written: Written, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ARG001
    monkeypatch.setitem(sys.modules, "gguf", None)
    result = here("params", "model.gguf")
    assert result.code == 2
    assert "GGUF files need the package gguf" in result.err
    assert "pip install 'tinylm-cli[gguf]'" in result.err

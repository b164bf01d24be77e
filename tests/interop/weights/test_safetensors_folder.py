"""Hugging Face folders from anywhere: each is read, or refused with the reason."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save, save_file

from tinylm_cli.errors import WeightsError
from tinylm_cli.interop.safetensors_index import INDEX, WEIGHTS_FILE
from tinylm_cli.interop.weights.safetensors_folder import SafetensorsFolder

WEIGHTS = {"a": torch.arange(6.0).reshape(2, 3), "b.c": torch.zeros(0), "d": torch.tensor(1.5, dtype=torch.bfloat16)}
DATA = save(WEIGHTS)


@contextlib.contextmanager
def folder(**files: bytes) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        for file, data in files.items():
            (Path(name) / file).write_bytes(data)
        yield Path(name)


def index(weight_map: Any) -> bytes:
    return json.dumps({"weight_map": weight_map}).encode("utf-8")


def opened(path: Path) -> SafetensorsFolder | None:
    """Open the folder; return None if it is rejected with a ``WeightsError``."""
    with contextlib.suppress(WeightsError):
        return SafetensorsFolder(path)
    return None


def test_shards(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    save_file(WEIGHTS, tmp_path / "one" / WEIGHTS_FILE)
    for name, tensor in WEIGHTS.items():
        save_file({name: tensor}, tmp_path / "two" / f"{name}.safetensors")
    (tmp_path / "two" / INDEX).write_bytes(index({name: f"{name}.safetensors" for name in WEIGHTS}))
    for kind in ("one", "two"):
        found = SafetensorsFolder(tmp_path / kind)
        assert found.tensors.keys() == WEIGHTS.keys()
        assert all(torch.equal(found.read(name), tensor) for name, tensor in WEIGHTS.items())


words = st.text(st.characters(), max_size=12)  # surrogates and NUL among them
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=8,
)


@given(json_values)
def test_any_json_as_index(document: Any) -> None:
    with folder(**{INDEX: json.dumps(document).encode()}) as path:
        assert opened(path) is None


@given(st.dictionaries(words | st.sampled_from(list(WEIGHTS)), words | st.just("m.safetensors"), max_size=4))
def test_any_names_in_index(weight_map: dict[str, str]) -> None:
    with folder(**{INDEX: index(weight_map), "m.safetensors": DATA}) as path:
        found = opened(path)
        sound = set(weight_map.values()) <= {"m.safetensors"} and weight_map.keys() <= WEIGHTS.keys()
        assert (found is not None) is sound


@given(st.binary(max_size=60))
def test_any_bytes_as_index(data: bytes) -> None:
    with folder(**{INDEX: data}) as path:
        assert opened(path) is None


@given(st.data())
def test_changed_bytes(data: st.DataObject) -> None:
    changed = bytearray(DATA)
    for _ in range(data.draw(st.integers(1, 4))):
        changed[data.draw(st.integers(0, len(DATA) - 1))] = data.draw(st.integers(0, 255))
    end = data.draw(st.integers(0, len(DATA)) | st.just(len(DATA)))
    with folder(**{WEIGHTS_FILE: bytes(changed[:end])}) as path:
        found = opened(path)
        for name, tensor in ({} if found is None else found.tensors).items():
            assert isinstance(tensor.dtype, str)
            assert all(isinstance(size, int) for size in tensor.shape), name


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_file_name_that_is_not_unicode(tmp_path: Path) -> None:
    name = os.fsdecode(b"\x80.safetensors")
    (tmp_path / name).write_bytes(DATA)
    (tmp_path / INDEX).write_bytes(index({"a": name}))
    assert torch.equal(SafetensorsFolder(tmp_path).read("a"), WEIGHTS["a"])


@pytest.mark.parametrize("name", [INDEX, WEIGHTS_FILE])
def test_pipe(name: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(WeightsError, match="not a regular file"):
        SafetensorsFolder(tmp_path)


def test_index_that_is_not_text() -> None:
    with (
        folder(**{INDEX: b'{"a": "\xc2'}) as path,
        pytest.raises(WeightsError, match=r"(?m)not JSON: byte 8 is not UTF-8$"),
    ):
        SafetensorsFolder(path)
